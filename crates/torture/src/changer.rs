//! Configuration changes of two webhooks under the load: one moves between two addresses of its receiver, one is paused
//! and resumed several times within milliseconds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookwright_domain::id::WebhookId;
use hookwright_proto::v1::{CreateWebhookRequest, UpdateWebhookRequest, Webhook, webhook_service_client};
use prost_types::FieldMask;
use tokio::task::JoinHandle;
use webhook_service_client::WebhookServiceClient;

use crate::{
    Random,
    history::{Entry, History},
    nodes::{Addresses, any_channel, authorized, channel},
    now_us,
    publisher::{EVENT_TYPE, ORGANIZATION},
    receivers::{MOVED, Receivers},
};

const SWITCHED: &str = "switched";
/// The time between two moves: long enough to distinguish a request to the old address from one that was in flight.
const STAYS: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(300);

pub(crate) struct Changer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

struct Worker {
    addresses: Addresses,
    token: String,
    history: Arc<History>,
    random: Random,
    urls: [String; 2],
    moved: String,
    switched: String,
}

impl Changer {
    /// Creates the two webhooks, and begins to change them.
    pub(crate) async fn start(
        addresses: &Addresses,
        token: &str,
        history: &Arc<History>,
        receivers: &Receivers,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let mut worker = Worker {
            addresses: Arc::clone(addresses),
            token: token.to_owned(),
            history: Arc::clone(history),
            random: Random::new(seed.wrapping_add(15_485_863)),
            urls: [receivers.url_at(0, MOVED), receivers.url_at(1, MOVED)],
            moved: String::new(),
            switched: String::new(),
        };
        worker.moved = worker.install(receivers, MOVED, false).await?;
        worker.switched = worker.install(receivers, SWITCHED, true).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(worker.run(Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    /// Stops the changes, and leaves both webhooks active. At least one node must be up.
    pub(crate) async fn settle(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.task.await;
    }
}

impl Worker {
    async fn install(&self, receivers: &Receivers, name: &str, ordered: bool) -> anyhow::Result<String> {
        let request = CreateWebhookRequest {
            parent: ORGANIZATION.to_owned(),
            webhook: Some(Webhook {
                payload_url: receivers.url(name),
                events: vec![EVENT_TYPE.to_owned()],
                ordering: if ordered { 2 } else { 1 },
                ..Webhook::default()
            }),
        };
        let address = self.addresses.lock()[0].clone().unwrap_or_default();
        let mut client = WebhookServiceClient::new(channel(&address).await?);
        let created = client
            .create_webhook(authorized(request, &self.token)?)
            .await?
            .into_inner();
        let id = created
            .name
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .parse::<WebhookId>()?;
        receivers.belongs(name, id.raw());
        Ok(created.name)
    }

    async fn run(mut self, stop: Arc<AtomicBool>) {
        let mut home = 0;
        while !stop.load(Ordering::Acquire) {
            home = 1 - home;
            let at = now_us();
            let webhook = Webhook {
                name: self.moved.clone(),
                payload_url: self.urls[home].clone(),
                ..Webhook::default()
            };
            let answered = self.update(webhook, "payload_url").await.is_ok().then(now_us);
            self.history.add(&Entry::Moved { at, answered, home });
            let moved = std::time::Instant::now();
            while moved.elapsed() < STAYS && !stop.load(Ordering::Acquire) {
                self.switch().await;
                let pause = Duration::from_millis(self.random.next() % 1_000);
                tokio::time::sleep(pause).await;
            }
        }
        while self.set_active(true).await.is_err() {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Pauses and resumes it several times, a few milliseconds apart.
    async fn switch(&mut self) {
        for _ in 0..1 + self.random.below(6) {
            // A later call compensates for a failed one, at the end at the latest.
            let _ = self.set_active(false).await;
            tokio::time::sleep(Duration::from_millis(self.random.next() % 10)).await;
            let _ = self.set_active(true).await;
        }
    }

    async fn set_active(&mut self, active: bool) -> anyhow::Result<()> {
        let webhook = Webhook {
            name: self.switched.clone(),
            active: Some(active),
            ..Webhook::default()
        };
        self.update(webhook, "active").await
    }

    /// Changes one field, on any node that is up.
    async fn update(&mut self, webhook: Webhook, path: &str) -> anyhow::Result<()> {
        let request = UpdateWebhookRequest {
            webhook: Some(webhook),
            update_mask: Some(FieldMask {
                paths: vec![path.to_owned()],
            }),
        };
        let channel = any_channel(&self.addresses, &mut self.random).await?;
        let request = authorized(request, &self.token)?;
        WebhookServiceClient::new(channel).update_webhook(request).await?;
        Ok(())
    }
}
