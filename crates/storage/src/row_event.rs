//! The event's row. Its list of webhooks has 8 bytes for each, little-endian.

use std::sync::Arc;

use diesel::{
    dsl::sql,
    expression::SqlLiteral,
    prelude::*,
    sql_types::{BigInt, Binary},
};
use hookwright_domain::id::{EventId, time_us};

use crate::{batch::StoredEvent, records::EventRecord, schema::events};

/// An event as its table stores it.
#[derive(Clone, Debug, Queryable)]
pub(crate) struct EventRow {
    pub(crate) id: i64,
    pub(crate) organization_id: i64,
    pub(crate) event_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) webhooks: Vec<u8>,
    pub(crate) occurred_at: i64,
    pub(crate) attributes: Option<String>,
    pub(crate) trace: Option<Vec<u8>>,
    pub(crate) tracestate: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) replay_of: Option<i64>,
}

/// An event as lists show it, with only the size of its payload.
#[derive(Clone, Debug, Queryable)]
pub(crate) struct EventHead {
    pub(crate) id: i64,
    pub(crate) event_type: String,
    pub(crate) webhooks: Vec<u8>,
    pub(crate) occurred_at: i64,
    pub(crate) attributes: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) replay_of: Option<i64>,
    pub(crate) payload_bytes: i64,
}

impl EventHead {
    /// The event of an organization.
    pub(crate) fn record(self, organization_id: i64) -> EventRecord {
        EventRecord {
            created_at: time_us(self.id),
            payload_bytes: self.payload_bytes,
            request_id: self.request_id,
            event: StoredEvent {
                id: self.id,
                organization_id,
                event_type: self.event_type,
                payload: bytes::Bytes::new(),
                webhooks: unpack(&self.webhooks),
                occurred_at: self.occurred_at,
                attributes: self.attributes,
                trace: None,
                tracestate: None,
                ordering_key: self.ordering_key,
                replay_of: None,
            },
        }
    }
}

/// The columns of an [`EventHead`].
pub(crate) type Head = (
    events::id,
    events::event_type,
    events::webhooks,
    events::occurred_at,
    events::attributes,
    events::request_id,
    events::ordering_key,
    events::replay_of,
    SqlLiteral<BigInt>,
);

pub(crate) fn head() -> Head {
    (
        events::id,
        events::event_type,
        events::webhooks,
        events::occurred_at,
        events::attributes,
        events::request_id,
        events::ordering_key,
        events::replay_of,
        payload_length(),
    )
}

/// The length of a payload in bytes, without reading it.
pub(crate) fn payload_length() -> SqlLiteral<BigInt> {
    sql("CAST(length(payload) AS BIGINT)")
}

/// The first bytes of a payload.
pub(crate) fn beginning(bytes: usize) -> SqlLiteral<Binary> {
    sql(&format!("substr(payload, 1, {bytes})"))
}

/// An event without its long columns.
#[derive(Clone, Debug, Queryable)]
pub(crate) struct EventOutline {
    pub(crate) id: i64,
    pub(crate) organization_id: i64,
    pub(crate) event_type: String,
    pub(crate) webhooks: Vec<u8>,
    pub(crate) replay_of: Option<i64>,
    pub(crate) ordering_key: Option<String>,
}

/// The columns of an [`EventOutline`].
pub(crate) const OUTLINE: (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
    events::ordering_key,
) = (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
    events::ordering_key,
);

/// A delivery of an event to a webhook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed<'a> {
    pub(crate) event: &'a EventOutline,
    pub(crate) delivery_id: i64,
    pub(crate) webhook_id: i64,
}

impl EventOutline {
    /// How many webhooks it is owed to.
    pub(crate) fn fanout(&self) -> usize {
        self.webhooks.len() / 8
    }

    /// Its deliveries, in order of id.
    pub(crate) fn owed(&self) -> impl DoubleEndedIterator<Item = Owed<'_>> {
        let webhooks = self.webhooks.as_chunks::<8>().0.iter().enumerate();
        webhooks.map(|(position, webhook)| Owed {
            event: self,
            delivery_id: EventId::from_raw(self.id).delivery(position).raw(),
            webhook_id: i64::from_le_bytes(*webhook),
        })
    }
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            event_type: row.event_type,
            payload: row.payload.into(),
            webhooks: unpack(&row.webhooks),
            occurred_at: row.occurred_at,
            attributes: row.attributes,
            trace: row.trace.and_then(|trace| trace.try_into().ok()),
            tracestate: row.tracestate,
            ordering_key: row.ordering_key,
            replay_of: row.replay_of,
        }
    }
}

pub(crate) fn pack(webhooks: &[i64]) -> Vec<u8> {
    webhooks.iter().flat_map(|webhook| webhook.to_le_bytes()).collect()
}

pub(crate) fn unpack(bytes: &[u8]) -> Arc<[i64]> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| i64::from_le_bytes(*chunk))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_webhooks_survive() {
        for list in [vec![], vec![1], vec![i64::MAX, 0, -1]] {
            assert_eq!(*unpack(&pack(&list)), *list);
        }
    }
}
