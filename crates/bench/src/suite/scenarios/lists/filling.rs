//! The past of the scenario: three organizations, of which one has nearly all events and one has few events that are
//! far apart; rare types, outcomes, keys and webhooks among common ones; an audit log, statistics and replays.

use std::{ops::Range, time::SystemTime};

use hookwright_domain::{
    histogram::Histogram,
    id::{EventId, WebhookId, first_at},
};
use hookwright_proto::v1::{ReplayDeliveriesRequest, replay_service_client::ReplayServiceClient};
use hookwright_testkit::Past;

use super::super::super::world::{HOSTS, ORGANIZATION, World};

/// The organization with a tenth of the events.
pub(super) const MIDDLE: &str = "organizations/bench-middle";
/// The organization with a hundred events, however many the others have.
pub(super) const SMALL: &str = "organizations/bench-small";
/// Webhooks without deliveries, which customers install, too.
const IDLE_WEBHOOKS: usize = 54;
/// The past ends an hour ago, and has this many days.
const DAYS: i64 = 20;
const DAY_US: i64 = 86_400_000_000;
const AUDIT_ENTRIES: u64 = 100_000;
const REPLAYS: u64 = 1_000;
/// Half the size that the other scenarios use, because ten million must fit on the disk.
const PAYLOAD_BYTES: usize = 512;
/// An event is owed to two webhooks.
const FANOUT: u64 = 2;

/// The stored resources to request.
pub(super) struct Stored {
    /// Names of webhooks: one with every fourth event, and one with a few.
    pub(super) webhook: String,
    pub(super) rare_webhook: String,
    /// The type of a few events.
    pub(super) rare_type: String,
    /// An event from the middle of the past, and its first delivery, which failed.
    pub(super) event: EventId,
    /// The middle of the past, in microseconds since the epoch.
    pub(super) middle_us: i64,
}

/// The range of the past.
struct Span {
    events: u64,
    first_us: i64,
    step_us: i64,
}

impl Span {
    fn new(deliveries: u64) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures the servers from outside")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let events = deliveries / FANOUT;
        // Whole milliseconds, so that ids are as evenly spread as times.
        let step_us = DAYS * DAY_US / i64::try_from(events)? / 1_000 * 1_000;
        let end_us = i64::try_from(now.as_micros())? / 1_000 * 1_000 - 3_600_000_000;
        Ok(Self {
            events,
            first_us: end_us - step_us * i64::try_from(events)?,
            step_us,
        })
    }

    fn time(&self, n: u64) -> anyhow::Result<i64> {
        Ok(self.first_us + self.step_us * i64::try_from(n)?)
    }
}

/// The webhooks of an event.
struct Plan {
    slot: u64,
    organization: &'static str,
    event_type: String,
    webhooks: [i64; 2],
}

/// Fills the store, and leaves the server stopped.
pub(super) async fn fill(world: &mut World, deliveries: u64) -> anyhow::Result<Stored> {
    let span = Span::new(deliveries)?;
    let (plans, mut stored) = install(world).await?;
    replay(world).await?;
    world.server.terminate().await?;
    let past = world.past();
    past.make_partitions(span.first_us, first_at).await?;
    let plan = plan(&past, &plans);
    past.write(span.events, |numbers| {
        format!("{plan}{}", statements(&past, numbers, &span))
    })
    .await?;
    past.settle().await?;
    past.run(&others(&past, &span)?).await?;
    // A multiple of five hundred, plus eleven: see `statements`.
    let n = span.events / 1_000 * 500 + 11;
    stored.middle_us = span.time(n)?;
    stored.event = EventId::from_raw(first_at(stored.middle_us));
    Ok(stored)
}

async fn install(world: &World) -> anyhow::Result<(Vec<Plan>, Stored)> {
    let types = world.event_types(5).await?;
    for name in [MIDDLE, SMALL] {
        world.organization(name).await?;
    }
    let mut plans = Vec::new();
    let add = async |organization, host: usize, event_type: &str| {
        let webhook = world.webhook_of(organization, host % HOSTS, event_type).await?;
        let id: WebhookId = webhook.name.rsplit('/').next().unwrap_or_default().parse()?;
        anyhow::Ok((webhook.name, id.raw()))
    };
    let (_, every) = add(ORGANIZATION, 0, "*").await?;
    let (rare_webhook, rare) = add(ORGANIZATION, 1, &types[4]).await?;
    let mut webhook = String::new();
    for (slot, event_type) in (0..).zip(&types[..4]) {
        let (name, id) = add(ORGANIZATION, 2, event_type).await?;
        webhook = name;
        plans.push((slot, ORGANIZATION, event_type, [id, every]));
    }
    plans.push((4, ORGANIZATION, &types[4], [every, rare]));
    let (_, every) = add(MIDDLE, 3, "*").await?;
    for (slot, event_type) in (10..).zip(&types[..3]) {
        let (_, id) = add(MIDDLE, 4, event_type).await?;
        plans.push((slot, MIDDLE, event_type, [id, every]));
    }
    let (_, every) = add(SMALL, 5, "*").await?;
    let (_, id) = add(SMALL, 6, &types[0]).await?;
    plans.push((20, SMALL, &types[0], [id, every]));
    for host in 0..IDLE_WEBHOOKS {
        add(ORGANIZATION, host, &types[4]).await?;
    }
    let plans = plans
        .into_iter()
        .map(|(slot, organization, event_type, webhooks)| Plan {
            slot,
            organization,
            event_type: event_type.clone(),
            webhooks,
        });
    let stored = Stored {
        webhook,
        rare_webhook,
        rare_type: types[4].clone(),
        event: EventId::from_raw(0),
        middle_us: 0,
    };
    Ok((plans.collect(), stored))
}

/// A replay that finds nothing, which is copied.
async fn replay(world: &World) -> anyhow::Result<()> {
    // A time early in this century.
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = ReplayDeliveriesRequest {
        parent: ORGANIZATION.to_owned(),
        start_time: time(1_000_000_000),
        end_time: time(1_000_000_001),
        dry_run: true,
        ..ReplayDeliveriesRequest::default()
    };
    let mut client = ReplayServiceClient::new(world.channel());
    client.replay_deliveries(world.request(request)?).await?;
    Ok(())
}

/// The temporary table `plan`.
fn plan(past: &Past, plans: &[Plan]) -> String {
    let mut text = "CREATE TEMPORARY TABLE plan (slot INTEGER PRIMARY KEY, organization_id BIGINT, event_type TEXT,
                                                 webhooks BYTEA, webhook_0 BIGINT, webhook_1 BIGINT);"
        .to_owned();
    for plan in plans {
        let organization = plan.organization.trim_start_matches("organizations/");
        let [first, second] = plan.webhooks;
        let packed = past.bytes(&[first.to_le_bytes(), second.to_le_bytes()].concat());
        text.push_str(&format!(
            "INSERT INTO plan SELECT {}, id, '{}', {packed}, {first}, {second} FROM organizations
                 WHERE name = '{organization}';",
            plan.slot, plan.event_type
        ));
    }
    text
}

/// The rows of a range of events. The first delivery of each has an outcome by its `kind`: 0 delivered, 1 delivered
/// after a retry, 2 failed, 3 pending, 4 retrying, 5 paused. Some of the second deliveries were cancelled.
fn statements(past: &Past, numbers: Range<u64>, span: &Span) -> String {
    let Span {
        events,
        first_us,
        step_us,
    } = *span;
    let first = first_at(first_us);
    let step = (step_us / 1_000) << 22;
    let (small, rare, waiting, needle, class) = (events / 100, events / 5, events / 30, events / 3, events / 4);
    let payload = serde_json::json!({ "padding": "x".repeat(PAYLOAD_BYTES - 14) }).to_string();
    let payload = past.bytes(payload.as_bytes());
    let numbers = past.numbers(numbers);
    let class = format!("CASE WHEN n % {class} = 511 THEN 'tls_expired' ELSE 'status' END");
    let columns = "delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us, status,
                   error_class, delivery_state, details";
    format!(
        "CREATE TEMPORARY TABLE model AS SELECT details FROM attempts LIMIT 1;
         CREATE TEMPORARY TABLE places AS SELECT 0 AS place UNION ALL SELECT 1;
         CREATE TEMPORARY TABLE past AS
             SELECT n, {first} + n * {step} AS id, {first_us} + n * {step_us} AS at,
                 CASE WHEN n % {small} = 13 THEN 20 WHEN n % {rare} = 17 THEN 4
                      WHEN n % 10 = 3 THEN 10 + (n / 10) % 3 ELSE n % 4 END AS slot,
                 CASE WHEN n % {waiting} = 5 THEN 3 + (n / {waiting}) % 3 WHEN n % 500 = 11 THEN 2
                      WHEN n % 100 = 1 THEN 1 ELSE 0 END AS kind,
                 CASE WHEN n % {needle} = 31 THEN 'needle' WHEN n % 50 = 0 THEN 'key-' || (n / 50) % 1000 END AS key
             FROM ({numbers}) AS numbers;
         INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, request_id, ordering_key)
             SELECT id, organization_id, event_type, {payload}, webhooks, at,
                 CASE WHEN n % 100 = 11 THEN 'request-' || n END, key
             FROM past CROSS JOIN plan WHERE plan.slot = past.slot;
         INSERT INTO idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at)
             SELECT organization_id, 'request-' || n, id, webhooks, at
             FROM past CROSS JOIN plan WHERE plan.slot = past.slot AND n % 100 = 11;
         INSERT INTO attempts ({columns})
             SELECT id + 1 + place, 1, id, organization_id, CASE place WHEN 0 THEN webhook_0 ELSE webhook_1 END, at, 1000,
                 CASE WHEN place = 1 OR kind = 0 THEN 200 WHEN kind <> 1 THEN 500 END,
                 CASE WHEN place = 1 OR kind = 0 THEN NULL WHEN kind = 1 THEN 'timeout' ELSE {class} END,
                 CASE WHEN place = 1 OR kind = 0 THEN 1 ELSE 0 END, details
             FROM past CROSS JOIN plan CROSS JOIN places CROSS JOIN model
             WHERE plan.slot = past.slot AND NOT (place = 0 AND kind = 3) AND NOT (place = 1 AND n % 20000 = 7);
         INSERT INTO attempts ({columns})
             SELECT id + 1, 2, id, organization_id, webhook_0, at, 1000, CASE kind WHEN 1 THEN 200 ELSE 500 END,
                 CASE kind WHEN 1 THEN NULL ELSE {class} END, kind, details
             FROM past CROSS JOIN plan CROSS JOIN model WHERE plan.slot = past.slot AND kind IN (1, 2);
         INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason, ended_at)
             SELECT id + 2, id, organization_id, webhook_1, 3, 'cancelled', at
             FROM past CROSS JOIN plan WHERE plan.slot = past.slot AND n % 20000 = 7;
         INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts,
                                         ordering_key, position)
             SELECT id + 1, id, organization_id, webhook_0,
                 CASE kind WHEN 5 THEN {paused} ELSE at + 10 * 365 * CAST({DAY_US} AS BIGINT) END,
                 CASE kind WHEN 3 THEN 0 ELSE 1 END, CASE kind WHEN 5 THEN 'held' END, CASE kind WHEN 5 THEN n END
             FROM past CROSS JOIN plan WHERE plan.slot = past.slot AND kind >= 3;",
        paused = i64::MAX - 1,
    )
}

/// The audit log, statistics and replays.
fn others(past: &Past, span: &Span) -> anyhow::Result<String> {
    let mut durations = Histogram::default();
    for value in 0..200 {
        durations.record(1_000 + value * value * 10);
    }
    let packed = past.bytes(&durations.pack());
    let end_us = span.time(span.events)?;
    let (hour, minute) = (3_600_000_000, 60_000_000);
    let step = (DAYS * DAY_US / i64::try_from(AUDIT_ENTRIES)? / 1_000) << 22;
    let statistics = |count: u64, seconds: u64, length: i64| {
        let numbers = past.numbers(0..count);
        let last = end_us / length * length;
        format!(
            "INSERT INTO delivery_stats (subject_id, period, started_at, node, attempts, failed_attempts, delivered, failed,
                                         durations, latencies)
                 SELECT id, {seconds}, {last} - n * {length}, 0, 200, 2, 198, 0, {packed}, {packed}
                 FROM ({numbers}) AS numbers CROSS JOIN subjects WHERE true ON CONFLICT DO NOTHING;"
        )
    };
    Ok(format!(
        "INSERT INTO audit_log (id, at, actor, action, resource, details, organization_id)
             SELECT {first} + n * {step}, {first_us}, CASE WHEN n % 25000 = 9 THEN 'tok_0000000000002' ELSE 'tok_0000000000001' END,
                 CASE WHEN n % 30000 = 7 THEN 'organization.rename' ELSE 'webhook.update' END, 'organizations/' || name,
                 '{{\"active\":{{\"from\":true,\"to\":false}}}}', id
             FROM ({audit}) AS numbers CROSS JOIN organizations
             WHERE name = CASE WHEN n % 5000 = 13 THEN 'bench-small' WHEN n % 10 = 3 THEN 'bench-middle' ELSE 'bench' END;
         CREATE TEMPORARY TABLE subjects AS
             SELECT id FROM webhooks UNION SELECT id FROM organizations UNION SELECT 0 AS id;
         {hours}{minutes}
         INSERT INTO replays (id, organization_id, spec, state, first_id, last_id, cursor, examined, matched, replayed,
                              skipped, node, leased_until, created_at, ended_at)
             SELECT id - (n + 1) * 4096, organization_id, spec, 1, first_id, last_id, cursor, examined, matched, replayed,
                 skipped, node, 0, created_at, created_at
             FROM ({replays}) AS numbers CROSS JOIN replays;",
        first = first_at(span.first_us),
        first_us = span.first_us,
        audit = past.numbers(0..AUDIT_ENTRIES),
        hours = statistics(90 * 24, 3_600, hour),
        minutes = statistics(6 * 60, 60, minute),
        replays = past.numbers(0..REPLAYS),
    ))
}
