//! Replays: their owners and progress, and replayed deliveries.

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    Batch, DELIVERED, DeliveryFilter, EventFilter, FAILED, NewEvent,
    replays::{REPLAY_CANCELLED, REPLAY_RUNNING, REPLAY_SUCCEEDED, ReplayProgress, ReplayRow},
};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, audit, delivery, on_both_stores, with_request};

fn replay(id: i64) -> ReplayRow {
    ReplayRow {
        id,
        organization_id: ORGANIZATION,
        request_id: None,
        spec: "{}".to_owned(),
        state: REPLAY_RUNNING,
        error: None,
        first_id: 0,
        last_id: 1_000,
        cursor: 0,
        examined: 0,
        matched: 0,
        replayed: 0,
        skipped: 0,
        node: 0,
        leased_until: 0,
        created_at: NOW,
        ended_at: None,
    }
}

/// A replay of an event for some webhooks.
fn again(fixture: &Fixture, event: &NewEvent, webhooks: &[i64]) -> NewEvent {
    let mut new = fixture.event(webhooks);
    let mut made = (*new.event).clone();
    made.replay_of = Some(event.event.id);
    new.event = std::sync::Arc::new(made);
    new
}

on_both_stores! {
    async fn a_replay_is_worked_on_by_one_until_it_ends(fixture: &mut Fixture) {
        let store = fixture.store();
        let row = ReplayRow { request_id: Some("r".to_owned()), ..replay(1) };
        assert!(store.insert_replay(&row, 2, &audit(1)).await.unwrap());
        assert!(store.insert_replay(&row, 2, &audit(2)).await.is_err(), "its id is taken");
        assert!(store.insert_replay(&replay(2), 2, &audit(3)).await.unwrap());
        assert!(!store.insert_replay(&replay(3), 2, &audit(4)).await.unwrap(), "the limit of running replays is reached");
        assert_eq!(store.replay_of_request(ORGANIZATION, "r").await.unwrap().unwrap(), row);
        assert_eq!(store.replay_of_request(ORGANIZATION + 1, "r").await.unwrap(), None);
        assert_eq!(store.get_replay(ORGANIZATION + 1, 1).await.unwrap(), None);
        let taken = store.take_replays(NOW, NOW + 10).await.unwrap();
        assert_eq!(taken.len(), 2);
        assert_eq!(store.take_replays(NOW + 9, NOW + 20).await.unwrap(), [], "leased");
        let progress = ReplayProgress { cursor: 5, examined: 4, matched: 3, replayed: 2, skipped: 1 };
        assert!(store.save_replay(1, progress, NOW + 30).await.unwrap());
        let again: Vec<i64> = store.take_replays(NOW + 20, NOW + 40).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!(again, [2], "the other replay's lease was extended");
        assert!(store.end_replay(2, REPLAY_CANCELLED, None, NOW, Some(&audit(5))).await.unwrap());
        assert!(!store.end_replay(2, REPLAY_SUCCEEDED, None, NOW, None).await.unwrap(), "ended before");
        assert!(!store.save_replay(2, progress, NOW + 99).await.unwrap());
        assert!(store.insert_replay(&replay(3), 2, &audit(6)).await.unwrap(), "room again");
        let listed: Vec<_> = store.list_replays(ORGANIZATION, i64::MAX, 2).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 2]);
        let first = store.list_replays(ORGANIZATION, 2, 2).await.unwrap().remove(0);
        assert_eq!((first.cursor, first.examined, first.matched, first.replayed, first.skipped), (5, 4, 3, 2, 1));
        assert_eq!(store.forget_replays(NOW + 1).await.unwrap(), 1, "the one that has ended");
    }

    async fn the_last_delivery_to_each_webhook_tells(fixture: &mut Fixture) {
        let store = fixture.store();
        let events = [fixture.event(&[11, 12]), fixture.event_of(&[11], "ping", "{}"), fixture.event_of(&[11], "other", "{}")];
        let last = fixture.event(&[11]);
        let replayed = again(fixture, &events[0], &[12, 13]);
        fixture.commit_events([&events[..], &[last.clone(), replayed.clone()]].concat()).await;
        let outcomes = Batch {
            attempts: vec![
                attempt(&events[0], 0, 1, FAILED),
                attempt(&events[0], 1, 1, FAILED),
                attempt(&replayed, 0, 1, DELIVERED),
            ],
            ..Batch::default()
        };
        store.commit(&outcomes).await.unwrap();
        let stretch = store.replay_stretch(ORGANIZATION, &[], 0, i64::MAX).await.unwrap();
        let found: Vec<i64> = stretch.candidates.iter().map(|one| one.event_id).collect();
        assert_eq!(found, [events[0].event.id, events[2].event.id, last.event.id], "neither pings nor replays");
        assert_eq!(stretch.cursor, i64::MAX);
        let mut told: Vec<_> = stretch.candidates[0]
            .deliveries
            .iter()
            .map(|record| (record.webhook_id, record.delivery_id, record.state))
            .collect();
        told.sort_by_key(|(webhook, ..)| *webhook);
        use DeliveryState::{Delivered, Failed, Pending};
        let expected = [
            (11, delivery(&events[0], 0), Failed),
            (12, delivery(&replayed, 0), Delivered),
            (13, delivery(&replayed, 1), Pending),
        ];
        assert_eq!(told, expected);
        let typed = store.replay_stretch(ORGANIZATION, &["other".to_owned()], 0, i64::MAX).await.unwrap();
        assert_eq!(typed.candidates.len(), 1);
        assert_eq!(store.replay_stretch(ORGANIZATION, &[], last.event.id, i64::MAX).await.unwrap().candidates, []);
        assert_eq!(store.replay_stretch(ORGANIZATION + 1, &[], 0, i64::MAX).await.unwrap().candidates, []);
    }

    async fn an_undelivered_delivery_shows_its_replay(fixture: &mut Fixture) {
        use DeliveryState::{Delivered, Failed, Pending};
        let store = fixture.store();
        let events = [fixture.event(&[11, 12, 13]), fixture.event(&[11])];
        fixture.commit_events(events.to_vec()).await;
        let outcomes = Batch {
            attempts: vec![
                attempt(&events[0], 0, 1, FAILED),
                attempt(&events[0], 1, 1, FAILED),
                attempt(&events[0], 2, 1, DELIVERED),
                attempt(&events[1], 0, 1, FAILED),
            ],
            ..Batch::default()
        };
        store.commit(&outcomes).await.unwrap();
        // The first webhook gets two replays: one that failed again, and one that is pending. The third got a delivery
        // and a replay of it.
        let replays = [again(fixture, &events[0], &[11, 13]), again(fixture, &events[0], &[12, 11])];
        fixture.commit_events(replays.to_vec()).await;
        let outcomes = Batch {
            attempts: vec![attempt(&replays[0], 0, 1, FAILED), attempt(&replays[1], 0, 1, DELIVERED)],
            ..Batch::default()
        };
        store.commit(&outcomes).await.unwrap();
        let told = async |filter: DeliveryFilter| -> Vec<_> {
            let (records, _) = store.list_deliveries(ORGANIZATION, &filter, i64::MAX, 10).await.unwrap();
            let told = records.iter().map(|record| {
                (record.delivery_id, record.replayed.map(|replayed| (replayed.delivery_id, replayed.state)))
            });
            told.collect()
        };
        let last = (delivery(&replays[1], 1), Pending);
        let failed = [
            (delivery(&replays[0], 0), Some(last)),
            (delivery(&events[1], 0), None),
            (delivery(&events[0], 1), Some((delivery(&replays[1], 0), Delivered))),
            (delivery(&events[0], 0), Some(last)),
        ];
        let filter = || DeliveryFilter { states: vec![Failed], ..DeliveryFilter::default() };
        assert_eq!(told(filter()).await, failed);
        assert_eq!(told(DeliveryFilter { hide_replayed: true, ..filter() }).await, [(delivery(&events[1], 0), None)]);
        let all = told(DeliveryFilter::default()).await;
        assert_eq!((all.len(), all.iter().filter(|(_, replayed)| replayed.is_some()).count()), (8, 3));
        let shown = told(DeliveryFilter { hide_replayed: true, ..DeliveryFilter::default() }).await;
        assert_eq!((shown.len(), shown.iter().filter(|(_, replayed)| replayed.is_some()).count()), (5, 0));
        let one = store.get_delivery(ORGANIZATION, delivery(&events[0], 0)).await.unwrap().unwrap();
        assert_eq!(one.replayed.map(|replayed| (replayed.delivery_id, replayed.state)), Some(last));
        let of_event = store.deliveries_of_event(ORGANIZATION, events[0].event.id).await.unwrap();
        assert_eq!(of_event.iter().filter(|record| record.replayed.is_some()).count(), 3);
        let last_of_all = store.get_delivery(ORGANIZATION, delivery(&replays[1], 1)).await.unwrap().unwrap();
        assert_eq!(last_of_all.replayed, None);
    }

    async fn replays_of_an_event_that_has_very_many_are_found(fixture: &mut Fixture) {
        let store = fixture.store();
        let event = fixture.event(&[11, 12]);
        fixture.commit_events(vec![event.clone()]).await;
        let outcomes = Batch { attempts: vec![attempt(&event, 0, 1, FAILED)], ..Batch::default() };
        store.commit(&outcomes).await.unwrap();
        for _ in 0..5 {
            let replays: Vec<_> = (0..900).map(|_| again(fixture, &event, &[12])).collect();
            fixture.commit_events(replays).await;
        }
        let last = again(fixture, &event, &[11]);
        fixture.commit_events(vec![last.clone()]).await;
        let record = store.get_delivery(ORGANIZATION, delivery(&event, 0)).await.unwrap().unwrap();
        assert_eq!(record.replayed.map(|replayed| replayed.delivery_id), Some(delivery(&last, 0)));
    }

    async fn a_replay_is_known_as_the_event_that_it_replays(fixture: &mut Fixture) {
        let store = fixture.store();
        let event = fixture.event(&[11]);
        let replayed = with_request(again(fixture, &event, &[11, 12]), "again", 1);
        fixture.commit_events(vec![event.clone(), replayed.clone()]).await;
        let (listed, _) = store.list_events(ORGANIZATION, &EventFilter::default(), i64::MAX, 10).await.unwrap();
        assert_eq!(listed.iter().map(|record| record.event.id).collect::<Vec<_>>(), [event.event.id]);
        let all = store.deliveries_of_event(ORGANIZATION, event.event.id).await.unwrap();
        let told: Vec<_> = all.iter().map(|record| (record.delivery_id, record.event_id, record.replay)).collect();
        let id = event.event.id;
        let expected = [
            (delivery(&event, 0), id, false),
            (delivery(&replayed, 0), id, true),
            (delivery(&replayed, 1), id, true),
        ];
        assert_eq!(told, expected);
        let of_event = DeliveryFilter { event_id: Some(id), ..DeliveryFilter::default() };
        let (listed, _) = store.list_deliveries(ORGANIZATION, &of_event, i64::MAX, 10).await.unwrap();
        assert_eq!(listed.len(), 3);
        let asked = vec!["again".to_owned(), "never".to_owned()];
        assert_eq!(store.events_of_requests(ORGANIZATION, asked).await.unwrap(), [("again".to_owned(), 2)]);
        assert_eq!(store.events(&[replayed.event.id]).await.unwrap()[0].known_as(), id);
    }
}
