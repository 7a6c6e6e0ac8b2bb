//! `PublishStream`: events in, acknowledgements out, over one stream.
//!
//! Events that have arrived are published together. The stream reads on only while fewer than [`WINDOW`] groups wait for
//! their commit. Flow control therefore slows down a client that does not read its acknowledgements, and memory stays
//! bounded. A message holds its bytes ([`super::in_flight`]) until its group is committed.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream::FuturesOrdered};
use hookwright_proto::v1::{PublishAck, PublishEventRequest, PublishStreamRequest, PublishStreamResponse};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    guard::Admission,
    publish::{Origin, publish_all},
};
use crate::app::{App, access::Caller};

/// Acknowledgements on their way to the client.
pub(super) type AckStream = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

/// Maximum number of events per group.
const GROUP_MAX: usize = 256;
/// Maximum number of groups that wait for their commit.
const WINDOW: usize = 4;

/// Serves one stream until the client has sent everything and every event is acknowledged, or its token ends: events
/// accepted by then are still acknowledged.
pub(super) fn run(
    app: Arc<App>,
    admission: Admission,
    origin: Origin,
    incoming: Streaming<PublishStreamRequest>,
) -> AckStream {
    let (acks, stream) = mpsc::channel(WINDOW);
    tokio::spawn(async move {
        if let Err(status) = pump(&app, &admission, &origin, incoming, &acks).await {
            // The client gets the reason if it still listens.
            let _ = acks.send(Err(status)).await;
        }
    });
    Box::pin(ReceiverStream::new(stream))
}

async fn pump(
    app: &Arc<App>,
    Admission { caller, in_flight }: &Admission,
    origin: &Origin,
    incoming: Streaming<PublishStreamRequest>,
    acks: &mpsc::Sender<Result<PublishStreamResponse, Status>>,
) -> Result<(), Status> {
    let settled = incoming.map(|request| {
        let request = request?;
        in_flight.settle(|| request.encoded_len())?;
        Ok::<_, Status>(request)
    });
    let mut groups = settled.ready_chunks(GROUP_MAX);
    let mut publishing = FuturesOrdered::new();
    let mut open = true;
    let mut denied = pin!(app.until_denied(caller));
    let mut end = Ok(());
    while open || !publishing.is_empty() {
        tokio::select! {
            biased;
            error = &mut denied, if open => {
                open = false;
                end = Err(error.into());
            }
            Some(response) = publishing.next(), if !publishing.is_empty() => {
                if acks.send(Ok(response)).await.is_err() {
                    // The client is gone. Accepted events are still published.
                    return Ok(());
                }
            }
            group = groups.next(), if open && publishing.len() < WINDOW => match group {
                None => open = false,
                Some(group) => {
                    let group: Vec<PublishStreamRequest> = group.into_iter().collect::<Result<_, Status>>()?;
                    let bytes = in_flight.take_out(group.len());
                    let publish = publish_group(Arc::clone(app), caller.clone(), origin.clone(), group);
                    publishing.push_back(publish.inspect(move |_| drop(bytes)));
                }
            },
        }
    }
    end
}

async fn publish_group(
    app: Arc<App>,
    caller: Caller,
    origin: Origin,
    group: Vec<PublishStreamRequest>,
) -> PublishStreamResponse {
    let (sequences, events): (Vec<u64>, Vec<PublishEventRequest>) = group
        .into_iter()
        .map(|request| (request.sequence, request.event.unwrap_or_default()))
        .unzip();
    let results = publish_all(&app, &caller, &origin, "", events).await;
    let acks = sequences.into_iter().zip(results).map(|(sequence, result)| PublishAck {
        sequence,
        result: Some(result),
    });
    PublishStreamResponse { acks: acks.collect() }
}
