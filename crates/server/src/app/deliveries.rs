//! Deliveries and their attempts, read from the store.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::id::{DeliveryId, WebhookId};
use hookwright_storage::{AttemptRow, AttemptSummary, DeliveryFilter, DeliveryRecord, Steered};
use serde_json::json;

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

/// Poll interval of a waiting call. Only calls that asked to wait pay for it.
const WAIT_STEP: Duration = Duration::from_millis(25);

impl App {
    /// One delivery.
    ///
    /// # Errors
    /// When the organization has no delivery with this id.
    pub async fn get_delivery(&self, caller: &Caller, organization: &str, id: DeliveryId) -> AppResult<DeliveryRecord> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        self.get_delivery_as(row.id, organization, id).await
    }

    /// One delivery, for a caller who may see it.
    pub(super) async fn get_delivery_as(
        &self,
        organization_id: i64,
        organization: &str,
        id: DeliveryId,
    ) -> AppResult<DeliveryRecord> {
        let record = self.store.get_delivery(organization_id, id.raw()).await?;
        record.ok_or_else(|| not_found(organization, id))
    }

    /// A delivery after its first attempt, or in its current state when `limit` is over.
    ///
    /// # Errors
    /// When the organization has no delivery with this id.
    pub async fn wait_for_attempt(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        limit: Duration,
    ) -> AppResult<DeliveryRecord> {
        let until = clock::boot_us() + i64::try_from(limit.as_micros()).unwrap_or(0);
        loop {
            let record = self.get_delivery(caller, organization, id).await?;
            if record.attempts_made > 0 || record.ending.is_some() || clock::boot_us() >= until {
                return Ok(record);
            }
            tokio::time::sleep(WAIT_STEP).await;
        }
    }

    /// An organization's deliveries below `before`, newest first; and the id to continue from, if there may be more. A page
    /// may be short or empty before the end.
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
        super::texts::check_sought([("event_type", filter.event_type.as_deref().unwrap_or_default())])?;
        Ok(self.store.list_deliveries(row.id, filter, before, size).await?)
    }

    /// Attempts of a delivery with numbers above `after`, first to last, with all stored details; and the number to continue
    /// above, if there are more.
    ///
    /// # Errors
    /// When the organization has no such delivery.
    pub async fn list_attempts(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        after: i32,
        size: usize,
    ) -> AppResult<(Vec<AttemptRow>, Option<String>)> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let attempts = self.store.attempts_after(row.id, id.raw(), after, size + 1).await?;
        if attempts.is_empty() && self.store.get_delivery(row.id, id.raw()).await?.is_none() {
            return Err(not_found(organization, id));
        }
        Ok(super::page(attempts, size, |row| row.number.to_string()))
    }

    /// A delivery, and its last attempts below the number `before`, in order, without details; and the number to continue
    /// below, if there are earlier ones. The delivery's state is not older than these attempts.
    ///
    /// # Errors
    /// When the organization has no delivery with this id.
    pub async fn delivery_and_attempts(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        before: i32,
        size: usize,
    ) -> AppResult<(DeliveryRecord, Vec<AttemptSummary>, Option<i32>)> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let found = self
            .store
            .delivery_and_attempts(row.id, id.raw(), before, size + 1)
            .await?;
        let (record, mut attempts) = found.ok_or_else(|| not_found(organization, id))?;
        let more = attempts.len() > size;
        attempts.truncate(size);
        let earlier = attempts.last().filter(|_| more).map(|attempt| attempt.number);
        attempts.reverse();
        Ok((record, attempts, earlier))
    }

    /// One attempt with all stored details.
    ///
    /// # Errors
    /// When the organization has no such delivery, or the delivery no attempt with this number.
    pub async fn get_attempt(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        number: i32,
    ) -> AppResult<AttemptRow> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let attempt = self.store.get_attempt(row.id, id.raw(), number).await?;
        attempt.ok_or_else(|| {
            let name = format!("{}/attempts/{number}", resource(organization, id));
            AppError::not_found("hookwright.v1.Attempt", name)
        })
    }

    /// Skips a delivery that is not final, and returns it.
    ///
    /// # Errors
    /// When the organization has no delivery with this id, or the delivery is not waiting.
    pub async fn skip_delivery(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
    ) -> AppResult<DeliveryRecord> {
        self.end_delivery(caller, organization, id, "delivery.skip", "skipped")
            .await
    }

    /// Cancels a delivery that is not final, and returns it.
    ///
    /// # Errors
    /// When the organization has no delivery with this id, or the delivery is not waiting.
    pub async fn cancel_delivery(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
    ) -> AppResult<DeliveryRecord> {
        self.end_delivery(caller, organization, id, "delivery.cancel", "cancelled")
            .await
    }

    async fn end_delivery(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        action: &'static str,
        reason: &'static str,
    ) -> AppResult<DeliveryRecord> {
        let row = self.organization_for(caller, Scope::Manage, organization)?;
        let audit = self.audit(
            Some(caller),
            action,
            Some(row.id),
            resource(organization, id),
            json!({}),
        );
        let now = clock::now_us();
        let steered = self.store.end_delivery(row.id, id.raw(), reason, now, &audit).await?;
        if let Steered::Done { webhook } = steered {
            self.engine.skipped(WebhookId::from_raw(webhook), id);
        }
        self.steered(row.id, organization, id, steered).await
    }

    /// Makes a waiting delivery due now, and returns it.
    ///
    /// # Errors
    /// When the organization has no delivery with this id, or the delivery is not waiting for its next attempt.
    pub async fn retry_delivery(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
    ) -> AppResult<DeliveryRecord> {
        let row = self.organization_for(caller, Scope::Manage, organization)?;
        let audit = self.audit(
            Some(caller),
            "delivery.retry",
            Some(row.id),
            resource(organization, id),
            json!({}),
        );
        let now = clock::schedule_us();
        let steered = self.store.retry_delivery(row.id, id.raw(), now, &audit).await?;
        self.steered(row.id, organization, id, steered).await
    }

    /// The delivery after an operator's decision, or why the decision failed.
    async fn steered(
        &self,
        organization_id: i64,
        organization: &str,
        id: DeliveryId,
        steered: Steered,
    ) -> AppResult<DeliveryRecord> {
        let record = self.get_delivery_as(organization_id, organization, id).await?;
        let refused = |reason, message: String| {
            Err(AppError::Precondition {
                reason,
                subject: resource(organization, id),
                message,
            })
        };
        match steered {
            Steered::Done { webhook } => {
                self.engine.stored(WebhookId::from_raw(webhook));
                self.engine.changed();
                Ok(record)
            }
            Steered::Follows => refused(
                "DELIVERY_FOLLOWS",
                "the delivery is blocked by an earlier one of its ordering key; retry or skip that one".to_owned(),
            ),
            Steered::NotWaiting if record.state.is_final() => refused(
                "DELIVERY_FINAL",
                format!("the delivery is {}, which is final", record.state),
            ),
            Steered::NotWaiting => refused(
                "DELIVERY_UNDER_WAY",
                "an attempt of the delivery is in flight or about to begin; retry in a few seconds".to_owned(),
            ),
        }
    }
}

/// A delivery's name in the audit log.
pub(super) fn resource(organization: &str, id: DeliveryId) -> String {
    format!("organizations/{organization}/deliveries/{id}")
}

fn not_found(organization: &str, id: DeliveryId) -> AppError {
    AppError::not_found("hookwright.v1.Delivery", resource(organization, id))
}
