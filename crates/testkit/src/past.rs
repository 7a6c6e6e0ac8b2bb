//! [`Past`]: the store of a stopped server, filled directly. In minutes it builds what months of use would build.
//!
//! Statements are SQL that both databases understand; [`Past::numbers`] and [`Past::bytes`] hide the differences. The
//! rows must be those that the server would have written, so that every invariant of the store holds afterwards.

use std::{ops::Range, path::PathBuf};

use anyhow::Context as _;
use tokio_postgres::NoTls;

/// How many numbers one step of [`Past::write`] covers.
const STEP: u64 = 250_000;
const DAY_US: i64 = 86_400_000_000;
/// The tables that PostgreSQL partitions by day.
const PARTITIONED: &str = "'events', 'attempts', 'delivery_endings'";

/// The store of a stopped server.
#[derive(Clone, Debug)]
pub enum Past {
    /// The SQLite file.
    Sqlite(PathBuf),
    /// The URL of the PostgreSQL database.
    Postgres(String),
}

impl Past {
    /// Whether the store is PostgreSQL.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Runs the SQL that `statements` returns for each range of the numbers below `count`. Each range has its own
    /// connection, so that temporary tables end with it.
    ///
    /// # Errors
    /// Fails if a statement fails.
    pub async fn write(&self, count: u64, statements: impl Fn(Range<u64>) -> String) -> anyhow::Result<()> {
        for from in (0..count).step_by(usize::try_from(STEP)?) {
            self.run(&statements(from..(from + STEP).min(count))).await?;
        }
        Ok(())
    }

    /// Updates PostgreSQL's statistics, as autovacuum would.
    ///
    /// # Errors
    /// Fails if the database refuses.
    pub async fn settle(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.run("VACUUM ANALYZE").await,
        }
    }

    /// Runs statements on a separate connection.
    ///
    /// # Errors
    /// Fails if one of them fails.
    pub async fn run(&self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(path) => sqlite(path.clone(), text).await,
            Self::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
                tokio::spawn(connection);
                client.batch_execute("SET synchronous_commit = off").await?;
                Ok(client.batch_execute(text).await?)
            }
        }
    }

    /// A query for the numbers of a range, as the column `n`.
    #[must_use]
    pub fn numbers(&self, Range { start, end }: Range<u64>) -> String {
        if self.is_postgres() {
            return format!("SELECT n FROM generate_series(CAST({start} AS BIGINT), {end} - 1) AS n");
        }
        // A recursive query always returns its first row.
        format!(
            "WITH RECURSIVE counter(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM counter WHERE n + 1 < {end}) \
             SELECT n FROM counter WHERE n < {end}"
        )
    }

    /// Bytes as a literal.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_postgres() {
            format!("CAST('\\x{hex}' AS BYTEA)")
        } else {
            format!("x'{hex}'")
        }
    }

    /// Creates the partitions from the day of `first_us` up to the oldest existing one, as a server that ran all the
    /// time would have. SQLite has none. `first_id` returns the smallest id at or after a time in microseconds.
    ///
    /// # Errors
    /// Fails if the database refuses.
    pub async fn make_partitions(&self, first_us: i64, first_id: impl Fn(i64) -> i64) -> anyhow::Result<()> {
        if !self.is_postgres() {
            return Ok(());
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the days are those of the database's servers, whose clocks are not changed yet"
        )]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let today = i64::try_from(now.as_micros())?.div_euclid(DAY_US);
        let days: Vec<String> = (first_us.div_euclid(DAY_US)..=today)
            .map(|day| format!("({day}, {}, {})", first_id(day * DAY_US), first_id((day + 1) * DAY_US)))
            .collect();
        self.run(&partitions(&days.join(", "))).await
    }
}

/// The first partition that a server created has no lower bound. It is limited to its own day, and each earlier day
/// gets a partition.
fn partitions(days: &str) -> String {
    format!(
        "CREATE TEMPORARY TABLE days (day, first, finish) AS SELECT * FROM (VALUES {days}) AS v;
         DO $$ DECLARE
             oldest record;
             made record;
             parent text;
             name text;
         BEGIN
             SELECT day, end_id INTO oldest FROM partitions ORDER BY end_id LIMIT 1;
             FOREACH parent IN ARRAY ARRAY[{PARTITIONED}] LOOP
                 name := parent || '_' || to_char(oldest.day, 'YYYYMMDD');
                 EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, name);
                 FOR made IN SELECT *, date '1970-01-01' + day::int AS at FROM days WHERE finish <= oldest.end_id LOOP
                     IF made.finish < oldest.end_id THEN
                         name := parent || '_' || to_char(made.at, 'YYYYMMDD');
                         EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
                     ELSE
                         name := parent || '_' || to_char(oldest.day, 'YYYYMMDD');
                     END IF;
                     EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, name,
                         made.first, made.finish);
                 END LOOP;
             END LOOP;
             DELETE FROM partitions WHERE day = oldest.day;
             INSERT INTO partitions (day, first_id, end_id)
                 SELECT date '1970-01-01' + day::int, first, finish FROM days WHERE finish <= oldest.end_id;
         END $$"
    )
}

async fn sqlite(path: PathBuf, text: &str) -> anyhow::Result<()> {
    use diesel::{Connection as _, connection::SimpleConnection as _};
    let text = format!("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -200000; {text}");
    tokio::task::spawn_blocking(move || {
        let path = path.to_str().context("a path in UTF-8")?;
        let mut conn = diesel::SqliteConnection::establish(path)?;
        conn.batch_execute(&text)?;
        Ok(())
    })
    .await?
}
