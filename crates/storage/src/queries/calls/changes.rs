//! Calls that change something.

use diesel::result::QueryResult;

use super::super::*;
use super::Calls;
use crate::{
    due::LatestDue,
    plans::{filled::ORGANIZATION, samples},
    pull::Portion,
    rows::{EndedSessionRow, FailingRule, RevokedLinkRow, WebhookRow},
    stats::{StatsRow, Tally},
};

pub(super) async fn of_configuration(calls: &mut Calls<'_>) -> QueryResult<()> {
    let audit = samples::audit(calls.filled);
    calls
        .call("append_audit", async |conn| append_audit(conn, &audit).await)
        .await?;
    calls
        .call("insert_organization", async |conn| {
            insert_organization(conn, &samples::organization(6_000), &audit).await
        })
        .await?;
    calls
        .call("update_organization", async |conn| {
            update_organization(conn, &samples::organization(7), &audit).await
        })
        .await?;
    calls
        .call("delete_organization", async |conn| {
            delete_organization(conn, ORGANIZATION, 9, &audit).await
        })
        .await?;
    calls
        .call("insert_event_type", async |conn| {
            insert_event_type(conn, &samples::event_type(6_000), &audit).await
        })
        .await?;
    calls
        .call("update_event_type", async |conn| {
            update_event_type(conn, &samples::event_type(7), &audit).await
        })
        .await?;
    calls
        .call("delete_event_type", async |conn| {
            delete_event_type(conn, 7, &audit).await
        })
        .await?;
    calls
        .call("put_setting", async |conn| put_setting(conn, "some", b"value").await)
        .await
}

pub(super) async fn of_webhooks(calls: &mut Calls<'_>) -> QueryResult<()> {
    let audit = samples::audit(calls.filled);
    let webhook = samples::webhook;
    let secret = samples::secret(30_000, 1);
    calls
        .call("insert_webhook", async |conn| {
            insert_webhook(conn, &webhook(30_000), &samples::secret(30_000, 30_000), &audit).await
        })
        .await?;
    let ordered = WebhookRow {
        ordered: true,
        ..webhook(4)
    };
    for (name, row) in [
        ("update_webhook.switched_on", webhook(3)),
        ("update_webhook.with_much_in_order", webhook(4)),
        ("update_webhook.with_little_in_order", webhook(5)),
        ("update_webhook.in_order", ordered),
    ] {
        calls
            .call(name, async |conn| update_webhook(conn, &row, 1, &audit).await)
            .await?;
    }
    let rule = FailingRule {
        failures_min: 1,
        since: 100,
        success_interval_us: 1,
    };
    calls
        .call("has_only_failed", async |conn| has_only_failed(conn, 1, rule).await)
        .await?;
    calls
        .call("disable_webhook", async |conn| {
            disable_webhook(conn, &webhook(1), 1, Some(rule), &audit).await
        })
        .await?;
    for (name, id) in [("delete_webhook.with_a_backlog", 2), ("delete_webhook", 7)] {
        calls
            .call(name, async |conn| delete_webhook(conn, id, 9, &audit).await)
            .await?;
    }
    for (name, id) in [("resume_webhook.with_a_backlog", 2), ("resume_webhook", 5)] {
        calls
            .call(name, async |conn| {
                resume_webhook(conn, &webhook(id), 1, true, &audit).await
            })
            .await?;
    }
    calls
        .call("rotate_secret", async |conn| {
            rotate_secret(conn, &secret, 9, &audit).await
        })
        .await?;
    calls
        .call("expire_secrets", async |conn| expire_secrets(conn, 1, &audit).await)
        .await?;
    calls
        .call("correct_health", async |conn| correct_health(conn, 4_990).await)
        .await
}

pub(super) async fn of_tokens(calls: &mut Calls<'_>) -> QueryResult<()> {
    let audit = samples::audit(calls.filled);
    calls
        .call("insert_token", async |conn| {
            insert_token(conn, &samples::token(6_001), &audit).await
        })
        .await?;
    calls
        .call("revoke_token", async |conn| {
            revoke_token(conn, 7, "admin", 9, &audit).await
        })
        .await?;
    let session = EndedSessionRow {
        id: vec![1; 16],
        token_id: 7,
        began_at: 2_000,
        ended_until: 9_000,
        and_earlier: false,
    };
    calls
        .call("insert_ended_session", async |conn| {
            insert_ended_session(conn, &session, Some(1_000), 10).await
        })
        .await?;
    let link = RevokedLinkRow {
        link_id: 9_000,
        organization_id: ORGANIZATION,
        revoked_until: 9_000,
    };
    calls
        .call("insert_revoked_link", async |conn| {
            insert_revoked_link(conn, &link, 1_000, 10, &audit).await
        })
        .await
}

pub(super) async fn of_deliveries(calls: &mut Calls<'_>) -> QueryResult<()> {
    let filled = calls.filled;
    let audit = samples::audit(filled);
    let (org, now) = (ORGANIZATION, 1_030_000);
    let (first, paused) = (filled.delivery(50_500, 1), filled.delivery(51_000, 1));
    calls
        .call("promote", async |conn| promote(conn, 0, 4, "k5", now).await)
        .await?;
    calls
        .call("end_delivery", async |conn| {
            end_delivery(conn, 0, org, first, "skipped", now, &audit).await
        })
        .await?;
    calls
        .call("retry_delivery", async |conn| {
            retry_delivery(conn, 0, org, first, now, &audit).await
        })
        .await?;
    calls
        .call("retry_delivery.paused", async |conn| {
            retry_delivery(conn, 0, org, paused, now, &audit).await
        })
        .await?;
    let latest = LatestDue {
        first: 1_044_990,
        any: 1_045_000,
    };
    calls
        .call("correct_due", async |conn| correct_due(conn, 2, 0, now, latest).await)
        .await?;
    let portion = Portion {
        rows: 200,
        bytes: 1 << 20,
        until: 2_000_000,
        discard: None,
    };
    calls
        .call("hand_out", async |conn| hand_out(conn, 2, now, portion).await)
        .await?;
    let leases = [(filled.delivery(42_000, 1), 0), (filled.delivery(42_007, 1), 1)];
    calls
        .call("acknowledge", async |conn| acknowledge(conn, 0, 2, &leases, now).await)
        .await?;
    let in_order = [(first, 1)];
    calls
        .call("acknowledge.in_order", async |conn| {
            acknowledge(conn, 0, 4, &in_order, now).await
        })
        .await?;
    calls
        .call("extend_leases", async |conn| extend_leases(conn, 2, &leases, now).await)
        .await?;
    calls
        .call("append_changes", async |conn| append_changes(conn, 0, b"packed").await)
        .await?;
    let tally = Tally::default();
    let rows = [60, 3_600].map(|period| StatsRow {
        subject: 7,
        period,
        started_at: 3_600,
        tally: tally.clone(),
    });
    calls
        .call("add_stats", async |conn| add_stats(conn, 0, &rows).await)
        .await
}

pub(super) async fn forgetting(calls: &mut Calls<'_>) -> QueryResult<()> {
    let filled = calls.filled;
    let (after, before) = (filled.event(60_000), filled.event(69_000));
    calls
        .call("expire_stretch", async |conn| {
            expire_stretch(conn, after, before, 2_000, 200).await
        })
        .await?;
    calls
        .call("forget_audit", async |conn| forget_audit(conn, 20_000).await)
        .await?;
    calls
        .call("forget_changes", async |conn| forget_changes(conn, 20_000_000).await)
        .await?;
    let long_after = 100 * 86_400_000_000;
    calls
        .call("forget_stats", async |conn| forget_stats(conn, long_after).await)
        .await?;
    calls
        .call("forget_tokens", async |conn| forget_tokens(conn, 2_000).await)
        .await?;
    calls
        .call("forget_replays", async |conn| forget_replays(conn, 2_000).await)
        .await?;
    calls
        .call("forget_operations", async |conn| forget_operations(conn, 2_000).await)
        .await
}
