//! A webhook's display data, for lists that only name it.

use hookwright_storage::WebhookRow;

/// A webhook's display data.
#[derive(Clone, Debug)]
pub struct WebhookName {
    /// Its id.
    pub id: i64,
    /// Its payload URL; empty for a pull webhook.
    pub payload_url: String,
    /// The description.
    pub description: String,
}

impl WebhookName {
    /// From a row.
    pub(super) fn of(row: &WebhookRow) -> Self {
        Self {
            id: row.id,
            payload_url: row.payload_url.clone(),
            description: row.description.clone(),
        }
    }
}
