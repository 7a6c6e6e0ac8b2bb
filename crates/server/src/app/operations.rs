//! Operations: work on many deliveries that would take longer than a call may.
//!
//! The call changes the configuration and returns; `runner` does the work in steps. See [`hookwright_storage::operations`]
//! for the guarantees of an operation.

mod runner;

use std::sync::Arc;

use hookwright_delivery::clock;
use hookwright_domain::id::{OperationId, WebhookId};
use hookwright_storage::{
    AuditRow,
    operations::{Begun, OPERATION_CANCELLED, OperationKind, OperationRow},
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use serde_json::json;

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

const KIND: &str = "hookwright.v1.Operation";
/// Maximum number of running operations on a console page.
const SHOWN_MAX: usize = 10;

/// Metrics of operations.
#[derive(Clone, Default)]
pub(crate) struct OperationMetrics {
    running: Gauge,
    deliveries: Counter,
}

impl OperationMetrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "operations_running",
            "Operations that this node is running, such as discarding a backlog",
            metrics.running.clone(),
        );
        registry.register(
            "operation_deliveries",
            "Deliveries that operations have processed",
            metrics.deliveries.clone(),
        );
        metrics
    }
}

impl App {
    /// One operation.
    ///
    /// # Errors
    /// When the caller may see no operation with this id.
    pub async fn get_operation(&self, caller: &Caller, id: OperationId) -> AppResult<OperationRow> {
        self.operation_for(caller, Scope::Read, id).await
    }

    /// Operations with ids below `before`, newest first, of one organization if it is named; and the id to continue from, if
    /// there are more.
    ///
    /// # Errors
    /// When the organization does not exist, or the caller may not see its operations.
    pub async fn list_operations(
        &self,
        caller: &Caller,
        organization: Option<&str>,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<OperationRow>, Option<String>)> {
        let organization = self.operations_of(caller, organization)?;
        let rows = self.store.list_operations(organization, before, size + 1).await?;
        Ok(super::page(rows, size, |row| row.id.to_string()))
    }

    /// Running operations, oldest first, of one organization if it is named; at most as many as a page shows.
    ///
    /// # Errors
    /// When the organization does not exist, or the caller may not see its operations.
    pub async fn running_operations(
        &self,
        caller: &Caller,
        organization: Option<&str>,
    ) -> AppResult<Vec<OperationRow>> {
        let organization = self.operations_of(caller, organization)?;
        Ok(self.store.running_operations(organization, SHOWN_MAX).await?)
    }

    /// Stops a running operation; its finished work stays. Only discarding a backlog can be cancelled.
    ///
    /// # Errors
    /// When the caller may see no operation with this id, it cannot be cancelled, or it has ended.
    pub async fn cancel_operation(&self, caller: &Caller, id: OperationId) -> AppResult<OperationRow> {
        let row = self.operation_for(caller, Scope::Manage, id).await?;
        let (OperationKind::DiscardBacklog, Some(webhook)) = (row.kind(), row.webhook_id) else {
            return Err(AppError::Precondition {
                reason: "OPERATION_NOT_CANCELLABLE",
                subject: resource(id),
                message: "only discarding a backlog can be cancelled; this operation completes a change that has taken effect"
                    .to_owned(),
            });
        };
        let mut changing = self.changing().await?;
        let audit = self.audit(
            Some(caller),
            "operation.cancel",
            Some(row.organization_id),
            resource(id),
            json!({ "kind": row.kind, "done": row.done }),
        );
        let ended = changing
            .store()
            .end_operation(row.id, OPERATION_CANCELLED, clock::now_us(), Some(&audit))
            .await?;
        if !ended {
            return Err(AppError::Precondition {
                reason: "OPERATION_ENDED",
                subject: resource(id),
                message: "the operation has already ended".to_owned(),
            });
        }
        self.backlog_waits_again(webhook);
        changing.settle().await?;
        self.store.tell_due(webhook).await;
        self.operation_for(caller, Scope::Manage, id).await
    }

    /// Works on operations until the server stops.
    pub async fn run_operations(self: Arc<Self>) {
        self.run_leased::<runner::Operations>().await;
    }

    /// The operation that a change began, if any: starts its work at once.
    pub(super) fn operation_of(&self, begun: Begun, audit: &AuditRow) -> Option<OperationId> {
        if !begun.operation {
            return None;
        }
        self.operations_begun.notify_one();
        Some(OperationId::from_raw(audit.id))
    }

    /// Stops discarding a webhook's backlog: the rest of it is sent.
    fn backlog_waits_again(&self, webhook: i64) {
        self.registry.end_discard(webhook);
        self.engine.webhook_changed(WebhookId::from_raw(webhook));
        self.engine.stored(WebhookId::from_raw(webhook));
    }

    /// The operation, if the caller has the scope for its organization. A caller that is limited to another organization
    /// gets the same answer whether it exists or not.
    async fn operation_for(&self, caller: &Caller, scope: Scope, id: OperationId) -> AppResult<OperationRow> {
        let row = self.store.get_operation(id.raw()).await?;
        caller.require_for(scope, row.as_ref().map_or(0, |row| row.organization_id))?;
        row.ok_or_else(|| AppError::not_found(KIND, resource(id)))
    }

    /// The organization whose operations a caller wants to see, if it may.
    fn operations_of(&self, caller: &Caller, name: Option<&str>) -> AppResult<Option<i64>> {
        match name {
            Some(name) => Ok(Some(self.organization_for(caller, Scope::Read, name)?.id)),
            None => caller.require(Scope::Read).map(|()| None),
        }
    }
}

fn resource(id: OperationId) -> String {
    format!("operations/{id}")
}
