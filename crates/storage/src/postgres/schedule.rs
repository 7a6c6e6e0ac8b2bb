//! The database's clock, from which the schedule clock starts: see [`crate::schedule`].

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{Postgres, nodes};
use crate::{
    clock,
    error::StoreError,
    schedule::{self, Record, SCHEDULE, Verdict, judge},
};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = sql_types::BigInt)]
    now: i64,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Binary>)]
    record: Option<Vec<u8>>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::BigInt>)]
    last_beat: Option<i64>,
}

/// A reading of the database's clock.
struct Look {
    /// The boot clock in the middle of the reading.
    boot: i64,
    /// The duration of the reading. The database's clock was read at some moment of it.
    took: i64,
    /// The database's clock.
    now: i64,
    record: Option<Record>,
    /// When any node last renewed its lease.
    last_beat: Option<i64>,
}

async fn look(conn: &mut AsyncPgConnection) -> QueryResult<Look> {
    let asked = clock::boot_us();
    let row: Row = diesel::sql_query(format!(
        "SELECT {} AS now, (SELECT value FROM settings WHERE key = '{SCHEDULE}') AS record,
                (SELECT max(heartbeat_at) FROM nodes) AS last_beat",
        nodes::now()
    ))
    .get_result(conn)
    .await?;
    let took = clock::boot_us() - asked;
    Ok(Look {
        boot: asked + took / 2,
        took,
        now: row.now,
        record: row.record.as_deref().and_then(Record::from_bytes),
        last_beat: row.last_beat,
    })
}

async fn write(conn: &mut AsyncPgConnection, record: Record) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind::<sql_types::Text, _>(SCHEDULE)
    .bind::<sql_types::Binary, _>(record.to_bytes())
    .execute(conn)
    .await?;
    // Times from before the clock was set back would mislead a later start, so they are replaced. A lease keeps its
    // length.
    let text =
        "UPDATE nodes SET heartbeat_at = $1, lease_until = $1 + lease_until - heartbeat_at WHERE heartbeat_at > $1";
    diesel::sql_query(text)
        .bind::<sql_types::BigInt, _>(record.reference)
        .execute(conn)
        .await
        .map(drop)
}

impl Postgres {
    /// Starts the schedule clock from the database's clock. Returns how far the database's clock was set back since any
    /// node last ran.
    pub(crate) async fn start_clock(&self) -> Result<i64, StoreError> {
        self.on_loan(async |conn| self.anchor(conn).await).await
    }

    /// Starts the schedule clock of a joining node. Changes of its own machine's clock since then do not count.
    pub(super) async fn anchor(&self, conn: &mut AsyncPgConnection) -> Result<i64, StoreError> {
        let look = look(conn).await?;
        let ahead = look.record.map_or(0, Record::ahead);
        let beat = look.last_beat.map_or(0, |beat| beat.saturating_add(ahead));
        let known = beat.max(look.record.map_or(0, |record| record.schedule));
        let (schedule, set_back) = schedule::start(ahead, look.now, known);
        clock::set_reference(look.boot, look.now);
        clock::set_schedule(look.boot, schedule);
        let record = Record {
            reference: look.now,
            schedule,
        };
        if set_back > 0 {
            write(conn, record).await?;
        }
        *self.distance.lock() = Some(if set_back > 0 { record.ahead() } else { ahead });
        Ok(set_back)
    }

    /// Compares the schedule clock with the database's clock. Returns how far the database's clock was set, if this
    /// node is the first to detect it.
    pub(super) async fn check_clock(&self, conn: &mut AsyncPgConnection) -> Result<i64, StoreError> {
        let look = look(conn).await?;
        let stored = look.record.map_or(0, Record::ahead);
        let decided = self.distance.lock().replace(stored).is_none_or(|known| known != stored);
        let schedule = clock::schedule_us() - (clock::boot_us() - look.boot);
        let ahead = look.now.saturating_add(stored).saturating_sub(schedule);
        if look.took < schedule::JUMP_MIN_US {
            clock::set_reference(look.boot, look.now);
        }
        let patience = i64::try_from(self.node.lease.as_micros()).unwrap_or(i64::MAX);
        match judge(ahead, look.took, decided, patience) {
            Verdict::Keep => Ok(0),
            Verdict::Follow(by) => {
                clock::set_schedule(look.boot, schedule + by);
                Ok(0)
            }
            Verdict::Set(by) => {
                let record = Record {
                    reference: look.now,
                    schedule,
                };
                write(conn, record).await?;
                *self.distance.lock() = Some(record.ahead());
                Ok(by)
            }
        }
    }
}
