//! One event per line, over `PublishStream`.

use std::{
    path::Path,
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, anyhow};
use hookwright_proto::v1::{
    PublishAck, PublishEventRequest, PublishStreamRequest, publish_event_request::Payload,
    publish_result::Result as Outcome,
};
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt as _, BufReader},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    client::{Client, failure::code_name},
    output::{self, printable},
};

/// How many lines are read ahead of the server.
const READ_AHEAD: usize = 16;

/// What became of the lines.
#[derive(Default)]
struct Tally {
    published: u64,
    repeated: u64,
    refused: u64,
    deliveries: u64,
}

impl Tally {
    fn acknowledged(&self) -> u64 {
        self.published + self.repeated + self.refused
    }
}

/// Publishes every line. The exit status is 1 when any was refused.
pub(super) async fn run(client: &Client, template: PublishEventRequest, path: &Path) -> anyhow::Result<ExitCode> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let sent = Arc::new(AtomicU64::new(0));
    let lines = open(path).await?;
    let reader = tokio::spawn(read(lines, template, sender, Arc::clone(&sent)));

    let mut tally = Tally::default();
    let answered = receive(client, receiver, &sent, &mut tally).await;
    // When the stream ended early the reader may still wait for input.
    reader.abort();
    let summary = summary(&tally);
    answered.with_context(|| format!("the stream broke off ({summary})"))?;
    match reader.await {
        Ok(read) => read.with_context(|| format!("cannot read {} ({summary})", path.display()))?,
        Err(ended) if ended.is_cancelled() => return Err(anyhow!("the server ended the stream early ({summary})")),
        Err(panicked) => return Err(panicked.into()),
    }
    let missing = sent.load(Ordering::Acquire) - tally.acknowledged();
    if missing > 0 {
        return Err(anyhow!(
            "{missing} events were not acknowledged, and may or may not be published ({summary})"
        ));
    }
    if client.output.for_people() {
        output::print(&summary)?;
    }
    Ok(if tally.refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(tally: &Tally) -> String {
    let mut text = format!(
        "published {} events, owed to webhooks {} times",
        tally.published, tally.deliveries
    );
    if tally.repeated > 0 {
        text.push_str(&format!("; {} had been published before", tally.repeated));
    }
    if tally.refused > 0 {
        text.push_str(&format!("; {} were refused", tally.refused));
    }
    text
}

type Lines = Pin<Box<dyn AsyncBufRead + Send>>;

async fn open(path: &Path) -> anyhow::Result<Lines> {
    if path == Path::new("-") {
        return Ok(Box::pin(BufReader::new(tokio::io::stdin())));
    }
    let file = File::open(path)
        .await
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::pin(BufReader::with_capacity(1 << 18, file)))
}

/// Sends each line as an event whose sequence is the line's number. Ends early when the stream has.
async fn read(
    mut lines: Lines,
    template: PublishEventRequest,
    sender: mpsc::Sender<PublishStreamRequest>,
    sent: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut sequence = 0;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        sequence += 1;
        while line.last().is_some_and(|byte| *byte == b'\n' || *byte == b'\r') {
            line.pop();
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut event = PublishEventRequest {
            payload: Some(Payload::Json(line.into())),
            ..template.clone()
        };
        if !event.request_id.is_empty() {
            event.request_id = format!("{}-{sequence}", event.request_id);
        }
        // Counted first: an acknowledgement must never be ahead of its event.
        sent.fetch_add(1, Ordering::AcqRel);
        if sender
            .send(PublishStreamRequest {
                sequence,
                event: Some(event),
            })
            .await
            .is_err()
        {
            return Ok(());
        }
    }
}

/// Counts acknowledgements until the server ends the stream. While events wait for theirs, something must come within the
/// call's time limit; while the input is silent, the stream may be as well.
async fn receive(
    client: &Client,
    requests: mpsc::Receiver<PublishStreamRequest>,
    sent: &AtomicU64,
    tally: &mut Tally,
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
                    count(client, &ack, tally)?;
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return Err(status.into()),
            Err(_) if sent.load(Ordering::Acquire) > tally.acknowledged() => {
                return Err(anyhow!(
                    "no acknowledgement came for {}; see --timeout",
                    crate::units::show_duration(client.timeout)
                ));
            }
            Err(_) => {}
        }
    }
}

fn count(client: &Client, ack: &PublishAck, tally: &mut Tally) -> anyhow::Result<()> {
    if !client.output.for_people() {
        let json: serde_json::Value = serde_json::from_str(&output::json("PublishAck", ack)?)?;
        output::print(&json.to_string())?;
    }
    match ack.result.as_ref().and_then(|result| result.result.as_ref()) {
        Some(Outcome::Published(response)) if response.repeated_request => tally.repeated += 1,
        Some(Outcome::Published(response)) => {
            tally.published += 1;
            tally.deliveries += u64::try_from(response.delivery_count).unwrap_or(0);
        }
        Some(Outcome::Error(error)) => {
            tally.refused += 1;
            let code = code_name(Code::from(error.code));
            let mut text = format!("line {}: {code}: {}", ack.sequence, printable(&error.message));
            for violation in &error.field_violations {
                text.push_str(&format!(
                    "\n  {}: {}",
                    violation.field,
                    printable(&violation.description)
                ));
            }
            output::note(&text);
        }
        None => {
            return Err(anyhow!(
                "the server's acknowledgement of line {} holds no result",
                ack.sequence
            ));
        }
    }
    Ok(())
}
