//! The partitions of the three tables that grow: one a day, made ahead, dropped whole when the day has outlived its
//! retention.
//!
//! The first one that was ever made has no lower end. There is no default partition: with one, PostgreSQL could not read
//! partitions in order, nor attach a new one without looking through it.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use hookwright_domain::id::first_at;

use super::{scope::KEY_64, session};
use crate::error::StoreError;

const TABLES: [&str; 3] = ["events", "attempts", "delivery_endings"];
/// How many days are made ahead, for a server that runs on while nobody makes any.
const DAYS_AHEAD: i64 = 14;
const DAY_US: i64 = 86_400_000_000;
/// Two servers that make partitions take turns.
const LOCK: i64 = 0x686f_6f6b_7772_0003;
/// Dropping waits for queries that read the tables, and whoever comes after it waits for it: not for long.
const LOCK_TIMEOUT: &str = "200ms";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = sql_types::BigInt)]
    count: i64,
}

#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Partition {
    #[diesel(sql_type = sql_types::Text)]
    name: String,
    #[diesel(sql_type = sql_types::BigInt)]
    pub(super) end_id: i64,
    #[diesel(sql_type = sql_types::Bool)]
    pub(super) pending: bool,
}

/// Makes the partitions from today on that are not there. Each is a transaction of its own.
pub(super) async fn make(conn: &mut AsyncPgConnection, now_us: i64) -> Result<(), StoreError> {
    let today = now_us.div_euclid(DAY_US);
    for day in today..=today + DAYS_AHEAD {
        session::transaction(conn, async |conn| Ok(make_day(conn, day).await?)).await?;
    }
    Ok(())
}

async fn make_day(conn: &mut AsyncPgConnection, day: i64) -> QueryResult<()> {
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
    // Where the one before ends, this one begins: also after days on which no server ran.
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

/// The oldest partition that lies whole before an id.
pub(super) async fn oldest(conn: &mut AsyncPgConnection, before: i64) -> QueryResult<Option<Partition>> {
    let found: Vec<Partition> = diesel::sql_query(
        "SELECT to_char(day, 'YYYYMMDD') AS name, end_id,
                EXISTS (SELECT 1 FROM pending_deliveries d
                        WHERE d.delivery_id >= p.first_id AND d.delivery_id < p.end_id) AS pending
         FROM partitions p WHERE end_id <= $1 ORDER BY end_id LIMIT 1",
    )
    .bind::<sql_types::BigInt, _>(before)
    .load(conn)
    .await?;
    Ok(found.into_iter().next())
}

/// Drops a partition of which nothing is pending, in the transaction of the caller. Returns about how many events it held.
pub(super) async fn drop_partition(conn: &mut AsyncPgConnection, partition: &Partition) -> QueryResult<usize> {
    let name = &partition.name;
    let events: Count =
        diesel::sql_query("SELECT greatest(reltuples, 0)::bigint AS count FROM pg_class WHERE oid = to_regclass($1)")
            .bind::<sql_types::Text, _>(format!("events_{name}"))
            .get_result(conn)
            .await?;
    let tables: Vec<String> = TABLES.iter().map(|table| format!("{table}_{name}")).collect();
    let text = format!(
        "SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
         DELETE FROM idempotency_keys k USING events_{name} e
             WHERE k.organization_id = e.organization_id AND k.request_id = e.request_id;
         DELETE FROM event_replays r USING events_{name} e WHERE r.replay_id = e.id AND e.replay_of IS NOT NULL;
         DROP TABLE {};
         DELETE FROM partitions WHERE end_id = {}",
        tables.join(", "),
        partition.end_id
    );
    session::batch(conn, &text).await?;
    Ok(usize::try_from(events.count).unwrap_or(0))
}
