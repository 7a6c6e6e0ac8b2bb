//! The raw sender, which is the lower bound and the reference. It keeps one hyper connection to each host alive,
//! computes one HMAC-SHA1 per request, and stores nothing. It runs one single-threaded runtime per core, which is
//! faster than one runtime with several threads.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use sha1::Sha1;
use tokio::net::TcpStream;

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
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let payload = publisher::payload(arguments.payload_bytes);
    let cores = std::thread::available_parallelism()?.get();
    let time = Duration::from_secs_f64(arguments.seconds);
    let (begun, cpu) = (Instant::now(), usage::own_cpu());
    let threads: Vec<_> = (0..cores)
        .map(|core| {
            let addresses: Vec<String> = arguments.addresses.iter().skip(core).step_by(cores).cloned().collect();
            let payload = payload.clone();
            std::thread::spawn(move || send_all(&addresses, &payload, time))
        })
        .collect();
    let mut requests = 0;
    for thread in threads {
        requests += thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    say(&RawStats {
        requests,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_us: (usage::own_cpu() - cpu).as_micros() as u64,
    })
}

fn send_all(addresses: &[String], payload: &Bytes, time: Duration) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sends = addresses.iter().map(|address| send(address, payload.clone(), time));
        let sent = futures::future::try_join_all(sends).await?;
        Ok(sent.iter().sum())
    })
}

async fn send(address: &str, payload: Bytes, time: Duration) -> anyhow::Result<u64> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let key = Hmac::<Sha1>::new_from_slice(b"correct horse battery staple")?;
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < time {
        let mut mac = key.clone();
        mac.update(&payload);
        let signature = format!("sha1={}", hex::encode(mac.finalize().into_bytes()));
        let request = Request::post("/payload")
            .header("Host", address)
            .header("Content-Type", "application/json")
            .header("TT-Hook-Event", "clocking")
            .header("TT-Hook-Signature", signature)
            .body(Full::new(payload.clone()))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(
            response.status().is_success(),
            "the sink answered {}",
            response.status()
        );
        response.into_body().collect().await?;
        sent += 1;
    }
    Ok(sent)
}
