//! The health of failing webhooks: summed over all nodes, and cleared by a success at any node.

use hookwright_storage::{
    Batch, Disabling, FailingRule, HealthChange, HealthRow, Store, WebhookRow,
    stats::{StatsRow, Tally},
};

use crate::support::{Fixture, NOW, ORGANIZATION, audit, on_both_stores, organization, secret, webhook};

fn failed(webhook: i64, at: i64, times: i32) -> HealthChange {
    HealthChange {
        failing_since: Some(at),
        failures: times,
        ..HealthChange::none(webhook)
    }
}

fn succeeded(webhook: i64, at: i64) -> HealthChange {
    HealthChange {
        succeeded_at: Some(at),
        ..HealthChange::none(webhook)
    }
}

fn known(webhook_id: i64, since: i64, failures: i32) -> HealthRow {
    HealthRow {
        webhook_id,
        failing_since: Some(since),
        failures,
    }
}

/// The health of the webhooks that failed, after a commit.
async fn commit(store: &Store, health: Vec<HealthChange>) -> Vec<HealthRow> {
    let batch = Batch {
        health,
        ..Batch::default()
    };
    let mut failing = store.commit(&batch).await.unwrap().failing;
    failing.sort_by_key(|row| row.webhook_id);
    failing
}

on_both_stores! {
    async fn failures_add_up_until_a_success(fixture: &mut Fixture) {
        let store = fixture.store();
        assert_eq!(commit(store, vec![failed(11, NOW, 3), failed(12, NOW, 1)]).await, [known(11, NOW, 3), known(12, NOW, 1)]);
        assert_eq!(commit(store, vec![failed(11, NOW + 5, 2)]).await, [known(11, NOW, 5)]);
        assert_eq!(commit(store, vec![failed(11, NOW - 5, 1)]).await, [known(11, NOW - 5, 6)], "another node saw it fail earlier");
        assert_eq!(commit(store, vec![succeeded(11, NOW - 6)]).await, []);
        assert_eq!(store.failing_webhooks(vec![11]).await.unwrap(), [known(11, NOW - 5, 6)], "that success was before");
        assert_eq!(commit(store, vec![succeeded(11, NOW + 9), succeeded(12, NOW + 9)]).await, []);
        assert_eq!(store.all_failing_webhooks().await.unwrap(), []);
        let again = HealthChange { failing_since: Some(NOW + 12), failures: 1, ..succeeded(11, NOW + 11) };
        assert_eq!(commit(store, vec![again]).await, [known(11, NOW + 12, 1)]);
        assert_eq!(commit(store, vec![failed(11, NOW + 13, i32::MAX)]).await, [known(11, NOW + 12, i32::MAX)]);
    }

    async fn times_that_an_older_version_noted_by_a_clock_that_was_ahead_become_the_present(fixture: &mut Fixture) {
        let store = fixture.store();
        commit(store, vec![failed(11, NOW + 99, 3), failed(12, NOW - 5, 1), succeeded(13, NOW + 99)]).await;
        assert_eq!(store.correct_health(NOW).await.unwrap(), 2);
        assert_eq!(store.correct_health(NOW).await.unwrap(), 0);
        assert_eq!(store.failing_webhooks(vec![11]).await.unwrap(), [known(11, NOW, 3)]);
        assert_eq!(store.failing_webhooks(vec![12]).await.unwrap(), [known(12, NOW - 5, 1)]);
        // A success also ends failures that are recorded in the future.
        commit(store, vec![succeeded(11, NOW + 1)]).await;
        assert_eq!(store.failing_webhooks(vec![11]).await.unwrap(), []);
    }

    async fn a_webhook_is_disabled_only_if_it_has_failed_everywhere(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_webhook(&webhook(11), &secret(21, 11), None, &audit(2)).await.unwrap();
        let rule = |since: i64| FailingRule { failures_min: 20, since, success_interval_us: 10 };
        let off = WebhookRow { active: false, version: 2, ..webhook(11) };
        let disable = async |id: i64, since: i64| store.disable_webhook(&off, 1, Some(rule(since)), &audit(id)).await.unwrap();
        assert_eq!(disable(3, NOW).await, Disabling::Kept, "it does not fail");
        commit(store, vec![failed(11, NOW, 19)]).await;
        assert_eq!(disable(4, NOW).await, Disabling::Kept, "too few failures");
        commit(store, vec![failed(11, NOW + 1, 1)]).await;
        assert_eq!(disable(5, NOW - 1).await, Disabling::Kept, "not for long enough");
        // A node stored a success just before the failures began. It may have had later ones, which it did not store.
        commit(store, vec![succeeded(11, NOW - 5)]).await;
        assert_eq!(disable(6, NOW + 4).await, Disabling::Kept);
        assert!(!store.has_only_failed(11, rule(NOW + 4)).await.unwrap());
        assert!(store.has_only_failed(11, rule(NOW + 5)).await.unwrap());
        assert_eq!(disable(7, NOW + 5).await, Disabling::Disabled);
        assert_eq!(store.load_catalogue().await.unwrap().webhooks, [off]);

        let on = WebhookRow { version: 3, ..webhook(11) };
        store.update_webhook(&on, 2, None, &audit(8)).await.unwrap();
        assert_eq!(store.all_failing_webhooks().await.unwrap(), [], "an activated webhook starts without failures");
        commit(store, vec![failed(11, NOW, 30)]).await;
        let later = WebhookRow { active: false, version: 3, ..webhook(11) };
        let stale = store.disable_webhook(&later, 2, Some(rule(NOW + 99)), &audit(9)).await;
        assert_eq!(stale.unwrap(), Disabling::Kept, "the webhook was changed meanwhile");
    }

    async fn ten_thousand_webhooks_that_fail_at_once_are_one_commit(fixture: &mut Fixture) {
        let store = fixture.store();
        let all = |at: i64| (1..=10_000).map(|webhook| failed(webhook, at, 1)).collect::<Vec<_>>();
        assert_eq!(commit(store, all(NOW)).await.len(), 10_000);
        assert_eq!(commit(store, all(NOW + 1)).await[9_999], known(10_000, NOW, 2));
        assert_eq!(commit(store, (1..=10_000).map(|webhook| succeeded(webhook, NOW + 2)).collect()).await, []);
        assert_eq!(store.all_failing_webhooks().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_storm_of_failures_takes_few_statements() {
    let fixture = Fixture::postgres().await;
    let store = fixture.store();
    let (client, connection) = tokio_postgres::connect(&fixture.options.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(
            "CREATE SEQUENCE statements;
             CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM nextval('statements'); RETURN NULL; END $$;
             CREATE TRIGGER counted AFTER INSERT OR DELETE ON webhook_health
                 FOR EACH STATEMENT EXECUTE FUNCTION count_statement();
             CREATE TRIGGER counted AFTER INSERT OR DELETE ON webhook_successes
                 FOR EACH STATEMENT EXECUTE FUNCTION count_statement();
             CREATE TRIGGER counted AFTER INSERT ON delivery_stats
                 FOR EACH STATEMENT EXECUTE FUNCTION count_statement()",
        )
        .await
        .unwrap();
    let counted = async || -> i64 {
        let row = client.query_one("SELECT nextval('statements')", &[]).await.unwrap();
        row.get::<_, i64>(0) - 1
    };
    let failures = (1..=10_000).map(|webhook| failed(webhook, NOW, 1));
    let successes = (10_001..=20_000).map(|webhook| succeeded(webhook, NOW));
    commit(store, failures.chain(successes).collect()).await;
    let of_commit = counted().await;
    assert!(
        of_commit <= 3,
        "{of_commit} statements for the health of 20,000 webhooks"
    );
    let row = |subject: i64| StatsRow {
        subject,
        period: 60,
        started_at: NOW,
        tally: Tally {
            attempts: 1,
            ..Tally::default()
        },
    };
    store.add_stats((1..=10_000).map(row).collect()).await.unwrap();
    let of_stats = counted().await - of_commit - 1;
    assert!(of_stats <= 100, "{of_stats} statements for 10,000 rows of statistics");
    assert_eq!(store.stats(7, 60, NOW, NOW + 1).await.unwrap()[0].tally.attempts, 1);
}
