//! Adoption: takes over from nodes that were lost, and shares with nodes that join.
//!
//! One run at a time, beside the heartbeats.
//!
//! | state of another node | what this node does |
//! | --- | --- |
//! | expired | it fences the node, which cannot commit anything from then on |
//! | lost | it makes the deliveries its own, in steps that the surviving nodes share |
//! | joined | it gives the node its share of the pending deliveries in the store, lane by lane |
//!
//! If the store does not answer a step, the run ends for that node. The next heartbeat finds it lost again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hookwright_storage::{
    Store, StoreError, fault,
    nodes::{NodeRow, NodeState},
};

use super::{lane::Read, lanes::Lanes, progress::Progress, scheduler::Scheduler, watchdog::Watchdog};
use crate::{clock, metrics::Metrics};

/// A handle to adoption. Cheap to clone.
#[derive(Clone)]
pub(super) struct Adoption(Arc<Shared>);

struct Shared {
    handles: Handles,
    /// Whether a run is in progress.
    busy: AtomicBool,
}

/// The dependencies of adoption.
pub(super) struct Handles {
    pub(super) store: Store,
    pub(super) lanes: Lanes,
    pub(super) scheduler: Scheduler,
    pub(super) metrics: Arc<Metrics>,
    pub(super) watchdog: Watchdog,
}

impl Adoption {
    pub(super) fn new(handles: Handles) -> Self {
        Self(Arc::new(Shared {
            handles,
            busy: AtomicBool::new(false),
        }))
    }

    fn handles(&self) -> &Handles {
        &self.0.handles
    }

    /// Starts a run, unless one is in progress. `parts` is the number of serving nodes, including this one.
    pub(super) fn start(&self, lost: Vec<NodeRow>, joined: &[u16], parts: usize) -> bool {
        if self.0.busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (adoption, joined) = (self.clone(), joined.to_vec());
        self.handles().watchdog.spawn("adoption", async move {
            adoption.look_after(lost).await;
            for node in joined {
                adoption.share_with(node, parts).await;
            }
            adoption.0.busy.store(false, Ordering::Release);
        });
        true
    }

    /// Takes over from lost nodes.
    async fn look_after(&self, nodes: Vec<NodeRow>) {
        let store = &self.handles().store;
        for node in nodes {
            let result = async {
                let lost = node.state == NodeState::Lost || store.fence(node.number, node.epoch).await?;
                if lost { self.adopt(&node).await } else { Ok(()) }
            };
            if let Err(error) = result.await {
                tracing::warn!(node = node.name, %error, "cannot take over from a lost node yet; will try again");
            }
        }
    }

    async fn adopt(&self, node: &NodeRow) -> Result<(), StoreError> {
        let Handles {
            store,
            scheduler,
            metrics,
            ..
        } = self.handles();
        let _running = metrics.adoption_running();
        let mut progress = Progress::begin();
        let (mut total, mut logged) = (0, false);
        loop {
            let adopted = store.adopt(node.number).await?;
            fault::point("adoption");
            total += adopted.deliveries;
            metrics.adopted(adopted.deliveries);
            for (webhook, due_at) in adopted.webhooks {
                scheduler.look_at_stored(webhook, due_at);
            }
            if !adopted.more {
                break;
            }
            if !logged || progress.is_due() {
                logged = true;
                tracing::info!(
                    node = node.name,
                    deliveries = total,
                    "adopting the deliveries of a lost node"
                );
            }
        }
        if total > 0 {
            tracing::info!(
                node = node.name,
                deliveries = total,
                "adopted the deliveries of a lost node"
            );
        }
        Ok(())
    }

    /// Gives a node that joined its share of the pending deliveries here in the store. Deliveries that only one node
    /// may send stay.
    async fn share_with(&self, node: u16, parts: usize) {
        let Handles {
            store,
            lanes,
            scheduler,
            ..
        } = self.handles();
        for lane in lanes.all() {
            let Some(held) = lane.begin_giving(clock::schedule_us()) else {
                continue;
            };
            let given = store.give(node, lane.webhook.raw(), &held, parts).await;
            // The rest is read as after any refill.
            let now = clock::schedule_us();
            let left = Read {
                next_due: Some(now),
                ..Read::default()
            };
            let actions = lane.refilled(left, now);
            scheduler.act(&lane, actions);
            match given {
                Ok(0) => {}
                Ok(given) => tracing::info!(node, webhook = %lane.webhook, deliveries = given, "gave a node its share"),
                Err(error) => tracing::warn!(node, %error, "cannot share with a node that joined"),
            }
        }
    }
}
