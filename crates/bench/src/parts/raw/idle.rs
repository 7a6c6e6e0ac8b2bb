//! The memory of idle TLS connections of a bare rustls client: the reference for the server's idle connections.

use std::path::PathBuf;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    super::{messages::IdleStats, say},
    handshake,
};
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The hosts, in turn.
    #[arg(long, value_delimiter = ',', required = true)]
    addresses: Vec<String>,
    /// The PEM file of the authority to trust.
    #[arg(long)]
    authority: PathBuf,
    /// How many connections to open.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
}

/// A request without a delivery, which the sink does not record.
const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kib_per_connection = runtime.block_on(measure(arguments))?;
    say(&IdleStats { kib_per_connection })
}

/// Each connection has answered one request, like an idle connection of the server. The first ones allocate what all
/// connections share, so the measurement begins after them.
async fn measure(arguments: &Arguments) -> anyhow::Result<f64> {
    let connector = handshake::connector(&arguments.authority)?;
    let warm = arguments.addresses.len();
    let mut open = Vec::with_capacity(warm + arguments.connections);
    let mut before = 0.0;
    for (number, address) in arguments.addresses.iter().cycle().enumerate().take(open.capacity()) {
        if number == warm {
            before = usage::rss_mib(std::process::id(), false)?;
        }
        let (mut stream, _) = handshake::connect(&connector, address).await?;
        stream.write_all(REQUEST).await?;
        let mut response = [0; 256];
        anyhow::ensure!(stream.read(&mut response).await? > 0, "the sink closed a connection");
        open.push(stream);
    }
    let grown = usage::rss_mib(std::process::id(), false)? - before;
    Ok(grown * 1024.0 / arguments.connections as f64)
}
