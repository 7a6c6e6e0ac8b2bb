//! Configuration: organizations, event types, webhooks, secrets, settings.

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
                ended_sessions: ended_sessions::table.load(conn)$($wait)*?,
            })
        }

        pub(crate) $($asynchronous)* fn insert_organization(
            conn: &mut Connection,
            row: &OrganizationRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(organizations::table).values(row).execute(conn)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Marks an organization and its webhooks as deleted, cancels what is pending for them, and revokes its tokens.
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
            revoke_tokens_of(conn, id, now)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn insert_event_type(
            conn: &mut Connection,
            row: &EventTypeRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::insert_into(event_types::table).values(row).execute(conn)$($wait)*?;
            keep_schema(conn, row)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        pub(crate) $($asynchronous)* fn update_event_type(
            conn: &mut Connection,
            row: &EventTypeRow,
            audit: &AuditRow,
        ) -> QueryResult<()> {
            diesel::update(event_types::table.find(row.id)).set(row).execute(conn)$($wait)*?;
            keep_schema(conn, row)$($wait)*?;
            append_audit(conn, audit)$($wait)*
        }

        /// Keeps the schema of an event type if its version is new.
        $($asynchronous)* fn keep_schema(conn: &mut Connection, row: &EventTypeRow) -> QueryResult<()> {
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
                .execute(conn)$($wait)*
                .map(drop)
        }

        /// The schemas that an event type has had, below a version, newest first.
        pub(crate) $($asynchronous)* fn event_type_schemas_of(
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
                .load(conn)$($wait)*
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
            if row.active {
                // A webhook that is switched on begins anew.
                let off = known.filter(webhooks::active.eq(false)).select(webhooks::id);
                let off: Option<i64> = off.first(conn)$($wait)*.optional()?;
                if off.is_some() {
                    diesel::delete(webhook_health::table.find(row.id)).execute(conn)$($wait)*?;
                }
            }
            if diesel::update(known).set(row).execute(conn)$($wait)*? == 0 {
                return Ok(UpdateOutcome::Stale);
            }
            if !row.ordered {
                release_order(conn, row.id)$($wait)*?;
            }
            append_audit(conn, audit)$($wait)*?;
            Ok(UpdateOutcome::Updated)
        }

        /// Disables a webhook if its version is still `version`, and if by `rule` it has only failed at every node, where there is a
        /// rule.
        pub(crate) $($asynchronous)* fn disable_webhook(
            conn: &mut Connection,
            row: &WebhookRow,
            version: i64,
            rule: Option<FailingRule>,
            audit: &AuditRow,
        ) -> QueryResult<Disabling> {
            if let Some(rule) = rule
                && !has_only_failed(conn, row.id, rule)$($wait)*?
            {
                return Ok(Disabling::Kept);
            }
            Ok(match update_webhook(conn, row, version, audit)$($wait)*? {
                UpdateOutcome::Updated => Disabling::Disabled,
                UpdateOutcome::Stale => Disabling::Kept,
            })
        }

        /// Whether a webhook has only failed, by a rule. Its failures are locked: a node that stores a success waits.
        pub(crate) $($asynchronous)* fn has_only_failed(
            conn: &mut Connection,
            webhook: i64,
            rule: FailingRule,
        ) -> QueryResult<bool> {
            let Some((since, failures)) = locked_health(conn, webhook)$($wait)*? else { return Ok(false) };
            let succeeded: Option<i64> = webhook_successes::table
                .find(webhook)
                .select(webhook_successes::at)
                .first(conn)$($wait)*
                .optional()?;
            Ok(rule.is_met(since, failures, succeeded))
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
            cancel_pending(conn, id, "webhook_deleted", now)$($wait)*?;
            diesel::delete(webhook_successes::table.find(id)).execute(conn)$($wait)*?;
            diesel::delete(webhook_health::table.find(id)).execute(conn)$($wait)*.map(drop)
        }

        /// Writes a webhook that is active again if its version is still `version`, and cancels what waits for it if `discard`
        /// says so. Returns how many that were; `None` if the version is another one.
        pub(crate) $($asynchronous)* fn resume_webhook(
            conn: &mut Connection,
            row: &WebhookRow,
            version: i64,
            discard: bool,
            audit: &AuditRow,
        ) -> QueryResult<Option<usize>> {
            if update_webhook(conn, row, version, audit)$($wait)*? == UpdateOutcome::Stale {
                return Ok(None);
            }
            if !discard {
                return Ok(Some(0));
            }
            lock_order(conn, &[row.id])$($wait)*?;
            cancel_pending(conn, row.id, "backlog_discarded", row.updated_at)$($wait)*.map(Some)
        }

        /// Cancels what waits in the store for a webhook, for a reason.
        pub(crate) $($asynchronous)* fn cancel_pending(
            conn: &mut Connection,
            id: i64,
            reason: &str,
            now: i64,
        ) -> QueryResult<usize> {
            let waiting = pending_deliveries::table.filter(pending_deliveries::webhook_id.eq(id));
            let endings = waiting.select((
                pending_deliveries::delivery_id,
                pending_deliveries::event_id,
                pending_deliveries::organization_id,
                pending_deliveries::webhook_id,
                ENDING_CANCELLED.into_sql::<diesel::sql_types::Integer>(),
                reason.into_sql::<diesel::sql_types::Text>(),
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
            let cancelled: Vec<(i64, i64)> = waiting
                .select((pending_deliveries::organization_id, pending_deliveries::delivery_id))
                .load(conn)$($wait)*?;
            let organization = cancelled.as_slice().first().map_or(0, |(organization, _)| *organization);
            let deliveries: Vec<i64> = cancelled.into_iter().map(|(_, delivery)| delivery).collect();
            note_changes(conn, organization, &deliveries)$($wait)*?;
            diesel::delete(waiting).execute(conn)$($wait)*?;
            Ok(deliveries.len())
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
