//! Events with large payloads that were acknowledged just before a crash: their deliveries have no rows yet, so the
//! next start has to find them.

use hookwright_domain::id::{NODE_MAX, SEQUENCE_BITS, first_at};
use hookwright_storage::FOLLOWS;
use hookwright_testkit::Past;
use sha2::{Digest as _, Sha256};

use super::scale::Scale;
use crate::{
    history::Entry,
    now_us,
    publisher::{EVENT_TYPE, ORGANIZATION},
    receivers::WEBHOOKS,
    run::Run,
};

/// The keys of these events: each contains some of them, in order.
const KEYS: u64 = 2;

/// An event to write.
struct Large<'a> {
    id: i64,
    node: u16,
    request: String,
    key: String,
    /// Whether another event of its key precedes it.
    follows: bool,
    /// The beginning of the payload, before the padding.
    head: String,
    padding: usize,
    /// The webhooks that it is owed to, and whether each is ordered.
    webhooks: &'a [(i64, bool)],
}

/// Writes the events under this node's number, records them as acknowledged, and returns their ids.
pub(super) async fn write(run: &Run, past: &Past, scale: &Scale, node: u16) -> anyhow::Result<Vec<i64>> {
    let webhooks: Vec<(i64, bool)> = WEBHOOKS
        .iter()
        .filter_map(|(name, _, ordered)| Some((run.receivers.webhook(name)?, *ordered)))
        .collect();
    let first = first_at(now_us());
    let mut ids = Vec::new();
    for n in 0..scale.large {
        let (request, key, number) = (format!("large-{n}"), format!("large-{}", n % KEYS), n / KEYS + 1);
        let head = format!(r#"{{"request":"{request}","key":"{key}","number":{number},"padding":""#);
        // SQLite creates the padding two bytes at a time.
        let padding = scale.large_bytes / 2 * 2;
        // One event per millisecond.
        let place = i64::try_from(n)? * (i64::from(NODE_MAX) + 1) + i64::from(node);
        let large = Large {
            id: first + (place << SEQUENCE_BITS),
            node,
            follows: n >= KEYS,
            padding,
            webhooks: &webhooks,
            request: request.clone(),
            key: key.clone(),
            head,
        };
        let payload = format!("{}{}\"}}", large.head, "x".repeat(padding));
        run.history.add(&Entry::Tried {
            at: now_us(),
            request: request.clone(),
            key,
            number,
            sha256: hex::encode(Sha256::digest(payload)),
        });
        past.run(&large.statements(past)).await?;
        run.history.add(&Entry::Acknowledged {
            at: now_us(),
            request,
            event: large.id,
            tries: 1,
        });
        ids.push(large.id);
    }
    Ok(ids)
}

impl Large<'_> {
    /// The event, its request id, and the pending rows that deliveries to ordered webhooks have from the start.
    fn statements(&self, past: &Past) -> String {
        let Self {
            id,
            node,
            request,
            key,
            head,
            padding,
            ..
        } = self;
        let packed: Vec<u8> = self.webhooks.iter().flat_map(|(id, _)| id.to_le_bytes()).collect();
        let owed = past.bytes(&packed);
        let (payload, position) = if past.is_postgres() {
            (
                format!("convert_to('{head}' || repeat('x', {padding}) || '\"}}', 'UTF8')"),
                "nextval('pending_positions')".to_owned(),
            )
        } else {
            // Each byte of the blob becomes two digits.
            let padding = format!("replace(hex(zeroblob({})), '0', 'x')", padding / 2);
            (format!("CAST('{head}' || {padding} || '\"}}' AS BLOB)"), id.to_string())
        };
        let at = hookwright_domain::id::time_us(*id);
        let organization = ORGANIZATION.trim_start_matches("organizations/");
        let organization =
            format!("(SELECT id FROM organizations WHERE name = '{organization}' AND deleted_at IS NULL)");
        let mut text = format!(
            "INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, request_id, ordering_key)
                 VALUES ({id}, {organization}, '{EVENT_TYPE}', {payload}, {owed}, {at}, '{request}', '{key}');
             INSERT INTO idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at)
                 VALUES ({organization}, '{request}', {id}, {owed}, {at});"
        );
        let due = if self.follows { FOLLOWS } else { at };
        for (delivery, (webhook, ordered)) in (id + 1..).zip(self.webhooks) {
            if *ordered {
                text.push_str(&format!(
                    "INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts,
                                                     node, ordering_key, position)
                         VALUES ({delivery}, {id}, {organization}, {webhook}, {due}, 0, {node}, '{key}', {position});"
                ));
            }
        }
        text
    }
}
