//! Tokens: see [`crate::tokens`].

use std::collections::HashMap;

use super::{FORGOTTEN_AT_ONCE, audit::append_audit, prelude::*};
use crate::{
    rows::{AuditRow, EndedSessionRow, RevokedLinkRow, TokenRow},
    schema::{ended_sessions, organizations, revoked_portal_links, tokens},
    tokens::{ListedToken, Revocation},
};

pub(crate) async fn insert_token(conn: &mut Connection, row: &TokenRow, audit: &AuditRow) -> QueryResult<()> {
    diesel::insert_into(tokens::table).values(row).execute(conn).await?;
    append_audit(conn, audit).await
}

/// Records an ended session, and deletes records that are no longer needed.
pub(crate) async fn insert_ended_session(
    conn: &mut Connection,
    row: &EndedSessionRow,
    and_before: Option<i64>,
    over: i64,
) -> QueryResult<()> {
    diesel::delete(ended_sessions::table.filter(ended_sessions::ended_until.le(over)))
        .execute(conn)
        .await?;
    diesel::insert_into(ended_sessions::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    let Some(began_at) = and_before else { return Ok(()) };
    let of_token = ended_sessions::table.filter(ended_sessions::token_id.eq(row.token_id));
    diesel::update(of_token.filter(ended_sessions::began_at.eq(began_at)))
        .set(ended_sessions::and_earlier.eq(true))
        .execute(conn)
        .await?;
    let of_token = ended_sessions::table.filter(ended_sessions::token_id.eq(row.token_id));
    diesel::delete(of_token.filter(ended_sessions::began_at.lt(began_at)))
        .execute(conn)
        .await
        .map(drop)
}

/// Records a revoked portal link, and deletes records of links that have expired since. Does nothing, and returns
/// false, if the organization has `most` of them.
pub(crate) async fn insert_revoked_link(
    conn: &mut Connection,
    row: &RevokedLinkRow,
    most: i64,
    over: i64,
    audit: &AuditRow,
) -> QueryResult<bool> {
    let ended = revoked_portal_links::table.filter(revoked_portal_links::revoked_until.le(over));
    diesel::delete(ended).execute(conn).await?;
    let count: i64 = revoked_portal_links::table
        .filter(revoked_portal_links::organization_id.eq(row.organization_id))
        .count()
        .get_result(conn)
        .await?;
    if count >= most {
        return Ok(false);
    }
    diesel::insert_into(revoked_portal_links::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    append_audit(conn, audit).await?;
    Ok(true)
}

pub(crate) async fn get_token(conn: &mut Connection, id: i64) -> QueryResult<Option<ListedToken>> {
    let found: Option<(TokenRow, Option<String>)> = tokens::table
        .left_join(organizations::table.on(tokens::organization_id.eq(organizations::id.nullable())))
        .filter(tokens::id.eq(id))
        .select((tokens::all_columns, organizations::name.nullable()))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(ListedToken::from))
}

/// Tokens with ids below an id, newest first; those of one organization, if one is given.
pub(crate) async fn list_tokens(
    conn: &mut Connection,
    organization: Option<i64>,
    before: i64,
    size: i64,
) -> QueryResult<Vec<ListedToken>> {
    let mut query = tokens::table
        .left_join(organizations::table.on(tokens::organization_id.eq(organizations::id.nullable())))
        .filter(tokens::id.lt(before))
        .order(tokens::id.desc())
        .limit(size)
        .select((tokens::all_columns, organizations::name.nullable()))
        .into_boxed();
    if let Some(organization) = organization {
        query = query.filter(tokens::organization_id.eq(organization));
    }
    let found: Vec<(TokenRow, Option<String>)> = query.load(conn).await?;
    Ok(found.into_iter().map(ListedToken::from).collect())
}

pub(crate) async fn token_names(conn: &mut Connection, ids: &[i64]) -> QueryResult<HashMap<i64, String>> {
    let known = tokens::table
        .filter(tokens::id.eq_any(ids))
        .select((tokens::id, tokens::name));
    let named: Vec<(i64, String)> = known.load(conn).await?;
    Ok(named.into_iter().collect())
}

/// How many tokens of an organization, or without an organization, are in force.
pub(crate) async fn count_tokens(conn: &mut Connection, organization: Option<i64>, now: i64) -> QueryResult<i64> {
    let mut query = tokens::table
        .filter(tokens::revoked_at.is_null())
        .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(now)))
        .count()
        .into_boxed();
    query = match organization {
        Some(organization) => query.filter(tokens::organization_id.eq(organization)),
        None => query.filter(tokens::organization_id.is_null()),
    };
    query.get_result(conn).await
}

/// Revokes a token that is not revoked yet, unless no token could administer the installation any more.
pub(crate) async fn revoke_token(
    conn: &mut Connection,
    id: i64,
    admin_scope: &str,
    now: i64,
    audit: &AuditRow,
) -> QueryResult<Revocation> {
    let admins: Vec<i64> = tokens::table
        .filter(tokens::scope.eq(admin_scope))
        .filter(tokens::organization_id.is_null())
        .filter(tokens::revoked_at.is_null())
        .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(now)))
        .select(tokens::id)
        .load(conn)
        .await?;
    if admins == [id] {
        return Ok(Revocation::LastAdmin);
    }
    let known = tokens::table.find(id).filter(tokens::revoked_at.is_null());
    let revoked = diesel::update(known)
        .set(tokens::revoked_at.eq(now))
        .execute(conn)
        .await?;
    if revoked == 0 {
        return Ok(Revocation::NothingToDo);
    }
    append_audit(conn, audit).await?;
    Ok(Revocation::Done)
}

pub(super) async fn revoke_tokens_of(conn: &mut Connection, organization: i64, now: i64) -> QueryResult<()> {
    let owned = tokens::table
        .filter(tokens::organization_id.eq(organization))
        .filter(tokens::revoked_at.is_null());
    diesel::update(owned)
        .set(tokens::revoked_at.eq(now))
        .execute(conn)
        .await
        .map(drop)
}

/// Removes tokens that were revoked or expired before a time.
pub(crate) async fn forget_tokens(conn: &mut Connection, before: i64) -> QueryResult<usize> {
    // Removes some of them: the caller repeats the call until none are left.
    let ended: Vec<i64> = tokens::table
        .filter(tokens::revoked_at.lt(before).or(tokens::expires_at.lt(before)))
        .order(tokens::id)
        .limit(FORGOTTEN_AT_ONCE)
        .select(tokens::id)
        .load(conn)
        .await?;
    diesel::delete(tokens::table.filter(tokens::id.eq_any(ended)))
        .execute(conn)
        .await
}
