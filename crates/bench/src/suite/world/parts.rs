//! The child processes of a world.

use std::path::Path;

use super::super::figures::read_triples;
use crate::parts::{
    child::Part,
    messages::{Behaviour, Listening, Publish, PublishStats, RawStats, SinkCommand, SinkStats},
};

/// A sink, and the addresses of its hosts.
pub(in super::super) struct Sink {
    pub(in super::super) part: Part,
    pub(in super::super) addresses: Vec<String>,
    authority: Option<tempfile::NamedTempFile>,
}

/// Starts a sink.
pub(in super::super) async fn sink(hosts: usize, arguments: &[&str]) -> anyhow::Result<Sink> {
    let hosts = hosts.to_string();
    let mut all = vec!["sink", "--hosts", &hosts];
    all.extend(arguments);
    let mut part = Part::start(&all)?;
    let listening: Listening = part.hear().await?;
    let authority = match listening.authority {
        None => None,
        Some(pem) => {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), pem)?;
            Some(file)
        }
    };
    Ok(Sink {
        part,
        addresses: listening.addresses,
        authority,
    })
}

impl Sink {
    /// The file of the authority to trust, if the sink speaks TLS.
    pub(in super::super) fn authority_file(&self) -> Option<&Path> {
        self.authority.as_ref().map(tempfile::NamedTempFile::path)
    }

    /// The URL of a path of a host.
    pub(in super::super) fn url(&self, host: usize, path: &str) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.addresses[host])
    }

    /// Changes the behaviour of one host, or of all.
    pub(in super::super) async fn behave(&mut self, host: Option<usize>, how: Behaviour) -> anyhow::Result<()> {
        let _: SinkStats = self.part.ask(&SinkCommand::Behave { host, how }).await?;
        Ok(())
    }

    /// Closes each connection after one response from now on, or keeps connections.
    pub(in super::super) async fn close(&mut self, close: bool) -> anyhow::Result<()> {
        let _: SinkStats = self.part.ask(&SinkCommand::Close { close }).await?;
        Ok(())
    }

    pub(in super::super) async fn reset(&mut self) -> anyhow::Result<SinkStats> {
        self.part.ask(&SinkCommand::Reset).await
    }

    /// The arrivals so far: delivery, event, and time in microseconds since the epoch.
    pub(in super::super) async fn arrivals(&mut self) -> anyhow::Result<Vec<[i64; 3]>> {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().to_owned();
        let _: SinkStats = self.part.ask(&SinkCommand::Write { path }).await?;
        read_triples(file.path())
    }

    pub(in super::super) async fn stats(&mut self) -> anyhow::Result<SinkStats> {
        self.part.ask(&SinkCommand::Stats).await
    }
}

/// Waits until this many deliveries have arrived at a receiver. Returns an error if fewer have arrived and none arrives
/// for long, because the others are lost.
pub(in super::super) async fn wait_for(receiver: &mut Part, deliveries: u64) -> anyhow::Result<SinkStats> {
    let wait = SinkCommand::Wait {
        deliveries: usize::try_from(deliveries)?,
        patience_s: 60,
    };
    let stats: SinkStats = receiver.ask(&wait).await?;
    anyhow::ensure!(
        stats.deliveries >= deliveries,
        "{} deliveries of {deliveries} arrived; no figure is reported",
        stats.deliveries
    );
    Ok(stats)
}

/// Runs the raw sender.
pub(in super::super) async fn raw(addresses: &[String], seconds: f64) -> anyhow::Result<RawStats> {
    let (addresses, seconds) = (addresses.join(","), seconds.to_string());
    let mut raw = Part::start(&["raw", "--addresses", &addresses, "--seconds", &seconds])?;
    raw.hear().await
}

/// Runs the raw sender with a new TLS connection for each request, against a sink that closes connections.
pub(in super::super) async fn reconnecting(sink: &Sink, seconds: f64) -> anyhow::Result<RawStats> {
    let authority = sink.authority_file().unwrap_or(Path::new("")).display().to_string();
    let (addresses, seconds) = (sink.addresses.join(","), seconds.to_string());
    let mut arguments = vec!["raw", "--addresses", &addresses, "--seconds", &seconds];
    arguments.extend(["--reconnect", &authority]);
    let mut raw = Part::start(&arguments)?;
    raw.hear().await
}

/// Publishes, and fails unless everything was accepted.
pub(in super::super) async fn publish(publisher: &mut Part, publish: &Publish) -> anyhow::Result<PublishStats> {
    let stats: PublishStats = publisher.ask(publish).await?;
    anyhow::ensure!(stats.refused == 0, "{} events were refused", stats.refused);
    Ok(stats)
}
