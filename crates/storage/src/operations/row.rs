//! The row of an operation, and what is done to the deliveries that it concerns.

use diesel::prelude::*;

use super::{
    OPERATION_RUNNING,
    pass::{NO_NODE, Place},
};
use crate::{clock, rows::AuditRow, schema::operations};

/// The effect of an operation on deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Cancels the backlog of a webhook that was resumed.
    DiscardBacklog,
    /// Cancels the pending deliveries of a deleted webhook.
    DeleteWebhook,
    /// Cancels the pending deliveries of the webhooks of a deleted organization.
    DeleteOrganization,
    /// Makes deliveries due whose webhook is no longer ordered.
    ReleaseOrder,
}

impl OperationKind {
    const ALL: [Self; 4] = [
        Self::DiscardBacklog,
        Self::DeleteWebhook,
        Self::DeleteOrganization,
        Self::ReleaseOrder,
    ];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiscardBacklog => "discard_backlog",
            Self::DeleteWebhook => "delete_webhook",
            Self::DeleteOrganization => "delete_organization",
            Self::ReleaseOrder => "release_order",
        }
    }

    /// The kind with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the webhook continues to exist, so that new deliveries become pending meanwhile.
    pub(crate) const fn keeps_webhook(self) -> bool {
        matches!(self, Self::DiscardBacklog | Self::ReleaseOrder)
    }

    /// The reason of the deliveries' cancellation.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::DiscardBacklog => "backlog_discarded",
            Self::DeleteWebhook | Self::DeleteOrganization | Self::ReleaseOrder => "webhook_deleted",
        }
    }
}

/// An operation as stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = operations)]
pub struct OperationRow {
    /// Its id.
    pub id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The organization's name.
    pub organization: String,
    /// See [`OperationKind`].
    pub kind: String,
    /// The webhook; `None` for all of the organization.
    pub webhook_id: Option<i64>,
    /// It concerns deliveries up to this id.
    pub through: i64,
    /// The actor who requested it.
    pub actor: String,
    /// One of [`OPERATION_RUNNING`], [`super::OPERATION_SUCCEEDED`], [`super::OPERATION_CANCELLED`], [`super::OPERATION_FAILED`].
    pub state: i32,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// The pass has processed rows up to this webhook,
    pub at_webhook: i64,
    /// node,
    pub at_node: i32,
    /// due time,
    pub at_due: i64,
    /// and delivery.
    pub at_delivery: i64,
    /// Deliveries that the current pass found.
    pub found: i64,
    /// Deliveries that were processed.
    pub done: i64,
    /// The total number of deliveries; `None` until they are counted, and if there are more than [`super::COUNTED_MAX`].
    pub total: Option<i64>,
    /// The node that works on it.
    pub node: i32,
    /// Until when nobody else does.
    pub leased_until: i64,
    /// When it was requested.
    pub created_at: i64,
    /// When it last made progress.
    pub updated_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// When it began, by the schedule clock; 0 if unknown.
    pub begun_at: i64,
}

impl OperationRow {
    /// The operation that a change of a webhook, or of an organization if there is no webhook, begins. It has the id
    /// and the actor of the change's audit entry.
    pub(crate) fn of_change(
        kind: OperationKind,
        organization_id: i64,
        webhook_id: Option<i64>,
        audit: &AuditRow,
    ) -> Self {
        let start = Place::START;
        Self {
            id: audit.id,
            organization_id,
            organization: audit.resource.split('/').nth(1).unwrap_or_default().to_owned(),
            kind: kind.as_str().to_owned(),
            webhook_id,
            through: if kind == OperationKind::DiscardBacklog {
                audit.id
            } else {
                i64::MAX
            },
            actor: audit.actor.clone(),
            state: OPERATION_RUNNING,
            error: None,
            at_webhook: start.webhook,
            at_node: start.node,
            at_due: start.due,
            at_delivery: start.delivery,
            found: 0,
            done: 0,
            total: None,
            node: NO_NODE,
            leased_until: 0,
            created_at: audit.at,
            updated_at: audit.at,
            ended_at: None,
            begun_at: clock::schedule_us(),
        }
    }

    /// Whether it makes an operation of a kind for a webhook, or for a whole organization, pointless.
    pub(crate) fn replaces(&self, webhook: Option<i64>, kind: &str) -> bool {
        match self.kind() {
            OperationKind::DeleteOrganization => true,
            OperationKind::DeleteWebhook => webhook == self.webhook_id,
            OperationKind::DiscardBacklog | OperationKind::ReleaseOrder => {
                webhook == self.webhook_id && kind == self.kind
            }
        }
    }

    /// Its effect on deliveries.
    pub fn kind(&self) -> OperationKind {
        OperationKind::of(&self.kind).unwrap_or(OperationKind::DeleteWebhook)
    }

    /// The position of the current pass.
    pub(crate) fn place(&self) -> Place {
        Place {
            webhook: self.at_webhook,
            node: self.at_node,
            due: self.at_due,
            delivery: self.at_delivery,
        }
    }
}
