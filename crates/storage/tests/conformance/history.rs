//! Lists of events, deliveries and attempts.

use std::sync::Arc;

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    Batch, DELIVERED, DeliveryFilter, EventFilter, EventRecord, FAILED, FOLLOWS, GOES_ON, NewEvent, NextAttempt,
    PAUSED, StoredEvent,
};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, delivery, on_both_stores, pending, with_request};

on_both_stores! {
    async fn events_are_listed_by_type_and_time(fixture: &mut Fixture) {
        let kinds = ["a", "b", "a", "b", "a"];
        let events: Vec<_> = kinds.iter().map(|kind| fixture.event_of(&[11], kind, "{}")).collect();
        fixture.commit_events(events.clone()).await;
        let list = async |filter: EventFilter, before: i64, size: usize| {
            let (records, next) = fixture.store().list_events(ORGANIZATION, &filter, before, size).await.unwrap();
            (records.into_iter().map(|record| record.event.id).collect::<Vec<_>>(), next)
        };
        let ids: Vec<i64> = events.iter().rev().map(|event| event.event.id).collect();
        assert_eq!(list(EventFilter::default(), i64::MAX, 3).await, (ids[..3].to_vec(), Some(ids[2])));
        assert_eq!(list(EventFilter::default(), ids[2], 3).await, (ids[3..].to_vec(), None));
        let of_a = EventFilter { event_type: Some("a".to_owned()), ..EventFilter::default() };
        assert_eq!(list(of_a, i64::MAX, 10).await.0, [ids[0], ids[2], ids[4]]);
        let none = EventFilter { end_us: Some(NOW), ..EventFilter::default() };
        assert_eq!(list(none, i64::MAX, 10).await.0, [0i64; 0]);
        let all = EventFilter { start_us: Some(NOW), end_us: Some(NOW + 1_000_000), ..EventFilter::default() };
        assert_eq!(list(all, i64::MAX, 10).await.0.len(), 5);
    }

    async fn events_are_found_by_ordering_key_and_request_id(fixture: &mut Fixture) {
        let keyed = |key: &str| {
            let new = fixture.event(&[11]);
            let event = StoredEvent { ordering_key: Some(key.to_owned()), ..StoredEvent::clone(&new.event) };
            NewEvent { event: Arc::new(event), ..new }
        };
        let events = vec![keyed("a"), with_request(keyed("b"), "first", 1), with_request(keyed("a"), "second", 2), fixture.event(&[11])];
        fixture.commit_events(events.clone()).await;
        let list = async |filter: EventFilter| {
            let (records, next) = fixture.store().list_events(ORGANIZATION, &filter, i64::MAX, 10).await.unwrap();
            assert_eq!(next, None);
            records
        };
        let id = |index: usize| events[index].event.id;
        let ids = |records: &[EventRecord]| records.iter().map(|record| record.event.id).collect::<Vec<_>>();
        let of_key = EventFilter { ordering_key: Some("a".to_owned()), ..EventFilter::default() };
        assert_eq!(ids(&list(of_key.clone()).await), [id(2), id(0)]);
        let of_request = EventFilter { request_id: Some("first".to_owned()), ..EventFilter::default() };
        let found = list(of_request.clone()).await;
        assert_eq!((ids(&found), found[0].request_id.as_deref()), (vec![id(1)], Some("first")));
        assert_eq!(ids(&list(EventFilter { request_id: of_request.request_id, ..of_key }).await), [0i64; 0], "both \
                                                                                                              conditions \
                                                                                                              must \
                                                                                                              hold");
        let unknown = EventFilter { request_id: Some("third".to_owned()), ..EventFilter::default() };
        assert_eq!(ids(&list(unknown).await), [0i64; 0]);
        let got = fixture.store().get_event(ORGANIZATION, id(2)).await.unwrap().unwrap();
        assert_eq!(got.request_id.as_deref(), Some("second"));
    }

    async fn deliveries_stand_where_their_rows_say(fixture: &mut Fixture) {
        let event = fixture.event(&[11, 12, 13, 14]);
        fixture.commit_events(vec![event.clone()]).await;
        let outcomes = Batch {
            attempts: vec![
                attempt(&event, 1, 1, GOES_ON),
                attempt(&event, 1, 2, DELIVERED),
                attempt(&event, 2, 1, FAILED),
                attempt(&event, 3, 1, GOES_ON),
            ],
            pend: vec![pending(&event, 3, NOW + 5, 1)],
            ..Batch::default()
        };
        fixture.store().commit(&outcomes).await.unwrap();
        let list = async |filter: DeliveryFilter, before: i64, size: usize| {
            fixture.store().list_deliveries(ORGANIZATION, &filter, before, size).await.unwrap()
        };
        let (records, next) = list(DeliveryFilter::default(), i64::MAX, 10).await;
        let states: Vec<_> = records.iter().map(|record| (record.webhook_id, record.state, record.attempts_made)).collect();
        use DeliveryState::{Delivered, Failed, Pending, Retrying};
        assert_eq!(states, [(14, Retrying, 1), (13, Failed, 1), (12, Delivered, 2), (11, Pending, 0)]);
        assert_eq!(next, None);
        assert_eq!(records[0].pending.as_ref().unwrap().due_at, NOW + 5);
        assert_eq!(records[2].last_attempt.as_ref().unwrap().status, Some(200));
        let failed = DeliveryFilter { states: vec![Failed], ..DeliveryFilter::default() };
        assert_eq!(list(failed, i64::MAX, 10).await.0.len(), 1);
        let of_webhook = DeliveryFilter { webhook_id: Some(12), event_id: Some(event.event.id), ..DeliveryFilter::default() };
        assert_eq!(list(of_webhook, i64::MAX, 10).await.0[0].delivery_id, delivery(&event, 1));
        let (page, next) = list(DeliveryFilter::default(), i64::MAX, 3).await;
        assert_eq!(page.len(), 3);
        let (rest, end) = list(DeliveryFilter::default(), next.unwrap(), 3).await;
        assert_eq!((rest.len(), rest[0].webhook_id, end), (1, 11, None), "a page may end within an event");
        let one = fixture.store().get_delivery(ORGANIZATION, delivery(&event, 2)).await.unwrap().unwrap();
        assert_eq!(one, records[1]);
        for (organization, id) in [(ORGANIZATION + 1, delivery(&event, 2)), (ORGANIZATION, delivery(&event, 3) + 1), (ORGANIZATION, 1)] {
            assert_eq!(fixture.store().get_delivery(organization, id).await.unwrap(), None);
        }
        let attempts = fixture.store().list_attempts(ORGANIZATION, delivery(&event, 1)).await.unwrap();
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(attempts[0].response_body.as_deref(), Some(&b"\0\xff"[..]), "bytes that are not text survive");
    }

    async fn attempts_are_read_from_the_last_and_one_by_one(fixture: &mut Fixture) {
        let event = fixture.event(&[11, 12]);
        let attempts = (1..=5).map(|number| attempt(&event, 1, number, if number < 5 { GOES_ON } else { DELIVERED }));
        let batch = Batch { events: vec![event.clone()], attempts: attempts.collect(), ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        let id = delivery(&event, 1);
        let last = async |organization: i64, before: i32, size: usize| {
            let found = fixture.store().delivery_and_attempts(organization, id, before, size).await.unwrap();
            let (record, attempts) = found.unwrap_or_else(|| panic!("{organization} has no delivery {id}"));
            assert_eq!((record.state, record.attempts_made), (DeliveryState::Delivered, 5));
            attempts.into_iter().map(|attempt| (attempt.number, attempt.status, attempt.duration_us)).collect::<Vec<_>>()
        };
        assert_eq!(last(ORGANIZATION, i32::MAX, 2).await, [(5, Some(200), 1_000), (4, Some(500), 1_000)]);
        assert_eq!(last(ORGANIZATION, 4, 10).await.len(), 3);
        for (organization, id) in [(ORGANIZATION + 1, id), (ORGANIZATION, id + 1)] {
            assert_eq!(fixture.store().delivery_and_attempts(organization, id, i32::MAX, 10).await.unwrap(), None);
        }
        let all = fixture.store().list_attempts(ORGANIZATION, id).await.unwrap();
        let one = async |organization: i64, number: i32| fixture.store().get_attempt(organization, id, number).await.unwrap();
        assert_eq!(one(ORGANIZATION, 3).await.as_ref(), Some(&all[2]));
        assert_eq!((one(ORGANIZATION, 6).await, one(ORGANIZATION + 1, 3).await), (None, None));
    }

    async fn a_delivery_is_read_together_with_the_attempts_that_led_to_its_state(fixture: &mut Fixture) {
        const ATTEMPTS: i32 = 60;
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        let (store, id) = (fixture.store().clone(), delivery(&event, 0));
        let reading = tokio::spawn(async move {
            loop {
                let found = store.delivery_and_attempts(ORGANIZATION, id, i32::MAX, 2).await.unwrap();
                let (record, attempts) = found.unwrap();
                let last = attempts.first().map(|attempt| (attempt.number, attempt.delivery_state));
                assert_eq!(last.map_or(0, |(number, _)| number), record.attempts_made);
                assert_eq!(last.is_some_and(|(_, state)| state == DELIVERED), record.state == DeliveryState::Delivered);
                if record.state == DeliveryState::Delivered {
                    return;
                }
            }
        });
        for number in 1..=ATTEMPTS {
            let state = if number < ATTEMPTS { GOES_ON } else { DELIVERED };
            let tried = Batch { attempts: vec![attempt(&event, 0, number, state)], ..Batch::default() };
            fixture.store().commit(&tried).await.unwrap();
        }
        reading.await.unwrap();
    }

    async fn of_a_payload_the_beginning_can_be_read_alone(fixture: &mut Fixture) {
        let payload = format!(r#"{{"text":"{}"}}"#, "\u{e9}".repeat(100_000));
        let keyed = fixture.event_of(&[11], "clocking", &payload);
        let event = StoredEvent { ordering_key: Some("a".to_owned()), ..StoredEvent::clone(&keyed.event) };
        let event = with_request(NewEvent { event: Arc::new(event), ..keyed }, "first", 1);
        fixture.commit_events(vec![event.clone()]).await;
        let id = event.event.id;
        let whole = fixture.store().get_event(ORGANIZATION, id).await.unwrap().unwrap();
        for bytes in [0, 10, payload.len(), payload.len() + 1] {
            let beginning = fixture.store().event_beginning(ORGANIZATION, id, bytes).await.unwrap().unwrap();
            assert_eq!(beginning.event.payload, payload.as_bytes()[..bytes.min(payload.len())]);
            let rest = StoredEvent { payload: whole.event.payload.clone(), ..beginning.event.clone() };
            assert_eq!(EventRecord { event: rest, ..beginning }, whole, "everything else is the same");
        }
        assert_eq!(fixture.store().event_beginning(ORGANIZATION + 1, id, 10).await.unwrap(), None);
        assert_eq!(fixture.store().event_beginning(ORGANIZATION, id + 1, 10).await.unwrap(), None);
    }

    async fn a_delivery_says_what_its_next_attempt_waits_for(fixture: &mut Fixture) {
        let event = fixture.event(&[11, 12, 13, 14, 15]);
        let tried = |position, state| attempt(&event, position, 1, state);
        let batch = Batch {
            events: vec![event.clone()],
            attempts: vec![tried(0, GOES_ON), tried(1, GOES_ON), tried(3, FAILED)],
            pend: vec![pending(&event, 0, NOW + 5, 1), pending(&event, 1, PAUSED, 1), pending(&event, 2, FOLLOWS, 0)],
            ..Batch::default()
        };
        fixture.store().commit(&batch).await.unwrap();
        let mut waits = Vec::new();
        for position in 0..5 {
            let record = fixture.store().get_delivery(ORGANIZATION, delivery(&event, position)).await.unwrap().unwrap();
            waits.push(record.next_attempt());
        }
        use NextAttempt::{DueAt, Follows, Paused, Unknown};
        assert_eq!(waits, [DueAt(NOW + 5), Paused, Follows, Unknown, Unknown], "the last two are final, or only in \
                                                                                memory");
    }
}
