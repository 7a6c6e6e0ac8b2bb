//! Configuration: organizations, event types, webhooks, secrets, tokens, settings, and the audit log.

macro_rules! catalogue_queries {
    ($connection:ty, [$($asynchronous:tt)*], [$($wait:tt)*]) => {
        use $crate::rows::*;
        use $crate::schema::*;

        type Connection = $connection;

        pub(crate) $($asynchronous)* fn load_catalogue(conn: &mut Connection) -> QueryResult<CatalogueRows> {
            Ok(CatalogueRows {
                organizations: organizations::table
                    .filter(organizations::deleted_at.is_null())
                    .load(conn)$($wait)*?,
                event_types: event_types::table.load(conn)$($wait)*?,
                webhooks: webhooks::table.filter(webhooks::deleted_at.is_null()).load(conn)$($wait)*?,
                signing_secrets: signing_secrets::table.load(conn)$($wait)*?,
                tokens: tokens::table.load(conn)$($wait)*?,
            })
        }

        pub(crate) $($asynchronous)* fn append_audit(conn: &mut Connection, row: &AuditRow) -> QueryResult<()> {
            diesel::insert_into(audit_log::table).values(row).execute(conn)$($wait)*.map(drop)
        }

        pub(crate) $($asynchronous)* fn insert_organization(
            conn: &mut Connection,
            row: &OrganizationRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(organizations::table).values(row).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Marks an organization and its webhooks as deleted, and cancels what is pending for them.
        pub(crate) $($asynchronous)* fn delete_organization(
            conn: &mut Connection,
            id: i64,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::update(organizations::table.find(id))
                .set(organizations::deleted_at.eq(now))
                .execute(conn)$($wait)*?;
            let owned = webhooks::table
                .filter(webhooks::organization_id.eq(id))
                .filter(webhooks::deleted_at.is_null())
                .select(webhooks::id)
                .load::<i64>(conn)$($wait)*?;
            for webhook in owned {
                mark_webhook_deleted(conn, webhook, now)$($wait)*?;
            }
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn insert_event_type(
            conn: &mut Connection,
            row: &EventTypeRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(event_types::table).values(row).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn update_event_type(
            conn: &mut Connection,
            row: &EventTypeRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::update(event_types::table.find(row.id)).set(row).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn insert_webhook(
            conn: &mut Connection,
            row: &WebhookRow,
            secret: &SecretRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(webhooks::table).values(row).execute(conn)$($wait)*?;
            diesel::insert_into(signing_secrets::table).values(secret).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Writes a webhook if its version is still `version`.
        pub(crate) $($asynchronous)* fn update_webhook(
            conn: &mut Connection,
            row: &WebhookRow,
            version: i64,
            audit: &AuditRow,
        ) -> QueryResult<UpdateOutcome> {
            let known = webhooks::table
                .filter(webhooks::id.eq(row.id))
                .filter(webhooks::version.eq(version))
                .filter(webhooks::deleted_at.is_null());
            if diesel::update(known).set(row).execute(conn)$($wait)*? == 0 {
                return Ok(UpdateOutcome::Stale);
            }
            if !row.ordered {
                release_order(conn, row.id, row.updated_at)$($wait)*?;
            }
            append_audit(conn, audit)$($wait)*?;
            Ok(UpdateOutcome::Updated)
        }

        pub(crate) $($asynchronous)* fn delete_webhook(
            conn: &mut Connection,
            id: i64,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            mark_webhook_deleted(conn, id, now)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Deliveries that wait in the store are cancelled by one statement each way; those in memory, by the engine.
        $($asynchronous)* fn mark_webhook_deleted(conn: &mut Connection, id: i64, now: i64) -> QueryResult<()> {
            diesel::update(webhooks::table.find(id))
                .set((webhooks::deleted_at.eq(now), webhooks::active.eq(false)))
                .execute(conn)$($wait)*?;
            cancel_pending(conn, id, now)$($wait)*?;
            diesel::delete(webhook_health::table.find(id)).execute(conn)$($wait)*.map(drop)
        }

        /// Cancels what waits in the store for a webhook that is gone.
        pub(crate) $($asynchronous)* fn cancel_pending(conn: &mut Connection, id: i64, now: i64) -> QueryResult<()> {
            let endings = pending_deliveries::table.filter(pending_deliveries::webhook_id.eq(id)).select((
                pending_deliveries::delivery_id,
                pending_deliveries::event_id,
                pending_deliveries::organization_id,
                pending_deliveries::webhook_id,
                ENDING_CANCELLED.into_sql::<diesel::sql_types::Integer>(),
                "webhook_deleted".into_sql::<diesel::sql_types::Text>(),
                now.into_sql::<diesel::sql_types::BigInt>(),
            ));
            diesel::insert_into(delivery_endings::table)
                .values(endings)
                .into_columns((
                    delivery_endings::delivery_id,
                    delivery_endings::event_id,
                    delivery_endings::organization_id,
                    delivery_endings::webhook_id,
                    delivery_endings::state,
                    delivery_endings::reason,
                    delivery_endings::ended_at,
                ))
                .execute(conn)$($wait)*?;
            diesel::delete(pending_deliveries::table.filter(pending_deliveries::webhook_id.eq(id)))
                .execute(conn)$($wait)*
                .map(drop)
        }

        /// Adds a secret and lets the one before it expire; older ones expire at once.
        pub(crate) $($asynchronous)* fn rotate_secret(
            conn: &mut Connection,
            new: &SecretRow,
            old_expires_at: i64,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            let of_webhook = signing_secrets::table.filter(signing_secrets::webhook_id.eq(new.webhook_id));
            diesel::delete(of_webhook.filter(signing_secrets::expires_at.is_not_null())).execute(conn)$($wait)*?;
            let old = signing_secrets::table.filter(signing_secrets::webhook_id.eq(new.webhook_id));
            diesel::update(old).set(signing_secrets::expires_at.eq(old_expires_at)).execute(conn)$($wait)*?;
            diesel::insert_into(signing_secrets::table).values(new).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Removes the secrets of a webhook but for the newest.
        pub(crate) $($asynchronous)* fn expire_secrets(
            conn: &mut Connection,
            webhook: i64,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            let old = signing_secrets::table
                .filter(signing_secrets::webhook_id.eq(webhook))
                .filter(signing_secrets::expires_at.is_not_null());
            diesel::delete(old).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn insert_token(
            conn: &mut Connection,
            row: &TokenRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(tokens::table).values(row).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn setting(conn: &mut Connection, key: &str) -> QueryResult<Option<Vec<u8>>> {
            settings::table.find(key).select(settings::value).first(conn)$($wait)*.optional()
        }

        pub(crate) $($asynchronous)* fn put_setting(conn: &mut Connection, key: &str, value: &[u8]) -> QueryResult<()> {
            let row = (settings::key.eq(key), settings::value.eq(value));
            diesel::insert_into(settings::table)
                .values(row)
                .on_conflict(settings::key)
                .do_update()
                .set(settings::value.eq(value))
                .execute(conn)$($wait)*
                .map(drop)
        }
    };
}
pub(crate) use catalogue_queries;
