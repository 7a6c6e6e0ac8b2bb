//! The operations of a [`Store`] as one of several nodes. On SQLite there is only one node: it needs no lease and no
//! notices.

use std::time::Duration;

use super::{Backend, Store};
use crate::{
    configuration::Missing,
    error::StoreError,
    nodes::{Adopted, Beat, NodeReport, NodeRow, Notice},
    postgres::{Postgres, configuration::ChangeLock},
};

/// A lock that is held while the configuration changes, so that no other caller changes it on any node. Dropping it
/// releases it by closing its connection. [`release`](Self::release) keeps the connection for the next change.
pub struct ConfigurationChange {
    lock: Option<(Postgres, ChangeLock)>,
}

impl ConfigurationChange {
    /// Lets other callers change the configuration.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn release(self) -> Result<(), StoreError> {
        match self.lock {
            None => Ok(()),
            Some((store, lock)) => store.unlock_configuration(lock).await,
        }
    }
}

impl Store {
    /// PostgreSQL, if the store uses it: only there can be several nodes.
    fn shared(&self) -> Option<&Postgres> {
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(store) => Some(store),
        }
    }

    /// How long a lease lasts, if nodes need one.
    pub fn lease(&self) -> Option<Duration> {
        self.shared().map(Postgres::lease)
    }

    /// Renews this node's lease if there is a report, and returns the state of the nodes. `None` if there can be only
    /// one node.
    ///
    /// # Errors
    /// Returns [`StoreError::LeaseLost`] if the other nodes have taken over, and another error if the store does not
    /// answer.
    pub async fn beat(&self, report: Option<&NodeReport>) -> Result<Option<Beat>, StoreError> {
        match self.shared() {
            None => Ok(None),
            Some(store) => store.beat(report).await.map(Some),
        }
    }

    /// Waits for notices of other nodes, for at most `patience`. Notices may be lost.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub async fn notices(&self, patience: Duration) -> Result<Vec<Notice>, StoreError> {
        match self.shared() {
            None => {
                tokio::time::sleep(patience).await;
                Ok(Vec::new())
            }
            Some(store) => store.notices(patience).await,
        }
    }

    /// Joins the other nodes again after the lease was lost, under a number that no delivery in memory belongs to. Must
    /// be called on the runtime that commits.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn rejoin(&self) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.rejoin().await,
        }
    }

    /// Ensures that a node whose lease has ended cannot commit any more. Returns false if its lease has been renewed
    /// meanwhile.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn fence(&self, node: u16, epoch: i64) -> Result<bool, StoreError> {
        match self.shared() {
            None => Ok(false),
            Some(store) => store.fence(node, epoch).await,
        }
    }

    /// Makes one step of adopting a lost node's deliveries. They belong to this node afterwards, and its lanes read
    /// them from the store.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn adopt(&self, node: u16) -> Result<Adopted, StoreError> {
        match self.shared() {
            None => Ok(Adopted {
                done: true,
                ..Adopted::default()
            }),
            Some(store) => store.adopt(node).await,
        }
    }

    /// Gives one part in `parts` of a webhook's pending deliveries at this node to another node, except those that are
    /// `held` in memory. Returns how many.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn give(&self, to: u16, webhook: i64, held: &[i64], parts: usize) -> Result<usize, StoreError> {
        match self.shared() {
            None => Ok(0),
            Some(store) => store.give(to, webhook, held, parts).await,
        }
    }

    /// Releases the lease: the other nodes immediately adopt what this node still owns. This node cannot commit
    /// anything afterwards.
    ///
    /// # Errors
    /// Fails if the store does not answer. The lease then ends by itself.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.leave().await,
        }
    }

    /// The nodes that own anything. Empty if there can be only one node.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        match self.shared() {
            None => Ok(Vec::new()),
            Some(store) => store.nodes().await,
        }
    }

    /// Waits for its turn to change the configuration.
    ///
    /// # Errors
    /// Fails if the store does not answer, or if another caller's change takes too long.
    pub async fn change_configuration(&self) -> Result<ConfigurationChange, StoreError> {
        let lock = match self.shared() {
            None => None,
            Some(store) => Some((store.clone(), store.lock_configuration().await?)),
        };
        Ok(ConfigurationChange { lock })
    }

    /// Makes changes on any node wait for this node from now on, and returns the version that must be in force. Must be
    /// called before the node reads the configuration to accept events with it.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn accept_configuration(&self) -> Result<i64, StoreError> {
        match self.shared() {
            None => Ok(0),
            Some(store) => store.accept_configuration().await,
        }
    }

    /// The version of the configuration, which grows with every change on any node, and what a node with the version
    /// `known` is missing. On SQLite no other node changes anything, so only a caller that is in doubt asks: it is
    /// missing everything.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn missing_configuration(&self, known: i64) -> Result<(i64, Missing), StoreError> {
        match self.shared() {
            None => Ok((0, Missing::Everything)),
            Some(store) => store.missing_configuration(known).await,
        }
    }

    /// The version of this node's last change; 0 if there are no versions.
    pub fn changed_configuration(&self) -> i64 {
        self.shared().map_or(0, Postgres::changed_configuration)
    }

    /// Waits until the version is in force on every other node, or the node has lost its lease.
    ///
    /// # Errors
    /// Fails if the store does not answer, or if a node has neither confirmed the version nor lost its lease.
    pub async fn configuration_in_force(&self, version: i64) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.configuration_in_force(version).await,
        }
    }

    /// Confirms that a version of the configuration is in force on this node.
    ///
    /// # Errors
    /// Fails if the store does not answer. The next heartbeat confirms it then.
    pub async fn confirm_configuration(&self, version: i64) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.confirm_configuration(version).await,
        }
    }
}
