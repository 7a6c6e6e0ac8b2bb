//! Tests of the whole engine on a store in a file: faults of the operator's own parts, changes in the middle of an
//! attempt, and fewer descriptors than attempts.

use std::sync::atomic::{AtomicBool, Ordering};

use hookwright_domain::{
    id::OrganizationId,
    outcome::OperatorPart,
    retry::RetrySchedule,
    secret::SigningSecret,
    signing::{Signer, SigningKeys},
    subscription::Subscription,
    target::TargetPolicy,
    url::PayloadUrl,
};
use hookwright_storage::StoreOptions;
use hookwright_testkit::{
    Answer, Authority, Http2Receiver, Receiver, Response,
    dns::{DnsServer, Record as DnsRecord, Reply},
    receiver::Gate,
    until,
};
use prometheus_client::registry::Registry;

use super::*;
use crate::{
    catalogue::Snapshot, clock, connector::ConnectorOptions, descriptors::Descriptors, request::RequestFormat,
};

const ORGANIZATION: i64 = 1;
const SECOND: i64 = 1_000_000;
/// Attempts in flight at once for one webhook.
const ATTEMPTS: usize = 8;

/// An engine with its surroundings.
struct World {
    engine: Engine,
    store: Store,
    catalogue: Arc<Catalogue>,
    registry: Registry,
    _disabling: mpsc::Receiver<DisableRequest>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start(connector: ConnectorOptions, webhooks: Vec<Webhook>) -> Self {
        Self::start_within(Descriptors::unlimited(), connector, webhooks).await
    }

    /// The same, with a limited number of connections.
    async fn start_within(descriptors: Descriptors, connector: ConnectorOptions, webhooks: Vec<Webhook>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(format!("sqlite://{}", directory.path().join("store.db").display()));
        Store::migrate(&options).await.unwrap();
        let store = Store::open(&options).await.unwrap();
        let catalogue = Arc::new(Catalogue::default());
        configure(&catalogue, webhooks);
        let policy = TargetPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            ..TargetPolicy::default()
        };
        let mut registry = Registry::default();
        let (engine, disabling) = Engine::start(
            store.clone(),
            Arc::clone(&catalogue),
            Arc::new(IdGenerator::new(0, 0)),
            Sender::limited(connector, Arc::new(policy), descriptors).unwrap(),
            Arc::new(Metrics::register(&mut registry)),
            EngineOptions {
                concurrent_attempts_max: 64,
                concurrent_attempts_per_webhook_max: ATTEMPTS,
                memory_bytes_max: 16 << 20,
                disable_after: Duration::from_secs(1),
                format: RequestFormat::new("TT-Hook-", "test"),
                hold: false,
                configuration: 0,
            },
        )
        .await
        .unwrap();
        Self {
            engine,
            store,
            catalogue,
            registry,
            _disabling: disabling,
            _directory: directory,
        }
    }

    /// Puts other webhooks in force.
    fn change(&self, webhooks: Vec<Webhook>) {
        let ids: Vec<WebhookId> = webhooks.iter().map(|webhook| webhook.id).collect();
        configure(&self.catalogue, webhooks);
        for id in ids {
            self.engine.webhook_changed(id);
        }
    }

    /// Publishes events to a webhook. Returns the deliveries.
    async fn publish(&self, webhook: i64, count: usize) -> Vec<DeliveryId> {
        let draft = || Draft {
            organization: OrganizationId::from_raw(ORGANIZATION),
            ..Draft::sample(&[webhook], "{}")
        };
        let published = self.engine.publish((0..count).map(|_| draft()).collect()).await;
        let delivery = |result: Result<Published, PublishError>| result.unwrap().event.delivery(0);
        published.into_iter().map(delivery).collect()
    }

    /// The sum of a counter over all its labels.
    fn counted(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let values = text.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let is_meant = metric.split('{').next() == Some(name);
            is_meant.then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Waits until a part of the operator's is reported to fail. Returns since when.
    async fn failing(&self, part: OperatorPart) -> i64 {
        until(&format!("the fault of {part}"), async || {
            let failing = self.engine.failing_parts();
            match failing.iter().find(|failing| failing.part == part) {
                Some(failing) => {
                    assert!(!failing.pauses, "the fault affects only one webhook");
                    Ok(failing.since)
                }
                None => Err(format!("{failing:?}")),
            }
        })
        .await
    }

    /// Waits until deliveries are delivered by their first attempt.
    async fn delivered_at_once(&self, deliveries: &[DeliveryId]) {
        for delivery in deliveries {
            let attempts = until("a delivery to end", async || {
                let delivery = self.store.get_delivery(ORGANIZATION, delivery.raw()).await.unwrap();
                match delivery {
                    Some(record) if record.state == DeliveryState::Delivered => Ok(record.attempts_made),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            assert_eq!(attempts, 1, "no retry was used up");
        }
    }
}

fn configure(catalogue: &Catalogue, webhooks: Vec<Webhook>) {
    let webhooks = webhooks.into_iter();
    catalogue.replace(Snapshot {
        webhooks: webhooks.map(|webhook| (webhook.id.raw(), Arc::new(webhook))).collect(),
        ..Snapshot::default()
    });
}

fn webhook(id: i64, url: &str) -> Webhook {
    Webhook {
        id: WebhookId::from_raw(id),
        organization: OrganizationId::from_raw(ORGANIZATION),
        url: Some(PayloadUrl::parse(url).unwrap()),
        subscription: Subscription::from_events(&["clocking".to_owned()]).unwrap(),
        filter: None,
        active: true,
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        schedule: Arc::new(RetrySchedule::new(vec![Duration::from_secs(1)]).unwrap()),
        rate: None,
        ordered: false,
        pauses: false,
        skip_verify: false,
        keys: Some(SigningKeys {
            current: Signer::new(&SigningSecret::generate()),
            previous: None,
            ed25519: None,
        }),
    }
}

/// The expected number of attempts: as many as a webhook may have in flight, each time that the fault occurred again.
#[expect(clippy::cast_precision_loss, reason = "a few rounds")]
fn attempts_expected(since: i64) -> f64 {
    let rounds = 1 + (clock::schedule_us() - since) / (15 * SECOND);
    ATTEMPTS as f64 * rounds as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_a_secret_that_cannot_be_opened_costs_a_few_attempts_and_no_retries() {
    let receiver = Receiver::start().await;
    let sealed = || Webhook {
        keys: None,
        ..webhook(7, &receiver.url("/7"))
    };
    let other = || webhook(8, &receiver.url("/8"));
    let world = World::start(ConnectorOptions::default(), vec![sealed(), other()]).await;
    let waiting = world.publish(7, 1_000).await;
    let since = world.failing(OperatorPart::MasterKey).await;
    // Long enough to show a loop of attempts.
    until("some seconds to pass", async || {
        let passed = clock::schedule_us() - since;
        if passed > 6 * SECOND { Ok(()) } else { Err(passed) }
    })
    .await;
    let (attempts, expected) = (world.counted("attempts_total"), attempts_expected(since));
    assert!(attempts <= expected, "{attempts} attempts, {expected} expected");
    assert!(
        world.counted("commits_total") < 50.0,
        "{} commits",
        world.counted("commits_total")
    );
    assert_eq!(
        world.counted("due_times_corrected_total"),
        0.0,
        "the delays are intended"
    );
    let others = world.publish(8, 3).await;
    world.delivered_at_once(&others).await;
    assert!(receiver.requests().iter().all(|request| request.target() == "/8"));

    world.change(vec![webhook(7, &receiver.url("/7")), other()]);
    world.delivered_at_once(&waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_dns_servers_that_are_silent_cost_no_retries_and_deliveries_resume_afterwards() {
    let receiver = Receiver::start().await;
    let answers = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&answers);
    let dns = DnsServer::start(move |_, _| {
        if works.load(Ordering::Acquire) {
            Reply::Records(vec![DnsRecord::A(std::net::Ipv4Addr::LOCALHOST)])
        } else {
            Reply::Silence
        }
    })
    .await;
    let connector = ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    };
    let named = webhook(7, &receiver.url_as("hook.example", "/7"));
    let world = World::start(connector, vec![named, webhook(8, &receiver.url("/8"))]).await;
    let waiting = world.publish(7, 3).await;
    let since = world.failing(OperatorPart::Resolver).await;
    let others = world.publish(8, 3).await;
    world.delivered_at_once(&others).await;
    let of_the_others = 3.0;
    assert!(world.counted("attempts_total") <= attempts_expected(since) + of_the_others);
    answers.store(true, Ordering::Release);
    world.delivered_at_once(&waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_a_closed_connection_ends_is_not_repeated_to_the_former_url() {
    let (former, new) = (Receiver::start().await, Receiver::start().await);
    let world = World::start(ConnectorOptions::default(), vec![webhook(7, &former.url("/"))]).await;
    // One connection, which is kept alive.
    let first = world.publish(7, 1).await;
    world.delivered_at_once(&first).await;
    // The webhook is changed while the second request is in flight.
    let (catalogue, url) = (Arc::clone(&world.catalogue), new.url("/"));
    former.answer_with(move |_| {
        configure(&catalogue, vec![webhook(7, &url)]);
        Answer::Close
    });
    let second = world.publish(7, 1).await;
    world.delivered_at_once(&second).await;
    assert_eq!((former.request_count(), new.request_count()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x02_a_busy_webhook_gives_its_connection_to_an_attempt_that_waits_for_one() {
    // Each webhook has its own address, because one host gets a part of the turns only.
    let receiver = Receiver::start_at(([0, 0, 0, 0], 0).into()).await;
    // The first request keeps the only connection until the other attempts wait for it.
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    let urls = [receiver.url_as("127.0.0.7", "/7"), receiver.url_as("127.0.0.8", "/8")];
    let webhooks = vec![webhook(7, &urls[0]), webhook(8, &urls[1])];
    let one = Descriptors::new(1);
    let world = World::start_within(one.clone(), ConnectorOptions::default(), webhooks).await;
    let busy = world.publish(7, 200).await;
    receiver.wait_for(1).await;
    let other = world.publish(8, 1).await;
    until("all workers to wait", async || match one.waiting() {
        ATTEMPTS => Ok(()),
        waiting => Err(waiting),
    })
    .await;
    gate.open();
    world.delivered_at_once(&other).await;
    world.delivered_at_once(&busy).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 201, "none is repeated");
    let place = requests.iter().position(|request| request.target() == "/8").unwrap();
    assert!(place <= ATTEMPTS, "{place} requests of the other webhook came first");
    assert_eq!((one.counts().open, one.counts().max), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x02_an_idle_connection_that_a_webhook_shares_is_evicted_for_another_webhook() {
    let authority = Authority::new();
    let (first, second) = (
        Http2Receiver::start(&authority).await,
        Http2Receiver::start(&authority).await,
    );
    let connector = ConnectorOptions {
        extra_ca: Some(authority.pem().into_bytes()),
        ..ConnectorOptions::default()
    };
    let webhooks = vec![webhook(7, &first.url("/")), webhook(8, &second.url("/"))];
    let one = Descriptors::new(1);
    let world = World::start_within(one.clone(), connector, webhooks).await;
    for id in [7, 8, 7] {
        let published = world.publish(id, 20).await;
        world.delivered_at_once(&published).await;
    }
    assert_eq!((first.connections(), second.connections()), (2, 1));
    assert_eq!((first.requests().len(), second.requests().len()), (40, 20));
    assert_eq!(one.counts().open, 1);
}
