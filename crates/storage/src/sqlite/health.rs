//! Statements that store webhook health: one per table, whose rows come as JSON.
//!
//! Each has a fixed text and an identity, so Diesel prepares it once per connection. Almost every commit of a busy server has
//! a webhook's first success of an interval, so preparing them per commit would be part of the price of each delivery.

use std::marker::PhantomData;

use diesel::{
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{BigInt, Integer, Text},
    sqlite::Sqlite,
};

use crate::rows::{HealthChange, HealthRow};

/// Stores the results of webhooks' attempts. Returns the health of those that failed.
pub(super) fn store(conn: &mut SqliteConnection, changes: &[HealthChange]) -> QueryResult<Vec<HealthRow>> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let successes = changes
        .iter()
        .filter_map(|change| Some([change.webhook_id, change.succeeded_at?, 0]));
    if let Some(successes) = rows(successes) {
        Statement::<EndFailures>::of(&successes).execute(conn)?;
        Statement::<NoteSuccesses>::of(&successes).execute(conn)?;
    }
    let failures = changes.iter().filter_map(|change| {
        let since = change.failing_since?;
        Some([change.webhook_id, since, i64::from(change.failures)])
    });
    let Some(failures) = rows(failures) else {
        return Ok(Vec::new());
    };
    let failing: Vec<(i64, i64, i32)> = Statement::<AddFailures>::of(&failures).load(conn)?;
    Ok(failing.into_iter().map(HealthRow::failing).collect())
}

/// Rows of numbers as JSON; `None` if there are none.
fn rows(rows: impl Iterator<Item = [i64; 3]>) -> Option<String> {
    let rows: Vec<String> = rows.map(|[a, b, c]| format!("[{a},{b},{c}]")).collect();
    (!rows.is_empty()).then(|| format!("[{}]", rows.join(",")))
}

/// The text of a statement, before and after its parameter.
trait Sql: 'static {
    const HEAD: &'static str;
    const TAIL: &'static str;
}

/// Ends the failures of webhooks that succeeded since they began.
struct EndFailures;

impl Sql for EndFailures {
    const HEAD: &'static str = "DELETE FROM webhook_health WHERE webhook_id IN ( \
        SELECT h.webhook_id FROM json_each(";
    const TAIL: &'static str = ") u CROSS JOIN webhook_health h \
        WHERE h.webhook_id = u.value ->> 0 AND h.failing_since <= u.value ->> 1)";
}

/// Stores when webhooks last succeeded.
struct NoteSuccesses;

impl Sql for NoteSuccesses {
    const HEAD: &'static str = "INSERT INTO webhook_successes (webhook_id, at) \
        SELECT value ->> 0, value ->> 1 FROM json_each(";
    const TAIL: &'static str = ") WHERE true ON CONFLICT (webhook_id) DO UPDATE SET at = max(at, excluded.at)";
}

/// Adds failures to what is stored, and returns the sum.
struct AddFailures;

impl Sql for AddFailures {
    const HEAD: &'static str = "INSERT INTO webhook_health (webhook_id, failing_since, failures) \
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(";
    const TAIL: &'static str = ") WHERE true ON CONFLICT (webhook_id) DO UPDATE SET \
        failing_since = min(failing_since, excluded.failing_since), \
        failures = min(failures + excluded.failures, 2147483647) \
        RETURNING webhook_id, failing_since, failures";
}

/// A statement whose one parameter is the rows, as JSON.
struct Statement<'a, S> {
    rows: &'a str,
    sql: PhantomData<S>,
}

impl<'a, S: Sql> Statement<'a, S> {
    fn of(rows: &'a str) -> Self {
        Self { rows, sql: PhantomData }
    }
}

impl<S: Sql> QueryId for Statement<'_, S> {
    type QueryId = Statement<'static, S>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: Sql> QueryFragment<Sqlite> for Statement<'_, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(S::HEAD);
        out.push_bind_param::<Text, _>(self.rows)?;
        out.push_sql(S::TAIL);
        Ok(())
    }
}

impl Query for Statement<'_, AddFailures> {
    type SqlType = (BigInt, BigInt, Integer);
}

impl<S, Conn> diesel::query_dsl::RunQueryDsl<Conn> for Statement<'_, S> {}
