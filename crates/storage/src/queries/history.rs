//! What happened: events and attempts, read for people. Deliveries are in [`super::deliveries`].
//!
//! Lists walk the events of an organization, newest first. However many are stored, a call does a bounded amount of that: what is
//! rare is found page by page.

macro_rules! history_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        pub(crate) $($asynchronous)* fn get_event(
            conn: &mut Connection,
            organization: i64,
            id: i64,
        ) -> QueryResult<Option<EventRecord>> {
            let row: Option<EventRow> = events::table
                .find(id)
                .filter(events::organization_id.eq(organization))
                .filter(events::replay_of.is_null())
                .first(conn)$($wait)*
                .optional()?;
            Ok(row.map(|row| {
                let payload_bytes = i64::try_from(row.payload.len()).unwrap_or(i64::MAX);
                EventRecord {
                    created_at: hookwright_domain::id::time_us(row.id),
                    payload_bytes,
                    request_id: row.request_id.clone(),
                    event: row.into(),
                }
            }))
        }

        /// One event, and of its payload the first bytes alone.
        pub(crate) $($asynchronous)* fn event_beginning(
            conn: &mut Connection,
            organization: i64,
            id: i64,
            bytes: usize,
        ) -> QueryResult<Option<EventRecord>> {
            use $crate::queries::history::{beginning, head};
            let found: Option<(EventHead, Vec<u8>)> = events::table
                .find(id)
                .filter(events::organization_id.eq(organization))
                .filter(events::replay_of.is_null())
                .select((head(), beginning(bytes)))
                .first(conn)$($wait)*
                .optional()?;
            Ok(found.map(|(head, payload)| {
                let mut record = head.record(organization);
                record.event.payload = payload.into();
                record
            }))
        }

        /// Events below `before`, newest first, without payloads; and the id to go on below, if there may be more. Looks at a
        /// bounded number of events: a page may come out short.
        pub(crate) $($asynchronous)* fn list_events(
            conn: &mut Connection,
            organization: i64,
            filter: &EventFilter,
            before: i64,
            size: usize,
        ) -> QueryResult<(Vec<EventRecord>, Option<i64>)> {
            use hookwright_domain::id::first_at;
            use $crate::queries::history::{Work, cut, head, next_stretch};
            let requested = match &filter.request_id {
                None => None,
                Some(request) => match event_of_request(conn, organization, request)$($wait)*? {
                    None => return Ok((Vec::new(), None)),
                    known => known,
                },
            };
            let mut found: Vec<EventRecord> = Vec::new();
            let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
            let from = filter.start_us.map_or(0, first_at);
            let mut stretch = filter.stretch(size);
            let mut work = Work::default();
            loop {
                let mut query = events::table
                    .filter(events::organization_id.eq(organization))
                    .filter(events::id.lt(below))
                    .order(events::id.desc())
                    .limit(stretch)
                    .select(head())
                    .into_boxed();
                if let Some(requested) = requested {
                    query = query.filter(events::id.eq(requested));
                }
                let mut heads: Vec<EventHead> = query.load(conn)$($wait)*?;
                work.looked_at(heads.len());
                let full = cut(&mut heads, stretch, |head| head.id >= from);
                for head in heads {
                    // Only what comes after a full page tells that there is more.
                    if found.len() == size {
                        return Ok((found, Some(below)));
                    }
                    below = head.id;
                    // A replay's rows are not events of their own. They may be many: the store is not asked to look past them.
                    if head.replay_of.is_none() && filter.matches(&head.event_type, head.ordering_key.as_deref()) {
                        found.push(head.record(organization));
                    }
                }
                if !full {
                    return Ok((found, None));
                }
                if work.is_enough() {
                    return Ok((found, Some(below)));
                }
                stretch = next_stretch(stretch);
            }
        }

        /// The event that was published under a request id.
        $($asynchronous)* fn event_of_request(
            conn: &mut Connection,
            organization: i64,
            request: &str,
        ) -> QueryResult<Option<i64>> {
            idempotency_keys::table
                .find((organization, request))
                .select(idempotency_keys::event_id)
                .first(conn)$($wait)*
                .optional()
        }

        /// Attempts with numbers above `after`, the first first.
        pub(crate) $($asynchronous)* fn attempts_after(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
            after: i32,
            size: i64,
        ) -> QueryResult<Vec<AttemptRow>> {
            attempts::table
                .filter(attempts::delivery_id.eq(delivery))
                .filter(attempts::organization_id.eq(organization))
                .filter(attempts::number.gt(after))
                .order(attempts::number)
                .limit(size)
                .load(conn)$($wait)*
        }

        /// Attempts with numbers below `before`, the last first, in short.
        pub(crate) $($asynchronous)* fn last_attempts(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
            before: i32,
            size: i64,
        ) -> QueryResult<Vec<AttemptSummary>> {
            attempts::table
                .filter(attempts::delivery_id.eq(delivery))
                .filter(attempts::organization_id.eq(organization))
                .filter(attempts::number.lt(before))
                .order(attempts::number.desc())
                .limit(size)
                .select($crate::queries::deliveries::SUMMARY)
                .load(conn)$($wait)*
        }

        pub(crate) $($asynchronous)* fn get_attempt(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
            number: i32,
        ) -> QueryResult<Option<AttemptRow>> {
            attempts::table
                .find((delivery, number))
                .filter(attempts::organization_id.eq(organization))
                .first(conn)$($wait)*
                .optional()
        }
    };
}
pub(crate) use history_queries;

use diesel::{
    dsl::sql,
    expression::SqlLiteral,
    sql_types::{BigInt, Binary},
};

use crate::{batch::EventFilter, schema::events};

/// The columns of an [`EventHead`](crate::row_event::EventHead).
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

/// How many bytes a payload has. It is not read for that.
pub(crate) fn payload_length() -> SqlLiteral<BigInt> {
    sql("CAST(length(payload) AS BIGINT)")
}

/// The first bytes of a payload.
pub(crate) fn beginning(bytes: usize) -> SqlLiteral<Binary> {
    sql(&format!("substr(payload, 1, {bytes})"))
}

impl EventFilter {
    /// How many events to look at together first, for a page of so many.
    pub(crate) fn stretch(&self, size: usize) -> i64 {
        if self.is_selective() {
            STRETCH
        } else {
            i64::try_from(size + 1).unwrap_or(i64::MAX)
        }
    }
}

/// How many events the first look at the store takes in.
pub(crate) const STRETCH: i64 = 200;
/// How many events one look takes in at most.
const STRETCH_MAX: i64 = 2_000;

/// How many events the next look takes in: where the first ones hold little of what is looked for, fewer and larger looks find
/// it sooner. A look has a price of its own, above all where the store is made of many partitions.
pub(crate) fn next_stretch(last: i64) -> i64 {
    (last * 2).clamp(STRETCH, STRETCH_MAX)
}

/// Leaves what lies within a range whose lower end was not asked of the store, and tells whether there may be more of it: whether
/// the stretch is full, and ends within the range.
///
/// The store is not asked for two reasons. Rows come newest first, and few below the range are read. And PostgreSQL takes a range
/// with two ends, when it plans for values that it does not know, for a narrow one: it then walks the ids of all
/// organizations instead of the index of one.
pub(crate) fn cut<T>(rows: &mut Vec<T>, stretch: i64, is_within: impl Fn(&T) -> bool) -> bool {
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) == stretch;
    let ends_within = rows.last().is_some_and(&is_within);
    rows.retain(is_within);
    full && ends_within
}

/// How much one call does: so many events looked at, or a third as many deliveries looked up.
const WORK_MAX: usize = 6_000;
/// What it takes to look a delivery up, where looking at an event takes 1. Measured on both stores with ten million deliveries.
const LOOKING_UP: usize = 3;

/// What a call has done so far.
#[derive(Default)]
pub(crate) struct Work(usize);

impl Work {
    pub(crate) fn looked_at(&mut self, events: usize) {
        self.0 += events;
    }

    pub(crate) fn looked_up(&mut self, deliveries: usize) {
        self.0 += deliveries * LOOKING_UP;
    }

    /// Whether the next page should go on with it.
    pub(crate) fn is_enough(&self) -> bool {
        self.0 >= WORK_MAX
    }
}
