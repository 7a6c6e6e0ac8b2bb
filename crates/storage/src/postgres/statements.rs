//! The hot statements: one per table, however many rows, with an array for each column.
//!
//! Diesel prepares a multi-row insert again whenever the number of rows changes. These statements have a fixed text, so
//! each is prepared once per connection.

use diesel::{
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text},
};

use crate::rows::{AttemptRow, FOLLOWS, PendingRow};

/// Defines a statement whose text is fixed and whose parameters are arrays, one for each column.
macro_rules! statement {
    ($(#[doc = $doc:literal])+ $name:ident { $($column:ident: $rust:ty => $sql:ty),+ $(,)? } $head:literal, $tail:literal) => {
        $(#[doc = $doc])+
        #[derive(Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $column: Vec<$rust>,)+
            pub(super) _lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl QueryFragment<Pg> for $name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql($head);
                let mut separator = "";
                $(
                    out.push_sql(separator);
                    out.push_bind_param::<Array<$sql>, _>(&self.$column)?;
                    separator = ", ";
                )+
                let _ = separator;
                out.push_sql($tail);
                Ok(())
            }
        }

        impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for $name<'_> {}
    };
}

statement! {
    /// Stores events.
    InsertEvents {
        id: i64 => BigInt,
        organization_id: i64 => BigInt,
        event_type: &'a str => Text,
        payload: &'a [u8] => Binary,
        webhooks: Vec<u8> => Binary,
        occurred_at: i64 => BigInt,
        attributes: Option<&'a str> => Nullable<Text>,
        trace: Option<&'a [u8]> => Nullable<Binary>,
        tracestate: Option<&'a str> => Nullable<Text>,
        request_id: Option<&'a str> => Nullable<Text>,
        ordering_key: Option<&'a str> => Nullable<Text>,
        replay_of: Option<i64> => Nullable<BigInt>,
    }
    "INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, attributes, trace, tracestate, \
     request_id, ordering_key, replay_of) \
     SELECT * FROM unnest(", ")"
}

statement! {
    /// Appends attempts.
    InsertAttempts {
        delivery_id: i64 => BigInt,
        number: i32 => Integer,
        event_id: i64 => BigInt,
        organization_id: i64 => BigInt,
        webhook_id: i64 => BigInt,
        started_at: i64 => BigInt,
        duration_us: i64 => BigInt,
        status: Option<i32> => Nullable<Integer>,
        error_class: Option<&'a str> => Nullable<Text>,
        error_message: Option<&'a str> => Nullable<Text>,
        delivery_state: i32 => Integer,
        details: &'a str => Text,
        response_body: Option<&'a [u8]> => Nullable<Binary>,
    }
    "INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us, status, \
     error_class, error_message, delivery_state, details, response_body) SELECT * FROM unnest(",
    ")"
}

impl<'a> InsertAttempts<'a> {
    /// A statement for these rows.
    pub(super) fn of(rows: impl IntoIterator<Item = &'a AttemptRow>) -> Self {
        let mut statement = Self::default();
        for row in rows {
            statement.delivery_id.push(row.delivery_id);
            statement.number.push(row.number);
            statement.event_id.push(row.event_id);
            statement.organization_id.push(row.organization_id);
            statement.webhook_id.push(row.webhook_id);
            statement.started_at.push(row.started_at);
            statement.duration_us.push(row.duration_us);
            statement.status.push(row.status);
            statement.error_class.push(row.error_class.as_deref());
            statement.error_message.push(row.error_message.as_deref());
            statement.delivery_state.push(row.delivery_state);
            statement.details.push(&row.details);
            statement.response_body.push(row.response_body.as_deref());
        }
        statement
    }
}

/// Appends attempts. An attempt that is stored already stays unchanged. Checking each for existence costs more than
/// inserting it, and is needed only after a failed commit.
pub(super) struct InsertAttemptsAgain<'a>(pub(super) InsertAttempts<'a>);

impl QueryId for InsertAttemptsAgain<'_> {
    type QueryId = InsertAttemptsAgain<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for InsertAttemptsAgain<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for InsertAttemptsAgain<'_> {}

statement! {
    /// Inserts or replaces pending rows. An ordered delivery gets the next position.
    UpsertPending {
        delivery_id: i64 => BigInt,
        event_id: i64 => BigInt,
        organization_id: i64 => BigInt,
        webhook_id: i64 => BigInt,
        due_at: i64 => BigInt,
        attempts: i32 => Integer,
        node: i32 => Integer,
        ordering_key: Option<&'a str> => Nullable<Text>,
    }
    "INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node, ordering_key, \
     position) \
     SELECT u.*, CASE WHEN u.ordering_key IS NOT NULL THEN nextval('pending_positions') END FROM unnest(",
    ") AS u (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node, ordering_key) \
     ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, attempts = excluded.attempts"
}

statement! {
    /// Changes existing pending rows.
    UpdatePending {
        delivery_id: i64 => BigInt,
        due_at: i64 => BigInt,
        attempts: i32 => Integer,
    }
    "UPDATE pending_deliveries d SET due_at = u.due_at, attempts = u.attempts FROM unnest(",
    ") AS u (delivery_id, due_at, attempts) WHERE d.delivery_id = u.delivery_id"
}

impl<'a> UpsertPending<'a> {
    /// Adds a row that belongs to a node.
    pub(super) fn push(&mut self, row: &'a PendingRow, node: i32) {
        self.delivery_id.push(row.delivery_id);
        self.event_id.push(row.event_id);
        self.organization_id.push(row.organization_id);
        self.webhook_id.push(row.webhook_id);
        self.due_at.push(row.due_at);
        self.attempts.push(row.attempts);
        self.node.push(node);
        self.ordering_key.push(row.ordering_key.as_deref());
    }
}

statement! {
    /// Makes the first delivery of each key due if it is still waiting behind another one.
    PromoteKeys {
        webhook_id: i64 => BigInt,
        ordering_key: &'a str => Text,
        now: i64 => BigInt,
        node: i32 => Integer,
        follows: i64 => BigInt,
    }
    "UPDATE pending_deliveries d SET due_at = k.now, node = k.node FROM unnest(",
    ") AS k (webhook_id, ordering_key, now, node, follows) CROSS JOIN LATERAL ( \
         SELECT p.delivery_id, p.due_at FROM pending_deliveries p \
         WHERE p.webhook_id = k.webhook_id AND p.ordering_key = k.ordering_key ORDER BY p.position LIMIT 1) AS first \
     WHERE d.delivery_id = first.delivery_id AND first.due_at = k.follows RETURNING d.webhook_id"
}

impl Query for PromoteKeys<'_> {
    type SqlType = BigInt;
}

impl<'a> PromoteKeys<'a> {
    /// Adds a key, whose next delivery is due `now` at a node.
    pub(super) fn push(&mut self, webhook: i64, key: &'a str, now: i64, node: i32) {
        self.webhook_id.push(webhook);
        self.ordering_key.push(key);
        self.now.push(now);
        self.node.push(node);
        self.follows.push(FOLLOWS);
    }
}

statement! {
    /// Deletes pending rows.
    DeletePending { delivery_id: i64 => BigInt }
    "DELETE FROM pending_deliveries WHERE delivery_id = ANY(", ")"
}

statement! {
    /// Appends endings. An ending that is stored already stays unchanged.
    InsertEndings {
        delivery_id: i64 => BigInt,
        event_id: i64 => BigInt,
        organization_id: i64 => BigInt,
        webhook_id: i64 => BigInt,
        state: i32 => Integer,
        reason: &'a str => Text,
        ended_at: i64 => BigInt,
    }
    "INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason, ended_at) \
     SELECT * FROM unnest(", ") ON CONFLICT DO NOTHING"
}

statement! {
    /// Deletes the failures of webhooks that succeeded after these began. The rows are locked in order, so that nodes
    /// do not deadlock.
    ForgetFailures {
        webhook_id: i64 => BigInt,
        at: i64 => BigInt,
    }
    "DELETE FROM webhook_health h USING (\
         SELECT f.webhook_id FROM unnest(",
    ") AS u (webhook_id, at) JOIN webhook_health f ON f.webhook_id = u.webhook_id AND f.failing_since <= u.at \
         ORDER BY f.webhook_id FOR UPDATE OF f\
     ) AS recovered WHERE h.webhook_id = recovered.webhook_id"
}

statement! {
    /// Records successes of webhooks.
    NoteSuccesses {
        webhook_id: i64 => BigInt,
        at: i64 => BigInt,
    }
    "INSERT INTO webhook_successes (webhook_id, at) SELECT * FROM unnest(",
    ") ON CONFLICT (webhook_id) DO UPDATE SET at = greatest(webhook_successes.at, excluded.at)"
}

statement! {
    /// Adds failures of webhooks to the known ones, and returns the sums.
    AddFailures {
        webhook_id: i64 => BigInt,
        failing_since: i64 => BigInt,
        failures: i32 => Integer,
    }
    "INSERT INTO webhook_health AS h (webhook_id, failing_since, failures) SELECT * FROM unnest(",
    ") ON CONFLICT (webhook_id) DO UPDATE SET failing_since = least(h.failing_since, excluded.failing_since), \
     failures = least(h.failures::bigint + excluded.failures, 2147483647)::integer \
     RETURNING webhook_id, failing_since, failures"
}

impl Query for AddFailures<'_> {
    type SqlType = (BigInt, BigInt, Integer);
}

statement! {
    /// Appends to a stream of changes, at a position after its last one.
    AppendChanges {
        stream: i32 => Integer,
        now: i64 => BigInt,
        deliveries: &'a [u8] => Binary,
    }
    "INSERT INTO delivery_changes (stream, position, deliveries) \
     SELECT u.stream, greatest(u.now, 1 + (SELECT max(c.position) FROM delivery_changes c WHERE c.stream = u.stream)), \
     u.deliveries FROM unnest(",
    ") AS u (stream, now, deliveries)"
}

statement! {
    /// Inserts rows of statistics or replaces existing ones.
    PutStats {
        subject_id: i64 => BigInt,
        period: i64 => BigInt,
        started_at: i64 => BigInt,
        node: i32 => Integer,
        attempts: i64 => BigInt,
        failed_attempts: i64 => BigInt,
        delivered: i64 => BigInt,
        failed: i64 => BigInt,
        durations: Vec<u8> => Binary,
        latencies: Vec<u8> => Binary,
    }
    "INSERT INTO delivery_stats (subject_id, period, started_at, node, attempts, failed_attempts, delivered, failed, durations, \
     latencies) SELECT * FROM unnest(",
    ") ON CONFLICT (subject_id, period, started_at, node) DO UPDATE SET attempts = excluded.attempts, \
     failed_attempts = excluded.failed_attempts, delivered = excluded.delivered, failed = excluded.failed, \
     durations = excluded.durations, latencies = excluded.latencies"
}

statement! {
    /// Claims request ids, each for the first event that uses it.
    ClaimRequests {
        organization_id: i64 => BigInt,
        request_id: &'a str => Text,
        event_id: i64 => BigInt,
        fingerprint: &'a [u8] => Binary,
        created_at: i64 => BigInt,
    }
    "INSERT INTO idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at) SELECT * FROM unnest(",
    ") ON CONFLICT DO NOTHING"
}

statement! {
    /// The events that hold these request ids, and the length in bytes of each event's list of webhooks.
    FindRequests {
        organization_id: i64 => BigInt,
        request_id: &'a str => Text,
    }
    "SELECT k.organization_id, k.request_id, k.event_id, k.fingerprint, COALESCE(length(e.webhooks), 0) \
     FROM unnest(",
    ") AS wanted (organization_id, request_id) \
     JOIN idempotency_keys k USING (organization_id, request_id) LEFT JOIN events e ON e.id = k.event_id"
}

impl Query for FindRequests<'_> {
    type SqlType = (BigInt, Text, BigInt, Binary, Integer);
}
