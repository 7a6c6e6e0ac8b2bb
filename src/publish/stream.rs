//! One event per line, over `PublishStream`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, anyhow};
use hookwright_proto::v1::PublishStreamRequest;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{lines::Lines, tally::Tally};
use crate::{client::Client, output::counted, progress::Progress};

/// Number of lines to read ahead of the server.
const READ_AHEAD: usize = 16;

/// Publishes every line.
pub(super) async fn run(client: &Client, lines: Lines) -> anyhow::Result<Tally> {
    let (progress, bytes) = lines.progress(client.output);
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let sent = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(read(lines, sender, Arc::clone(&sent)));

    let mut tally = Tally::default();
    let shown = Shown { progress, bytes };
    let answered = receive(client, receiver, &sent, &mut tally, &shown).await;
    // If the stream ended early, the reader may still wait for input.
    reader.abort();
    let summary = tally.summary();
    answered.with_context(|| format!("the stream broke ({summary})"))?;
    match reader.await {
        Ok(read) => read.with_context(|| format!("cannot read the events ({summary})"))?,
        Err(ended) if ended.is_cancelled() => return Err(anyhow!("the server ended the stream early ({summary})")),
        Err(panicked) => return Err(panicked.into()),
    }
    let missing = sent.load(Ordering::Acquire) - tally.acknowledged();
    if missing > 0 {
        return Err(anyhow!(
            "{} not acknowledged, and may or may not be published ({summary})",
            counted(missing, "event")
        ));
    }
    Ok(tally)
}

/// The bar, and the reader's updates of it.
struct Shown {
    progress: Progress,
    bytes: Arc<AtomicU64>,
}

/// Sends each line as an event whose sequence is the line number. Ends early if the stream does.
async fn read(
    mut lines: Lines,
    sender: mpsc::Sender<PublishStreamRequest>,
    sent: Arc<AtomicU64>,
) -> std::io::Result<()> {
    while let Some((sequence, event)) = lines.next().await? {
        // Counted first, so that no acknowledgement precedes its event.
        sent.fetch_add(1, Ordering::AcqRel);
        let request = PublishStreamRequest {
            sequence,
            event: Some(event),
        };
        if sender.send(request).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Counts acknowledgements until the server ends the stream. While events are unacknowledged, a message must arrive within
/// the call's timeout. While the input is silent, the stream may be too.
async fn receive(
    client: &Client,
    requests: mpsc::Receiver<PublishStreamRequest>,
    sent: &AtomicU64,
    tally: &mut Tally,
    shown: &Shown,
) -> anyhow::Result<()> {
    let mut service = client.events();
    let mut stream = service
        .publish_stream(ReceiverStream::new(requests))
        .await?
        .into_inner();
    loop {
        match timeout(client.timeout, stream.message()).await {
            Ok(Ok(Some(response))) => {
                for ack in response.acks {
                    tally.count(client, &ack, &shown.progress)?;
                }
                shown.progress.set_bytes(shown.bytes.load(Ordering::Relaxed));
                shown.progress.say(tally.summary());
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return Err(status.into()),
            Err(_) if sent.load(Ordering::Acquire) > tally.acknowledged() => {
                return Err(anyhow!(
                    "no acknowledgement arrived for {}; see --timeout",
                    crate::units::show_duration(client.timeout)
                ));
            }
            Err(_) => {}
        }
    }
}
