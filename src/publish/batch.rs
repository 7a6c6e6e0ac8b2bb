//! Several lines per call, with `BatchPublishEvents`: for networks that block streams.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, anyhow};
use hookwright_proto::v1::{BatchPublishEventsRequest, PublishAck};

use super::{lines::Lines, tally::Tally};
use crate::{client::Client, output};

/// Size at which a batch is sent, so that it fits into a message.
const BYTES_MAX: usize = 2 << 20;

/// Publishes every line, `size` of them per call.
pub(super) async fn run(client: &Client, mut lines: Lines, size: usize) -> anyhow::Result<Tally> {
    let (progress, bytes) = lines.progress(client.output);
    let mut tally = Tally::default();
    loop {
        let (numbers, request) = next(&mut lines, size)
            .await
            .with_context(|| format!("cannot read the events ({})", tally.summary()))?;
        if numbers.is_empty() {
            return Ok(tally);
        }
        let response = client.events().batch_publish_events(request).await;
        let response = response
            .with_context(|| format!("a batch failed ({})", tally.summary()))?
            .into_inner();
        if response.results.len() != numbers.len() {
            return Err(anyhow!(
                "the server answered {} of {} ({})",
                response.results.len(),
                output::counted(numbers.len(), "event"),
                tally.summary()
            ));
        }
        for (sequence, result) in numbers.into_iter().zip(response.results) {
            let ack = PublishAck {
                sequence,
                result: Some(result),
            };
            tally.count(client, &ack, &progress)?;
        }
        progress.set_bytes(bytes.load(Ordering::Relaxed));
        progress.say(tally.summary());
    }
}

/// The next lines with their numbers.
async fn next(lines: &mut Lines, size: usize) -> std::io::Result<(Vec<u64>, BatchPublishEventsRequest)> {
    let (mut numbers, mut request) = (Vec::new(), BatchPublishEventsRequest::default());
    let mut bytes = 0;
    while numbers.len() < size && bytes < BYTES_MAX {
        let Some((number, event)) = lines.next().await? else {
            break;
        };
        bytes += prost::Message::encoded_len(&event);
        numbers.push(number);
        request.requests.push(event);
    }
    Ok((numbers, request))
}
