//! The final content of the store, read without the server, by SQL that is the same on both stores.

use anyhow::Context as _;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_types};

use crate::{
    history::{Entry, History},
    nodes::Place,
};

/// The rows of the load. A webhook of an aged installation that is resumed gets a ping whose receiver is gone.
const LOAD: &str = "organization_id IN (SELECT id FROM organizations WHERE name IN ('torture', 'leavers'))";

/// Queries of rows from an id on, because an aged store contains far more than a run adds.
struct Queries {
    events: String,
    attempts: String,
    endings: String,
    pending: String,
    owed: String,
}

impl Queries {
    fn new(first: i64) -> Self {
        let of = |text: &str, column: &str| format!("{text} WHERE {column} >= {first} AND {LOAD}");
        Self {
            events: of("SELECT id, webhooks, request_id FROM events", "id") + " AND event_type = 'step'",
            attempts: of(
                "SELECT delivery_id, number, delivery_state, started_at, error_class FROM attempts",
                "delivery_id",
            ),
            endings: of("SELECT delivery_id, reason FROM delivery_endings", "delivery_id"),
            pending: of("SELECT delivery_id FROM pending_deliveries", "delivery_id"),
            owed: format!(
                "SELECT (SELECT count(*) FROM pending_deliveries WHERE delivery_id >= {first} AND {LOAD}) AS pending,
                    (SELECT coalesce(sum(length(webhooks) / 8), 0) FROM events WHERE id >= {first} AND {LOAD})
                    - (SELECT count(*) FROM attempts WHERE delivery_id >= {first} AND {LOAD} AND delivery_state <> 0)
                    - (SELECT count(*) FROM delivery_endings WHERE delivery_id >= {first} AND {LOAD}) AS unfinished"
            ),
        }
    }
}

#[derive(QueryableByName)]
struct EventRow {
    #[diesel(sql_type = sql_types::BigInt)]
    id: i64,
    #[diesel(sql_type = sql_types::Binary)]
    webhooks: Vec<u8>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    request_id: Option<String>,
}

#[derive(QueryableByName)]
struct AttemptRow {
    #[diesel(sql_type = sql_types::BigInt)]
    delivery_id: i64,
    #[diesel(sql_type = sql_types::Integer)]
    number: i32,
    #[diesel(sql_type = sql_types::Integer)]
    delivery_state: i32,
    #[diesel(sql_type = sql_types::BigInt)]
    started_at: i64,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    error_class: Option<String>,
}

#[derive(QueryableByName)]
struct EndingRow {
    #[diesel(sql_type = sql_types::BigInt)]
    delivery_id: i64,
    #[diesel(sql_type = sql_types::Text)]
    reason: String,
}

#[derive(QueryableByName)]
struct PendingRow {
    #[diesel(sql_type = sql_types::BigInt)]
    delivery_id: i64,
}

#[derive(QueryableByName)]
struct OwedRow {
    #[diesel(sql_type = sql_types::BigInt)]
    pending: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    unfinished: i64,
}

/// How many deliveries from an id on are not final.
pub(crate) async fn owed(place: &Place, first: i64) -> anyhow::Result<i64> {
    let query = Queries::new(first).owed;
    match place {
        Place::Sqlite { directory } => {
            let row: OwedRow = diesel::sql_query(query).get_result(&mut open(directory)?)?;
            Ok(row.pending.max(row.unfinished))
        }
        Place::Postgres { database, .. } => {
            let row = connect(database.url()).await?.query_one(&query, &[]).await?;
            let unfinished = row.try_get::<_, i64>(1);
            Ok(row.get::<_, i64>(0).max(unfinished.unwrap_or_default()))
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    number: i64,
}

/// The one `BIGINT` that a query returns, as the column `number`.
pub(crate) async fn number(place: &Place, query: &str) -> anyhow::Result<i64> {
    match place {
        Place::Sqlite { directory } => {
            let row: Number = diesel::sql_query(query).get_result(&mut open(directory)?)?;
            Ok(row.number)
        }
        Place::Postgres { database, .. } => {
            Ok(connect(database.url()).await?.query_one(query, &[]).await?.try_get(0)?)
        }
    }
}

/// Adds all rows from an id on that the checker needs to the history.
pub(crate) async fn dump(place: &Place, history: &History, first: i64) -> anyhow::Result<()> {
    let queries = Queries::new(first);
    match place {
        Place::Sqlite { directory } => {
            let conn = &mut open(directory)?;
            for row in diesel::sql_query(&queries.events).load::<EventRow>(conn)? {
                add_event(history, row.id, &row.webhooks, row.request_id);
            }
            for row in diesel::sql_query(&queries.attempts).load::<AttemptRow>(conn)? {
                history.add(&Entry::Attempt {
                    delivery: row.delivery_id,
                    number: row.number,
                    state: row.delivery_state,
                    started_at: row.started_at,
                    error: row.error_class,
                });
            }
            for row in diesel::sql_query(&queries.endings).load::<EndingRow>(conn)? {
                let (delivery, reason) = (row.delivery_id, row.reason);
                history.add(&Entry::Ending { delivery, reason });
            }
            for row in diesel::sql_query(&queries.pending).load::<PendingRow>(conn)? {
                let delivery = row.delivery_id;
                history.add(&Entry::Pending { delivery });
            }
        }
        Place::Postgres { database, .. } => {
            let client = connect(database.url()).await?;
            for row in client.query(&queries.events, &[]).await? {
                add_event(history, row.get(0), row.get(1), row.get(2));
            }
            for row in client.query(&queries.attempts, &[]).await? {
                history.add(&Entry::Attempt {
                    delivery: row.get(0),
                    number: row.get(1),
                    state: row.get(2),
                    started_at: row.get(3),
                    error: row.get(4),
                });
            }
            for row in client.query(&queries.endings, &[]).await? {
                let (delivery, reason) = (row.get(0), row.get(1));
                history.add(&Entry::Ending { delivery, reason });
            }
            for row in client.query(&queries.pending, &[]).await? {
                history.add(&Entry::Pending { delivery: row.get(0) });
            }
        }
    }
    Ok(())
}

fn add_event(history: &History, id: i64, webhooks: &[u8], request: Option<String>) {
    let webhooks = webhooks
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| i64::from_le_bytes(*chunk));
    history.add(&Entry::Event {
        id,
        request: request.unwrap_or_default(),
        webhooks: webhooks.collect(),
    });
}

pub(crate) fn open(directory: &std::path::Path) -> anyhow::Result<SqliteConnection> {
    let path = directory.join("hookwright.db");
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).context("the server's file")?;
    diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut conn)?;
    Ok(conn)
}

pub(crate) async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
