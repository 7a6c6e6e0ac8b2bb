//! Clocks that are set, or wrong: deliveries continue, and the server reports the fault.
//!
//! Builds for development read an offset of the server's clock, and another one of the database's clock, from files.
//!
//! | module | what is shown |
//! | --- | --- |
//! | `one_server` | the clock of a server, or of its database, that is set |
//! | `nodes` | several nodes: clocks that differ, leases, adoption |
//! | `offset` | a clock that is wrong all the time |

mod nodes;
mod offset;
mod one_server;

use std::{collections::HashSet, path::PathBuf, sync::Mutex};

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, DeliveryMode, GetDeliveryRequest, GetWebhookRequest, Ordering, PublishEventRequest,
    PullDeliveriesRequest, RetrySchedule, Webhook,
};
use hookwright_testkit::{Receiver, server::TestServerBuilder, until};
use time::OffsetDateTime;

use crate::{
    access::get,
    support::{CLOCKING, Clients, Installation, event, id_of, webhook},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A file that holds the offset of a clock.
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

    /// The clock of the server's machine.
    fn of_machine() -> Self {
        Self::new("HOOKWRIGHT_CLOCK_FILE")
    }

    fn in_place(&self, server: TestServerBuilder) -> TestServerBuilder {
        server.env(self.variable, self.file.to_str().unwrap())
    }

    /// Sets the clock to the right time plus this many seconds.
    fn set(&self, seconds: i64) {
        let half = self.file.with_extension("half");
        std::fs::write(&half, (seconds * 1_000_000).to_string()).unwrap();
        std::fs::rename(half, &self.file).unwrap();
    }
}

/// Webhooks of every kind, all subscribed to one event type.
struct Kinds {
    plain: Receiver,
    ordered: Receiver,
    limited: Receiver,
    pulled: String,
    /// The events that were pulled so far.
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

    /// Waits until every webhook has received the events.
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
        until("deliveries to be pulled", async || {
            left = self.fetch(clients, std::mem::take(&mut left)).await;
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })
        .await;
    }

    /// Pulls and acknowledges pending deliveries. Returns the events that are still missing.
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
    /// Waits until a webhook fulfils the condition.
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

    /// Publishes a few events with an ordering key, and returns their ids.
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

    /// Checks that everything still works: events reach webhooks of every kind, and a new webhook gets its ping.
    async fn continues(&mut self, kinds: &Kinds) {
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

    /// Creates a webhook whose receiver refuses everything, with a long delay before the second attempt. Returns a
    /// delivery that is due then.
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

    /// The number of seconds until a delivery's next attempt, measured by a clock that is `ahead` seconds ahead.
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
        assert_eq!(delivery.attempt_count, 1, "attempted early: {delivery:?}");
        delivery.next_attempt_time.unwrap().seconds - (now().unix_timestamp() + ahead)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test needs the real time, not the server's clock"
)]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The delivery of an event to its only webhook.
fn delivery_of(event: &str) -> String {
    let id: hookwright_domain::id::EventId = id_of(event).parse().unwrap();
    id.delivery(0).to_string()
}
