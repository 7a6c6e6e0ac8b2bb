//! What a [`Store`] does as one of several nodes. On SQLite there is one: it has no lease to keep, and nobody to tell.

use std::time::Duration;

use crate::{
    configuration::Missing,
    error::StoreError,
    nodes::{Adopted, Beat, NodeReport, NodeRow, Notice},
    postgres::{Postgres, configuration::ChangeLock},
    store::{Backend, Store},
};

/// Held while the configuration changes: nobody else changes it meanwhile, on any node. Dropping it releases it by closing its
/// connection; [`release`](Self::release) keeps the connection for the next change.
pub struct ConfigurationChange {
    lock: Option<(Postgres, ChangeLock)>,
}

impl ConfigurationChange {
    /// Lets others change the configuration.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release(self) -> Result<(), StoreError> {
        match self.lock {
            None => Ok(()),
            Some((store, lock)) => store.unlock_configuration(lock).await,
        }
    }
}

impl Store {
    /// PostgreSQL, if that is what it is: only there can be several nodes.
    fn shared(&self) -> Option<&Postgres> {
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(store) => Some(store),
        }
    }

    /// How long a lease lasts, where nodes need one.
    pub fn lease(&self) -> Option<Duration> {
        self.shared().map(Postgres::lease)
    }

    /// Renews this node's lease if there is a report, and tells how things stand. `None` where there is one node only.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the others have taken over; any other when the store does not answer.
    pub async fn beat(&self, report: Option<&NodeReport>) -> Result<Option<Beat>, StoreError> {
        match self.shared() {
            None => Ok(None),
            Some(store) => store.beat(report).await.map(Some),
        }
    }

    /// Waits for what other nodes tell, `patience` at most. Notices may be lost.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn notices(&self, patience: Duration) -> Result<Vec<Notice>, StoreError> {
        match self.shared() {
            None => {
                tokio::time::sleep(patience).await;
                Ok(Vec::new())
            }
            Some(store) => store.notices(patience).await,
        }
    }

    /// Joins the other nodes again after the lease was lost: under a number of which nothing is in memory. To be called from
    /// the runtime that commits.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rejoin(&self) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.rejoin().await,
        }
    }

    /// Makes sure that a node whose lease has ended can commit nothing any more. False when it is no longer so.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn fence(&self, node: u16, epoch: i64) -> Result<bool, StoreError> {
        match self.shared() {
            None => Ok(false),
            Some(store) => store.fence(node, epoch).await,
        }
    }

    /// A step of the adoption of what a lost node owned: afterwards it is this node's, to be read back by its lanes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn adopt(&self, node: u16) -> Result<Adopted, StoreError> {
        match self.shared() {
            None => Ok(Adopted {
                done: true,
                ..Adopted::default()
            }),
            Some(store) => store.adopt(node).await,
        }
    }

    /// Gives one part in `parts` of the deliveries that wait here for a webhook to another node, but none that is `held` in
    /// memory. Returns how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn give(&self, to: u16, webhook: i64, held: &[i64], parts: usize) -> Result<usize, StoreError> {
        match self.shared() {
            None => Ok(0),
            Some(store) => store.give(to, webhook, held, parts).await,
        }
    }

    /// Gives the lease back: the others adopt at once what this node still owns. Nothing can be committed afterwards.
    ///
    /// # Errors
    /// When the store does not answer: then the lease ends by itself.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.leave().await,
        }
    }

    /// The nodes that own anything. Empty where there is one node only.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        match self.shared() {
            None => Ok(Vec::new()),
            Some(store) => store.nodes().await,
        }
    }

    /// Waits for its turn to change the configuration.
    ///
    /// # Errors
    /// When the store does not answer, or somebody else's change takes too long.
    pub async fn change_configuration(&self) -> Result<ConfigurationChange, StoreError> {
        let lock = match self.shared() {
            None => None,
            Some(store) => Some((store.clone(), store.lock_configuration().await?)),
        };
        Ok(ConfigurationChange { lock })
    }

    /// To be called before the configuration is read for accepting events by it: from now on a change made on any node waits
    /// for this one. Returns the version that must be in force.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn accept_configuration(&self) -> Result<i64, StoreError> {
        match self.shared() {
            None => Ok(0),
            Some(store) => store.accept_configuration().await,
        }
    }

    /// The version of the configuration, which grows with every change on any node, and what a node that has the version `known`
    /// lacks. On SQLite nobody else changes anything: a caller that asks there is in doubt, and lacks everything.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn missing_configuration(&self, known: i64) -> Result<(i64, Missing), StoreError> {
        match self.shared() {
            None => Ok((0, Missing::Everything)),
            Some(store) => store.missing_configuration(known).await,
        }
    }

    /// The version of the last change that this node made; 0 where there are no versions.
    pub fn changed_configuration(&self) -> i64 {
        self.shared().map_or(0, Postgres::changed_configuration)
    }

    /// Waits until every other node has the version in force, or has lost its lease.
    ///
    /// # Errors
    /// When the store does not answer, or a node has neither confirmed nor lost its lease.
    pub async fn configuration_in_force(&self, version: i64) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.configuration_in_force(version).await,
        }
    }

    /// Says that this node has a version of the configuration in force.
    ///
    /// # Errors
    /// When the store does not answer: then the next heartbeat says it.
    pub async fn confirm_configuration(&self, version: i64) -> Result<(), StoreError> {
        match self.shared() {
            None => Ok(()),
            Some(store) => store.confirm_configuration(version).await,
        }
    }
}
