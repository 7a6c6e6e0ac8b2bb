//! The audit log: see [`crate::audit`].

use hookwright_domain::id::first_at;

use super::{FORGOTTEN_AT_ONCE, prelude::*};
use crate::{
    audit::{AuditFilter, ListedAudit},
    rows::AuditRow,
    schema::{audit_log, organizations},
    walk::cut,
};

/// How many entries one query reads.
const STRETCH: i64 = 100;
/// How many queries one call makes.
const STRETCHES_MAX: usize = 10;

pub(crate) async fn append_audit(conn: &mut Connection, row: &AuditRow) -> QueryResult<()> {
    diesel::insert_into(audit_log::table)
        .values(row)
        .execute(conn)
        .await
        .map(drop)
}

/// Entries with ids below `before`, newest first, and the id below which the next page begins, if there may be more.
/// Reads a bounded number of entries, so a page may have fewer.
pub(crate) async fn list_audit(
    conn: &mut Connection,
    filter: &AuditFilter,
    before: i64,
    size: usize,
) -> QueryResult<(Vec<ListedAudit>, Option<i64>)> {
    let mut found = Vec::new();
    let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
    let from = filter.start_us.map_or(0, first_at);
    for _ in 0..STRETCHES_MAX {
        let mut query = audit_log::table
            .left_join(organizations::table.on(audit_log::organization_id.eq(organizations::id.nullable())))
            .filter(audit_log::id.lt(below))
            .order(audit_log::id.desc())
            .limit(STRETCH)
            .select((audit_log::all_columns, organizations::name.nullable()))
            .into_boxed();
        if let Some(organization) = filter.organization_id {
            query = query.filter(audit_log::organization_id.eq(organization));
        }
        let mut lines: Vec<(AuditRow, Option<String>)> = query.load(conn).await?;
        let full = cut(&mut lines, STRETCH, |(row, _)| row.id >= from);
        for (row, organization) in lines {
            below = row.id;
            if !filter.matches(&row) {
                continue;
            }
            found.push(ListedAudit { row, organization });
            if found.len() == size {
                return Ok((found, Some(below)));
            }
        }
        if !full {
            return Ok((found, None));
        }
    }
    Ok((found, Some(below)))
}

/// Removes entries before an id: at most `FORGOTTEN_AT_ONCE` per call.
pub(crate) async fn forget_audit(conn: &mut Connection, before: i64) -> QueryResult<usize> {
    let end: Option<i64> = audit_log::table
        .filter(audit_log::id.lt(before))
        .order(audit_log::id)
        .offset(FORGOTTEN_AT_ONCE)
        .select(audit_log::id)
        .first(conn)
        .await
        .optional()?;
    diesel::delete(audit_log::table.filter(audit_log::id.lt(end.unwrap_or(before))))
        .execute(conn)
        .await
}
