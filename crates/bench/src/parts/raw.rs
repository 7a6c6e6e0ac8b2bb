//! The raw sender, which is the lower bound and the reference. It keeps one hyper connection to each host alive,
//! computes one HMAC-SHA1 per request, and stores nothing. It runs one single-threaded runtime per core, which is
//! faster than one runtime with several threads.
//!
//! With an authority it speaks TLS, and opens a connection for each request, with a resumed session: the reference for
//! receivers that close each connection.

mod handshake;
pub(crate) mod idle;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use sha1::Sha1;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{messages::RawStats, publisher, say};
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The hosts, one connection each.
    #[arg(long, value_delimiter = ',', required = true)]
    addresses: Vec<String>,
    /// How long to send.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 1024)]
    payload_bytes: usize,
    /// Open a TLS connection for each request. The PEM file of the authority to trust.
    #[arg(long)]
    reconnect: Option<PathBuf>,
}

/// A count of requests, and of handshakes that resumed a session.
#[derive(Clone, Copy, Default)]
struct Sent {
    requests: u64,
    resumed: u64,
}

impl std::iter::Sum for Sent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            resumed: sum.resumed + one.resumed,
        })
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let payload = publisher::payload(arguments.payload_bytes);
    let cores = std::thread::available_parallelism()?.get();
    let time = Duration::from_secs_f64(arguments.seconds);
    let (begun, cpu) = (Instant::now(), usage::own_cpu());
    let tls = arguments.reconnect.as_deref().map(handshake::connector).transpose()?;
    let threads: Vec<_> = (0..cores)
        .map(|core| {
            let addresses: Vec<String> = arguments.addresses.iter().skip(core).step_by(cores).cloned().collect();
            let (payload, tls) = (payload.clone(), tls.clone());
            std::thread::spawn(move || send_all(&addresses, &payload, tls.as_ref(), time))
        })
        .collect();
    let mut sent = Vec::with_capacity(cores);
    for thread in threads {
        sent.push(thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
    }
    let sent: Sent = sent.into_iter().sum();
    say(&RawStats {
        requests: sent.requests,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_us: (usage::own_cpu() - cpu).as_micros() as u64,
        resumed: sent.resumed,
    })
}

fn send_all(addresses: &[String], payload: &Bytes, tls: Option<&TlsConnector>, time: Duration) -> anyhow::Result<Sent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sends = addresses
            .iter()
            .map(|address| send(address, payload.clone(), tls, time));
        let sent = futures::future::try_join_all(sends).await?;
        Ok(sent.into_iter().sum())
    })
}

async fn send(address: &str, payload: Bytes, tls: Option<&TlsConnector>, time: Duration) -> anyhow::Result<Sent> {
    let signer = Signer {
        address,
        payload,
        key: Hmac::<Sha1>::new_from_slice(b"correct horse battery staple")?,
    };
    let mut sent = Sent::default();
    let begun = Instant::now();
    if let Some(tls) = tls {
        while begun.elapsed() < time {
            let (stream, resumed) = handshake::connect(tls, address).await?;
            let mut sender = http(stream).await?;
            signer.post(&mut sender).await?;
            sent.requests += 1;
            sent.resumed += u64::from(resumed);
        }
        return Ok(sent);
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut sender = http(stream).await?;
    while begun.elapsed() < time {
        signer.post(&mut sender).await?;
        sent.requests += 1;
    }
    Ok(sent)
}

/// A connection whose frames a separate task handles. The task ends with it.
async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The signed requests to one host.
struct Signer<'a> {
    address: &'a str,
    payload: Bytes,
    key: Hmac<Sha1>,
}

impl Signer<'_> {
    async fn post(&self, sender: &mut http1::SendRequest<Full<Bytes>>) -> anyhow::Result<()> {
        let mut mac = self.key.clone();
        mac.update(&self.payload);
        let signature = format!("sha1={}", hex::encode(mac.finalize().into_bytes()));
        let request = Request::post("/payload")
            .header("Host", self.address)
            .header("Content-Type", "application/json")
            .header("TT-Hook-Event", "clocking")
            .header("TT-Hook-Signature", signature)
            .body(Full::new(self.payload.clone()))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(
            response.status().is_success(),
            "the sink answered {}",
            response.status()
        );
        response.into_body().collect().await?;
        Ok(())
    }
}
