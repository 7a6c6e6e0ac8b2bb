//! Deliveries and their attempts: what happened, read from the store.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::id::DeliveryId;
use hookwright_storage::{AttemptRow, DeliveryFilter, DeliveryRecord};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

/// How often a waiting call looks. Only a call that asked to wait pays for it.
const WAIT_STEP: Duration = Duration::from_millis(25);

impl App {
    /// One delivery.
    ///
    /// # Errors
    /// When there is none of that id in the organization.
    pub async fn get_delivery(&self, caller: &Caller, organization: &str, id: DeliveryId) -> AppResult<DeliveryRecord> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let record = self.store.get_delivery(row.id, id.raw()).await?;
        record.ok_or_else(|| not_found(organization, id))
    }

    /// A delivery after its first attempt, or as it stands when `limit` is over.
    ///
    /// # Errors
    /// When there is none of that id in the organization.
    pub async fn wait_for_attempt(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        limit: Duration,
    ) -> AppResult<DeliveryRecord> {
        let until = clock::now_us() + i64::try_from(limit.as_micros()).unwrap_or(0);
        loop {
            let record = self.get_delivery(caller, organization, id).await?;
            if record.attempts_made > 0 || record.ending.is_some() || clock::now_us() >= until {
                return Ok(record);
            }
            tokio::time::sleep(WAIT_STEP).await;
        }
    }

    /// An organization's deliveries, newest first, from below `before`; and the id to go on from, if there are more.
    ///
    /// # Errors
    /// When the organization does not exist.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        organization: &str,
        filter: &DeliveryFilter,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<DeliveryRecord>, Option<i64>)> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        Ok(self.store.list_deliveries(row.id, filter, before, size).await?)
    }

    /// The attempts of a delivery, first to last.
    ///
    /// # Errors
    /// When there is no such delivery in the organization.
    pub async fn list_attempts(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
    ) -> AppResult<Vec<AttemptRow>> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let attempts = self.store.list_attempts(row.id, id.raw()).await?;
        if attempts.is_empty() && self.store.get_delivery(row.id, id.raw()).await?.is_none() {
            return Err(not_found(organization, id));
        }
        Ok(attempts)
    }
}

fn not_found(organization: &str, id: DeliveryId) -> AppError {
    AppError::not_found(
        "hookwright.v1.Delivery",
        format!("organizations/{organization}/deliveries/{id}"),
    )
}
