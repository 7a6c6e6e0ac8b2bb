//! Operations: see [`crate::operations`].

macro_rules! operations_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Deals with what an operation concerns if that is little; else begins it.
        pub(crate) $($asynchronous)* fn begin_operation(
            conn: &mut Connection,
            row: &OperationRow,
        ) -> QueryResult<Begun> {
            supersede(conn, row)$($wait)*?;
            if row.kind().keeps_webhook() {
                lock_order(conn, row.webhook_id.as_slice())$($wait)*?;
            }
            let most = i64::try_from(INLINE_ROWS).unwrap_or(i64::MAX);
            let mut looked = look(conn, row, row.place(), most + 1)$($wait)*?;
            for _ in 1..INLINE_LOOKS {
                let left = most + 1 - i64::try_from(looked.deliveries.len()).unwrap_or(most);
                if looked.complete || left <= 0 {
                    break;
                }
                let more = look(conn, row, looked.place, left)$($wait)*?;
                looked.deliveries.extend(more.deliveries);
                (looked.place, looked.complete) = (more.place, more.complete);
            }
            if looked.complete {
                let step = deal_with(conn, row, &looked, true)$($wait)*?;
                return Ok(Begun { rows: step.rows, operation: false });
            }
            diesel::insert_into(operations::table).values(row).execute(conn)$($wait)*?;
            Ok(Begun { rows: 0, operation: true })
        }

        /// Ends the operations that a later one makes pointless.
        $($asynchronous)* fn supersede(conn: &mut Connection, row: &OperationRow) -> QueryResult<()> {
            let mut running: Vec<(i64, Option<i64>, String)> = operations::table
                .filter(operations::organization_id.eq(row.organization_id))
                .filter(operations::state.eq(OPERATION_RUNNING))
                .select((operations::id, operations::webhook_id, operations::kind))
                .load(conn)$($wait)*?;
            running.retain(|(_, webhook, kind)| row.replaces(*webhook, kind));
            if running.is_empty() {
                return Ok(());
            }
            let ids: Vec<i64> = running.into_iter().map(|(id, _, _)| id).collect();
            diesel::update(operations::table.filter(operations::id.eq_any(ids)))
                .set((
                    operations::state.eq(OPERATION_CANCELLED),
                    operations::error.eq("a later change replaced it"),
                    operations::ended_at.eq(row.created_at),
                ))
                .execute(conn)$($wait)*
                .map(drop)
        }

        /// A webhook is not ordered any more: nothing waits behind anything. True where an operation does it.
        $($asynchronous)* fn release_order(conn: &mut Connection, row: &OperationRow) -> QueryResult<bool> {
            lock_order(conn, row.webhook_id.as_slice())$($wait)*?;
            if look_at_ordered(conn, row, 1)$($wait)*?.deliveries.is_empty() {
                return Ok(false);
            }
            Ok(begin_operation(conn, row)$($wait)*?.operation)
        }

        /// A webhook is ordered again: what still waits in order keeps it.
        pub(crate) $($asynchronous)* fn keep_order(conn: &mut Connection, row: &WebhookRow) -> QueryResult<()> {
            let release = operations::table
                .filter(operations::organization_id.eq(row.organization_id))
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::webhook_id.eq(row.id))
                .filter(operations::kind.eq(OperationKind::ReleaseOrder.as_str()));
            diesel::update(release)
                .set((
                    operations::state.eq(OPERATION_CANCELLED),
                    operations::error.eq("the webhook is ordered again"),
                    operations::ended_at.eq(row.updated_at),
                ))
                .execute(conn)$($wait)*
                .map(drop)
        }

        /// Looks at the next rows of a pass, `most` at most.
        $($asynchronous)* fn look(
            conn: &mut Connection,
            row: &OperationRow,
            from: Place,
            most: i64,
        ) -> QueryResult<Looked> {
            if row.kind() == OperationKind::ReleaseOrder {
                return look_at_ordered(conn, row, most)$($wait)*;
            }
            let mut looked = Looked { deliveries: Vec::new(), place: from, complete: false };
            let visited = match row.webhook_id {
                Some(webhook) => vec![Visited { id: webhook, waits: true }],
                None => next_webhooks(conn, row.organization_id, from.webhook, VISITED)$($wait)*?,
            };
            let last_visit = row.webhook_id.is_some()
                || i64::try_from(visited.len()).is_ok_and(|length| length < VISITED);
            for webhook in visited {
                if webhook.waits {
                    let place = if from.webhook == webhook.id { from } else { Place::before(webhook.id) };
                    let left = most - i64::try_from(looked.deliveries.len()).unwrap_or(most);
                    let seen = waiting_rows(conn, webhook.id, place, left)$($wait)*?;
                    let full = i64::try_from(seen.len()).is_ok_and(|length| length == left);
                    looked.deliveries.extend(seen.iter().map(|seen| seen.delivery_id));
                    if let Some(last) = seen.last().filter(|_| full) {
                        looked.place = Place {
                            webhook: webhook.id,
                            node: last.node,
                            due: last.due_at,
                            delivery: last.delivery_id,
                        };
                        return Ok(looked);
                    }
                }
                looked.place = Place::after(webhook.id);
            }
            looked.complete = last_visit;
            Ok(looked)
        }

        /// What is released leaves the index of ordered deliveries: the next rows are always the first.
        $($asynchronous)* fn look_at_ordered(
            conn: &mut Connection,
            row: &OperationRow,
            most: i64,
        ) -> QueryResult<Looked> {
            let deliveries: Vec<i64> = pending_deliveries::table
                .filter(pending_deliveries::webhook_id.eq(row.webhook_id.unwrap_or_default()))
                .filter(pending_deliveries::ordering_key.is_not_null())
                .limit(most)
                .select(pending_deliveries::delivery_id)
                .load(conn)$($wait)*?;
            Ok(Looked {
                place: Place::START,
                complete: i64::try_from(deliveries.len()).is_ok_and(|length| length < most),
                deliveries,
            })
        }

        /// Does to deliveries that were looked at what the operation is for.
        $($asynchronous)* fn deal_with(
            conn: &mut Connection,
            row: &OperationRow,
            looked: &Looked,
            wait: bool,
        ) -> QueryResult<OperationStep> {
            let chosen = looked.concerned(row.through);
            let (now, due_at) = ($crate::clock::now_us(), $crate::clock::schedule_us());
            let mut step = OperationStep::default();
            if chosen.is_empty() {
                return Ok(step);
            }
            if row.kind() == OperationKind::ReleaseOrder {
                step.rows = release_rows(conn, &chosen, due_at)$($wait)*?;
                step.due = true;
                return Ok(step);
            }
            let ended = end_rows(conn, &chosen, wait, row.kind().reason(), now)$($wait)*?;
            step.rows = ended.len();
            if row.kind() == OperationKind::DiscardBacklog {
                let mut keys: Vec<String> = ended.into_iter().filter_map(|row| row.ordering_key).collect();
                keys.sort_unstable();
                keys.dedup();
                if let (Some(webhook), [_, ..]) = (row.webhook_id, keys.as_slice()) {
                    // New deliveries of these keys wait behind what was ended.
                    step.due = promote_beyond(conn, webhook, row.through, &keys, due_at)$($wait)*? > 0;
                }
            }
            Ok(step)
        }

        /// Cancels deliveries that wait. Where it does not wait for others, those that somebody else works on just now are left.
        /// Returns those that were cancelled.
        $($asynchronous)* fn end_rows(
            conn: &mut Connection,
            deliveries: &[i64],
            wait: bool,
            reason: &str,
            now: i64,
        ) -> QueryResult<Vec<PendingRow>> {
            let rows = lock_pending(conn, deliveries, wait)$($wait)*?;
            let endings: Vec<EndingRow> = rows
                .iter()
                .map(|row| EndingRow {
                    delivery_id: row.delivery_id,
                    event_id: row.event_id,
                    organization_id: row.organization_id,
                    webhook_id: row.webhook_id,
                    state: ENDING_CANCELLED,
                    reason: reason.to_owned(),
                    ended_at: now,
                })
                .collect();
            insert_endings(conn, &endings)$($wait)*?;
            let ids: Vec<i64> = rows.iter().map(|row| row.delivery_id).collect();
            for ids in ids.chunks($crate::queries::queue::ID_CHUNK) {
                diesel::delete(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(ids)))
                    .execute(conn)$($wait)*?;
            }
            if let Some(first) = rows.as_slice().first() {
                note_changes(conn, first.organization_id, &ids)$($wait)*?;
            }
            Ok(rows)
        }

        /// Deliveries wait behind nothing any more.
        $($asynchronous)* fn release_rows(conn: &mut Connection, deliveries: &[i64], now: i64) -> QueryResult<usize> {
            let held = pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(deliveries));
            diesel::update(held.filter(pending_deliveries::due_at.ge(PAUSED)))
                .set(pending_deliveries::due_at.eq(now))
                .execute(conn)$($wait)*?;
            let held = pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(deliveries));
            diesel::update(held)
                .set((
                    pending_deliveries::ordering_key.eq(None::<String>),
                    pending_deliveries::position.eq(None::<i64>),
                ))
                .execute(conn)$($wait)*
        }

        /// Why nothing of a webhook is to be cancelled without an operation: `None` if it was deleted, and no operation looks after it.
        pub(crate) $($asynchronous)* fn stragglers_kept(
            conn: &mut Connection,
            webhook: i64,
        ) -> QueryResult<Option<Cancelled>> {
            let known: Option<(i64, Option<i64>)> = webhooks::table
                .find(webhook)
                .select((webhooks::organization_id, webhooks::deleted_at))
                .first(conn)$($wait)*
                .optional()?;
            let Some((organization, Some(_))) = known else {
                return Ok(Some(Cancelled::NotDeleted));
            };
            let running: Vec<Option<i64>> = operations::table
                .filter(operations::organization_id.eq(organization))
                .filter(operations::state.eq(OPERATION_RUNNING))
                .select(operations::webhook_id)
                .load(conn)$($wait)*?;
            let is_of_operation = running.iter().any(|of| of.is_none_or(|of| of == webhook));
            Ok(is_of_operation.then_some(Cancelled::ByOperation))
        }

        /// A step for a deleted webhook that no operation looks after. The caller may lag behind the configuration: whether the webhook
        /// was deleted is read here.
        pub(crate) $($asynchronous)* fn cancel_stragglers(
            conn: &mut Connection,
            webhook: i64,
            now: i64,
        ) -> QueryResult<Cancelled> {
            if let Some(kept) = stragglers_kept(conn, webhook)$($wait)*? {
                return Ok(kept);
            }
            let most = i64::try_from(INLINE_ROWS).unwrap_or(i64::MAX);
            let seen = waiting_rows(conn, webhook, Place::START, most)$($wait)*?;
            let full = seen.len() == INLINE_ROWS;
            let deliveries: Vec<i64> = seen.into_iter().map(|seen| seen.delivery_id).collect();
            end_rows(conn, &deliveries, true, OperationKind::DeleteWebhook.reason(), now)$($wait)*?;
            Ok(if full { Cancelled::More } else { Cancelled::All })
        }

        pub(crate) $($asynchronous)* fn get_operation(
            conn: &mut Connection,
            id: i64,
        ) -> QueryResult<Option<OperationRow>> {
            operations::table.find(id).first(conn)$($wait)*.optional()
        }

        pub(crate) $($asynchronous)* fn list_operations(
            conn: &mut Connection,
            organization: Option<i64>,
            before: i64,
            size: i64,
        ) -> QueryResult<Vec<OperationRow>> {
            let below = operations::table
                .filter(operations::id.lt(before))
                .order(operations::id.desc())
                .limit(size);
            match organization {
                Some(organization) => {
                    below.filter(operations::organization_id.eq(organization)).load(conn)$($wait)*
                }
                None => below.load(conn)$($wait)*,
            }
        }

        pub(crate) $($asynchronous)* fn running_operations(
            conn: &mut Connection,
            organization: Option<i64>,
            size: i64,
        ) -> QueryResult<Vec<OperationRow>> {
            let running = operations::table
                .filter(operations::state.eq(OPERATION_RUNNING))
                .order(operations::id)
                .limit(size);
            match organization {
                Some(organization) => {
                    running.filter(operations::organization_id.eq(organization)).load(conn)$($wait)*
                }
                None => running.load(conn)$($wait)*,
            }
        }

        pub(crate) $($asynchronous)* fn take_operations(
            conn: &mut Connection,
            node: i32,
            own: bool,
            most: i64,
            lease: i64,
        ) -> QueryResult<Vec<OperationRow>> {
            let now = $crate::clock::schedule_us();
            let owner = if own { node } else { NO_NODE };
            // A holder whose clock was ahead, and was corrected since, has written a lease that is too long.
            let too_long = now.saturating_add(2 * lease);
            let ids: Vec<i64> = operations::table
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::leased_until.lt(now).or(operations::leased_until.gt(too_long)).or(operations::node.eq(owner)))
                .order(operations::id)
                .limit(most)
                .select(operations::id)
                .load(conn)$($wait)*?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            // Another node may have taken one meanwhile.
            let free = operations::table
                .filter(operations::id.eq_any(ids))
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::leased_until.lt(now).or(operations::leased_until.gt(too_long)).or(operations::node.eq(owner)));
            diesel::update(free)
                .set((operations::node.eq(node), operations::leased_until.eq(now.saturating_add(lease))))
                .get_results(conn)$($wait)*
        }

        pub(crate) $($asynchronous)* fn count_operation(
            conn: &mut Connection,
            row: &OperationRow,
            from: Place,
        ) -> QueryResult<(i64, Option<Place>)> {
            let most = i64::try_from($crate::queries::queue::ID_CHUNK).unwrap_or(i64::MAX);
            if row.kind() == OperationKind::ReleaseOrder {
                // What is released leaves its index: there is no place to go on from, and how many there are stays unknown.
                return Ok((COUNTED_MAX, None));
            }
            let looked = look(conn, row, from, most)$($wait)*?;
            let concerned = looked.concerned(row.through).len();
            let next = (!looked.complete).then_some(looked.place);
            Ok((i64::try_from(concerned).unwrap_or(i64::MAX), next))
        }

        /// Renews the lease of an operation. False when this node does not have it any more.
        pub(crate) $($asynchronous)* fn renew_operation(
            conn: &mut Connection,
            id: i64,
            node: i32,
            lease: i64,
        ) -> QueryResult<bool> {
            let mine = operations::table
                .find(id)
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::node.eq(node));
            let renewed = diesel::update(mine)
                .set(operations::leased_until.eq($crate::clock::schedule_us().saturating_add(lease)))
                .execute(conn)$($wait)*?;
            Ok(renewed > 0)
        }

        pub(crate) $($asynchronous)* fn note_total(
            conn: &mut Connection,
            id: i64,
            node: i32,
            total: i64,
            lease: i64,
        ) -> QueryResult<bool> {
            let until = $crate::clock::schedule_us().saturating_add(lease);
            let mine = operations::table
                .find(id)
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::node.eq(node));
            let noted = diesel::update(mine)
                .set((operations::total.eq((operations::done + total).nullable()), operations::leased_until.eq(until)))
                .execute(conn)$($wait)*?;
            Ok(noted > 0)
        }

        pub(crate) $($asynchronous)* fn step_operation(
            conn: &mut Connection,
            id: i64,
            node: i32,
            rows: i64,
            lease: i64,
        ) -> QueryResult<Option<OperationStep>> {
            let (now, until) = ($crate::clock::now_us(), $crate::clock::schedule_us().saturating_add(lease));
            let mine = operations::table
                .find(id)
                .filter(operations::state.eq(OPERATION_RUNNING))
                .filter(operations::node.eq(node));
            // Holds the row until the step is stored: whoever ends the operation waits for it.
            let held: Option<OperationRow> = diesel::update(mine)
                .set((operations::leased_until.eq(until), operations::updated_at.eq(now)))
                .get_result(conn)$($wait)*
                .optional()?;
            let Some(row) = held else { return Ok(None) };
            if row.kind().keeps_webhook() {
                lock_order(conn, row.webhook_id.as_slice())$($wait)*?;
            }
            let looked = look(conn, &row, row.place(), rows)$($wait)*?;
            let mut step = deal_with(conn, &row, &looked, false)$($wait)*?;
            let found = row.found + i64::try_from(looked.concerned(row.through).len()).unwrap_or(i64::MAX);
            step.finished = looked.complete && found == 0;
            step.done = row.done + i64::try_from(step.rows).unwrap_or(i64::MAX);
            let (place, found) = if looked.complete { (Place::START, 0) } else { (looked.place, found) };
            diesel::update(operations::table.find(id))
                .set((
                    operations::at_webhook.eq(place.webhook),
                    operations::at_node.eq(place.node),
                    operations::at_due.eq(place.due),
                    operations::at_delivery.eq(place.delivery),
                    operations::found.eq(found),
                    operations::done.eq(step.done),
                ))
                .execute(conn)$($wait)*?;
            Ok(Some(step))
        }

        pub(crate) $($asynchronous)* fn end_operation(
            conn: &mut Connection,
            id: i64,
            state: i32,
            now: i64,
            audit: Option<&AuditRow>,
        ) -> QueryResult<bool> {
            let running = operations::table.find(id).filter(operations::state.eq(OPERATION_RUNNING));
            let ended = diesel::update(running)
                .set((operations::state.eq(state), operations::ended_at.eq(now), operations::updated_at.eq(now)))
                .execute(conn)$($wait)*?;
            if let (1.., Some(audit)) = (ended, audit) {
                append_audit(conn, audit)$($wait)*?;
            }
            Ok(ended > 0)
        }

        pub(crate) $($asynchronous)* fn forget_operations(conn: &mut Connection, before: i64) -> QueryResult<usize> {
            let ended: Vec<i64> = operations::table
                .filter(operations::ended_at.lt(before))
                .order(operations::ended_at)
                .limit($crate::queries::FORGOTTEN_AT_ONCE)
                .select(operations::id)
                .load(conn)$($wait)*?;
            diesel::delete(operations::table.filter(operations::id.eq_any(ended))).execute(conn)$($wait)*
        }
    };
}
pub(crate) use operations_queries;
