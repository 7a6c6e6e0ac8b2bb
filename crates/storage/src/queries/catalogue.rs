//! Configuration: organizations, event types, webhooks, secrets, settings.

use super::{
    ID_CHUNK,
    audit::append_audit,
    dialect::locked_health,
    operations::{begin_operation, keep_order, release_order},
    prelude::*,
    tokens::revoke_tokens_of,
};
use crate::{
    configuration::CatalogueRows,
    operations::{Begun, OPERATION_RUNNING, OperationKind, OperationRow},
    rows::{
        AuditRow, Disabling, EventTypeRow, FailingRule, OrganizationRow, SchemaRow, SecretRow, UpdateOutcome,
        WebhookRow,
    },
    schema::{
        ended_sessions, event_type_schemas, event_types, operations, organizations, revoked_portal_links, settings,
        signing_secrets, tokens, webhook_health, webhook_successes, webhooks,
    },
};

pub(crate) async fn load_catalogue(conn: &mut Connection) -> QueryResult<CatalogueRows> {
    Ok(CatalogueRows {
        organizations: organizations::table
            .filter(organizations::deleted_at.is_null())
            .load(conn)
            .await?,
        event_types: event_types::table.load(conn).await?,
        webhooks: webhooks::table
            .filter(webhooks::deleted_at.is_null())
            .load(conn)
            .await?,
        signing_secrets: signing_secrets::table.load(conn).await?,
        tokens: tokens::table.load(conn).await?,
        ended_sessions: ended_sessions::table.load(conn).await?,
        revoked_links: revoked_portal_links::table.load(conn).await?,
        discards: operations::table
            .filter(operations::state.eq(OPERATION_RUNNING))
            .filter(operations::kind.eq(OperationKind::DiscardBacklog.as_str()))
            .load(conn)
            .await?,
    })
}

pub(crate) async fn insert_organization(
    conn: &mut Connection,
    row: &OrganizationRow,
    audit: &AuditRow,
) -> QueryResult<()> {
    diesel::insert_into(organizations::table)
        .values(row)
        .execute(conn)
        .await?;
    append_audit(conn, audit).await
}

/// Changes the mutable fields of an organization.
pub(crate) async fn update_organization(
    conn: &mut Connection,
    row: &OrganizationRow,
    audit: &AuditRow,
) -> QueryResult<()> {
    diesel::update(organizations::table.find(row.id))
        .set((
            organizations::display_name.eq(&row.display_name),
            organizations::updated_at.eq(row.updated_at),
        ))
        .execute(conn)
        .await?;
    append_audit(conn, audit).await
}

/// Marks an organization and its webhooks as deleted, and revokes its tokens. Cancels their pending deliveries, or
/// begins an operation to do so. The number of webhooks and of tokens is limited, because each needs one statement.
pub(crate) async fn delete_organization(
    conn: &mut Connection,
    id: i64,
    now: i64,
    audit: &AuditRow,
) -> QueryResult<Begun> {
    diesel::update(organizations::table.find(id))
        .set(organizations::deleted_at.eq(now))
        .execute(conn)
        .await?;
    let owned: Vec<i64> = webhooks::table
        .filter(webhooks::organization_id.eq(id))
        .filter(webhooks::deleted_at.is_null())
        .select(webhooks::id)
        .load(conn)
        .await?;
    for owned in owned.chunks(ID_CHUNK) {
        diesel::update(webhooks::table.filter(webhooks::id.eq_any(owned)))
            .set((webhooks::deleted_at.eq(now), webhooks::active.eq(false)))
            .execute(conn)
            .await?;
        diesel::delete(webhook_health::table.filter(webhook_health::webhook_id.eq_any(owned)))
            .execute(conn)
            .await?;
    }
    revoke_tokens_of(conn, id, now).await?;
    append_audit(conn, audit).await?;
    let operation = OperationRow::of_change(OperationKind::DeleteOrganization, id, None, audit);
    begin_operation(conn, &operation).await
}

pub(crate) async fn insert_event_type(conn: &mut Connection, row: &EventTypeRow, audit: &AuditRow) -> QueryResult<()> {
    diesel::insert_into(event_types::table)
        .values(row)
        .execute(conn)
        .await?;
    keep_schema(conn, row).await?;
    append_audit(conn, audit).await
}

pub(crate) async fn update_event_type(conn: &mut Connection, row: &EventTypeRow, audit: &AuditRow) -> QueryResult<()> {
    diesel::update(event_types::table.find(row.id))
        .set(row)
        .execute(conn)
        .await?;
    keep_schema(conn, row).await?;
    append_audit(conn, audit).await
}

/// Deletes an event type with all its schemas.
pub(crate) async fn delete_event_type(conn: &mut Connection, id: i64, audit: &AuditRow) -> QueryResult<()> {
    diesel::delete(event_type_schemas::table.filter(event_type_schemas::event_type_id.eq(id)))
        .execute(conn)
        .await?;
    diesel::delete(event_types::table.find(id)).execute(conn).await?;
    append_audit(conn, audit).await
}

/// Keeps the schema of an event type if its version is new.
async fn keep_schema(conn: &mut Connection, row: &EventTypeRow) -> QueryResult<()> {
    if row.schema_version == 0 {
        return Ok(());
    }
    diesel::insert_into(event_type_schemas::table)
        .values((
            event_type_schemas::event_type_id.eq(row.id),
            event_type_schemas::version.eq(row.schema_version),
            event_type_schemas::json_schema.eq(row.json_schema.as_deref()),
            event_type_schemas::created_at.eq(row.updated_at),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await
        .map(drop)
}

/// The earlier schemas of an event type, below a version, newest first.
pub(crate) async fn event_type_schemas_of(
    conn: &mut Connection,
    event_type: i64,
    before: i32,
    size: i64,
) -> QueryResult<Vec<SchemaRow>> {
    event_type_schemas::table
        .filter(event_type_schemas::event_type_id.eq(event_type))
        .filter(event_type_schemas::version.lt(before))
        .order(event_type_schemas::version.desc())
        .limit(size)
        .load(conn)
        .await
}

pub(crate) async fn insert_webhook(
    conn: &mut Connection,
    row: &WebhookRow,
    secret: &SecretRow,
    audit: &AuditRow,
) -> QueryResult<()> {
    diesel::insert_into(webhooks::table).values(row).execute(conn).await?;
    diesel::insert_into(signing_secrets::table)
        .values(secret)
        .execute(conn)
        .await?;
    append_audit(conn, audit).await
}

/// Updates a webhook if its version is still `version`.
pub(crate) async fn update_webhook(
    conn: &mut Connection,
    row: &WebhookRow,
    version: i64,
    audit: &AuditRow,
) -> QueryResult<UpdateOutcome> {
    let known = webhooks::table
        .filter(webhooks::id.eq(row.id))
        .filter(webhooks::version.eq(version))
        .filter(webhooks::deleted_at.is_null());
    if row.active {
        // A webhook that is activated starts without earlier failures.
        let off = known.filter(webhooks::active.eq(false)).select(webhooks::id);
        let off: Option<i64> = off.first(conn).await.optional()?;
        if off.is_some() {
            diesel::delete(webhook_health::table.find(row.id)).execute(conn).await?;
        }
    }
    if diesel::update(known).set(row).execute(conn).await? == 0 {
        return Ok(UpdateOutcome::Stale);
    }
    append_audit(conn, audit).await?;
    if row.ordered {
        keep_order(conn, row).await?;
        return Ok(UpdateOutcome::Updated);
    }
    let release = OperationKind::ReleaseOrder;
    let release = OperationRow::of_change(release, row.organization_id, Some(row.id), audit);
    Ok(if release_order(conn, &release).await? {
        UpdateOutcome::Releasing
    } else {
        UpdateOutcome::Updated
    })
}

/// Disables a webhook if its version is still `version`. With a rule, it does so only if the webhook has only failed at
/// every node by that rule.
pub(crate) async fn disable_webhook(
    conn: &mut Connection,
    row: &WebhookRow,
    version: i64,
    rule: Option<FailingRule>,
    audit: &AuditRow,
) -> QueryResult<Disabling> {
    if let Some(rule) = rule
        && !has_only_failed(conn, row.id, rule).await?
    {
        return Ok(Disabling::Kept);
    }
    Ok(match update_webhook(conn, row, version, audit).await? {
        UpdateOutcome::Updated => Disabling::Disabled,
        UpdateOutcome::Releasing => Disabling::Releasing,
        UpdateOutcome::Stale => Disabling::Kept,
    })
}

/// Whether a webhook has only failed, by a rule. Locks its failures, so that a node that stores a success waits.
pub(crate) async fn has_only_failed(conn: &mut Connection, webhook: i64, rule: FailingRule) -> QueryResult<bool> {
    let Some((since, failures)) = locked_health(conn, webhook).await? else {
        return Ok(false);
    };
    let succeeded: Option<i64> = webhook_successes::table
        .find(webhook)
        .select(webhook_successes::at)
        .first(conn)
        .await
        .optional()?;
    Ok(rule.is_met(since, failures, succeeded))
}

/// Marks a webhook as deleted. Cancels its pending deliveries in the store, or begins an operation to do so. The engine
/// ends those in memory.
pub(crate) async fn delete_webhook(conn: &mut Connection, id: i64, now: i64, audit: &AuditRow) -> QueryResult<Begun> {
    let organization: i64 = webhooks::table
        .find(id)
        .select(webhooks::organization_id)
        .first(conn)
        .await?;
    diesel::update(webhooks::table.find(id))
        .set((webhooks::deleted_at.eq(now), webhooks::active.eq(false)))
        .execute(conn)
        .await?;
    diesel::delete(webhook_successes::table.find(id)).execute(conn).await?;
    diesel::delete(webhook_health::table.find(id)).execute(conn).await?;
    append_audit(conn, audit).await?;
    let operation = OperationRow::of_change(OperationKind::DeleteWebhook, organization, Some(id), audit);
    begin_operation(conn, &operation).await
}

/// Reactivates a webhook if its version is still `version`. With `discard`, cancels its pending deliveries, or begins
/// an operation to do so. `None` if the version has changed.
pub(crate) async fn resume_webhook(
    conn: &mut Connection,
    row: &WebhookRow,
    version: i64,
    discard: bool,
    audit: &AuditRow,
) -> QueryResult<Option<Begun>> {
    if update_webhook(conn, row, version, audit).await? == UpdateOutcome::Stale {
        return Ok(None);
    }
    if !discard {
        return Ok(Some(Begun::default()));
    }
    let discard = OperationKind::DiscardBacklog;
    let operation = OperationRow::of_change(discard, row.organization_id, Some(row.id), audit);
    begin_operation(conn, &operation).await.map(Some)
}

/// Adds a secret and lets the previous one expire. Older ones expire at once.
pub(crate) async fn rotate_secret(
    conn: &mut Connection,
    new: &SecretRow,
    old_expires_at: i64,
    audit: &AuditRow,
) -> QueryResult<()> {
    let of_webhook = signing_secrets::table.filter(signing_secrets::webhook_id.eq(new.webhook_id));
    diesel::delete(of_webhook.filter(signing_secrets::expires_at.is_not_null()))
        .execute(conn)
        .await?;
    let old = signing_secrets::table.filter(signing_secrets::webhook_id.eq(new.webhook_id));
    diesel::update(old)
        .set(signing_secrets::expires_at.eq(old_expires_at))
        .execute(conn)
        .await?;
    diesel::insert_into(signing_secrets::table)
        .values(new)
        .execute(conn)
        .await?;
    append_audit(conn, audit).await
}

/// Removes the secrets of a webhook except the newest one.
pub(crate) async fn expire_secrets(conn: &mut Connection, webhook: i64, audit: &AuditRow) -> QueryResult<()> {
    let old = signing_secrets::table
        .filter(signing_secrets::webhook_id.eq(webhook))
        .filter(signing_secrets::expires_at.is_not_null());
    diesel::delete(old).execute(conn).await?;
    append_audit(conn, audit).await
}

pub(crate) async fn setting(conn: &mut Connection, key: &str) -> QueryResult<Option<Vec<u8>>> {
    settings::table
        .find(key)
        .select(settings::value)
        .first(conn)
        .await
        .optional()
}

pub(crate) async fn put_setting(conn: &mut Connection, key: &str, value: &[u8]) -> QueryResult<()> {
    let row = (settings::key.eq(key), settings::value.eq(value));
    diesel::insert_into(settings::table)
        .values(row)
        .on_conflict(settings::key)
        .do_update()
        .set(settings::value.eq(value))
        .execute(conn)
        .await
        .map(drop)
}
