//! The past of an aged installation, written into the store of stopped servers: every row as a server would have
//! written it.
//!
//! Ids contain times, so each kind of event has its own range of the sequence within a millisecond, and no ids collide.

use hookwright_domain::{
    histogram::Histogram,
    id::{SEQUENCE_BITS, WebhookId, first_at},
};
use hookwright_storage::MasterKey;
use hookwright_testkit::Past;

use super::scale::Scale;
use crate::{Random, nodes::MASTER_KEY_BYTES, now_us};

pub(super) const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// The event type of all old events.
pub(super) const AGED_TYPE: &str = "aged";
/// No process listens at this address.
const GONE: &str = "http://127.0.0.1:9/gone";
/// Retries with a delay of one hour, so that pending deliveries are not attempted again at once.
const SCHEDULE: &str = "[3600000,3600000,3600000,3600000,3600000,3600000,3600000,3600000,3600000,3600000]";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How many of the webhooks with pending deliveries one organization has. One event is owed to all of them.
const WAITING_PER_ORGANIZATION: u64 = 100;
/// Deliveries behind a paused one.
const FOLLOWERS: u64 = 3;
/// The abandoned pull webhook did not pull some events on one day of five.
const UNFETCHED_EVERY_DAYS: i64 = 5;
/// Bytes of the payload of a pending delivery.
const PAYLOAD_BYTES: usize = 200;
/// Rows of configuration that one statement inserts.
const ROWS: usize = 500;

/// Where the events of each kind are in the sequence of a millisecond.
const BACKLOG: i64 = 1_024;
const WAITING: i64 = 2_048;
const UNFETCHED_AT: i64 = 3_072;
const PAUSED_AT: i64 = 3_200;

/// A range of events that are evenly spread over time.
#[derive(Clone, Copy)]
struct Span {
    first_us: i64,
    step_us: i64,
    count: u64,
}

impl Span {
    fn new(first_us: i64, end_us: i64, count: u64) -> Self {
        let step = (end_us - first_us) / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
        // Whole milliseconds, as in ids. If there are more events than milliseconds, they end earlier.
        let step_us = (step / 1_000).max(1) * 1_000;
        Self {
            first_us: first_us / 1_000 * 1_000,
            step_us,
            count,
        }
    }

    /// The columns `n`, `id` and `at` of the events with these numbers.
    fn events(&self, past: &Past, numbers: std::ops::Range<u64>, sequence: i64) -> String {
        let (first, step) = (first_at(self.first_us) + sequence, (self.step_us / 1_000) << ID_MS_BITS);
        format!(
            "SELECT n, {first} + n * {step} AS id, {} + n * {} AS at FROM ({}) AS numbers",
            self.first_us,
            self.step_us,
            past.numbers(numbers)
        )
    }
}

/// Bits of an id below its milliseconds.
const ID_MS_BITS: u32 = SEQUENCE_BITS + hookwright_domain::id::NODE_MAX.count_ones();

/// A webhook to write.
struct Webhook {
    id: i64,
    organization: i64,
    url: &'static str,
    pull: bool,
    ordered: bool,
}

/// The resources that the steps use.
pub(super) struct Filled {
    /// The first event of the past.
    pub(super) first_us: i64,
    /// The webhook whose backlog is discarded.
    pub(super) dead: i64,
    /// The organization that a step deletes.
    pub(super) doomed: i64,
    /// The abandoned pull webhook.
    pub(super) pull: i64,
    /// How many days have events that were never pulled.
    pub(super) unfetched_days: i64,
}

impl Filled {
    /// The name of the webhook with the backlog.
    pub(super) fn dead_name(&self) -> String {
        format!("organizations/aged/webhooks/{}", WebhookId::from_raw(self.dead))
    }
}

struct Filler<'a> {
    past: &'a Past,
    scale: &'a Scale,
    now: i64,
    first_us: i64,
    aged: i64,
    doomed: i64,
    healthy: [i64; 2],
    dead: i64,
    dying: [i64; 2],
    pull: i64,
    ledger: i64,
}

/// Fills the store.
///
/// # Errors
/// Fails if a statement fails.
pub(super) async fn fill(past: &Past, scale: &Scale, say: impl Fn(&str)) -> anyhow::Result<Filled> {
    let now = now_us();
    let first_us = (now.div_euclid(DAY_US) - scale.days + 1) * DAY_US;
    // The configuration is a day older than the first event.
    let place = |n: i64| first_at(first_us - DAY_US) + (n << ID_MS_BITS);
    let filler = Filler {
        past,
        scale,
        now,
        first_us,
        aged: place(0),
        doomed: place(1),
        healthy: [place(10), place(11)],
        dead: place(12),
        dying: [place(13), place(14)],
        pull: place(15),
        ledger: place(16),
    };
    past.make_partitions(first_us, first_at).await?;
    filler.configuration(place).await?;
    say("filling: final deliveries");
    filler.finals().await?;
    say("filling: pending deliveries");
    filler.backlog().await?;
    filler.waiting(place).await?;
    let unfetched_days = filler.unfetched().await?;
    filler.paused().await?;
    say("filling: the audit log and statistics");
    filler.records().await?;
    past.settle().await?;
    Ok(Filled {
        first_us,
        dead: filler.dead,
        doomed: filler.doomed,
        pull: filler.pull,
        unfetched_days,
    })
}

impl Filler<'_> {
    async fn configuration(&self, place: impl Fn(i64) -> i64) -> anyhow::Result<()> {
        let organizations = self.scale.waiting.div_ceil(WAITING_PER_ORGANIZATION);
        let mut rows = vec![(self.aged, "aged".to_owned()), (self.doomed, "doomed".to_owned())];
        for n in 0..i64::try_from(organizations)? {
            rows.push((place(1_000 + n), format!("waiting-{n}")));
        }
        let at = self.first_us - DAY_US;
        for rows in rows.chunks(ROWS) {
            let values: Vec<String> = rows
                .iter()
                .map(|(id, name)| format!("({id}, '{name}', '', {at}, {at})"))
                .collect();
            self.past
                .run(&format!(
                    "INSERT INTO organizations (id, name, display_name, created_at, updated_at) VALUES {}",
                    values.join(", ")
                ))
                .await?;
        }
        let webhook = |organization, id, url| Webhook {
            id,
            organization,
            url,
            pull: false,
            ordered: false,
        };
        let mut webhooks = vec![
            webhook(self.aged, self.dead, GONE),
            Webhook {
                pull: true,
                ..webhook(self.aged, self.pull, "")
            },
            Webhook {
                ordered: true,
                ..webhook(self.aged, self.ledger, GONE)
            },
        ];
        webhooks.extend(self.healthy.map(|id| webhook(self.aged, id, GONE)));
        webhooks.extend(self.dying.map(|id| webhook(self.doomed, id, GONE)));
        for n in 0..self.scale.waiting {
            let organization = place(1_000 + i64::try_from(n / WAITING_PER_ORGANIZATION)?);
            webhooks.push(webhook(organization, place(100_000 + i64::try_from(n)?), GONE));
        }
        for webhooks in webhooks.chunks(ROWS) {
            self.past.run(&self.webhook_rows(webhooks)).await?;
        }
        Ok(())
    }

    fn webhook_rows(&self, webhooks: &[Webhook]) -> String {
        let key = MasterKey::new(*MASTER_KEY_BYTES);
        let at = self.first_us - DAY_US;
        let headers = self.past.bytes(b"");
        let rows: Vec<String> = webhooks
            .iter()
            .map(|webhook| {
                let Webhook {
                    id,
                    organization,
                    url,
                    pull,
                    ordered,
                } = webhook;
                format!(
                    "({id}, {organization}, '{url}', {pull}, '[\"{AGED_TYPE}\"]', '', TRUE, '', {headers}, 10000, \
                     '{SCHEDULE}', {ordered}, {ordered}, FALSE, 1, {at}, {at})"
                )
            })
            .collect();
        let secrets: Vec<String> = webhooks
            .iter()
            .map(|webhook| {
                let sealed = key.seal(SECRET.as_bytes(), format!("signing_secrets/{}", webhook.id).as_bytes());
                format!("({0}, {0}, {1}, {at})", webhook.id, self.past.bytes(&sealed))
            })
            .collect();
        format!(
            "INSERT INTO webhooks (id, organization_id, payload_url, pull, events, filter, active, description, headers,
                                   timeout_ms, retry_delays_ms, ordered, pauses, insecure_skip_verify, version, created_at,
                                   updated_at)
                 VALUES {};
             INSERT INTO signing_secrets (id, webhook_id, sealed, created_at) VALUES {}",
            rows.join(", "),
            secrets.join(", ")
        )
    }

    /// An event's packed list of webhooks, as a literal.
    fn owed(&self, webhooks: &[i64]) -> String {
        let packed: Vec<u8> = webhooks.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.past.bytes(&packed)
    }

    fn payload(&self, bytes: usize) -> String {
        // Letters that PostgreSQL cannot compress.
        let mut random = Random::new(7);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let padding: String = (0..bytes)
            .map(|_| char::from(letters[random.below(letters.len())]))
            .collect();
        let payload = serde_json::json!({ "padding": padding }).to_string();
        self.past.bytes(payload.as_bytes())
    }

    /// Events whose deliveries are all final: delivered at once, after a retry, failed or cancelled.
    async fn finals(&self) -> anyhow::Result<()> {
        // All of it is older than the time at which the servers were stopped.
        let span = Span::new(self.first_us, self.now - HOUR_US, self.scale.past / 2);
        let (owed, payload) = (self.owed(&self.healthy), self.payload(self.scale.payload_bytes));
        let [first, second] = self.healthy;
        let aged = self.aged;
        let columns = "delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us, status,
                       error_class, delivery_state, details";
        self.past
            .write(span.count, |numbers| {
                let events = span.events(self.past, numbers, 0);
                format!(
                    "CREATE TEMPORARY TABLE model AS SELECT details FROM attempts LIMIT 1;
                     CREATE TEMPORARY TABLE places AS
                         SELECT 0 AS place, {first} AS webhook_id UNION ALL SELECT 1, {second};
                     CREATE TEMPORARY TABLE past AS
                         SELECT n, id, at, CASE WHEN n % 500 = 11 THEN 2 WHEN n % 100 = 1 THEN 1 ELSE 0 END AS kind
                         FROM ({events}) AS events;
                     INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, request_id)
                         SELECT id, {aged}, '{AGED_TYPE}', {payload}, {owed}, at,
                             CASE WHEN n % 20 = 3 THEN 'request-' || n END
                         FROM past;
                     INSERT INTO idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at)
                         SELECT {aged}, 'request-' || n, id, {owed}, at FROM past WHERE n % 20 = 3;
                     INSERT INTO attempts ({columns})
                         SELECT id + 1 + place, 1, id, {aged}, webhook_id, at, 1000,
                             CASE WHEN place = 1 OR kind = 0 THEN 200 ELSE 500 END,
                             CASE WHEN place = 1 OR kind = 0 THEN NULL ELSE 'status' END,
                             CASE WHEN place = 1 OR kind = 0 THEN 1 ELSE 0 END, details
                         FROM past CROSS JOIN places CROSS JOIN model WHERE NOT (place = 1 AND n % 2000 = 7);
                     INSERT INTO attempts ({columns})
                         SELECT id + 1, 2, id, {aged}, {first}, at, 1000, CASE kind WHEN 1 THEN 200 ELSE 500 END,
                             CASE kind WHEN 1 THEN NULL ELSE 'status' END, kind, details
                         FROM past CROSS JOIN model WHERE kind > 0;
                     INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason, ended_at)
                         SELECT id + 2, id, {aged}, {second}, 3, 'cancelled', at FROM past WHERE n % 2000 = 7;"
                )
            })
            .await
    }

    /// Deliveries that are waiting for a retry at webhooks whose receivers are gone. One in 25 is due.
    async fn backlog(&self) -> anyhow::Result<()> {
        let begin = self.now - self.scale.pending_days * DAY_US;
        let half = self.scale.pending / 2;
        for (organization, webhooks, count) in [
            (self.aged, &[self.dead][..], half),
            (self.doomed, &self.dying[..], half / 2),
        ] {
            // The two ranges use different parts of the sequence, so that their ids do not collide.
            let offset = i64::from(organization == self.doomed) * 512;
            let span = Span::new(begin, self.now - HOUR_US, count);
            let due = format!(
                "{} + n * {}",
                self.now - HOUR_US,
                25 * HOUR_US / i64::try_from(count.max(1))?
            );
            self.past
                .write(count, |numbers| {
                    let events = span.events(self.past, numbers, BACKLOG + offset);
                    self.retrying(&events, organization, webhooks, &due)
                })
                .await?;
        }
        Ok(())
    }

    /// One event per organization, owed to a hundred webhooks, whose deliveries have all failed once.
    async fn waiting(&self, place: impl Fn(i64) -> i64) -> anyhow::Result<()> {
        let mut number = 0;
        while number < self.scale.waiting {
            let last = (number + WAITING_PER_ORGANIZATION).min(self.scale.waiting);
            let webhooks: Vec<i64> = (number..last)
                .map(|n| i64::try_from(n).map(|n| place(100_000 + n)))
                .collect::<Result<_, _>>()?;
            let organization = i64::try_from(number / WAITING_PER_ORGANIZATION)?;
            let at = self.now - self.scale.pending_days * DAY_US + organization * 1_000;
            let events = Span::new(at, at + 1_000, 1).events(self.past, 0..1, WAITING);
            let due = format!("{} + CAST(place AS BIGINT) * 30000000", self.now + HOUR_US / 4);
            self.past
                .run(&self.retrying(&events, place(1_000 + organization), &webhooks, &due))
                .await?;
            number = last;
        }
        Ok(())
    }

    /// Events whose deliveries have all failed once, and are waiting for a retry. `due` may use `n`, `at` and `place`.
    fn retrying(&self, events: &str, organization: i64, webhooks: &[i64], due: &str) -> String {
        let places: Vec<String> = (0..)
            .zip(webhooks)
            .map(|(place, webhook): (usize, _)| format!("SELECT {place} AS place, {webhook} AS webhook_id"))
            .collect();
        let (owed, payload) = (self.owed(webhooks), self.payload(PAYLOAD_BYTES));
        format!(
            "CREATE TEMPORARY TABLE model AS SELECT details FROM attempts LIMIT 1;
             CREATE TEMPORARY TABLE places AS {};
             CREATE TEMPORARY TABLE past AS {events};
             INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at)
                 SELECT id, {organization}, '{AGED_TYPE}', {payload}, {owed}, at FROM past;
             INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
                                   error_class, delivery_state, details)
                 SELECT id + 1 + place, 1, id, {organization}, webhook_id, at, 1000, 'connection_refused', 0, details
                 FROM past CROSS JOIN places CROSS JOIN model;
             INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts)
                 SELECT id + 1 + place, id, {organization}, webhook_id, {due}, 1 FROM past CROSS JOIN places",
            places.join(" UNION ALL ")
        )
    }

    /// Events that the abandoned pull webhook never pulled: some on the first day, and on every fifth day after it.
    async fn unfetched(&self) -> anyhow::Result<i64> {
        let (owed, payload, aged, pull) = (
            self.owed(&[self.pull]),
            self.payload(PAYLOAD_BYTES),
            self.aged,
            self.pull,
        );
        let mut days = 0;
        for day in (0..self.scale.days).step_by(usize::try_from(UNFETCHED_EVERY_DAYS)?) {
            let at = self.first_us + day * DAY_US + HOUR_US;
            if at > self.now - HOUR_US {
                break;
            }
            days += 1;
            let count = self.scale.unfetched;
            let events = Span::new(at, at + HOUR_US / 2, count).events(self.past, 0..count, UNFETCHED_AT);
            self.past
                .run(&format!(
                    "CREATE TEMPORARY TABLE past AS {events};
                     INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at)
                         SELECT id, {aged}, '{AGED_TYPE}', {payload}, {owed}, at FROM past;
                     INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts)
                         SELECT id + 1, id, {aged}, {pull}, at, 0 FROM past"
                ))
                .await?;
        }
        Ok(days)
    }

    /// Keys of an ordered webhook, whose first delivery failed permanently and blocks the others.
    async fn paused(&self) -> anyhow::Result<()> {
        let keys = self.scale.blocked_keys;
        let count = keys * (1 + FOLLOWERS);
        let begin = self.now - self.scale.pending_days * DAY_US / 2;
        let events = Span::new(begin, self.now - HOUR_US, count).events(self.past, 0..count, PAUSED_AT);
        let (owed, payload, aged, ledger) = (
            self.owed(&[self.ledger]),
            self.payload(PAYLOAD_BYTES),
            self.aged,
            self.ledger,
        );
        let (paused, follows) = (hookwright_storage::PAUSED, hookwright_storage::FOLLOWS);
        let position = if self.past.is_postgres() { "n + 1" } else { "id + 1" };
        let mut text = format!(
            "CREATE TEMPORARY TABLE model AS SELECT details FROM attempts LIMIT 1;
             CREATE TEMPORARY TABLE past AS SELECT n, id, at, 'key-' || (n % {keys}) AS key FROM ({events}) AS events;
             INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, ordering_key)
                 SELECT id, {aged}, '{AGED_TYPE}', {payload}, {owed}, at, key FROM past;
             INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
                                   error_class, delivery_state, details)
                 SELECT id + 1, 1, id, {aged}, {ledger}, at, 1000, 'connection_refused', 0, details
                 FROM past CROSS JOIN model WHERE n < {keys};
             INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts,
                                             ordering_key, position)
                 SELECT id + 1, id, {aged}, {ledger}, CASE WHEN n < {keys} THEN {paused} ELSE {follows} END,
                     CASE WHEN n < {keys} THEN 1 ELSE 0 END, key, {position}
                 FROM past;"
        );
        if self.past.is_postgres() {
            text.push_str(&format!(
                "SELECT setval('pending_positions', greatest(nextval('pending_positions'), {count}))"
            ));
        }
        self.past.run(&text).await
    }

    /// The audit log, and hourly statistics.
    async fn records(&self) -> anyhow::Result<()> {
        let lines = self.scale.audit;
        let step = (self.now - HOUR_US - self.first_us) / i64::try_from(lines.max(1))?;
        let aged = self.aged;
        self.past
            .write(lines, |numbers| {
                let numbers = self.past.numbers(numbers);
                let first = first_at(self.first_us);
                let step_id = (step / 1_000).max(1) << ID_MS_BITS;
                format!(
                    "INSERT INTO audit_log (id, at, actor, action, resource, details, organization_id)
                         SELECT {first} + n * {step_id}, {} + n * {step}, 'tok_0000000000001', 'webhook.update',
                             'organizations/aged', '{{\"active\":{{\"from\":true,\"to\":false}}}}', {aged}
                         FROM ({numbers}) AS numbers",
                    self.first_us
                )
            })
            .await?;
        let mut durations = Histogram::default();
        for value in 0..200 {
            durations.record(1_000 + value * value * 10);
        }
        let packed = self.past.bytes(&durations.pack());
        let last = (self.now - HOUR_US) / HOUR_US * HOUR_US;
        let hours = self.past.numbers(0..u64::try_from(self.scale.days * 24)?);
        self.past
            .run(&format!(
                "INSERT INTO delivery_stats (subject_id, period, started_at, node, attempts, failed_attempts, delivered,
                                             failed, durations, latencies)
                     SELECT id, 3600, {last} - n * {HOUR_US}, 0, 200, 2, 198, 0, {packed}, {packed}
                     FROM ({hours}) AS numbers
                     CROSS JOIN (SELECT {} AS id UNION ALL SELECT {aged} UNION ALL SELECT {}) AS subjects",
                self.healthy[0], self.healthy[1]
            ))
            .await
    }
}
