//! Event search: by stored fields, and by an expression over the whole event.
//!
//! No index supports expressions, so one call evaluates it for a bounded number of events and reads a bounded amount of
//! payload. The next page continues from there.

use std::collections::HashMap;

use hookwright_domain::filter::WebhookFilter;
use hookwright_storage::{EventFilter, EventRecord, StoredEvent};

use super::{compile_filter, filter_matches};
use crate::app::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};

/// Maximum number of events per call for which an expression is evaluated.
const EXAMINED_MAX: usize = 2_000;
/// Maximum payload bytes per call, plus one event: parsing takes about 5 milliseconds per mebibyte.
const BYTES_MAX: i64 = 8 << 20;
/// Number of events per batch.
const PORTION: usize = 200;
/// Maximum payload bytes per batch, plus one event.
const PORTION_BYTES: i64 = 4 << 20;

impl App {
    /// An organization's events below `before`, newest first, for which `expression` is true, unless it is empty; and the id
    /// to continue from, if there may be more. A page may be short before the end.
    ///
    /// # Errors
    /// When the organization does not exist, or the expression would be rejected as a webhook's filter.
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
            filter: compile_filter(expression)?,
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
                // The search of the conditions used up the work of a call.
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

/// The search.
struct Search<'a> {
    filter: WebhookFilter,
    organization: i64,
    conditions: &'a EventFilter,
    size: usize,
}

impl Search<'_> {
    /// Whether the expression is true for an event; false if its retention has just ended, or it cannot be evaluated.
    fn matches(&self, event: &StoredEvent, payload: Option<&StoredEvent>) -> bool {
        let payload = match payload {
            Some(event) => Some(&event.payload[..]),
            None if self.filter.reads_payload() => return false,
            None => None,
        };
        filter_matches(&self.filter, event, payload)
    }
}

/// Takes the next batch off the front: at least one event. Returns its payload bytes.
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
