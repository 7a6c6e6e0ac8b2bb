//! Detection of the session that holds back the vacuum. While its snapshot is old, deleted and updated rows stay, and
//! queues slow down.

use std::time::Duration;

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::vitals::LongTransaction;

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = sql_types::Integer)]
    pid: i32,
    #[diesel(sql_type = sql_types::Text)]
    application_name: String,
    #[diesel(sql_type = sql_types::Text)]
    user_name: String,
    #[diesel(sql_type = sql_types::Text)]
    client: String,
    #[diesel(sql_type = sql_types::Text)]
    state: String,
    #[diesel(sql_type = sql_types::BigInt)]
    age_us: i64,
}

/// The session with the oldest transaction that holds a snapshot, of this database or of a standby that sends feedback.
pub(super) async fn longest_transaction(conn: &mut AsyncPgConnection) -> QueryResult<Option<LongTransaction>> {
    let found: Vec<Session> = diesel::sql_query(
        "SELECT pid, coalesce(application_name, '') AS application_name, coalesce(usename::text, '') AS user_name,
                coalesce(host(client_addr), '') AS client, coalesce(state, '') AS state,
                (extract(epoch FROM clock_timestamp() - xact_start) * 1000000)::bigint AS age_us
         FROM pg_stat_activity
         WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
           AND (datname = current_database() OR backend_type = 'walsender')
         ORDER BY xact_start LIMIT 1",
    )
    .load(conn)
    .await?;
    Ok(found.into_iter().next().map(|session| LongTransaction {
        pid: session.pid,
        application_name: session.application_name,
        user: session.user_name,
        client: session.client,
        state: session.state,
        age: Duration::from_micros(session.age_us.max(0).unsigned_abs()),
    }))
}
