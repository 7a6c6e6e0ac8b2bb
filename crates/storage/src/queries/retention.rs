//! Removing what has outlived its retention, a stretch of events at a time. What is not final stays.

macro_rules! retention_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Looks at up to `limit` events after `after` and before `before`, and removes those of which nothing is pending,
        /// with their attempts, endings and request ids.
        pub(crate) $($asynchronous)* fn expire_stretch(
            conn: &mut Connection,
            after: i64,
            before: i64,
            limit: i64,
        ) -> QueryResult<Expired> {
            let rows: Vec<(i64, i64, Vec<u8>, Option<String>)> = events::table
                .filter(events::id.gt(after))
                .filter(events::id.lt(before))
                .order(events::id)
                .limit(limit)
                .select((events::id, events::organization_id, events::webhooks, events::request_id))
                .load(conn)$($wait)*?;
            let (Some(first), Some(last)) = (rows.as_slice().first(), rows.as_slice().last()) else {
                return Ok(Expired { events: 0, next: None });
            };
            let next = (rows.len() == usize::try_from(limit).unwrap_or(usize::MAX)).then_some(last.0);
            let end = |row: &(i64, i64, Vec<u8>, Option<String>)| row.0 + i64::try_from(row.2.len() / 8).unwrap_or(0);
            let pending: Vec<i64> = pending_deliveries::table
                .filter(pending_deliveries::delivery_id.between(first.0, end(last)))
                .select(pending_deliveries::event_id)
                .load(conn)$($wait)*?;
            let mut removed = 0;
            // Between two events that stay, all goes by one statement a table.
            for run in rows.chunk_by(|a, b| !pending.contains(&a.0) && !pending.contains(&b.0)) {
                let (Some(from), Some(to)) = (<[_]>::first(run), <[_]>::last(run)) else { continue };
                if pending.contains(&from.0) {
                    continue;
                }
                diesel::delete(attempts::table.filter(attempts::delivery_id.between(from.0, end(to))))
                    .execute(conn)$($wait)*?;
                diesel::delete(delivery_endings::table.filter(delivery_endings::delivery_id.between(from.0, end(to))))
                    .execute(conn)$($wait)*?;
                for (_, organization, _, request) in run {
                    if let Some(request) = request {
                        diesel::delete(idempotency_keys::table.find((organization, request))).execute(conn)$($wait)*?;
                    }
                }
                diesel::delete(event_replays::table.filter(event_replays::replay_id.between(from.0, to.0)))
                    .execute(conn)$($wait)*?;
                removed += diesel::delete(events::table.filter(events::id.between(from.0, to.0)))
                    .execute(conn)$($wait)*?;
            }
            Ok(Expired { events: removed, next })
        }
    };
}
pub(crate) use retention_queries;
