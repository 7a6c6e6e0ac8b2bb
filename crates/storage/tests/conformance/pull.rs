//! Pulled deliveries: leased, acknowledged, handed out again.

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    Batch, GOES_ON, NewEvent, Store,
    pull::{Lease, Portion},
};

use hookwright_testkit::proxy::Mode;

use crate::support::{Fixture, NOW, ORGANIZATION, delivery, on_both_stores};

const HOOK: i64 = 11;

fn portion(rows: usize, until: i64) -> Portion {
    Portion {
        rows,
        bytes: 1 << 20,
        until,
        discard: None,
    }
}

/// Hands out deliveries with a lease of 10 microseconds.
async fn pull(store: &Store, now: i64, rows: usize) -> Vec<Lease> {
    let leased = store.hand_out(HOOK, now, portion(rows, now + 10)).await.unwrap();
    leased.iter().map(|leased| (leased.delivery, leased.attempt)).collect()
}

/// Stores events for the webhook, with pending deliveries.
async fn waiting(fixture: &Fixture, count: usize) -> Vec<NewEvent> {
    let wait = |event| NewEvent {
        spilled: vec![0],
        ..event
    };
    let events: Vec<NewEvent> = (0..count).map(|_| wait(fixture.event(&[HOOK]))).collect();
    fixture.commit_events(events.clone()).await;
    events
}

on_both_stores! {
    async fn a_pulled_delivery_belongs_to_its_caller_until_its_deadline(fixture: &mut Fixture) {
        let events = waiting(fixture, 3).await;
        let ids: Vec<i64> = events.iter().map(|event| delivery(event, 0)).collect();
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        assert_eq!(pull(store, now, 2).await, [(ids[0], 1), (ids[1], 1)], "oldest first");
        assert_eq!(pull(store, now + 1, 5).await, [(ids[2], 1)]);
        assert_eq!(pull(store, now + 1, 5).await, []);
        let acknowledged = store.acknowledge(HOOK, &[(ids[0], 1), (ids[2], 2), (ids[2] + 9, 1)], now + 2).await.unwrap();
        assert_eq!(acknowledged.iter().map(|one| one.delivery).collect::<Vec<_>>(), [ids[0]], "only leased deliveries");
        assert_eq!(acknowledged[0].event, events[0].event.id);
        assert_eq!(store.acknowledge(HOOK, &[(ids[0], 1)], now + 2).await.unwrap(), [], "once");
        assert_eq!(pull(store, now + 11, 5).await, [(ids[1], 2), (ids[2], 2)], "an unacknowledged delivery is handed \
                                                                                out again");
        assert_eq!(store.acknowledge(HOOK, &[(ids[1], 1)], now + 12).await.unwrap(), [], "the first lease has ended");
        assert_eq!(store.acknowledge(HOOK + 1, &[(ids[1], 2)], now + 12).await.unwrap(), [], "another webhook");
        assert_eq!(store.acknowledge(HOOK, &[(ids[1], 2)], now + 12).await.unwrap().len(), 1);
        let attempts = store.list_attempts(ORGANIZATION, ids[1]).await.unwrap();
        let told: Vec<_> = attempts.iter().map(|row| (row.number, row.delivery_state, row.error_class.as_deref())).collect();
        assert_eq!(told, [(1, GOES_ON, Some("timeout")), (2, 1, None)]);
        assert_eq!((attempts[0].duration_us, attempts[1].duration_us), (10, 1));
        let record = store.get_delivery(ORGANIZATION, ids[1]).await.unwrap().unwrap();
        assert_eq!((record.state, record.attempts_made), (DeliveryState::Delivered, 2));
        assert_eq!(store.count_waiting().await.unwrap(), 1);
    }

    async fn a_deadline_can_be_moved(fixture: &mut Fixture) {
        let id = delivery(&waiting(fixture, 1).await[0], 0);
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        let leased = pull(store, now, 1).await;
        assert_eq!(store.extend_leases(HOOK, &leased, now + 1_000).await.unwrap(), leased);
        assert_eq!(pull(store, now + 999, 1).await, [], "later");
        assert_eq!(store.extend_leases(HOOK, &leased, now).await.unwrap(), leased);
        assert_eq!(pull(store, now + 1, 1).await, [(id, 2)], "released");
        assert_eq!(store.extend_leases(HOOK, &leased, now + 1_000).await.unwrap(), [], "the first lease has ended");
    }

    async fn bodies_are_handed_out_within_bounds(fixture: &mut Fixture) {
        waiting(fixture, 3).await;
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        let small = Portion { bytes: 8, ..portion(3, now + 10) };
        assert_eq!(store.hand_out(HOOK, now, small).await.unwrap().len(), 1, "two do not fit");
        let none = Portion { bytes: 0, ..portion(3, now + 10) };
        assert_eq!(store.hand_out(HOOK, now, none).await.unwrap().len(), 1, "at least one delivery");
    }

    async fn many_are_acknowledged_at_once_each_counted_once(fixture: &mut Fixture) {
        let events = waiting(fixture, 1_000).await;
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        let leased = pull(store, now, 1_000).await;
        assert_eq!(leased.len(), 1_000);
        assert_eq!(pull(store, now + 11, 400).await.len(), 400, "the oldest again");
        // Ended leases, one that is named twice, and one of no delivery.
        let mut asked = leased.clone();
        asked.extend([leased[999], (i64::MAX, 1)]);
        let acknowledged = store.acknowledge(HOOK, &asked, now + 12).await.unwrap();
        let done: Vec<Lease> = acknowledged.iter().map(|one| (one.delivery, one.attempt)).collect();
        assert_eq!(done, leased[400..], "the deliveries that were not handed out again, in order");
        let again: Vec<Lease> = leased[..400].iter().map(|(delivery, _)| (*delivery, 2)).collect();
        assert_eq!(store.extend_leases(HOOK, &again, now + 100).await.unwrap().len(), 400);
        assert_eq!(store.extend_leases(HOOK, &leased, now + 100).await.unwrap(), [], "the first leases have ended");
        assert_eq!(store.acknowledge(HOOK, &again, now + 20).await.unwrap().len(), 400);
        assert_eq!(store.count_waiting().await.unwrap(), 0);
        for (event, attempts) in [(&events[0], 2), (&events[999], 1)] {
            let record = store.get_delivery(ORGANIZATION, delivery(event, 0)).await.unwrap().unwrap();
            assert_eq!((record.state, record.attempts_made), (DeliveryState::Delivered, attempts));
        }
    }

    async fn ordered_deliveries_are_handed_out_one_of_a_key_at_a_time(fixture: &mut Fixture) {
        let events: Vec<_> = ["a", "a", "b"].iter().map(|key| fixture.ordered(key)).collect();
        fixture.commit_events(events.clone()).await;
        let ids: Vec<i64> = events.iter().map(|event| delivery(event, 0)).collect();
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        assert_eq!(pull(store, now, 9).await, [(ids[0], 1), (ids[2], 1)]);
        store.acknowledge(HOOK, &[(ids[0], 1)], now + 1).await.unwrap();
        assert_eq!(pull(store, now + 2, 9).await, [(ids[1], 1)]);
    }

    async fn a_cancelled_delivery_is_not_acknowledged(fixture: &mut Fixture) {
        let event = &waiting(fixture, 1).await[0];
        let (store, now) = (fixture.store(), NOW + 1_000_000);
        let leased = pull(store, now, 1).await;
        fixture.deleted_webhook(HOOK).await;
        store.cancel_pending(HOOK, now).await.unwrap();
        assert_eq!(store.acknowledge(HOOK, &leased, now + 1).await.unwrap(), []);
        let record = store.get_delivery(ORGANIZATION, delivery(event, 0)).await.unwrap().unwrap();
        assert_eq!(record.state, DeliveryState::Cancelled);
        store.commit(&Batch::default()).await.unwrap();
    }
}

/// With a round trip of 5 ms to the database, one statement per lease would exceed the deadline of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_a_thousand_takes_a_handful_of_round_trips() {
    let mut fixture = Fixture::postgres().await;
    let keys: Vec<String> = (0..500).map(|key| format!("key-{key}")).collect();
    let events: Vec<NewEvent> = keys.iter().chain(&keys).map(|key| fixture.ordered(key)).collect();
    fixture.commit_events(events).await;
    let proxy = fixture.behind_proxy().await;
    proxy.set(Mode::Slow(std::time::Duration::from_millis(5)));
    let (store, now) = (fixture.store(), NOW + 1_000_000);
    let leased = pull(store, now, 1_000).await;
    assert_eq!(leased.len(), 500, "the first of each key");
    let begun = std::time::Instant::now();
    assert_eq!(store.acknowledge(HOOK, &leased, now + 1).await.unwrap().len(), 500);
    assert_eq!(
        pull(store, i64::MAX / 2, 1_000).await.len(),
        500,
        "the second of each key"
    );
    assert!(begun.elapsed() < hookwright_storage::DEADLINE, "{:?}", begun.elapsed());
}
