//! The sink: simulates any number of hosts on one thread. Each host has its own port, or its own loopback address. It
//! reads requests with as little work as possible, records when each delivery arrived, and answers.
//!
//! | module | content |
//! | --- | --- |
//! | `host` | the behaviour of a host |
//! | `http1`, `http2` | the connections of either protocol |
//! | `tls` | the certificates, and the handshake |

mod host;
mod http1;
mod http2;
mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use tokio::net::{TcpListener, TcpStream};

use self::{host::Host, tls::Identities};
use super::{
    arrivals::Arrivals,
    messages::{Listening, SinkCommand, SinkStats},
    say, serve,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many hosts to simulate.
    #[arg(long, default_value_t = 16)]
    hosts: usize,
    /// Give each host its own loopback address.
    #[arg(long)]
    spread: bool,
    /// Speak TLS 1.3, and this protocol over it.
    #[arg(long, value_enum)]
    tls: Option<Protocol>,
    /// Close each connection after one response.
    #[arg(long)]
    close: bool,
}

/// The protocol over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Everything that all connections share.
struct Shared {
    arrivals: Arrivals,
    hosts: Vec<Host>,
    identities: Option<Identities>,
    close: AtomicBool,
}

impl Shared {
    /// Whether a connection ends with the present response.
    fn closes(&self) -> bool {
        self.close.load(Ordering::Relaxed)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let listeners: Vec<std::net::TcpListener> = (0..arguments.hosts)
        .map(|host| std::net::TcpListener::bind(SocketAddr::new(address(host, arguments.spread), 0)))
        .collect::<Result<_, _>>()?;
    let addresses = listeners
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<Result<Vec<SocketAddr>, _>>()?;
    let identities = arguments
        .tls
        .map(|protocol| Identities::new(&addresses, protocol))
        .transpose()?;
    let listening = Listening {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        authority: identities.as_ref().map(|identities| identities.authority.clone()),
    };
    let shared = Arc::new(Shared {
        arrivals: Arrivals::default(),
        hosts: (0..arguments.hosts).map(|_| Host::default()).collect(),
        identities,
        close: AtomicBool::new(arguments.close),
    });
    let serving = Arc::clone(&shared);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for (host, listener) in listeners.into_iter().enumerate() {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                tokio::spawn(listen(listener, host, Arc::clone(&serving)));
            }
            std::future::pending::<anyhow::Result<()>>().await
        })
    });
    say(&listening)?;
    serve(|command| answer(&command, &shared))
}

/// The address of a host: `127.0.0.1` for all, or one of `127.0.1.1`, `127.0.1.2` and so on for each.
fn address(host: usize, spread: bool) -> IpAddr {
    const PER_NETWORK: usize = 250;
    if !spread {
        return Ipv4Addr::LOCALHOST.into();
    }
    let octet = |value: usize| u8::try_from(value % 256).unwrap_or_default();
    Ipv4Addr::new(127, 0, octet(1 + host / PER_NETWORK), octet(1 + host % PER_NETWORK)).into()
}

fn answer(command: &SinkCommand, shared: &Shared) -> anyhow::Result<SinkStats> {
    match command {
        SinkCommand::Behave { host, how } => {
            let all = 0..shared.hosts.len();
            for host in host.map_or(all, |host| host..host + 1) {
                shared.hosts[host].behave(*how);
            }
        }
        SinkCommand::Close { close } => shared.close.store(*close, Ordering::Relaxed),
        _ => {}
    }
    shared.arrivals.answer(command)
}

async fn listen(listener: TcpListener, host: usize, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(stream, host, Arc::clone(&shared)));
            }
            // No descriptor is free.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, host: usize, shared: Arc<Shared>) {
    shared.arrivals.connections.fetch_add(1, Ordering::Relaxed);
    match &shared.identities {
        None => http1::serve(stream, host, &shared).await,
        Some(identities) => {
            if let Some(stream) = identities.accept(stream, host, &shared.arrivals).await {
                match identities.protocol {
                    Protocol::Http1 => http1::serve(stream, host, &shared).await,
                    Protocol::Http2 => http2::serve(stream, host, Arc::clone(&shared)).await,
                }
            }
        }
    }
    shared.arrivals.connections.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_their_own_loopback_addresses() {
        assert_eq!(address(700, false).to_string(), "127.0.0.1");
        assert_eq!(address(0, true).to_string(), "127.0.1.1");
        assert_eq!(address(249, true).to_string(), "127.0.1.250");
        assert_eq!(address(250, true).to_string(), "127.0.2.1");
    }
}
