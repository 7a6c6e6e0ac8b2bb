//! The shared queries, for PostgreSQL.

use diesel::{
    ExpressionMethods as _, IntoSql as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    result::QueryResult,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{batch::*, row_event::*};

crate::queries::catalogue::catalogue_queries!(AsyncPgConnection, [async], [.await]);
crate::queries::queue::queue_queries!([async], [.await]);
crate::queries::history::history_queries!([async], [.await]);
crate::queries::ordering::ordering_queries!([async], [.await]);
crate::queries::retention::retention_queries!([async], [.await]);

/// Order locks of webhooks are this, changed by the webhook's id.
const ORDER_LOCK: i64 = 0x686f_6f6b_0000_0000;

/// Two nodes must not decide at once which delivery of a key is the first. Always in the same order, so that nobody waits for
/// somebody who waits.
pub(crate) async fn lock_order(conn: &mut AsyncPgConnection, webhooks: &[i64]) -> QueryResult<()> {
    let mut locks: Vec<i64> = webhooks.iter().map(|webhook| webhook ^ ORDER_LOCK).collect();
    locks.sort_unstable();
    locks.dedup();
    diesel::sql_query("SELECT pg_advisory_xact_lock(l) FROM unnest($1) AS l")
        .bind::<diesel::sql_types::Array<diesel::sql_types::BigInt>, _>(&locks)
        .execute(conn)
        .await
        .map(drop)
}
