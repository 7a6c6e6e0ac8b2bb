//! A store with many rows in every growing table, so that its query plans are those of a large installation.
//!
//! The rows are numbered. The event with number `i` belongs to organization `1 + i % 500` and is owed to the webhooks
//! 1, 2 and 3. Its delivery to the first was delivered, or failed if 70 divides `i`; the second is pending; the third
//! was cancelled if 10 divides `i`. Some pending deliveries belong to the ordered webhooks 4 and 5, and some to webhook
//! 19,999, which was deleted.

use hookwright_domain::id::{EventId, first_at};

use crate::{changes, clock::reference_us, row_event::pack};

/// The organization that the calls concern.
pub(crate) const ORGANIZATION: i64 = 1;
/// The number of one of its events whose first delivery failed, and was replayed.
pub(crate) const EVENT: i64 = 31_500;
/// How many events there are, and how many of them have a pending delivery.
const EVENTS: i64 = 70_000;
const PENDING: i64 = 59_000;
/// Consecutive ids are 4.32 seconds apart: 20,000 a day, over several partitions.
const STEP: i64 = 4_320 << 22;
const DAY_US: i64 = 86_400_000_000;

/// SQL syntax that differs between the stores.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// The type of binary data.
    pub(crate) bytes_type: &'static str,
    /// The delimiters of a binary literal in hexadecimal digits.
    pub(crate) bytes: (&'static str, &'static str),
}

/// The id from which the rows' ids are counted.
#[derive(Clone, Copy)]
pub(crate) struct Filled(i64);

impl Filled {
    /// The ids begin at the start of today, because PostgreSQL has partitions from then on.
    pub(crate) fn from_today() -> Self {
        Self(first_at(reference_us().div_euclid(DAY_US) * DAY_US))
    }

    /// The id of an event.
    pub(crate) fn event(self, number: i64) -> i64 {
        self.0 + number * STEP
    }

    /// The id of a delivery.
    pub(crate) fn delivery(self, number: i64, position: usize) -> i64 {
        EventId::from_raw(self.event(number)).delivery(position).raw()
    }

    /// The statements that create the rows.
    pub(crate) fn statements(self, words: Words) -> Vec<String> {
        let bytes = |bytes: &[u8]| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}{digits}{}", words.bytes.0, words.bytes.1)
        };
        let mut statements = configuration(&bytes(&[]), words.bytes_type);
        statements.extend(self.deliveries(&bytes(b"{}"), &bytes(&pack(&[1, 2, 3])), &bytes(&[0; 32])));
        let changed = changes::pack([(ORGANIZATION, self.delivery(EVENT, 0))].into_iter()).unwrap_or_default();
        statements.extend(counted(&bytes(&changed), &bytes(&[])));
        statements.extend(self.work());
        statements
    }

    /// Events, and the rows of their deliveries.
    fn deliveries(self, payload: &str, webhooks: &str, fingerprint: &str) -> Vec<String> {
        let id = |number: &str| format!("{} + ({number}) * {STEP}", self.0);
        let event = id("i");
        vec![
            insert(
                "events (id, organization_id, event_type, payload, webhooks, occurred_at, request_id, replay_of)",
                EVENTS,
                &format!(
                    "{event}, 1 + i % 500, 'clocking', {payload}, {webhooks}, 1, 'r' || i,
                     CASE WHEN i % 40 = 30 AND i > 40 THEN {} END",
                    id("i - 10")
                ),
            ),
            insert(
                "event_replays (event_id, replay_id)",
                EVENTS / 40 - 1,
                &format!("{}, {}", id("i * 40 + 20"), id("i * 40 + 30")),
            ),
            insert(
                "attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us, status,
                 delivery_state, details)",
                EVENTS,
                &format!(
                    "{event} + 1, 1, {event}, 1 + i % 500, 1, 1, 1, 200, CASE WHEN i % 70 = 0 THEN 2 ELSE 1 END, '{{}}'"
                ),
            ),
            insert(
                "pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node, ordering_key,
                 position, leased_at)",
                PENDING,
                &format!(
                    "{event} + 2, {event}, 1 + i % 500,
                     CASE WHEN i <= 50000 THEN 2 WHEN i <= 55000 THEN 4 WHEN i <= 55100 THEN 5 WHEN i <= 55200 THEN 19999
                          ELSE i END,
                     CASE WHEN i <= 50000 OR i > 55100 THEN 1000000 + i WHEN i % 100 = 0 AND i > 50500 THEN 9223372036854775806
                          WHEN i > 50010 AND i <= 50500 OR i > 55000 THEN 7 ELSE 9223372036854775807 END,
                     i % 3, i % 2, CASE WHEN i > 50000 AND i <= 55100 THEN 'k' || (i % 500) END,
                     CASE WHEN i > 50000 AND i <= 55100 THEN i END, CASE WHEN i % 7 = 0 OR i = 50500 THEN 1 END"
                ),
            ),
            insert(
                "delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason, ended_at)",
                EVENTS / 10,
                &format!("{event} + 3, {event}, 1 + (i * 10) % 500, 3, 3, 'webhook_deleted', 1", event = id("i * 10")),
            ),
            insert(
                "idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at)",
                EVENTS,
                &format!("1 + i % 500, 'r' || i, {event}, {fingerprint}, 1"),
            ),
        ]
    }

    /// Operations and replays, of which one in 500 is running.
    fn work(self) -> Vec<String> {
        let through = self.delivery(51_000, 1);
        vec![
            insert(
                "operations (id, organization_id, organization, kind, webhook_id, through, actor, state, at_webhook, at_node,
                 at_due, at_delivery, found, done, node, leased_until, created_at, updated_at, ended_at)",
                5_000,
                &format!(
                    "i, 1 + i % 500, 'acme',
                     CASE i WHEN 1000 THEN 'delete_webhook' WHEN 1500 THEN 'delete_organization' WHEN 2000 THEN 'release_order'
                          ELSE 'discard_backlog' END,
                     CASE i WHEN 1000 THEN 2 WHEN 1500 THEN NULL WHEN 2000 THEN 5 WHEN 2500 THEN 4 ELSE i END,
                     CASE i WHEN 2500 THEN {through} ELSE 9223372036854775807 END, 'a',
                     CASE WHEN i % 500 = 0 THEN 0 ELSE 1 END, -9000000000000000000, -1, 0, 0, 0, 0, 0, 0, 1, 1,
                     CASE WHEN i % 500 = 0 THEN NULL ELSE i END"
                ),
            ),
            insert(
                "replays (id, organization_id, request_id, spec, state, first_id, last_id, cursor, examined, matched,
                 replayed, skipped, node, leased_until, created_at, ended_at)",
                5_000,
                "i, 1 + i % 500, 'q' || i, '{}', CASE WHEN i % 500 = 0 THEN 0 ELSE 1 END, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                 CASE WHEN i % 500 = 0 THEN NULL ELSE i END",
            ),
        ]
    }
}

/// Organizations, event types, webhooks, secrets, tokens.
fn configuration(none: &str, bytes_type: &str) -> Vec<String> {
    vec![
        insert(
            "organizations (id, name, display_name, created_at, updated_at)",
            5_000,
            "i, 'org' || i, '', 1, 1",
        ),
        insert(
            "event_types (id, name, description, archived, created_at, updated_at)",
            2_000,
            "i, 'type' || i, '', FALSE, 1, 1",
        ),
        insert(
            "event_type_schemas (event_type_id, version, created_at)",
            4_000,
            "1 + (i - 1) / 2, 1 + i % 2, 1",
        ),
        insert(
            "webhooks (id, organization_id, payload_url, events, active, description, headers, timeout_ms, ordered, pauses,
             insecure_skip_verify, version, created_at, updated_at, deleted_at)",
            20_000,
            &format!(
                "i, CASE WHEN i <= 10 THEN 1 ELSE 1 + i % 5000 END, 'u', '[]', i <> 3, '', {none}, 1, FALSE, FALSE, FALSE, 1, 1, 1,
                 CASE WHEN i = 19999 THEN 1 END"
            ),
        ),
        insert(
            "signing_secrets (id, webhook_id, sealed, created_at)",
            20_000,
            &format!("i, i, {none}, 1"),
        ),
        insert(
            "tokens (id, hash, name, scope, organization_id, created_at, revoked_at)",
            5_000,
            &format!(
                "i, CAST('h' || i AS {bytes_type}), '', CASE WHEN i <= 3 THEN 'admin' ELSE 'read' END,
                 CASE WHEN i <= 3 THEN NULL ELSE 1 + i % 500 END, 1, CASE WHEN i % 2 = 0 THEN i END"
            ),
        ),
        insert(
            "ended_sessions (id, token_id, began_at, ended_until)",
            3_000,
            &format!("CAST('s' || i AS {bytes_type}), i % 100, i, i"),
        ),
        insert(
            "revoked_portal_links (link_id, organization_id, revoked_until)",
            3_000,
            "i, 1 + i % 500, i",
        ),
    ]
}

/// Statistics, changes, health and audit entries.
fn counted(changed: &str, none: &str) -> Vec<String> {
    let stats =
        "delivery_stats (subject_id, period, started_at, node, attempts, failed_attempts, delivered, failed, durations,
                 latencies)";
    vec![
        insert(
            "delivery_changes (stream, position, deliveries)",
            40_000,
            &format!("i % 4, i * 1000, {changed}"),
        ),
        insert(
            stats,
            40_000,
            &format!("i % 100, 60, (i / 100) * 60, 0, 1, 0, 1, 0, {none}, {none}"),
        ),
        insert(
            stats,
            4_000,
            &format!("i % 100, 3600, (i / 100) * 3600, 0, 1, 0, 1, 0, {none}, {none}"),
        ),
        insert("webhook_health (webhook_id, failing_since, failures)", 5_000, "i, i, 3"),
        insert("webhook_successes (webhook_id, at)", 10_000, "i, i"),
        insert(
            "audit_log (id, at, actor, action, resource, details, organization_id)",
            40_000,
            "i, 1, 'a', 'b', 'c', '{}', 1 + i % 500",
        ),
    ]
}

/// Inserts rows into a table, with values computed from the numbers 1 to `rows`.
fn insert(table: &str, rows: i64, values: &str) -> String {
    format!(
        "INSERT INTO {table}
         WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT {values} FROM n"
    )
}
