//! Calls of operations and replays.

use diesel::result::QueryResult;

use super::super::*;
use super::Calls;
use crate::{
    operations::{OPERATION_SUCCEEDED, OperationKind, OperationRow, Place},
    plans::{
        filled::{EVENT, ORGANIZATION},
        samples,
    },
    replays::{REPLAY_SUCCEEDED, ReplayProgress},
};

pub(super) async fn operations(calls: &mut Calls<'_>) -> QueryResult<()> {
    let audit = samples::audit(calls.filled);
    let of = |kind, webhook| OperationRow::of_change(kind, ORGANIZATION, webhook, &audit);
    let discard = of(OperationKind::DiscardBacklog, Some(5));
    calls
        .call("begin_operation", async |conn| begin_operation(conn, &discard).await)
        .await?;
    let whole = of(OperationKind::DeleteOrganization, None);
    calls
        .call("begin_operation.of_organization", async |conn| {
            begin_operation(conn, &whole).await
        })
        .await?;
    calls
        .call("keep_order", async |conn| keep_order(conn, &samples::webhook(5)).await)
        .await?;
    for (name, webhook) in [("stragglers_kept", 19_999), ("stragglers_kept.by_operation", 2)] {
        calls
            .call(name, async |conn| stragglers_kept(conn, webhook).await)
            .await?;
    }
    calls
        .call("cancel_stragglers", async |conn| {
            cancel_stragglers(conn, 19_999, 9).await
        })
        .await?;
    let backlog = of(OperationKind::DeleteWebhook, Some(2));
    calls
        .call("count_operation", async |conn| {
            count_operation(conn, &backlog, Place::START).await
        })
        .await?;
    calls
        .call("count_operation.of_organization", async |conn| {
            count_operation(conn, &whole, Place::START).await
        })
        .await
}

pub(super) async fn steps(calls: &mut Calls<'_>) -> QueryResult<()> {
    let audit = samples::audit(calls.filled);
    let lease = 1_000_000;
    calls
        .call("take_operations", async |conn| {
            take_operations(conn, 0, true, 2, lease).await
        })
        .await?;
    calls
        .call("renew_operation", async |conn| {
            renew_operation(conn, 500, 0, lease).await
        })
        .await?;
    calls
        .call("note_total", async |conn| note_total(conn, 500, 0, 7, lease).await)
        .await?;
    for (name, id) in [
        ("step_operation.of_webhook", 1_000),
        ("step_operation.of_organization", 1_500),
        ("step_operation.releasing", 2_000),
        ("step_operation.discarding", 2_500),
    ] {
        calls
            .call(name, async |conn| step_operation(conn, id, 0, 1_500, lease).await)
            .await?;
    }
    calls
        .call("end_operation", async |conn| {
            end_operation(conn, 500, OPERATION_SUCCEEDED, 9, Some(&audit)).await
        })
        .await
}

pub(super) async fn replays(calls: &mut Calls<'_>) -> QueryResult<()> {
    let filled = calls.filled;
    let audit = samples::audit(filled);
    let org = ORGANIZATION;
    calls
        .call("insert_replay", async |conn| {
            insert_replay(conn, &samples::replay(6_000), 1_000, &audit).await
        })
        .await?;
    calls
        .call("replay_of_request", async |conn| {
            replay_of_request(conn, org, "q500").await
        })
        .await?;
    calls
        .call("get_replay", async |conn| get_replay(conn, org, 500).await)
        .await?;
    calls
        .call("list_replays", async |conn| list_replays(conn, org, i64::MAX, 50).await)
        .await?;
    calls
        .call("take_replays", async |conn| take_replays(conn, 0, 10, 20).await)
        .await?;
    calls
        .call("save_replay", async |conn| {
            save_replay(conn, 500, 0, ReplayProgress::default(), 20).await
        })
        .await?;
    calls
        .call("end_replay", async |conn| {
            end_replay(conn, 500, REPLAY_SUCCEEDED, None, 9, Some(&audit)).await
        })
        .await?;
    let (after, last) = (filled.event(EVENT - 5_000), filled.event(EVENT + 5_000));
    calls
        .call("replay_stretch", async |conn| {
            replay_stretch(conn, org, &[], after, last).await
        })
        .await?;
    let requests = ["r31500".to_owned(), "r32000".to_owned()];
    calls
        .call("events_of_requests", async |conn| {
            events_of_requests(conn, org, &requests).await
        })
        .await
}
