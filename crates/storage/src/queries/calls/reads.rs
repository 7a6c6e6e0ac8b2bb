//! Calls that only read.

use diesel::result::QueryResult;
use hookwright_domain::outcome::{DeliveryState, ErrorClass};

use super::super::*;
use super::Calls;
use crate::{
    audit::AuditFilter,
    blocked::BlockedRange,
    changes::Positions,
    due::ReadLimits,
    operations::Discard,
    plans::filled::{EVENT, Filled, ORGANIZATION},
    records::{DeliveryFilter, EventFilter},
};

pub(super) async fn of_history(calls: &mut Calls<'_>) -> QueryResult<()> {
    let (event, delivery) = (calls.filled.event(EVENT), calls.filled.delivery(EVENT, 0));
    let all = EventFilter::default();
    let of_type = EventFilter {
        event_type: Some("clocking".to_owned()),
        ..all.clone()
    };
    let of_request = EventFilter {
        request_id: Some("r31500".to_owned()),
        ..all.clone()
    };
    let org = ORGANIZATION;
    calls
        .call("get_event", async |conn| get_event(conn, org, event).await)
        .await?;
    calls
        .call("event_beginning", async |conn| {
            event_beginning(conn, org, event, 100).await
        })
        .await?;
    calls
        .call("oldest_event", async |conn| oldest_event(conn).await)
        .await?;
    for (name, filter) in [
        ("list_events", all),
        ("list_events.of_type", of_type),
        ("list_events.of_request", of_request),
    ] {
        calls
            .call(name, async |conn| list_events(conn, org, &filter, i64::MAX, 50).await)
            .await?;
    }
    calls
        .call("attempts_after", async |conn| {
            attempts_after(conn, org, delivery, 0, 50).await
        })
        .await?;
    calls
        .call("get_attempt", async |conn| get_attempt(conn, org, delivery, 1).await)
        .await?;
    calls
        .call("events_of", async |conn| events_of(conn, &[event]).await)
        .await
}

/// Filters of deliveries, by what they select.
fn filters(filled: Filled) -> Vec<(&'static str, DeliveryFilter)> {
    let all = DeliveryFilter::default;
    let in_state = |state| DeliveryFilter {
        states: vec![state],
        ..all()
    };
    vec![
        ("list_deliveries", all()),
        (
            "list_deliveries.of_event",
            DeliveryFilter {
                event_id: Some(filled.event(EVENT)),
                ..all()
            },
        ),
        (
            "list_deliveries.of_type",
            DeliveryFilter {
                event_type: Some("clocking".to_owned()),
                ..all()
            },
        ),
        (
            "list_deliveries.of_webhook",
            DeliveryFilter {
                webhook_id: Some(1),
                ..all()
            },
        ),
        (
            "list_deliveries.of_error",
            DeliveryFilter {
                error_classes: vec![ErrorClass::Timeout],
                ..all()
            },
        ),
        ("list_deliveries.pending", in_state(DeliveryState::Pending)),
        ("list_deliveries.failed", in_state(DeliveryState::Failed)),
        (
            "list_deliveries.failed_not_replayed",
            DeliveryFilter {
                hide_replayed: true,
                ..in_state(DeliveryState::Failed)
            },
        ),
        ("list_deliveries.retrying", in_state(DeliveryState::Retrying)),
        ("list_deliveries.cancelled", in_state(DeliveryState::Cancelled)),
        ("list_deliveries.paused", in_state(DeliveryState::Paused)),
        (
            "list_deliveries.paused_of_webhook",
            DeliveryFilter {
                webhook_id: Some(4),
                ..in_state(DeliveryState::Paused)
            },
        ),
    ]
}

pub(super) async fn of_deliveries(calls: &mut Calls<'_>) -> QueryResult<()> {
    let (org, filled) = (ORGANIZATION, calls.filled);
    for (name, filter) in filters(filled) {
        calls
            .call(name, async |conn| {
                list_deliveries(conn, org, &filter, i64::MAX, 50).await
            })
            .await?;
    }
    let delivery = filled.delivery(EVENT, 0);
    calls
        .call("get_delivery", async |conn| get_delivery(conn, org, delivery).await)
        .await?;
    calls
        .call("delivery_and_attempts", async |conn| {
            delivery_and_attempts(conn, org, delivery, i32::MAX, 50).await
        })
        .await?;
    calls
        .call("deliveries_of_event", async |conn| {
            deliveries_of_event(conn, org, filled.event(EVENT)).await
        })
        .await?;
    calls
        .call("change_positions", async |conn| change_positions(conn).await)
        .await?;
    let positions = Positions::from([(0, 1_000_000), (1, 1_000_000)]);
    calls
        .call("changes_after", async |conn| {
            changes_after(conn, org, &DeliveryFilter::default(), &positions, 64).await
        })
        .await
}

pub(super) async fn of_backlog(calls: &mut Calls<'_>) -> QueryResult<()> {
    let filled = calls.filled;
    let limits = ReadLimits {
        rows: 200,
        bytes: 1 << 20,
        first_bytes: usize::MAX,
    };
    let now = 1_030_000;
    calls
        .call("due", async |conn| due(conn, 2, 0, now, limits, None).await)
        .await?;
    let discard = Some(Discard::begin(filled.delivery(10_000, 1)));
    calls
        .call("due.beyond_a_discard", async |conn| {
            due(conn, 2, 0, now, limits, discard).await
        })
        .await?;
    calls
        .call("waiting_until", async |conn| {
            waiting_until(conn, 2, 0, 1_020_000, 200).await
        })
        .await?;
    calls
        .call("count_waiting_for", async |conn| {
            count_waiting_for(conn, 2, 1_000).await
        })
        .await?;
    calls
        .call("waiting_page", async |conn| {
            waiting_page(conn, (i64::MIN, i32::MIN), 200).await
        })
        .await?;
    calls
        .call("count_waiting", async |conn| count_waiting(conn, 1_000).await)
        .await?;
    let after = filled.event(60_000);
    calls
        .call("unfinished", async |conn| {
            unfinished(conn, 0, after, i64::MAX, 500, 1 << 20).await
        })
        .await?;
    calls
        .call("unfinished_outlines", async |conn| {
            unfinished_outlines(conn, 0, after, i64::MAX, 500).await
        })
        .await?;
    let ids = [filled.event(EVENT), filled.event(EVENT + 1)];
    calls
        .call("events_exist", async |conn| events_exist(conn, &ids).await)
        .await?;
    calls
        .call("webhooks_with_blocked_keys", async |conn| {
            webhooks_with_blocked_keys(conn, BlockedRange::all_after((1, 0)), 50).await
        })
        .await?;
    let range = BlockedRange::of(ORGANIZATION, 1, 9_000);
    calls
        .call("webhooks_with_blocked_keys.of_organization", async |conn| {
            webhooks_with_blocked_keys(conn, range, 50).await
        })
        .await?;
    calls
        .call("count_blocked_keys", async |conn| count_blocked_keys(conn, 1_000).await)
        .await?;
    calls
        .call("count_behind", async |conn| count_behind(conn, 4, "k0").await)
        .await?;
    calls.call("backlog", async |conn| backlog(conn, 1_000).await).await
}

pub(super) async fn of_configuration(calls: &mut Calls<'_>) -> QueryResult<()> {
    calls
        .call("load_catalogue", async |conn| load_catalogue(conn).await)
        .await?;
    calls
        .call("event_type_schemas_of", async |conn| {
            event_type_schemas_of(conn, 7, 9, 50).await
        })
        .await?;
    calls.call("setting", async |conn| setting(conn, "some").await).await?;
    calls.call("largest_id", async |conn| largest_id(conn).await).await?;
    calls.call("get_token", async |conn| get_token(conn, 7).await).await?;
    for (name, organization) in [
        ("list_tokens", None),
        ("list_tokens.of_organization", Some(ORGANIZATION)),
    ] {
        calls
            .call(name, async |conn| list_tokens(conn, organization, i64::MAX, 50).await)
            .await?;
    }
    calls
        .call("token_names", async |conn| token_names(conn, &[1, 2]).await)
        .await?;
    for (name, organization) in [
        ("count_tokens", None),
        ("count_tokens.of_organization", Some(ORGANIZATION)),
    ] {
        calls
            .call(name, async |conn| count_tokens(conn, organization, 7).await)
            .await?;
    }
    for (name, organization_id) in [("list_audit", None), ("list_audit.of_organization", Some(ORGANIZATION))] {
        let filter = AuditFilter {
            organization_id,
            ..AuditFilter::default()
        };
        calls
            .call(name, async |conn| list_audit(conn, &filter, i64::MAX, 50).await)
            .await?;
    }
    calls
        .call("get_operation", async |conn| get_operation(conn, 500).await)
        .await?;
    for (name, organization) in [
        ("list_operations", None),
        ("list_operations.of_organization", Some(ORGANIZATION)),
    ] {
        calls
            .call(name, async |conn| {
                list_operations(conn, organization, i64::MAX, 50).await
            })
            .await?;
    }
    for (name, organization) in [
        ("running_operations", None),
        ("running_operations.of_organization", Some(ORGANIZATION)),
    ] {
        calls
            .call(name, async |conn| running_operations(conn, organization, 50).await)
            .await?;
    }
    Ok(())
}

pub(super) async fn of_counts(calls: &mut Calls<'_>) -> QueryResult<()> {
    calls
        .call("stats", async |conn| stats(conn, 7, 60, 600, 6_000).await)
        .await?;
    calls
        .call("stats_of", async |conn| stats_of(conn, &[7, 8], 60, 600, 6_000).await)
        .await?;
    calls
        .call("all_failing_webhooks", async |conn| all_failing_webhooks(conn).await)
        .await?;
    calls
        .call("failing_webhooks", async |conn| failing_webhooks(conn, &[1, 2]).await)
        .await
}
