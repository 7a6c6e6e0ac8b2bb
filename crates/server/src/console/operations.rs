//! Running operations on pages: what they cancel, and their progress.

use hookwright_domain::id::{OperationId, WebhookId};
use hookwright_storage::operations::{OperationKind, OperationRow};

use super::{
    Console,
    page::Place,
    session::Visitor,
    show::{count, counted},
};
use crate::app::error::AppResult;

/// A running operation.
pub(super) struct Running {
    /// Its description, as a sentence.
    pub(super) sentence: String,
    /// The progress, 0 to 1,000; absent if unknown.
    pub(super) progress: Option<i64>,
}

/// The operations of an organization, or of the installation.
pub(super) async fn running(console: &Console, visitor: &Visitor, place: Option<&Place>) -> AppResult<Vec<Running>> {
    let rows = console
        .app
        .running_operations(visitor.caller(), place.map(Place::name))
        .await?;
    Ok(rows.iter().map(Running::of).collect())
}

/// The name of the message after a deletion.
pub(super) const fn deleted(operation: Option<OperationId>) -> &'static str {
    match operation {
        None => "deleted",
        Some(_) => "deleting",
    }
}

impl Running {
    fn of(row: &OperationRow) -> Self {
        let total = row.total.filter(|total| *total > 0);
        let so_far = match total {
            Some(total) => format!("{} of {}", count(row.done), counted(total, "delivery")),
            None => counted(row.done, "delivery"),
        };
        let webhook = row.webhook_id.map(WebhookId::from_raw);
        let webhook = webhook.map_or_else(String::new, |id| id.to_string());
        let sentence = match row.kind() {
            OperationKind::DiscardBacklog => format!("Cancelling the backlog of {webhook}: {so_far}."),
            OperationKind::DeleteWebhook => {
                format!("Cancelling the backlog of the deleted webhook {webhook}: {so_far}.")
            }
            OperationKind::DeleteOrganization => format!(
                "Cancelling the backlog of the deleted organization {}: {so_far}.",
                row.organization
            ),
            OperationKind::ReleaseOrder => {
                format!("Releasing the ordered backlog of {webhook}: {so_far}.")
            }
        };
        Self {
            sentence,
            progress: total.map(|total| (row.done.saturating_mul(1_000) / total).clamp(0, 1_000)),
        }
    }
}
