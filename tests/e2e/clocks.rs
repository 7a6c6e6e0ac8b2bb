//! Clocks that are set, or wrong: deliveries go on, and the server says so.
//!
//! The clock of a server is set by a file that builds for development read; the database's is read wrong in the same way.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Mutex,
};

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, BatchPublishEventsRequest, DeleteWebhookRequest, DeliveryMode, DeliveryState,
    GetDeliveryRequest, GetWebhookRequest, ListDeliveriesRequest, ListNodesRequest, ListOperationsRequest, Node,
    OperationState, Ordering, PublishEventRequest, PullDeliveriesRequest, RetrySchedule, Webhook, node,
};
use hookwright_testkit::{Receiver, Response, TestServer, receiver::Gate, server::TestServerBuilder, until};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::{
    access::get,
    cluster::{two_nodes_dying, two_nodes_with},
    support::{
        ACME, CLOCKING, Clients, Installation, On, builder, event, id_of, on_both_stores, wait_for_events, webhook,
    },
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A file that says by how much a clock is wrong.
struct PlantedClock {
    variable: &'static str,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl PlantedClock {
    fn new(variable: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Self {
            variable,
            file: directory.path().join("shift"),
            _directory: directory,
        };
        clock.set(0);
        clock
    }

    /// The clock of a server's machine.
    fn of_machine() -> Self {
        Self::new("HOOKWRIGHT_CLOCK_FILE")
    }

    fn in_place(&self, server: TestServerBuilder) -> TestServerBuilder {
        server.env(self.variable, self.file.to_str().unwrap())
    }

    /// Sets the clock so many seconds ahead of the right time.
    fn set(&self, seconds: i64) {
        let half = self.file.with_extension("half");
        std::fs::write(&half, (seconds * 1_000_000).to_string()).unwrap();
        std::fs::rename(half, &self.file).unwrap();
    }
}

/// Webhooks of every kind, all of one event type.
struct Kinds {
    plain: Receiver,
    ordered: Receiver,
    limited: Receiver,
    pulled: String,
    /// The events of what was fetched so far.
    fetched: Mutex<HashSet<String>>,
}

impl Kinds {
    async fn install(installation: &mut Installation) -> Self {
        let (plain, ordered, limited) = (
            Receiver::start().await,
            Receiver::start().await,
            Receiver::start().await,
        );
        installation.webhook(&plain, &["clocking"]).await;
        let wanted = [
            Webhook {
                ordering: Ordering::Ordered.into(),
                ..webhook(&ordered.url("/"), &["clocking"])
            },
            Webhook {
                requests_per_second: Some(20.0),
                ..webhook(&limited.url("/"), &["clocking"])
            },
        ];
        for webhook in wanted {
            installation.create_webhook(webhook).await.unwrap();
        }
        let pulled = Webhook {
            delivery_mode: DeliveryMode::Pull.into(),
            payload_url: String::new(),
            ..webhook("", &["clocking"])
        };
        Self {
            plain,
            ordered,
            limited,
            pulled: installation.create_webhook(pulled).await.unwrap().name,
            fetched: Mutex::default(),
        }
    }

    /// Waits until events have come to all of them.
    async fn have(&self, clients: &mut Clients, events: &[String]) {
        for receiver in [&self.plain, &self.ordered, &self.limited] {
            receiver
                .wait_until(|requests| {
                    let came = |id: &String| requests.iter().any(|one| one.header("webhook-id") == Some(id));
                    events.iter().all(came)
                })
                .await;
        }
        let mut left = events.to_vec();
        until("deliveries to be fetched", async || {
            left = self.fetch(clients, std::mem::take(&mut left)).await;
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })
        .await;
    }

    /// Fetches and acknowledges what waits. Returns which events are still missing.
    async fn fetch(&self, clients: &mut Clients, mut wanted: Vec<String>) -> Vec<String> {
        let request = PullDeliveriesRequest {
            webhook: self.pulled.clone(),
            max_deliveries: 100,
            ..PullDeliveriesRequest::default()
        };
        let pulled = clients
            .pull
            .pull_deliveries(request)
            .await
            .unwrap()
            .into_inner()
            .deliveries;
        if !pulled.is_empty() {
            let acknowledged = AcknowledgeDeliveriesRequest {
                webhook: self.pulled.clone(),
                ack_ids: pulled.iter().map(|one| one.ack_id.clone()).collect(),
            };
            let answer = clients.pull.acknowledge_deliveries(acknowledged).await.unwrap();
            assert_eq!(answer.into_inner().stale_ack_ids, [""; 0]);
        }
        let mut fetched = self.fetched.lock().unwrap();
        fetched.extend(pulled.iter().map(|one| id_of(&one.event).to_owned()));
        wanted.retain(|id| !fetched.contains(id));
        wanted
    }
}

impl Installation {
    /// Waits until a webhook looks as expected.
    async fn webhook_until(&mut self, name: &str, expected: impl Fn(&Webhook) -> bool) {
        until("the webhook to change", async || {
            let request = GetWebhookRequest { name: name.to_owned() };
            let found = self.clients.webhooks.get_webhook(request).await.unwrap().into_inner();
            if expected(&found) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }

    /// Publishes a few events with a key, and returns their ids.
    async fn publish_some(&mut self) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let keyed = PublishEventRequest {
                ordering_key: "key".to_owned(),
                ..event("clocking", CLOCKING)
            };
            ids.push(id_of(&self.try_publish(keyed).await.unwrap().event).to_owned());
        }
        ids
    }

    /// Everything goes on: events to webhooks of every kind, and the ping of a new one.
    async fn goes_on(&mut self, kinds: &Kinds) {
        let events = self.publish_some().await;
        kinds.have(&mut self.clients, &events).await;
        let receiver = Receiver::start().await;
        self.webhook(&receiver, &["other"]).await;
    }

    async fn says(&self, path: &str, text: &str) {
        let address = self.server.http_address().to_owned();
        until(&format!("{path} to say `{text}`"), async || {
            let said = get(&address, path).await;
            if said.contains(text) { Ok(()) } else { Err(said) }
        })
        .await;
    }

    /// A metric's value.
    async fn reading(&self, name: &str) -> f64 {
        let text = get(self.server.http_address(), "/metrics").await;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{name} is not in {text}"))
    }

    /// A webhook whose receiver refuses everything, with a long wait before the second attempt; and a delivery that waits for it.
    async fn late_delivery(&mut self, receiver: &Receiver, wait: i64) -> String {
        receiver.respond(503);
        let schedule = RetrySchedule {
            delays: vec![prost_types::Duration {
                seconds: wait,
                nanos: 0,
            }],
        };
        let wanted = Webhook {
            retry_schedule: Some(schedule),
            ..webhook(&receiver.url("/"), &["late"])
        };
        self.create_webhook(wanted).await.unwrap();
        let published = self.publish("late", "{}").await;
        let delivery = format!("organizations/acme/deliveries/{}", delivery_of(&published.event));
        self.delivery_until(&delivery, |delivery| delivery.attempt_count == 1)
            .await;
        delivery
    }

    /// In how many seconds a delivery is attempted next, when the clock that it is shown by is so many seconds ahead.
    async fn attempted_in(&mut self, delivery: &str, ahead: i64) -> i64 {
        let request = GetDeliveryRequest {
            name: delivery.to_owned(),
        };
        let delivery = self
            .clients
            .deliveries
            .get_delivery(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(delivery.attempt_count, 1, "not early: {delivery:?}");
        delivery.next_attempt_time.unwrap().seconds - (now().unix_timestamp() + ahead)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is no server: it has the right time")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The delivery to the only webhook of an event.
fn delivery_of(event: &str) -> String {
    let id: hookwright_domain::id::EventId = id_of(event).parse().unwrap();
    id.delivery(0).to_string()
}

on_both_stores! {
    async fn x10_a_clock_that_is_set_back_and_forward_delays_nothing(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        for name in ["late", "soon", "other"] {
            installation.register(name).await;
        }
        let kinds = Kinds::install(&mut installation).await;
        installation.goes_on(&kinds).await;
        let (far, near) = (Receiver::start().await, Receiver::start().await);
        let far_off = installation.late_delivery(&far, HOUR).await;
        for (count, ahead) in [-HOUR, DAY, 0].into_iter().enumerate() {
            // What is published just before, and is due again soon, and what comes just after.
            near.answer_in_turn([503, 200, 200]);
            let soon = installation.late_soon(&near).await;
            let before = installation.publish_some().await;
            clock.set(ahead);
            installation.goes_on(&kinds).await;
            kinds.have(&mut installation.clients, &before).await;
            installation.delivered(&soon).await;
            // PostgreSQL shows times by its own clock, which nobody has set.
            let shown_ahead = if on == On::Sqlite { ahead } else { 0 };
            let wait = installation.attempted_in(&far_off, shown_ahead).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s after the clock was set to {ahead} s");
            installation.says("/readyz", &format!("clocks were set since the start: {} times", count + 1)).await;
            installation.says("/readyz", "200 OK").await;
            assert!(installation.reading("hookwright_clock_jumps").await >= 1.0);
            assert!(installation.reading("hookwright_stalled_seconds").await < 1.0);
        }
        assert_eq!(installation.reading("hookwright_due_times_mended_total").await, 0.0, "nothing was wrong");
    }

    async fn x10_a_clock_that_is_set_forward_disables_no_webhook_early(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| {
            clock.in_place(server).arg("--disable-after", "1h").arg("--retry-delay", "1h")
        })
        .await;
        let (failing, gone) = (Receiver::start().await, Receiver::start().await);
        installation.register("other").await;
        failing.respond(500);
        gone.respond(410);
        let failing = installation.create_webhook(webhook(&failing.url("/"), &["clocking"])).await.unwrap();
        let retrying = ListDeliveriesRequest {
            webhook: failing.name.clone(),
            states: vec![DeliveryState::Retrying.into()],
            ..Default::default()
        };
        // One failure is the ping's. A webhook is not disabled for fewer than 20.
        installation.publish_batch("clocking", CLOCKING, 25).await;
        installation.deliveries_until(retrying.clone(), 26).await;
        clock.set(DAY);
        installation.publish_batch("clocking", CLOCKING, 5).await;
        installation.deliveries_until(retrying.clone(), 31).await;
        // Webhooks are disabled one after another: when this one is, it is decided about the other.
        let gone = installation.create_webhook(webhook(&gone.url("/"), &["other"])).await.unwrap();
        installation.webhook_until(&gone.name, |webhook| webhook.active == Some(false)).await;
        installation.webhook_until(&failing.name, |webhook| webhook.active == Some(true)).await;
        // And set back again.
        clock.set(-DAY);
        installation.publish_batch("clocking", CLOCKING, 5).await;
        installation.deliveries_until(retrying, 36).await;
        installation.webhook_until(&failing.name, |webhook| webhook.active == Some(true)).await;
    }

    async fn x10_a_clock_that_is_set_while_no_server_runs_delays_nothing(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        installation.register("other").await;
        installation.register("late").await;
        let kinds = Kinds::install(&mut installation).await;
        let far = Receiver::start().await;
        let far_off = installation.late_delivery(&far, HOUR).await;
        installation.goes_on(&kinds).await;
        for ahead in [DAY, 0, -HOUR] {
            // It waits to be fetched, and is when the server is back.
            let waiting = installation.publish_some().await;
            clock.set(ahead);
            installation.restart().await;
            kinds.have(&mut installation.clients, &waiting).await;
            installation.goes_on(&kinds).await;
        }
        // On SQLite nobody can tell whether the server was away for a day, or its clock a day ahead.
        if on == On::Postgres {
            let wait = installation.attempted_in(&far_off, 0).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s");
        }
    }
}

impl Installation {
    /// A delivery whose first attempt has just failed, and whose second is due in a few seconds.
    async fn late_soon(&mut self, receiver: &Receiver) -> String {
        let wanted = Webhook {
            retry_schedule: Some(RetrySchedule {
                delays: vec![prost_types::Duration { seconds: 3, nanos: 0 }],
            }),
            ..webhook(&receiver.url("/"), &["soon"])
        };
        let name = self.create_webhook(wanted).await.unwrap().name;
        // Its ping is the delivery: it fails at first.
        let id = id_of(&name).to_owned();
        let requests = receiver
            .wait_until(|requests| requests.iter().any(|one| one.json()["hook"]["id"] == id.as_str()))
            .await;
        let ping = requests
            .iter()
            .find(|one| one.json()["hook"]["id"] == id.as_str())
            .unwrap();
        format!(
            "organizations/acme/deliveries/{}",
            ping.header("TT-Hook-Delivery").unwrap()
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_database_whose_clock_is_set_delays_nothing() {
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let mut installation = Installation::start_with(On::Postgres, |server| clock.in_place(server)).await;
    installation.register("late").await;
    installation.register("other").await;
    let kinds = Kinds::install(&mut installation).await;
    let far = Receiver::start().await;
    let far_off = installation.late_delivery(&far, HOUR).await;
    for ahead in [-HOUR, DAY, 0] {
        let before = installation.publish_some().await;
        clock.set(ahead);
        installation.goes_on(&kinds).await;
        installation
            .says("/readyz", "clocks were set since the start: 1 times")
            .await;
        kinds.have(&mut installation.clients, &before).await;
        installation.goes_on(&kinds).await;
        // And again in a process that has seen no jump.
        for restart in [false, true] {
            if restart {
                installation.restart().await;
                installation.goes_on(&kinds).await;
            }
            let wait = installation.attempted_in(&far_off, ahead).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s at {ahead} s");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_nodes_whose_clocks_differ_share_their_work() {
    const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let clock = PlantedClock::of_machine();
    clock.set(HOUR);
    let (wrong, database) = builder(On::Postgres).await;
    let database = database.unwrap();
    let settings = |server: TestServerBuilder| {
        server
            .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
            .arg("--node-lease", "1s")
    };
    let wrong = settings(clock.in_place(wrong)).start().await.unwrap();
    let token = wrong.token().unwrap();
    let mut ahead = Installation::of(wrong).await;
    ahead.create_organization("acme").await;
    ahead.register("other").await;
    let right = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .allow("127.0.0.0/8")
        .postgres(database.url());
    let right = settings(right).start().await.unwrap();
    let mut clients = Clients::connect(right.grpc_address(), &token).await;
    let kinds = Kinds::install(&mut ahead).await;
    ahead.goes_on(&kinds).await;
    for receiver in [&kinds.plain, &kinds.ordered, &kinds.limited] {
        receiver.respond(503);
    }
    // The node that is an hour ahead leaves all kinds of work to the other one.
    let left = ahead.publish_some().await;
    ahead.server.kill9().await.unwrap();
    for receiver in [&kinds.plain, &kinds.ordered, &kinds.limited] {
        receiver.respond(200);
    }
    kinds.have(&mut clients, &left).await;
    let later = clients
        .events
        .publish_event(PublishEventRequest {
            ordering_key: "key".to_owned(),
            ..event("clocking", CLOCKING)
        })
        .await
        .unwrap()
        .into_inner();
    kinds.have(&mut clients, &[id_of(&later.event).to_owned()]).await;
}

/// How many times a node renews its lease while it lasts.
const BEATS_PER_LEASE: usize = 5;

impl Installation {
    async fn nodes(&mut self) -> Vec<Node> {
        let listed = self.clients.nodes.list_nodes(ListNodesRequest::default()).await;
        listed.unwrap().into_inner().nodes
    }

    /// Waits until a node renews its lease.
    async fn beat_of(&mut self, name: &str) {
        let mut seen = HashSet::new();
        until("the node to renew its lease", async || {
            let nodes = self.nodes().await;
            let node = nodes.iter().find(|node| node.name == name).unwrap();
            seen.insert(format!("{:?}", node.heartbeat_time));
            if seen.len() > 1 { Ok(()) } else { Err("not yet") }
        })
        .await;
    }

    /// Waits until each node has renewed its lease so many times more.
    async fn beats(&mut self, count: usize) {
        let mut seen: HashMap<String, HashSet<String>> = HashMap::new();
        until("the nodes to renew their leases", async || {
            for node in self.nodes().await {
                seen.entry(node.name)
                    .or_default()
                    .insert(format!("{:?}", node.heartbeat_time));
            }
            if seen.values().all(|beats| beats.len() > count) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }
}

/// What a node must not lose: its number's epoch.
fn epochs(nodes: &[Node]) -> Vec<(String, i64, node::State)> {
    let epoch = |node: &Node| (node.name.clone(), node.epoch, node.state());
    nodes.iter().map(epoch).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_no_node_is_fenced_because_the_clock_of_the_database_was_set() {
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let (mut first, mut other, _database) = two_nodes_with("3s", |server| clock.in_place(server)).await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    first.register("plain").await;
    first.beats(1).await;
    let before = epochs(&first.nodes().await);
    assert_eq!(before.len(), 2);
    for (round, ahead) in [-HOUR, DAY, 0].into_iter().enumerate() {
        // Changes make all nodes renew their leases at one moment; this one gets a rhythm of its own.
        other.server.freeze().unwrap();
        first.beat_of("nodes/0").await;
        other.server.thaw().unwrap();
        first.beats(1).await;
        clock.set(ahead);
        // Some leases, by the heartbeats of both.
        first.beats(2 * BEATS_PER_LEASE).await;
        assert_eq!(
            epochs(&first.nodes().await),
            before,
            "the database's clock is {ahead} s ahead"
        );
        // A change waits for the other node, which goes on.
        let hook = webhook(&receiver.url("/"), &["plain"]);
        first.create_webhook(hook).await.unwrap();
        receiver.forget_requests();
        other.publish_as("plain", "{}").await;
        wait_for_events(&receiver, round + 1).await;
    }
}

/// The node that dies has a backlog, which an operation of its own is at, and a lease from before the clock was set.
async fn assert_adopted_after(ahead: i64) {
    const MANY: usize = 3_000;
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let first = |server: TestServerBuilder| clock.in_place(server);
    let (mut first, mut dying, _database) = two_nodes_dying("2s", first, "operation:2").await;
    let receiver = Receiver::start().await;
    first.register("plain").await;
    let hook = first.webhook(&receiver, &["clocking"]).await;
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    let batch = BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests: vec![event("clocking", CLOCKING); 500],
    };
    for _ in 0..MANY / 500 {
        dying.clients.events.batch_publish_events(batch.clone()).await.unwrap();
    }
    let request = DeleteWebhookRequest { name: hook.name };
    // The node may be gone before its answer has come.
    drop(dying.clients.webhooks.delete_webhook(request).await);
    dying.server.wait().await.unwrap();
    clock.set(ahead);
    gate.open();
    receiver.answer(200);
    // A change waits for every node that is not known to be lost.
    first.webhook(&receiver, &["plain"]).await;
    until("the lost node to be gone", async || {
        let nodes = first.nodes().await;
        if nodes.len() == 1 {
            Ok(())
        } else {
            Err(format!("{nodes:?}"))
        }
    })
    .await;
    until("the operation to be finished by the other node", async || {
        let list = first
            .clients
            .operations
            .list_operations(ListOperationsRequest::default());
        let operations = list.await.unwrap().into_inner().operations;
        if operations.len() == 1 && operations[0].state() == OperationState::Succeeded {
            Ok(())
        } else {
            Err(format!("{operations:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_node_that_dies_before_the_clock_of_the_database_is_set_back_is_adopted() {
    assert_adopted_after(-HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_node_that_dies_before_the_clock_of_the_database_is_set_forward_is_adopted() {
    assert_adopted_after(DAY).await;
}

/// A `Date` header of the right time.
fn date() -> String {
    now().format(&Rfc2822).unwrap().replace("+0000", "GMT")
}

on_both_stores! {
    async fn b31_a_clock_that_is_ten_minutes_off_is_told(on: On) {
        let clock = PlantedClock::of_machine();
        clock.set(600);
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        let mut receivers = Vec::new();
        for address in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"] {
            let receiver = Receiver::start_at(address.parse().unwrap()).await;
            receiver.answer_with(|_| Response::new(200).header("Date", date()));
            let url = receiver.url_as(&receiver.address().ip().to_string(), "/");
            installation.create_webhook(webhook(&url, &["clocking"])).await.unwrap();
            receivers.push(receiver);
        }
        let whose = if on == On::Sqlite { "the clocks of most receivers" } else { "the database's" };
        let address = installation.server.http_address().to_owned();
        let said = until("the clock to be told", async || {
            installation.publish("clocking", CLOCKING).await;
            let said = get(&address, "/readyz").await;
            if said.contains("ahead of") { Ok(said) } else { Err(said) }
        })
        .await;
        assert!(said.contains("200 OK") && said.contains(whose) && said.contains("webhook-timestamp"), "{said}");
        let offset = installation.reading("hookwright_clock_offset_seconds").await;
        assert!((595.0..605.0).contains(&offset), "{offset}");
        installation.says("/metrics", "hookwright_clock_offset_seconds").await;
        assert!(installation.server.stderr().contains("may refuse the signatures"));
        clock.set(0);
        until("the clock to be right again", async || {
            installation.publish("clocking", CLOCKING).await;
            let said = get(&address, "/readyz").await;
            if said.contains("ahead of") { Err(said) } else { Ok(()) }
        })
        .await;
    }
}
