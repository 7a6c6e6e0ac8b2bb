//! Ordered deliveries: of each key of an ordered webhook the first one that is not final has a due time, and all others wait
//! behind it ([`crate::FOLLOWS`]). Whoever ends the first makes the next one due in the same transaction.

macro_rules! ordering_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Makes the next delivery of a key due now, by the schedule clock, and the caller's node its owner. False when there is none, or the first one
        /// is due already.
        pub(crate) $($asynchronous)* fn promote(
            conn: &mut Connection,
            node: i32,
            webhook: i64,
            key: &str,
            now: i64,
        ) -> QueryResult<bool> {
            let first: Option<(i64, i64)> = pending_deliveries::table
                .filter(pending_deliveries::webhook_id.eq(webhook))
                .filter(pending_deliveries::ordering_key.eq(key))
                .order(pending_deliveries::position)
                .select((pending_deliveries::delivery_id, pending_deliveries::due_at))
                .first(conn)$($wait)*
                .optional()?;
            let Some((delivery, FOLLOWS)) = first else { return Ok(false) };
            diesel::update(pending_deliveries::table.find(delivery))
                .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
                .execute(conn)$($wait)*?;
            Ok(true)
        }

        /// A delivery's pending row, with its key's order locked if it has one.
        $($asynchronous)* fn waiting_delivery(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
        ) -> QueryResult<Option<PendingRow>> {
            let read = pending_deliveries::table
                .find(delivery)
                .filter(pending_deliveries::organization_id.eq(organization))
                .select(PendingRow::as_select());
            let row: Option<PendingRow> = read.first(conn)$($wait)*.optional()?;
            match row {
                Some(row) if row.ordering_key.is_some() => {
                    lock_order(conn, &[row.webhook_id])$($wait)*?;
                    read.first(conn)$($wait)*.optional()
                }
                row => Ok(row),
            }
        }

        /// Ends a delivery that waits, for a reason.
        pub(crate) $($asynchronous)* fn end_delivery(
            conn: &mut Connection,
            node: i32,
            organization: i64,
            delivery: i64,
            reason: &str,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<Steered> {
            let Some(row) = waiting_delivery(conn, organization, delivery)$($wait)*? else {
                return Ok(Steered::NotWaiting);
            };
            let ending = EndingRow {
                delivery_id: delivery,
                event_id: row.event_id,
                organization_id: organization,
                webhook_id: row.webhook_id,
                state: ENDING_CANCELLED,
                reason: reason.to_owned(),
                ended_at: now,
            };
            diesel::insert_into(delivery_endings::table).values(ending).execute(conn)$($wait)*?;
            diesel::delete(pending_deliveries::table.find(delivery)).execute(conn)$($wait)*?;
            if let Some(key) = &row.ordering_key {
                promote(conn, node, row.webhook_id, key, $crate::clock::schedule_us())$($wait)*?;
            }
            note_changes(conn, organization, &[delivery])$($wait)*?;
            append_audit(conn, audit)$($wait)*?;
            Ok(Steered::Done { webhook: row.webhook_id })
        }

        /// Makes a delivery that waits due now, by the schedule clock.
        pub(crate) $($asynchronous)* fn retry_delivery(
            conn: &mut Connection,
            node: i32,
            organization: i64,
            delivery: i64,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<Steered> {
            let Some(row) = waiting_delivery(conn, organization, delivery)$($wait)*? else {
                return Ok(Steered::NotWaiting);
            };
            match row.due_at {
                FOLLOWS => return Ok(Steered::Follows),
                // It is in nobody's memory: whoever was asked may have it.
                PAUSED => {
                    diesel::update(pending_deliveries::table.find(delivery))
                        .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
                        .execute(conn)$($wait)*?;
                }
                _ => {
                    diesel::update(pending_deliveries::table.find(delivery))
                        .set(pending_deliveries::due_at.eq(now))
                        .execute(conn)$($wait)*?;
                }
            }
            append_audit(conn, audit)$($wait)*?;
            Ok(Steered::Done { webhook: row.webhook_id })
        }
    };
}
pub(crate) use ordering_queries;
