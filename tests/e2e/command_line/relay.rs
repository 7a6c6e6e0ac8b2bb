//! A fixed address for a server that changes its own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Forwards connections to a target that can change. Stops when it is dropped.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(to.parse().unwrap()));
        let target = Arc::clone(&to);
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let to: SocketAddr = *target.lock().unwrap();
                tokio::spawn(async move {
                    // If the target does not listen, the connection is closed at once.
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, to, accepting }
    }

    pub(super) fn point(&self, to: &str) {
        *self.to.lock().unwrap() = to.parse().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
