//! The publishers: each owns some keys, and publishes the next event of a key when the previous one is acknowledged. A
//! failed try is repeated with the same request id on another node, as a client library would.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    BatchPublishEventsRequest, PublishEventRequest, PublishEventResponse, PublishResult, PublishStreamRequest,
    event_service_client::EventServiceClient, publish_event_request::Payload, publish_result,
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status, transport::Channel};

use crate::{
    Random,
    history::{Entry, History},
    nodes::{Addresses, any_channel, authorized},
    now_us,
};

pub(crate) const ORGANIZATION: &str = "organizations/torture";
pub(crate) const EVENT_TYPE: &str = "step";
/// The number of publishers.
const PUBLISHERS: usize = 6;
/// The number of events in a call that contains several.
const BATCH: usize = 5;
/// One event in this many is one that the server refuses permanently.
const BAD_EVERY: usize = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A call that published an event: when it began, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) at: i64,
    /// From its first try on.
    pub(crate) took_us: u32,
    /// The duration of the successful try.
    pub(crate) try_us: u32,
}

impl Call {
    /// A call whose first try began at `at`, and which has just succeeded with a try that began at `last`.
    pub(crate) fn since((at, first): (i64, Instant), last: Instant) -> Self {
        let micros = |since: Instant| u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        Self {
            at,
            took_us: micros(first),
            try_us: micros(last),
        }
    }
}

pub(crate) struct Publishers {
    stop: Arc<AtomicBool>,
    pub(crate) acknowledged: Arc<AtomicU64>,
    pub(crate) failed: Arc<AtomicU64>,
    calls: Arc<Mutex<Vec<Call>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Publisher {
    index: usize,
    addresses: Addresses,
    token: String,
    history: Arc<History>,
    random: Random,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    calls: Arc<Mutex<Vec<Call>>>,
    client: Option<EventServiceClient<Channel>>,
    count: u64,
    pause: Duration,
    round: u64,
}

/// An event that is being published.
#[derive(Clone)]
struct Draft {
    request: PublishEventRequest,
}

impl Publishers {
    /// Starts the publishers, with this pause between two calls.
    pub(crate) fn start(
        addresses: &Addresses,
        token: &str,
        history: &Arc<History>,
        seed: u64,
        pause: Duration,
    ) -> Self {
        Self::start_round(addresses, token, history, seed, pause, 0)
    }

    /// Starts the publishers of another round, whose request ids and keys differ from those of earlier rounds.
    pub(crate) fn start_round(
        addresses: &Addresses,
        token: &str,
        history: &Arc<History>,
        seed: u64,
        pause: Duration,
        round: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (acknowledged, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let calls = Arc::default();
        let tasks = (0..PUBLISHERS).map(|index| {
            let publisher = Publisher {
                index,
                addresses: Arc::clone(addresses),
                token: token.to_owned(),
                history: Arc::clone(history),
                random: Random::new(seed.wrapping_add(index as u64 * 7_919)),
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
                failed: Arc::clone(&failed),
                calls: Arc::clone(&calls),
                client: None,
                count: 0,
                pause,
                round,
            };
            tokio::spawn(publisher.run())
        });
        Self {
            tasks: tasks.collect(),
            stop,
            acknowledged,
            failed,
            calls,
        }
    }

    /// The calls that published an event since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock())
    }

    /// Stops the publishers, each after its current call. Calls are repeated until they succeed, so at least one node
    /// must be up.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Publisher {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let drafts: Vec<Draft> = match self.index % 3 {
                0 => vec![self.draft()],
                _ => (0..BATCH).map(|_| self.draft()).collect(),
            };
            for draft in &drafts {
                self.note_try(draft);
            }
            self.publish(drafts).await;
            if self.random.below(BAD_EVERY) == 0 {
                self.publish_bad().await;
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// The next event. Some keys alternate, so that one call sometimes contains several events of one key.
    fn draft(&mut self) -> Draft {
        self.count += 1;
        let (round, index) = (self.round, self.index);
        let key = format!("r{round}p{index}k{}", self.count % 4);
        let number = self.count / 4 + 1;
        let request = format!("r{round}p{index}-{}", self.count);
        let padding = "x".repeat(self.random.below(400));
        let json = format!(r#"{{"request":"{request}","key":"{key}","number":{number},"padding":"{padding}"}}"#);
        Draft {
            request: PublishEventRequest {
                organization: ORGANIZATION.to_owned(),
                event_type: EVENT_TYPE.to_owned(),
                payload: Some(Payload::Json(json.into())),
                request_id: request,
                ordering_key: key,
                ..PublishEventRequest::default()
            },
        }
    }

    fn note_try(&self, draft: &Draft) {
        let Some(Payload::Json(json)) = &draft.request.payload else {
            return;
        };
        let (key, number) = (draft.request.ordering_key.clone(), number_of(json));
        self.history.add(&Entry::Tried {
            at: now_us(),
            request: draft.request.request_id.clone(),
            key,
            number,
            sha256: hex::encode(Sha256::digest(json)),
        });
    }

    /// Publishes until all events are acknowledged.
    async fn publish(&mut self, mut drafts: Vec<Draft>) {
        let mut tries = 0;
        // For a caller, a call lasts until it is answered, including repeats.
        let first = (now_us(), Instant::now());
        while !drafts.is_empty() {
            tries += 1;
            let begun = Instant::now();
            let results = match self.index % 3 {
                0 => self.unary(&drafts[0]).await.map(|done| vec![Some(done)]),
                1 => self.batch(&drafts).await,
                _ => self.stream(&drafts).await,
            };
            // A batch gets an answer even if none of its events was stored.
            let refused = || Status::unavailable("no event of the call was stored");
            let stored = |results: Vec<Option<_>>| {
                if results.iter().any(Option::is_some) {
                    Ok(results)
                } else {
                    Err(refused())
                }
            };
            match results.and_then(stored) {
                Ok(results) => {
                    self.calls.lock().push(Call::since(first, begun));
                    let mut left = Vec::new();
                    for (draft, result) in drafts.into_iter().zip(results) {
                        match result {
                            Some(published) => self.acknowledge(&draft, &published, tries),
                            None => left.push(draft),
                        }
                    }
                    drafts = left;
                }
                Err(status) => {
                    self.failed.fetch_add(1, Ordering::AcqRel);
                    self.history.add(&Entry::Failed {
                        at: now_us(),
                        request: drafts[0].request.request_id.clone(),
                        code: format!("{:?}", status.code()),
                    });
                    self.client = None;
                }
            }
            if !drafts.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn acknowledge(&self, draft: &Draft, published: &PublishEventResponse, tries: u32) {
        let id = published.event.rsplit('/').next().unwrap_or_default();
        self.history.add(&Entry::Acknowledged {
            at: now_us(),
            request: draft.request.request_id.clone(),
            event: id.parse::<EventId>().map_or(0, EventId::raw),
            tries,
        });
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }

    async fn publish_bad(&mut self) {
        let mut draft = self.draft();
        // The refused event uses up its number, so the key gets a gap and no repeat.
        draft.request.event_type = "unregistered".to_owned();
        let code = loop {
            match self.unary(&draft).await {
                Ok(_) => break "OK".to_owned(),
                Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
                    break format!("{:?}", status.code());
                }
                Err(_) => self.client = None,
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        self.history.add(&Entry::Refused {
            at: now_us(),
            request: draft.request.request_id,
            code,
        });
    }

    /// A client of any node that is up.
    async fn client(&mut self) -> Result<EventServiceClient<Channel>, Status> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let connected = any_channel(&self.addresses, &mut self.random).await;
        let client = EventServiceClient::new(connected.map_err(|error| Status::unavailable(error.to_string()))?);
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn unary(&mut self, draft: &Draft) -> Result<PublishEventResponse, Status> {
        let mut client = self.client().await?;
        let request = self.authorized(draft.request.clone())?;
        Ok(client.publish_event(request).await?.into_inner())
    }

    async fn batch(&mut self, drafts: &[Draft]) -> Result<Vec<Option<PublishEventResponse>>, Status> {
        let mut client = self.client().await?;
        let request = self.authorized(BatchPublishEventsRequest {
            organization: ORGANIZATION.to_owned(),
            requests: drafts.iter().map(|draft| draft.request.clone()).collect(),
        })?;
        let results = client.batch_publish_events(request).await?.into_inner().results;
        Ok(results.into_iter().map(published).collect())
    }

    async fn stream(&mut self, drafts: &[Draft]) -> Result<Vec<Option<PublishEventResponse>>, Status> {
        let mut client = self.client().await?;
        let requests: Vec<PublishStreamRequest> = (1..)
            .zip(drafts)
            .map(|(sequence, draft)| PublishStreamRequest {
                sequence,
                event: Some(draft.request.clone()),
            })
            .collect();
        let request = self.authorized(tokio_stream::iter(requests))?;
        let mut responses = client.publish_stream(request).await?.into_inner();
        let mut results = vec![None; drafts.len()];
        // Events that were acknowledged before the stream broke stay acknowledged; the others are repeated.
        while let Ok(Some(response)) = responses.message().await {
            for ack in response.acks {
                let place = usize::try_from(ack.sequence).unwrap_or(0).wrapping_sub(1);
                if let (Some(place), Some(result)) = (results.get_mut(place), ack.result) {
                    *place = published(result);
                }
            }
        }
        Ok(results)
    }

    fn authorized<T>(&self, message: T) -> Result<tonic::Request<T>, Status> {
        authorized(message, &self.token).map_err(|error| Status::internal(error.to_string()))
    }
}

fn published(result: PublishResult) -> Option<PublishEventResponse> {
    match result.result {
        Some(publish_result::Result::Published(published)) => Some(published),
        _ => None,
    }
}

fn number_of(json: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(json)
        .ok()
        .and_then(|value| value["number"].as_u64())
        .unwrap_or_default()
}
