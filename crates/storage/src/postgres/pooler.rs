//! Detection of a pooler in transaction mode, such as PgBouncer, between this server and PostgreSQL.
//!
//! With such a pooler, each transaction of a connection may run in another session. The locks that keep two servers
//! from committing for the same node belong to a session, and so do notices and settings, so none of them would work. A
//! pooler in session mode does no harm.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How many rounds to check: by chance a pooler may give a connection the same session several times.
const ROUNDS: usize = 4;
/// How long a connection waits for a session before it is clear that another connection holds the only one.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether two connections show that their sessions are shared or change.
///
/// # Errors
/// Fails if PostgreSQL refuses or does not answer.
pub(super) async fn is_transaction_mode(one: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    let first = session(one).await?;
    for _ in 0..ROUNDS {
        // While the other connection is in a transaction, its session is occupied.
        other.simple_query("BEGIN").await?;
        let taken = session(other).await?;
        let Ok(now) = timeout(PATIENCE, session(one)).await else {
            return Ok(true);
        };
        let now = now?;
        other.simple_query("COMMIT").await?;
        if taken == first || now != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server's session that answers.
async fn session(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query("SELECT pg_backend_pid()").await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
