//! Looking for events: by what is stored beside them, and by an expression over all that they hold.
//!
//! No index knows an expression, so one call asks it about a bounded number of events and reads a bounded amount of payload; the
//! next page goes on from there.

use std::collections::HashMap;

use hookwright_domain::filter::WebhookFilter;
use hookwright_storage::{EventFilter, EventRecord, StoredEvent};

use super::{super::explain, filter_matches};
use crate::app::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};

/// How many events one call asks an expression about.
const EXAMINED_MAX: usize = 2_000;
/// How much payload one call reads, but for one event more.
const BYTES_MAX: i64 = 32 << 20;
/// How many events are looked at together.
const PORTION: usize = 200;
/// How much payload is read together, but for one event more.
const PORTION_BYTES: i64 = 4 << 20;

impl App {
    /// An organization's events, newest first, from below `before`: those for which `expression` is true, unless it is empty; and
    /// the id to go on from, if there may be more. A page may come out short while there are more.
    ///
    /// # Errors
    /// When the organization does not exist, or the expression would be refused as a webhook's filter.
    pub async fn list_events(
        &self,
        caller: &Caller,
        organization: &str,
        conditions: &EventFilter,
        expression: &str,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<EventRecord>, Option<i64>)> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        crate::app::texts::check_sought([
            ("event_type", conditions.event_type.as_deref().unwrap_or_default()),
            ("ordering_key", conditions.ordering_key.as_deref().unwrap_or_default()),
            ("request_id", conditions.request_id.as_deref().unwrap_or_default()),
        ])?;
        if expression.is_empty() {
            return Ok(self.store.list_events(row.id, conditions, before, size).await?);
        }
        let search = Search {
            filter: explain::compile(expression)?,
            organization: row.id,
            conditions,
            size,
        };
        self.search_events(&search, before).await
    }

    async fn search_events(&self, search: &Search<'_>, before: i64) -> AppResult<(Vec<EventRecord>, Option<i64>)> {
        let (mut found, mut below) = (Vec::new(), before);
        let (mut examined, mut bytes) = (0, 0);
        loop {
            let (records, next) = self
                .store
                .list_events(search.organization, search.conditions, below, PORTION)
                .await?;
            let is_short = records.len() < PORTION;
            let mut records = records.into_iter().peekable();
            while records.peek().is_some() {
                let (portion, portion_bytes) = portion(&mut records, search.filter.reads_payload());
                examined += portion.len();
                bytes += portion_bytes;
                let payloads = self.payloads(search, &portion).await?;
                for record in portion {
                    below = record.event.id;
                    if search.matches(&record.event, payloads.get(&below)) {
                        found.push(record);
                    }
                    if found.len() == search.size {
                        return Ok((found, Some(below)));
                    }
                }
                if examined >= EXAMINED_MAX || bytes >= BYTES_MAX {
                    return Ok((found, Some(below)));
                }
            }
            match next {
                // Looking for what the conditions select took all the work of a call.
                Some(next) if is_short => return Ok((found, Some(next))),
                Some(next) => below = next,
                None => return Ok((found, None)),
            }
        }
    }

    /// The payloads that the expression reads, by event.
    async fn payloads(&self, search: &Search<'_>, portion: &[EventRecord]) -> AppResult<HashMap<i64, StoredEvent>> {
        if !search.filter.reads_payload() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = portion.iter().map(|record| record.event.id).collect();
        let events = self.store.events(&ids).await?;
        Ok(events.into_iter().map(|event| (event.id, event)).collect())
    }
}

/// What is looked for.
struct Search<'a> {
    filter: WebhookFilter,
    organization: i64,
    conditions: &'a EventFilter,
    size: usize,
}

impl Search<'_> {
    /// Whether the expression is true for an event; not where its retention ended just now, or it cannot be evaluated.
    fn matches(&self, event: &StoredEvent, payload: Option<&StoredEvent>) -> bool {
        let payload = match payload {
            Some(event) => Some(&event.payload[..]),
            None if self.filter.reads_payload() => return false,
            None => None,
        };
        filter_matches(&self.filter, event, payload)
    }
}

/// Takes what is looked at together off the front: at least one event. Returns how much payload that is to read.
fn portion(
    records: &mut std::iter::Peekable<std::vec::IntoIter<EventRecord>>,
    reads_payload: bool,
) -> (Vec<EventRecord>, i64) {
    let (mut portion, mut bytes) = (Vec::new(), 0);
    while let Some(record) = records.next_if(|_| bytes < PORTION_BYTES) {
        bytes += if reads_payload { record.payload_bytes } else { 0 };
        portion.push(record);
    }
    (portion, bytes)
}
