//! A proxy between two parties of a connection: it forwards bytes, and can stop, slow down, cut, or redirect
//! connections.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::timeout,
};

use crate::DEADLINE;

/// The current mode of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards bytes at once.
    Pass,
    /// Accepts bytes and forwards none, like a network that drops packets.
    Hold,
    /// Forwards each piece of data after this delay.
    Slow(Duration),
}

/// A TCP proxy on loopback, which ends when this value is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: watch::Sender<String>,
    mode: watch::Sender<Mode>,
    /// Incremented to cut every connection.
    cut: watch::Sender<u64>,
    /// The number of accepted connections.
    taken: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts to forward to an address such as `127.0.0.1:4711`. If the target does not listen, connections are closed.
    ///
    /// # Errors
    /// Fails if there is no free port.
    pub async fn start(target: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let target = watch::Sender::new(target);
        let (mode, cut) = (watch::Sender::new(Mode::Pass), watch::Sender::new(0));
        let (targets, modes, cuts) = (target.subscribe(), mode.subscribe(), cut.subscribe());
        let (counter, taken) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.send_modify(|count| *count += 1);
                let target = targets.borrow().clone();
                let (modes, mut cuts) = (modes.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(&target).await else {
                        return;
                    };
                    let (client_in, client_out) = client.into_split();
                    let (server_in, server_out) = server.into_split();
                    tokio::select! {
                        () = forward(client_in, server_out, modes.clone()) => {}
                        () = forward(server_in, client_out, modes) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Ok(Self {
            address,
            target,
            mode,
            cut,
            taken,
            task,
        })
    }

    /// The proxy's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets how bytes are forwarded from now on, on all connections.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Redirects new connections to another address.
    pub fn lead_to(&self, target: impl Into<String>) {
        self.target.send_replace(target.into());
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Waits until this many connections have been made since the start.
    ///
    /// # Panics
    /// Panics if they are not made in time.
    pub async fn wait_for_connections(&self, count: usize) {
        let mut taken = self.taken.clone();
        let enough = timeout(DEADLINE, taken.wait_for(|taken| *taken >= count)).await;
        let enough = enough.map(|waited| waited.is_ok());
        assert_eq!(enough, Ok(true), "there were {} connections", *self.taken.borrow());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        loop {
            let mode = *modes.borrow_and_update();
            match mode {
                Mode::Pass => break,
                Mode::Slow(delay) => {
                    tokio::time::sleep(delay).await;
                    break;
                }
                Mode::Hold => {
                    if modes.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
