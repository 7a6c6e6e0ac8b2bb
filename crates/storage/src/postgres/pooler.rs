//! Finds out whether a pooler in transaction mode, such as PgBouncer, stands before PostgreSQL.
//!
//! There, each transaction of a connection may run in another session. The locks that keep two servers from committing for the
//! same node belong to a session, and so do notices and settings: none of them would hold. A pooler in session mode does no harm.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How often to look: a pooler may give a connection the same session several times by chance.
const ROUNDS: usize = 4;
/// How long a connection waits for a session before it is clear that another connection has the only one.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether two connections show that their sessions are shared or change.
///
/// # Errors
/// When PostgreSQL does not answer, or refuses.
pub(super) async fn is_transaction_mode(one: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    let first = session(one).await?;
    for _ in 0..ROUNDS {
        // While the other connection is in a transaction its session is taken.
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

/// Which session of the server answers.
async fn session(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query("SELECT pg_backend_pid()").await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
