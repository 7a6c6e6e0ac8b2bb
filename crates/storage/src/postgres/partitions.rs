//! The partitions of the three growing tables: one per day, created ahead, and dropped as a whole when the day has
//! outlived its retention.
//!
//! Retention drops an expired day without a pending delivery. Before that it removes the day's request ids in steps,
//! because they are in a separate table. If a day has a pending delivery, its events are removed one by one, and
//! [`super::compaction`] frees their space. Dropping needs an exclusive lock for a moment. While another session reads
//! the day, the drop fails and is retried later.
//!
//! A role that may not change the schema creates and drops partitions through two functions, which run with the rights
//! of their owner. Without the right to call them, the server keeps running as long as partitions exist, and warns.
//!
//! The first partition that was ever created has no lower bound. There is no default partition: with one, PostgreSQL
//! could not read partitions in order, nor attach a new one without scanning it.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use hookwright_domain::id::first_at;

use super::{Flag, queries, scope::KEY_64, session};
use crate::{error::StoreError, retention::Expired};

pub(super) const TABLES: [&str; 3] = ["events", "attempts", "delivery_endings"];
/// How many days are created ahead, for a time in which no server creates any.
const DAYS_AHEAD: i64 = 14;
/// How many events of a day one step removes, and how many it reads to find them. Commits run beside it.
const EXPIRE_LIMIT: usize = 1_000;
const EXPIRE_LOOK: i64 = 5_000;
/// How many events lose their request ids in one step.
const CLEAR_LIMIT: usize = 2_000;
const DAY_US: i64 = 86_400_000_000;
/// The lock by which servers create partitions one at a time.
const LOCK: i64 = 0x686f_6f6b_7772_0003;
/// Dropping waits for queries that read a table, and commits wait behind it. This limits that time.
pub(super) const LOCK_TIMEOUT: &str = "100ms";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = sql_types::BigInt)]
    count: i64,
}

#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Partition {
    #[diesel(sql_type = sql_types::Text)]
    pub(super) name: String,
    #[diesel(sql_type = sql_types::BigInt)]
    pub(super) end_id: i64,
    /// The request ids of events up to this one have been removed.
    #[diesel(sql_type = sql_types::BigInt)]
    cleared_to: i64,
    #[diesel(sql_type = sql_types::Bool)]
    pending: bool,
    /// Single rows of it were removed.
    #[diesel(sql_type = sql_types::Bool)]
    sparse: bool,
}

/// The result of a step of retention on a partition.
#[derive(Default)]
pub(super) struct Step {
    pub(super) expired: Expired,
    /// The step reached the end of this partition, whose tables may now be rewritten outside the transaction.
    pub(super) sparse: Option<Partition>,
}

impl From<Expired> for Step {
    fn from(expired: Expired) -> Self {
        Self { expired, sparse: None }
    }
}

/// How this server's role creates partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// It owns the tables.
    Owner,
    /// By functions of the owner's.
    Function,
    /// It may not create any.
    Nobody,
}

impl Maker {
    async fn of(conn: &mut AsyncPgConnection) -> QueryResult<Self> {
        if may_change(conn).await? {
            return Ok(Self::Owner);
        }
        let may_call: Flag = diesel::sql_query(
            "SELECT coalesce(has_function_privilege(to_regprocedure('hookwright_make_partition(date)'), 'EXECUTE'), false) AS flag",
        )
        .get_result(conn)
        .await?;
        Ok(if may_call.flag { Self::Function } else { Self::Nobody })
    }
}

/// Whether a session's role may change the tables, and create others.
pub(super) async fn may_change(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    let owner: Vec<Flag> = diesel::sql_query(
        "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE') AS flag
         FROM pg_class WHERE oid = to_regclass('events')",
    )
    .load(conn)
    .await?;
    Ok(owner.iter().any(|owner| owner.flag))
}

/// Creates the missing partitions from today on. Each is a separate transaction.
///
/// # Errors
/// Fails if the store does not answer, or if there is no partition for today and the role may not create one.
pub(super) async fn make(conn: &mut AsyncPgConnection, now_us: i64) -> Result<(), StoreError> {
    let today = now_us.div_euclid(DAY_US);
    let maker = Maker::of(conn).await?;
    if maker == Maker::Nobody {
        return warn(conn, today).await;
    }
    for day in today..=today + DAYS_AHEAD {
        session::transaction(conn, async |conn| Ok(make_day(conn, day, maker).await?)).await?;
    }
    Ok(())
}

/// Warns how long the existing partitions last.
async fn warn(conn: &mut AsyncPgConnection, today: i64) -> Result<(), StoreError> {
    let left: Count =
        diesel::sql_query("SELECT coalesce(max(day) - date '1970-01-01' - $1, -1)::bigint AS count FROM partitions")
            .bind::<sql_types::BigInt, _>(today)
            .get_result(conn)
            .await?;
    let grant = "GRANT EXECUTE ON FUNCTION hookwright_make_partition(date), hookwright_drop_partition(bigint) to it, \
                 as docs/guides/postgresql.md describes";
    if left.count < 0 {
        return Err(StoreError::Forbidden(format!(
            "there are no tables for today's events, and the role may not make any; {grant}"
        )));
    }
    if left.count < DAYS_AHEAD {
        tracing::warn!(
            days_left = left.count,
            "the database role may not make the tables of the days to come, and publishing ends in {} days; {grant}",
            left.count
        );
    }
    Ok(())
}

async fn make_day(conn: &mut AsyncPgConnection, day: i64, maker: Maker) -> QueryResult<()> {
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock($1 # {KEY_64})"))
        .bind::<sql_types::BigInt, _>(LOCK)
        .execute(conn)
        .await?;
    let end = first_at((day + 1) * DAY_US);
    let later: Count = diesel::sql_query("SELECT count(*) AS count FROM partitions WHERE end_id >= $1")
        .bind::<sql_types::BigInt, _>(end)
        .get_result(conn)
        .await?;
    if later.count > 0 {
        return Ok(());
    }
    if maker == Maker::Function {
        let text = format!("SELECT hookwright_make_partition(date '1970-01-01' + {day})");
        return session::batch(conn, &text).await;
    }
    // A partition begins where the previous one ends, also after days on which no server ran.
    let text = format!(
        "DO $$ DECLARE
             day date := date '1970-01-01' + {day};
             first bigint := (SELECT max(end_id) FROM partitions);
             lower text := coalesce(first::text, 'MINVALUE');
             parent text;
             name text;
         BEGIN
             FOREACH parent IN ARRAY ARRAY['{tables}'] LOOP
                 name := parent || '_' || to_char(day, 'YYYYMMDD');
                 EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
                 EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, name,
                     lower, '{end}');
             END LOOP;
             INSERT INTO partitions (day, first_id, end_id) VALUES (day, coalesce(first, 0), {end});
         END $$",
        tables = TABLES.join("', '"),
    );
    session::batch(conn, &text).await
}

/// Makes a step of retention in the caller's transaction, on a partition that ends after `after` and at or before
/// `before`. Events of a day with a pending delivery are removed one by one. Any other day is dropped as a whole: first
/// its request ids, in steps, then its tables.
///
/// A walk begins with `after` 0. It first drops the days that can be dropped as a whole, because removing events one by
/// one may take hours. Then it processes the others, oldest first.
pub(super) async fn expire(conn: &mut AsyncPgConnection, after: i64, before: i64) -> QueryResult<Step> {
    let Some(partition) = first(conn, after, before).await? else {
        return Ok(Step::default());
    };
    let end = partition.end_id;
    if partition.pending {
        return expire_one_by_one(conn, partition, after).await;
    }
    if partition.cleared_to < end {
        clear(conn, &partition).await?;
        let expired = Expired {
            // The next step uses the same partition, until there is nothing left to clear.
            next: Some(after),
            overdue: Some(end),
            ..Expired::default()
        };
        return Ok(expired.into());
    }
    let expired = Expired {
        events: drop_partition(conn, &partition).await?,
        // It is dropped: the walk begins again, with the next day that can be dropped as a whole.
        next: Some(if after == 0 { 0 } else { end - 1 }),
        overdue: Some(end),
        busy: None,
    };
    Ok(expired.into())
}

/// A step on a partition with pending deliveries.
async fn expire_one_by_one(conn: &mut AsyncPgConnection, partition: Partition, after: i64) -> QueryResult<Step> {
    let end = partition.end_id;
    let stretch = queries::expire_stretch(conn, after, end, EXPIRE_LOOK, EXPIRE_LIMIT).await?;
    if stretch.events > 0 {
        note_sparse(conn, &partition, true).await?;
    }
    let is_end = stretch.next.is_none();
    let is_sparse = partition.sparse || stretch.events > 0;
    Ok(Step {
        expired: Expired {
            next: stretch.next.or(Some(end - 1)),
            overdue: stretch.overdue.map(|_| end),
            ..stretch
        },
        sparse: (is_end && is_sparse).then_some(partition),
    })
}

/// Records whether single rows of a day were removed since its tables were written.
pub(super) async fn note_sparse(conn: &mut AsyncPgConnection, day: &Partition, sparse: bool) -> QueryResult<()> {
    diesel::sql_query("UPDATE partitions SET sparse = $2 WHERE end_id = $1 AND sparse <> $2")
        .bind::<sql_types::BigInt, _>(day.end_id)
        .bind::<sql_types::Bool, _>(sparse)
        .execute(conn)
        .await
        .map(drop)
}

/// The result of a step whose partition could not be dropped: the next step skips it.
pub(super) async fn pass_by(
    conn: &mut AsyncPgConnection,
    after: i64,
    before: i64,
    busy: String,
) -> QueryResult<Expired> {
    let end = first(conn, after, before).await?.map(|partition| partition.end_id);
    // At the beginning of a walk, older days may remain. From there on the walk processes all days in order.
    let oldest = first(conn, after.max(1), before)
        .await?
        .map(|partition| partition.end_id);
    Ok(Expired {
        events: 0,
        next: end.map(|end| if oldest == Some(end) { end - 1 } else { 1 }),
        overdue: end,
        busy: Some(busy),
    })
}

/// The partition of the next step: the oldest. At the beginning of a walk, the oldest that can be dropped as a whole,
/// if there is one.
async fn first(conn: &mut AsyncPgConnection, after: i64, before: i64) -> QueryResult<Option<Partition>> {
    let found: Vec<Partition> = diesel::sql_query(
        "SELECT to_char(day, 'YYYYMMDD') AS name, end_id, cleared_to, sparse, pending
         FROM partitions p, LATERAL (
             SELECT EXISTS (SELECT 1 FROM pending_deliveries d
                            WHERE d.delivery_id >= p.first_id AND d.delivery_id < p.end_id) AS pending) waits
         WHERE end_id <= $1 AND end_id - 1 > $2 ORDER BY $2 = 0 AND pending, end_id LIMIT 1",
    )
    .bind::<sql_types::BigInt, _>(before)
    .bind::<sql_types::BigInt, _>(after)
    .load(conn)
    .await?;
    Ok(found.into_iter().next())
}

/// Removes the request ids of the next events of a partition, and their links to the events that they replayed, and
/// records the progress.
async fn clear(conn: &mut AsyncPgConnection, partition: &Partition) -> QueryResult<()> {
    // A request id that expired and was used again belongs to a later event.
    let text = format!(
        "WITH step AS MATERIALIZED (
             SELECT id, organization_id, request_id, replay_of FROM events_{} WHERE id > $1 ORDER BY id LIMIT {CLEAR_LIMIT}
         ), keys AS (
             DELETE FROM idempotency_keys k USING step s
             WHERE k.organization_id = s.organization_id AND k.request_id = s.request_id AND k.event_id = s.id
         ), replays AS (
             DELETE FROM event_replays r USING step s WHERE r.replay_id = s.id AND s.replay_of IS NOT NULL
         )
         UPDATE partitions SET cleared_to = coalesce((SELECT max(id) FROM step), end_id) WHERE end_id = $2",
        partition.name
    );
    diesel::sql_query(text)
        .bind::<sql_types::BigInt, _>(partition.cleared_to)
        .bind::<sql_types::BigInt, _>(partition.end_id)
        .execute(conn)
        .await
        .map(drop)
}

/// Drops a partition without pending deliveries. Returns the approximate number of its events.
async fn drop_partition(conn: &mut AsyncPgConnection, partition: &Partition) -> QueryResult<usize> {
    session::batch(conn, &format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    if !may_change(conn).await? {
        let events: Count = diesel::sql_query("SELECT hookwright_drop_partition($1) AS count")
            .bind::<sql_types::BigInt, _>(partition.end_id)
            .get_result(conn)
            .await?;
        return Ok(usize::try_from(events.count).unwrap_or(0));
    }
    let name = &partition.name;
    let events: Count =
        diesel::sql_query("SELECT greatest(reltuples, 0)::bigint AS count FROM pg_class WHERE oid = to_regclass($1)")
            .bind::<sql_types::Text, _>(format!("events_{name}"))
            .get_result(conn)
            .await?;
    let tables: Vec<String> = TABLES.iter().map(|table| format!("{table}_{name}")).collect();
    let text = format!(
        "DROP TABLE {};
         DELETE FROM partitions WHERE end_id = {}",
        tables.join(", "),
        partition.end_id
    );
    session::batch(conn, &text).await?;
    Ok(usize::try_from(events.count).unwrap_or(0))
}
