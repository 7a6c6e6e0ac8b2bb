//! Ordered deliveries: one delivery of each key is due at a time, in the order of commits.

use std::collections::{BTreeMap, BTreeSet};

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    Batch, BlockedRange, DELIVERED, DeliveryFilter, FAILED, FOLLOWS, GOES_ON, NewEvent, PAUSED, PendingRow, Steered,
    Store,
};
use proptest::prelude::*;

use crate::{
    nodes::Shared,
    support::{Fixture, NOW, ORGANIZATION, attempt, audit, delivery, on_both_stores, organization, pending, webhook},
};

const HOOK: i64 = 11;
const LATER: i64 = i64::MAX / 2;

impl Fixture {
    /// An event for one ordered webhook.
    pub(crate) fn ordered(&self, key: &str) -> NewEvent {
        let mut new = self.event(&[HOOK]);
        let mut event = (*new.event).clone();
        event.ordering_key = (!key.is_empty()).then(|| key.to_owned());
        new.event = std::sync::Arc::new(event);
        new.spilled = vec![0];
        new.ordered = vec![0];
        new
    }
}

/// The indexes of the events with due deliveries.
async fn due(store: &Store, events: &[NewEvent]) -> Vec<usize> {
    let rows = store.due(HOOK, LATER, 1_000, usize::MAX).await.unwrap().rows;
    let place = |id| events.iter().position(|event| delivery(event, 0) == id).unwrap();
    let mut found: Vec<usize> = rows.iter().map(|row| place(row.pending.delivery_id)).collect();
    found.sort_unstable();
    found
}

/// A batch that ends a delivery by its attempt.
fn done(event: &NewEvent, state: i32) -> Batch {
    let key = event.event.ordering_key.clone().unwrap_or_default();
    Batch {
        attempts: vec![attempt(event, 0, 1, state)],
        unpend: vec![delivery(event, 0)],
        advance: vec![(HOOK, key)],
        ..Batch::default()
    }
}

fn row(event: &NewEvent, due_at: i64, attempts: i32) -> PendingRow {
    PendingRow {
        ordering_key: Some(event.event.ordering_key.clone().unwrap_or_default()),
        ..pending(event, 0, due_at, attempts)
    }
}

on_both_stores! {
    async fn a_commit_that_is_repeated_tells_again_what_it_made_due(fixture: &mut Fixture) {
        let events = [fixture.ordered("a"), fixture.ordered("a")];
        fixture.commit_events(events.to_vec()).await;
        let batch = done(&events[0], DELIVERED);
        assert_eq!(fixture.store().commit(&batch).await.unwrap().due, [HOOK]);
        let again = Batch { repeated: true, ..batch };
        assert_eq!(fixture.store().commit(&again).await.unwrap().due, [HOOK], "the first answer may have been lost");
    }

    async fn of_each_key_the_first_is_due_and_its_end_makes_the_next_one_due(fixture: &mut Fixture) {
        let events = [fixture.ordered("a"), fixture.ordered("a"), fixture.ordered("b"), fixture.ordered("")];
        fixture.commit_events(events[..3].to_vec()).await;
        fixture.commit_events(events[3..].to_vec()).await;
        let store = fixture.store();
        assert_eq!(due(store, &events).await, [0, 2, 3]);
        let more = [events.to_vec(), vec![fixture.ordered("a")]].concat();
        fixture.commit_events(more[4..].to_vec()).await;
        let committed = fixture.store().commit(&done(&events[0], DELIVERED)).await.unwrap();
        assert_eq!(committed.due, [HOOK]);
        assert_eq!(due(fixture.store(), &more).await, [1, 2, 3]);
        let committed = fixture.store().commit(&done(&events[3], FAILED)).await.unwrap();
        assert_eq!(committed.due, [0_i64; 0], "no delivery is behind it");
        fixture.store().commit(&done(&events[1], DELIVERED)).await.unwrap();
        assert_eq!(due(fixture.store(), &more).await, [2, 4]);
    }

    async fn a_retry_keeps_its_place_and_a_late_outcome_makes_nothing_due_twice(fixture: &mut Fixture) {
        let events = [fixture.ordered("a"), fixture.ordered("a"), fixture.ordered("a")];
        fixture.commit_events(events.to_vec()).await;
        let store = fixture.store();
        let retry = Batch {
            attempts: vec![attempt(&events[0], 0, 1, GOES_ON)],
            pend: vec![row(&events[0], NOW + 5, 1)],
            ..Batch::default()
        };
        store.commit(&retry).await.unwrap();
        assert_eq!(due(store, &events).await, [0]);
        let refill = store.due(HOOK, NOW, 10, usize::MAX).await.unwrap();
        assert_eq!((refill.rows.len(), refill.next_due), (0, Some(NOW + 5)), "followers have no due time");
        store.end_delivery(ORGANIZATION, delivery(&events[0], 0), "skipped", NOW, &audit(1)).await.unwrap();
        assert_eq!(due(store, &events).await, [1]);
        // The attempt that was in flight when the delivery was skipped fails. This neither restores the delivery nor
        // advances the key.
        let late = Batch {
            attempts: vec![attempt(&events[0], 0, 2, GOES_ON)],
            pend: vec![row(&events[0], NOW, 2)],
            ..Batch::default()
        };
        store.commit(&late).await.unwrap();
        let delivered = Batch {
            attempts: vec![attempt(&events[0], 0, 3, DELIVERED)],
            ..done(&events[0], DELIVERED)
        };
        let committed = store.commit(&delivered).await.unwrap();
        assert_eq!(committed.due, [0_i64; 0], "the next delivery of the key is due already");
        assert_eq!(due(store, &events).await, [1]);
    }

    async fn a_paused_head_blocks_its_key_until_a_retry_or_a_skip(fixture: &mut Fixture) {
        let events = [fixture.ordered("a"), fixture.ordered("a"), fixture.ordered("b")];
        fixture.commit_events(events.to_vec()).await;
        let store = fixture.store();
        let paused = Batch {
            attempts: vec![attempt(&events[0], 0, 1, GOES_ON)],
            pend: vec![row(&events[0], PAUSED, 1)],
            ..Batch::default()
        };
        store.commit(&paused).await.unwrap();
        assert_eq!(due(store, &events).await, [2]);
        let id = delivery(&events[0], 0);
        let record = store.get_delivery(ORGANIZATION, id).await.unwrap().unwrap();
        assert_eq!(record.state.to_string(), "paused");
        let follower = store.retry_delivery(ORGANIZATION, delivery(&events[1], 0), NOW, &audit(1)).await.unwrap();
        assert_eq!(follower, Steered::Follows);
        let retried = store.retry_delivery(ORGANIZATION, id, NOW, &audit(2)).await.unwrap();
        assert_eq!(retried, Steered::Done { webhook: HOOK });
        assert_eq!(due(store, &events).await, [0, 2]);
        store.commit(&Batch { attempts: Vec::new(), ..paused }).await.unwrap();
        let skipped = store.end_delivery(ORGANIZATION, id, "skipped", NOW, &audit(3)).await.unwrap();
        assert_eq!(skipped, Steered::Done { webhook: HOOK });
        assert_eq!(due(store, &events).await, [1, 2]);
        let record = store.get_delivery(ORGANIZATION, id).await.unwrap().unwrap();
        assert_eq!((record.state.to_string().as_str(), record.ending.unwrap().reason.as_str()), ("cancelled", "skipped"));
        let again = store.end_delivery(ORGANIZATION, id, "skipped", NOW, &audit(4)).await.unwrap();
        assert_eq!(again, Steered::NotWaiting);
        let elsewhere = store.end_delivery(ORGANIZATION + 1, delivery(&events[1], 0), "skipped", NOW, &audit(5)).await.unwrap();
        assert_eq!(elsewhere, Steered::NotWaiting, "another organization's");
    }

    async fn blocked_keys_are_found_with_the_deliveries_behind_them(fixture: &mut Fixture) {
        let events = ["a", "a", "a", "b", "b", "c"].map(|key| fixture.ordered(key));
        fixture.commit_events(events.to_vec()).await;
        let store = fixture.store();
        let all = || BlockedRange::all_after((i64::MIN, i64::MIN));
        assert_eq!(store.webhooks_with_blocked_keys(all(), 10).await.unwrap(), []);
        let pauses = Batch {
            attempts: vec![attempt(&events[0], 0, 1, GOES_ON), attempt(&events[3], 0, 1, GOES_ON)],
            pend: vec![row(&events[0], PAUSED, 1), row(&events[3], PAUSED, 1)],
            ..Batch::default()
        };
        store.commit(&pauses).await.unwrap();
        let found = async |range: BlockedRange| -> Vec<(i64, i64, usize)> {
            let found = store.webhooks_with_blocked_keys(range, 10).await.unwrap();
            found.iter().map(|keys| (keys.organization_id, keys.webhook_id, keys.keys)).collect()
        };
        let backlog = store.backlog(100).await.unwrap();
        assert_eq!((backlog.pending, backlog.retrying, backlog.following, backlog.paused), (1, 0, 3, 2));
        let both = [(ORGANIZATION, HOOK, 2)];
        assert_eq!(found(all()).await, both);
        assert_eq!(found(BlockedRange::all_after((ORGANIZATION, HOOK - 1))).await, both);
        assert_eq!(found(BlockedRange::all_after((ORGANIZATION, HOOK))).await, []);
        assert_eq!(found(BlockedRange::of(ORGANIZATION, HOOK, HOOK)).await, both);
        assert_eq!(found(BlockedRange::of(ORGANIZATION, 1, HOOK - 1)).await, []);
        assert_eq!(found(BlockedRange::of(ORGANIZATION + 1, 1, i64::MAX)).await, []);
        assert_eq!((store.count_blocked_keys(10).await.unwrap(), store.count_blocked_keys(1).await.unwrap()), (2, 1));
        assert_eq!(store.count_behind(HOOK, "a").await.unwrap(), 2);
        assert_eq!(store.count_behind(HOOK, "b").await.unwrap(), 1);
        assert_eq!(store.count_behind(HOOK, "none").await.unwrap(), 0);
        for webhook_id in [None, Some(HOOK)] {
            let filter = DeliveryFilter { states: vec![DeliveryState::Paused], webhook_id, ..DeliveryFilter::default() };
            let (records, next) = store.list_deliveries(ORGANIZATION, &filter, i64::MAX, 10).await.unwrap();
            let told: Vec<_> = records.iter().map(|record| (record.delivery_id, record.ordering_key.as_deref())).collect();
            assert_eq!(told, [(delivery(&events[3], 0), Some("b")), (delivery(&events[0], 0), Some("a"))]);
            assert_eq!(next, None);
        }
        let of_other = DeliveryFilter { states: vec![DeliveryState::Paused], webhook_id: Some(HOOK + 1), ..DeliveryFilter::default() };
        assert_eq!(store.list_deliveries(ORGANIZATION, &of_other, i64::MAX, 10).await.unwrap().0, []);
        store.retry_delivery(ORGANIZATION, delivery(&events[0], 0), NOW, &audit(1)).await.unwrap();
        assert_eq!(found(all()).await, [(ORGANIZATION, HOOK, 1)], "a delivery that is retried is not paused");
    }

    async fn a_webhook_that_is_not_ordered_any_more_gets_what_waited(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let hook = hookwright_storage::WebhookRow { ordered: true, ..webhook(HOOK) };
        store.insert_webhook(&hook, &crate::support::secret(5, HOOK), None, &audit(2)).await.unwrap();
        let events = [fixture.ordered("a"), fixture.ordered("a"), fixture.ordered("a")];
        fixture.commit_events(events.to_vec()).await;
        let next = hookwright_storage::WebhookRow { version: 2, ordered: false, ..hook };
        fixture.store().update_webhook(&next, 1, None, &audit(3)).await.unwrap();
        assert_eq!(due(fixture.store(), &events).await, [0, 1, 2]);
        let rows = fixture.store().due(HOOK, LATER, 10, usize::MAX).await.unwrap().rows;
        assert!(rows.iter().all(|row| row.pending.ordering_key.is_none()));
    }

    async fn a_skipped_delivery_is_not_brought_back_by_its_retry(fixture: &mut Fixture) {
        let mut event = fixture.event(&[HOOK]);
        event.spilled = vec![0];
        let events = [event];
        fixture.commit_events(events.to_vec()).await;
        let store = fixture.store();
        store.end_delivery(ORGANIZATION, delivery(&events[0], 0), "skipped", NOW, &audit(1)).await.unwrap();
        let late = Batch {
            attempts: vec![attempt(&events[0], 0, 1, GOES_ON)],
            pend: vec![pending(&events[0], 0, NOW, 1)],
            ..Batch::default()
        };
        store.commit(&late).await.unwrap();
        assert_eq!(due(store, &events).await, [0_usize; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_that_commit_at_once_agree_on_the_first_of_a_key() {
    let shared = Shared::new().await;
    let lease = std::time::Duration::from_secs(60);
    let (a, b) = (shared.join("a", lease).await, shared.join("b", lease).await);
    let publish = async |store: &Store| {
        let ids = hookwright_domain::id::IdGenerator::new(store.node(), 0);
        for _ in 0..20 {
            let mut new = Fixture::event_by(&ids, &[HOOK]);
            (new.spilled, new.ordered) = (vec![0], vec![0]);
            let batch = Batch {
                events: vec![new],
                ..Batch::default()
            };
            store.commit(&batch).await.unwrap();
        }
    };
    tokio::join!(publish(&a), publish(&b));
    // Delivers the whole key: exactly one delivery is due at any time.
    for left in (0..40).rev() {
        let mut heads = Vec::new();
        for store in [&a, &b] {
            let rows = store.due(HOOK, LATER, 100, usize::MAX).await.unwrap().rows;
            heads.extend(rows.into_iter().map(|row| (store.clone(), row.pending.delivery_id)));
        }
        let [(owner, head)] = heads.as_slice() else {
            panic!("{} are due with {left} to go", heads.len())
        };
        let batch = Batch {
            unpend: vec![*head],
            advance: vec![(HOOK, String::new())],
            ..Batch::default()
        };
        // Either node may end the delivery; usually the owner does.
        let by = if left % 3 == 0 { &a } else { owner };
        by.commit(&batch).await.unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        key: usize,
        count: usize,
    },
    /// Ends the due delivery at this position: delivered, or failed permanently.
    End {
        place: usize,
        delivered: bool,
    },
    Retry {
        place: usize,
    },
    Pause {
        place: usize,
    },
    Skip {
        place: usize,
    },
    Resume {
        place: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..4_usize;
    prop_oneof![
        3 => (0..3_usize, 1..4_usize).prop_map(|(key, count)| Step::Publish { key, count }),
        4 => (place.clone(), any::<bool>()).prop_map(|(place, delivered)| Step::End { place, delivered }),
        1 => place.clone().prop_map(|place| Step::Retry { place }),
        1 => place.clone().prop_map(|place| Step::Pause { place }),
        1 => place.clone().prop_map(|place| Step::Skip { place }),
        1 => place.prop_map(|place| Step::Resume { place }),
    ]
}

/// The expected state: each key's deliveries in order, and whether the first is paused.
#[derive(Default)]
struct Model {
    keys: BTreeMap<usize, (Vec<NewEvent>, bool)>,
}

impl Model {
    fn heads(&self, paused: bool) -> Vec<(usize, NewEvent)> {
        let heads = self
            .keys
            .iter()
            .filter(|(_, (queue, is_paused))| !queue.is_empty() && *is_paused == paused);
        heads.map(|(key, (queue, _))| (*key, queue[0].clone())).collect()
    }

    fn end(&mut self, key: usize) {
        let (queue, paused) = self.keys.get_mut(&key).unwrap();
        queue.remove(0);
        *paused = false;
    }
}

async fn run(steps: Vec<Step>) {
    let fixture = Fixture::sqlite().await;
    let store = fixture.store();
    let mut model = Model::default();
    let mut audits = 0;
    for step in steps {
        let heads = model.heads(false);
        let head = |place: usize| heads.get(place).cloned();
        match step {
            Step::Publish { key, count } => {
                let events: Vec<NewEvent> = (0..count).map(|_| fixture.ordered(&format!("k{key}"))).collect();
                fixture.commit_events(events.clone()).await;
                model.keys.entry(key).or_default().0.extend(events);
            }
            Step::End { place, delivered } => {
                let Some((key, event)) = head(place) else { continue };
                store
                    .commit(&done(&event, if delivered { DELIVERED } else { FAILED }))
                    .await
                    .unwrap();
                model.end(key);
            }
            Step::Retry { place } | Step::Pause { place } => {
                let Some((key, event)) = head(place) else { continue };
                let pauses = matches!(step, Step::Pause { .. });
                let pend = vec![row(&event, if pauses { PAUSED } else { NOW + 1 }, 1)];
                store
                    .commit(&Batch {
                        pend,
                        ..Batch::default()
                    })
                    .await
                    .unwrap();
                model.keys.get_mut(&key).unwrap().1 = pauses;
            }
            Step::Skip { place } | Step::Resume { place } => {
                let paused = model.heads(true);
                let Some((key, event)) = paused.get(place).cloned() else {
                    continue;
                };
                audits += 1;
                let id = delivery(&event, 0);
                if matches!(step, Step::Skip { .. }) {
                    store
                        .end_delivery(ORGANIZATION, id, "skipped", NOW, &audit(audits))
                        .await
                        .unwrap();
                    model.end(key);
                } else {
                    store
                        .retry_delivery(ORGANIZATION, id, NOW, &audit(audits))
                        .await
                        .unwrap();
                    model.keys.get_mut(&key).unwrap().1 = false;
                }
            }
        }
        let expected: BTreeSet<i64> = model.heads(false).iter().map(|(_, event)| delivery(event, 0)).collect();
        let rows = store.due(HOOK, LATER, 1_000, usize::MAX).await.unwrap().rows;
        let found: BTreeSet<i64> = rows.iter().map(|row| row.pending.delivery_id).collect();
        assert_eq!(
            found, expected,
            "one delivery of each key is due: the first that is not final"
        );
        assert!(rows.iter().all(|row| row.pending.due_at < FOLLOWS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_each_key_one_is_due_whatever_happens(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
