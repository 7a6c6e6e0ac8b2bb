//! Statistics: added up and removed.

use hookwright_storage::stats::{INSTALLATION, StatsRow, Tally};

use crate::support::{Fixture, NOW, on_both_stores};

const MINUTE: i64 = 60_000_000;

fn tally(attempts: i64, duration: u64) -> Tally {
    let mut tally = Tally {
        attempts,
        delivered: attempts,
        ..Tally::default()
    };
    (0..attempts).for_each(|_| tally.durations.record(duration));
    tally
}

fn row(subject: i64, period: i64, started_at: i64, tally: Tally) -> StatsRow {
    StatsRow {
        subject,
        period,
        started_at,
        tally,
    }
}

on_both_stores! {
    async fn counts_of_one_period_are_added_up(fixture: &mut Fixture) {
        let store = fixture.store();
        let (slow, quick) = (tally(2, 900_000), tally(3, 1_000));
        store.add_stats(vec![row(11, 60, NOW, quick.clone()), row(12, 60, NOW, quick.clone())]).await.unwrap();
        store.add_stats(vec![row(11, 60, NOW, slow.clone()), row(11, 60, NOW + MINUTE, slow.clone())]).await.unwrap();
        let mut both = quick.clone();
        both.add(&slow);
        assert_eq!((both.attempts, both.durations.count()), (5, 5));
        let found = store.stats(11, 60, NOW, NOW + 2 * MINUTE).await.unwrap();
        assert_eq!(found, [row(11, 60, NOW, both.clone()), row(11, 60, NOW + MINUTE, slow)]);
        assert_eq!(store.stats(11, 60, NOW, NOW + MINUTE).await.unwrap(), [row(11, 60, NOW, both)], "the end is \
                                                                                                     excluded");
        assert_eq!(store.stats(11, 3_600, NOW, NOW + MINUTE).await.unwrap(), []);
        assert_eq!(store.stats(INSTALLATION, 60, NOW, NOW + MINUTE).await.unwrap(), []);
    }

    async fn several_are_asked_for_at_once(fixture: &mut Fixture) {
        let store = fixture.store();
        let rows = [(11, NOW), (11, NOW + MINUTE), (12, NOW), (13, NOW)];
        store.add_stats(rows.map(|(subject, at)| row(subject, 3_600, at, tally(2, 1_000))).into()).await.unwrap();
        store.add_stats(vec![row(11, 60, NOW, tally(9, 1_000))]).await.unwrap();
        let found = store.stats_of(vec![11, 12, 14], 3_600, NOW, NOW + MINUTE + 1).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[&11].attempts, found[&11].durations.count(), found[&12].attempts), (4, 4, 2));
        let none = store.stats_of(vec![11], 3_600, NOW - MINUTE, NOW).await.unwrap();
        assert!(none.is_empty(), "the end is excluded");
    }

    async fn minutes_are_forgotten_before_hours(fixture: &mut Fixture) {
        let store = fixture.store();
        store.add_stats(vec![row(11, 60, NOW, tally(1, 1)), row(11, 3_600, NOW, tally(1, 1))]).await.unwrap();
        assert_eq!(store.forget_stats(NOW + 60 * MINUTE).await.unwrap(), 0);
        assert_eq!(store.forget_stats(NOW + 7 * 60 * MINUTE).await.unwrap(), 1);
        assert_eq!(store.stats(11, 3_600, NOW, NOW + 1).await.unwrap().len(), 1);
        assert_eq!(store.forget_stats(NOW + 91 * 24 * 60 * MINUTE).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn nodes_count_beside_each_other() {
    let shared = crate::nodes::Shared::new().await;
    let lease = std::time::Duration::from_secs(60);
    let (one, two) = (shared.join("one", lease).await, shared.join("two", lease).await);
    one.add_stats(vec![row(11, 60, NOW, tally(1, 1))]).await.unwrap();
    two.add_stats(vec![row(11, 60, NOW, tally(2, 1))]).await.unwrap();
    let found = one.stats(11, 60, NOW, NOW + 1).await.unwrap();
    assert_eq!(found, [row(11, 60, NOW, tally(3, 1))]);
}
