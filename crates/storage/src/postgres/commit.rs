//! The commit on PostgreSQL: a fixed number of statements, however many rows.

use std::collections::HashMap;

use diesel::{
    ExpressionMethods as _,
    result::QueryResult,
    sql_types::{BigInt, Integer},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::statements::{
    AddFailures, AppendChanges, ClaimRequests, DeletePending, FindRequests, ForgetFailures, InsertAttempts,
    InsertAttemptsAgain, InsertEvents, NoteSuccesses,
};
use super::{
    dialect,
    inserts::{insert_endings, upsert_pending},
    nodes::WATERMARK,
    ordering, owners,
};
use crate::{
    batch::{Batch, Committed, NewEvent, Repeat, RequestKey},
    changes,
    clock::{now_us, schedule_us},
    row_event::pack,
    rows::{HealthChange, HealthRow, PendingRow},
    schema::event_replays,
};

/// Appends the attempts of a batch.
async fn insert_attempts(conn: &mut AsyncPgConnection, batch: &Batch) -> QueryResult<()> {
    if batch.attempts.is_empty() {
        return Ok(());
    }
    let statement = InsertAttempts::of(batch.attempts.iter().map(|row| &**row));
    if batch.repeated {
        diesel_async::RunQueryDsl::execute(InsertAttemptsAgain(statement), conn).await?;
    } else {
        diesel_async::RunQueryDsl::execute(statement, conn).await?;
    }
    Ok(())
}

/// Stores a batch within the open transaction.
pub(super) async fn commit(conn: &mut AsyncPgConnection, node: i32, batch: &Batch) -> QueryResult<Committed> {
    ordering::lock(conn, batch).await?;
    let owners = owners::claim(conn, node, &batch.exclusive).await?;
    let owner = |webhook: i64| owners.get(&webhook).copied().unwrap_or(node);
    let mut committed = Committed {
        due: Vec::new(),
        failing: Vec::new(),
        repeats: claim_requests(conn, &batch.events).await?,
        elsewhere: owners
            .iter()
            .filter(|(_, owner)| **owner != node)
            .map(|(webhook, _)| *webhook)
            .collect(),
    };
    if committed.repeats.is_empty() {
        insert_events(conn, &batch.events, owner).await?;
    } else {
        let repeats = &committed.repeats;
        let fresh = batch
            .events
            .iter()
            .enumerate()
            .filter(|(index, _)| repeats.iter().all(|repeat| repeat.index != *index));
        let fresh: Vec<NewEvent> = fresh.map(|(_, event)| event.clone()).collect();
        insert_events(conn, &fresh, owner).await?;
    }
    insert_attempts(conn, batch).await?;
    ordering::put_pending(conn, &batch.pend, node).await?;
    if !batch.unpend.is_empty() {
        let statement = DeletePending {
            delivery_id: batch.unpend.clone(),
            ..DeletePending::default()
        };
        diesel_async::RunQueryDsl::execute(statement, conn).await?;
    }
    committed.due = dialect::promote_all(conn, node, &batch.advance, schedule_us()).await?;
    batch.add_due_again(&mut committed.due);
    insert_endings(conn, &batch.endings).await?;
    committed.failing = store_health(conn, &batch.health).await?;
    if let Some(deliveries) = changes::of_batch(batch) {
        let statement = AppendChanges {
            stream: vec![node],
            now: vec![now_us()],
            deliveries: vec![&deliveries],
            ..AppendChanges::default()
        };
        diesel_async::RunQueryDsl::execute(statement, conn).await?;
    }
    if let Some(watermark) = batch.watermark {
        let text = format!("UPDATE nodes SET {WATERMARK} = greatest({WATERMARK}, $2) WHERE number = $1");
        diesel::sql_query(text)
            .bind::<Integer, _>(node)
            .bind::<BigInt, _>(watermark)
            .execute(conn)
            .await?;
    }
    Ok(committed)
}

/// Stores events and their pending deliveries.
pub(super) async fn insert_events(
    conn: &mut AsyncPgConnection,
    new: &[NewEvent],
    owner: impl Fn(i64) -> i32,
) -> QueryResult<()> {
    if new.is_empty() {
        return Ok(());
    }
    let mut statement = InsertEvents::default();
    for NewEvent { event, request, .. } in new {
        statement.id.push(event.id);
        statement.organization_id.push(event.organization_id);
        statement.event_type.push(&event.event_type);
        statement.payload.push(&event.payload);
        statement.webhooks.push(pack(&event.webhooks));
        statement.occurred_at.push(event.occurred_at);
        statement.attributes.push(event.attributes.as_deref());
        statement.trace.push(event.trace.as_ref().map(|trace| &trace[..]));
        statement.tracestate.push(event.tracestate.as_deref());
        let request = request.as_ref().map(|request| request.request_id.as_str());
        statement.request_id.push(request);
        statement.ordering_key.push(event.ordering_key.as_deref());
        statement.replay_of.push(event.replay_of);
    }
    diesel_async::RunQueryDsl::execute(statement, conn).await?;
    let replays: Vec<_> = new
        .iter()
        .filter_map(|new| {
            let replayed = new.event.replay_of?;
            Some((
                event_replays::event_id.eq(replayed),
                event_replays::replay_id.eq(new.event.id),
            ))
        })
        .collect();
    if !replays.is_empty() {
        diesel::insert_into(event_replays::table)
            .values(replays)
            .execute(conn)
            .await?;
    }
    let mut spilled: Vec<PendingRow> = new.iter().flat_map(NewEvent::spilled_rows).collect();
    ordering::queue_up(conn, &mut spilled).await?;
    upsert_pending(conn, &spilled, owner).await
}

/// Claims the request ids of events. Returns those that were taken by earlier events or by other events of this batch.
async fn claim_requests(conn: &mut AsyncPgConnection, events: &[NewEvent]) -> QueryResult<Vec<Repeat>> {
    let mut claim = ClaimRequests::default();
    let mut find = FindRequests::default();
    let mut asked: Vec<(&NewEvent, &RequestKey)> = events
        .iter()
        .filter_map(|new| Some((new, new.request.as_ref()?)))
        .collect();
    // All nodes use the same order, so that two nodes that claim the same ids do not deadlock. The sort is stable: of
    // equal ids, the first event stays first.
    asked.sort_by_key(|(new, request)| (new.event.organization_id, request.request_id.as_str()));
    for (new, request) in asked {
        let organization = new.event.organization_id;
        claim.organization_id.push(organization);
        claim.request_id.push(&request.request_id);
        claim.event_id.push(new.event.id);
        claim.fingerprint.push(&request.fingerprint);
        claim.created_at.push(hookwright_domain::id::time_us(new.event.id));
        find.organization_id.push(organization);
        find.request_id.push(&request.request_id);
    }
    if find.request_id.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = find.request_id.len();
    if diesel_async::RunQueryDsl::execute(claim, conn).await? == wanted {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String, i64, Vec<u8>, i32)> = diesel_async::RunQueryDsl::load(find, conn).await?;
    let holders: HashMap<(i64, String), (i64, Vec<u8>, i32)> = rows
        .into_iter()
        .map(|(organization, request, event, fingerprint, bytes)| {
            ((organization, request), (event, fingerprint, bytes))
        })
        .collect();
    let repeats = events.iter().enumerate().filter_map(|(index, new)| {
        let request = new.request.as_ref()?;
        let (event_id, fingerprint, bytes) = holders.get(&(new.event.organization_id, request.request_id.clone()))?;
        if *event_id == new.event.id {
            return None;
        }
        // The first event of several in one batch is not stored yet, but its list of webhooks is available here.
        let in_batch = events
            .iter()
            .find(|other| other.event.id == *event_id)
            .map(|other| other.event.webhooks.len());
        Some(Repeat {
            index,
            event_id: *event_id,
            same: *fingerprint == request.fingerprint,
            delivery_count: in_batch.unwrap_or(usize::try_from(*bytes).unwrap_or(0) / 8),
        })
    });
    Ok(repeats.collect())
}

/// Stores changes of webhooks' health. Returns the health of those that failed.
async fn store_health(conn: &mut AsyncPgConnection, changes: &[HealthChange]) -> QueryResult<Vec<HealthRow>> {
    let (mut forget, mut note, mut add) = (
        ForgetFailures::default(),
        NoteSuccesses::default(),
        AddFailures::default(),
    );
    for change in changes {
        if let Some(at) = change.succeeded_at {
            forget.webhook_id.push(change.webhook_id);
            forget.at.push(at);
            note.webhook_id.push(change.webhook_id);
            note.at.push(at);
        }
        if let Some(since) = change.failing_since {
            add.webhook_id.push(change.webhook_id);
            add.failing_since.push(since);
            add.failures.push(change.failures);
        }
    }
    if !note.at.is_empty() {
        diesel_async::RunQueryDsl::execute(forget, conn).await?;
        diesel_async::RunQueryDsl::execute(note, conn).await?;
    }
    if add.failures.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<(i64, i64, i32)> = diesel_async::RunQueryDsl::load(add, conn).await?;
    Ok(known.into_iter().map(HealthRow::failing).collect())
}
