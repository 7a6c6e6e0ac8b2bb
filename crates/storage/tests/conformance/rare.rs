//! Rare matches, found page by page: one call does a bounded amount of work, however much is stored.

use hookwright_domain::outcome::{DeliveryState, ErrorClass};
use hookwright_storage::{
    AttemptRow, Batch, DELIVERED, DeliveryFilter, EventFilter, FAILED, NewEvent, PAUSED, StoredEvent,
};

use crate::support::{Fixture, NOW, NOW_MS, ORGANIZATION, attempt, audit, delivery, on_both_stores, pending};

/// More events than one call reads.
const MANY: usize = 9_000;

impl Fixture {
    async fn commit_many(&self, make: impl Fn(usize) -> NewEvent) -> Vec<NewEvent> {
        let events: Vec<NewEvent> = (0..MANY).map(make).collect();
        for events in events.chunks(500) {
            self.commit_events(events.to_vec()).await;
        }
        events
    }

    /// The events of all pages, and the number of pages.
    async fn all_events(&self, filter: &EventFilter, size: usize) -> (Vec<i64>, usize) {
        let (mut found, mut before, mut pages) = (Vec::new(), Some(i64::MAX), 0);
        while let Some(below) = before {
            let (page, next) = self
                .store()
                .list_events(ORGANIZATION, filter, below, size)
                .await
                .unwrap();
            assert!(
                page.len() <= size && next.is_none_or(|next| next < below),
                "{next:?} after {below}"
            );
            found.extend(page.into_iter().map(|record| record.event.id));
            (before, pages) = (next, pages + 1);
        }
        (found, pages)
    }

    /// The deliveries of all pages, and the number of pages.
    async fn all_deliveries(&self, filter: &DeliveryFilter, size: usize) -> (Vec<i64>, usize) {
        let (mut found, mut before, mut pages) = (Vec::new(), Some(i64::MAX), 0);
        while let Some(below) = before {
            let (page, next) = self
                .store()
                .list_deliveries(ORGANIZATION, filter, below, size)
                .await
                .unwrap();
            assert!(
                page.len() <= size && next.is_none_or(|next| next < below),
                "{next:?} after {below}"
            );
            found.extend(page.into_iter().map(|record| record.delivery_id));
            (before, pages) = (next, pages + 1);
        }
        (found, pages)
    }
}

on_both_stores! {
    async fn a_rare_event_is_found_page_by_page(fixture: &mut Fixture) {
        let rare = fixture.event_of(&[11, 99], "rare", "{}");
        fixture.commit_events(vec![rare.clone()]).await;
        fixture.commit_many(|_| fixture.event_of(&[11], "common", "{}")).await;
        let of_type = EventFilter { event_type: Some("rare".to_owned()), ..EventFilter::default() };
        assert_eq!(fixture.all_events(&of_type, 10).await, (vec![rare.event.id], 2));
        let deliveries = vec![delivery(&rare, 1), delivery(&rare, 0)];
        let of_type = DeliveryFilter { event_type: Some("rare".to_owned()), ..DeliveryFilter::default() };
        assert_eq!(fixture.all_deliveries(&of_type, 10).await, (deliveries.clone(), 2));
        let to_webhook = DeliveryFilter { webhook_id: Some(99), ..DeliveryFilter::default() };
        assert_eq!(fixture.all_deliveries(&to_webhook, 10).await, (deliveries[..1].to_vec(), 2));
        let neither = DeliveryFilter { webhook_id: Some(98), event_type: Some("none".to_owned()), ..DeliveryFilter::default() };
        assert_eq!(fixture.all_deliveries(&neither, 10).await, (vec![], 2));
        let replay = fixture.store().replay_stretch(ORGANIZATION, &["last".to_owned()], 0, i64::MAX).await.unwrap();
        assert!(replay.candidates.is_empty() && replay.cursor < i64::MAX, "a replay continues from {}", replay.cursor);
    }

    async fn a_rare_outcome_is_found_page_by_page(fixture: &mut Fixture) {
        // Two of three thousand deliveries failed, and all others were delivered.
        let events: Vec<NewEvent> = (0..1_500).map(|_| fixture.event(&[11, 12])).collect();
        for (at, chunk) in events.chunks(250).enumerate() {
            let attempts = chunk.iter().enumerate().flat_map(|(place, event)| {
                let failed = (at, place) == (0, 0) || (at, place) == (4, 17);
                [attempt(event, 0, 1, DELIVERED), attempt(event, 1, 1, if failed { FAILED } else { DELIVERED })]
            });
            let batch = Batch { events: chunk.to_vec(), attempts: attempts.collect(), ..Batch::default() };
            fixture.store().commit(&batch).await.unwrap();
        }
        let failed = vec![delivery(&events[1_017], 1), delivery(&events[0], 1)];
        let in_state = DeliveryFilter { states: vec![DeliveryState::Failed], ..DeliveryFilter::default() };
        let for_reason = DeliveryFilter { error_classes: vec![ErrorClass::Status], ..DeliveryFilter::default() };
        let of_webhook = DeliveryFilter { webhook_id: Some(12), ..in_state.clone() };
        for filter in [in_state.clone(), for_reason, of_webhook.clone()] {
            for size in [1, 10] {
                let (found, pages) = fixture.all_deliveries(&filter, size).await;
                assert_eq!(found, failed);
                assert!(pages <= failed.len() + 1, "the walk reads their own rows, not the events: {pages} pages of \
                                                    {filter:?}");
            }
        }
        let other = DeliveryFilter { webhook_id: Some(11), ..in_state };
        assert_eq!(fixture.all_deliveries(&other, 10).await.0, [0i64; 0]);
        assert_eq!(fixture.all_deliveries(&DeliveryFilter::default(), 700).await.0.len(), 3_000);
    }

    async fn deliveries_that_failed_are_found_by_their_own_rows(fixture: &mut Fixture) {
        use hookwright_domain::id::time_us;
        let events: Vec<NewEvent> = (0..6).map(|_| fixture.event(&[11, 12])).collect();
        let theirs = fixture.event(&[21]);
        let theirs = NewEvent { event: std::sync::Arc::new(StoredEvent { organization_id: ORGANIZATION + 1, ..(*theirs.event).clone() }), ..theirs };
        let batch = Batch {
            events: events.iter().cloned().chain([theirs.clone()]).collect(),
            attempts: vec![
                attempt(&events[0], 0, 1, FAILED),
                attempt(&events[1], 1, 1, 0),
                attempt(&events[2], 0, 1, 0),
                attempt(&events[3], 1, 1, DELIVERED),
                std::sync::Arc::new(AttemptRow { organization_id: ORGANIZATION + 1, ..(*attempt(&theirs, 0, 1, FAILED)).clone() }),
            ],
            // One is waiting for its next attempt, one is paused, and one was never attempted.
            pend: vec![pending(&events[1], 1, NOW, 2), pending(&events[2], 0, PAUSED, 2), pending(&events[4], 0, NOW, 1)],
            ..Batch::default()
        };
        fixture.store().commit(&batch).await.unwrap();
        fixture.store().end_delivery(ORGANIZATION, delivery(&events[4], 0), "cancelled", NOW, &audit(91)).await.unwrap();
        let (failed, retrying, paused, cancelled) =
            (delivery(&events[0], 0), delivery(&events[1], 1), delivery(&events[2], 0), delivery(&events[4], 0));
        let all = async |states: &[DeliveryState], more: DeliveryFilter| {
            let filter = DeliveryFilter { states: states.to_vec(), ..more };
            let one_by_one = fixture.all_deliveries(&filter, 1).await.0;
            assert_eq!(one_by_one, fixture.all_deliveries(&filter, 10).await.0);
            one_by_one
        };
        use DeliveryState::{Cancelled, Failed, Paused, Retrying};
        let any = DeliveryFilter::default;
        assert_eq!(all(&[Failed], any()).await, [failed]);
        assert_eq!(all(&[Retrying], any()).await, [retrying]);
        assert_eq!(all(&[Paused], any()).await, [paused]);
        assert_eq!(all(&[Cancelled], any()).await, [cancelled]);
        assert_eq!(all(&[Failed, Retrying, Paused, Cancelled], any()).await, [cancelled, paused, retrying, failed]);
        assert_eq!(all(&[Failed, Retrying], DeliveryFilter { webhook_id: Some(12), ..any() }).await, [retrying]);
        let class = DeliveryFilter { error_classes: vec![ErrorClass::Status], ..any() };
        assert_eq!(all(&[], class).await, [paused, retrying, failed]);
        let times = DeliveryFilter { start_us: Some(time_us(events[1].event.id)), end_us: Some(time_us(events[2].event.id)), ..any() };
        let all_of_the_millisecond = all(&[Failed, Retrying, Paused], times).await;
        assert!(all_of_the_millisecond.iter().all(|id| [failed, retrying, paused].contains(id)));
        let before = DeliveryFilter { end_us: Some(time_us(events[0].event.id)), ..any() };
        assert_eq!(all(&[Failed], before).await, [0i64; 0]);
    }

    async fn failures_since_a_time_are_found_without_earlier_ones(fixture: &mut Fixture) {
        // Before that time, more deliveries failed than one call reads.
        let before: Vec<NewEvent> = (0..MANY).map(|_| fixture.event(&[11])).collect();
        for events in before.chunks(500) {
            let attempts = events.iter().map(|event| attempt(event, 0, 1, FAILED)).collect();
            let batch = Batch { events: events.to_vec(), attempts, ..Batch::default() };
            fixture.store().commit(&batch).await.unwrap();
        }
        let hour = 3_600_000;
        let new = fixture.event(&[11]);
        let after = StoredEvent { id: fixture.ids.reserve(2, NOW_MS + 2 * hour), ..StoredEvent::clone(&new.event) };
        let after = NewEvent { event: std::sync::Arc::new(after), ..new };
        let batch = Batch { events: vec![after.clone()], attempts: vec![attempt(&after, 0, 1, FAILED)], ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        let since = |hours: i64| DeliveryFilter {
            states: vec![DeliveryState::Failed, DeliveryState::Retrying],
            start_us: Some(NOW + hours * hour * 1_000),
            ..DeliveryFilter::default()
        };
        assert_eq!(fixture.all_deliveries(&since(1), 10).await, (vec![delivery(&after, 0)], 1));
        assert_eq!(fixture.all_deliveries(&since(2), 1).await.0, [delivery(&after, 0)], "exactly at the time");
        assert_eq!(fixture.all_deliveries(&since(3), 10).await, (vec![], 1));
        assert!(fixture.all_deliveries(&since(-1), 1_000).await.0.len() > MANY, "the time is before all of them");
    }

    async fn the_deliveries_of_a_broad_event_need_several_pages(fixture: &mut Fixture) {
        let webhooks: Vec<i64> = (0..4_000).collect();
        let event = fixture.event(&webhooks);
        let last = fixture.event(&[7]);
        let batch = Batch {
            events: vec![event.clone(), last.clone()],
            attempts: vec![attempt(&event, 5, 1, FAILED), attempt(&last, 0, 1, FAILED)],
            ..Batch::default()
        };
        fixture.store().commit(&batch).await.unwrap();
        let in_state = DeliveryFilter { states: vec![DeliveryState::Failed], ..DeliveryFilter::default() };
        let (found, pages) = fixture.all_deliveries(&in_state, 10).await;
        assert_eq!((found, pages), (vec![delivery(&last, 0), delivery(&event, 5)], 1));
        let neither = DeliveryFilter { states: vec![DeliveryState::Failed, DeliveryState::Pending], webhook_id: None, ..in_state.clone() };
        let (found, pages) = fixture.all_deliveries(&neither, 10_000).await;
        assert_eq!(found.len(), 4_001);
        assert!(pages >= 2, "the states of its deliveries are not all looked up at once");
        let of_webhook = DeliveryFilter { webhook_id: Some(7), ..DeliveryFilter::default() };
        assert_eq!(fixture.all_deliveries(&of_webhook, 10).await, (vec![delivery(&last, 0), delivery(&event, 7)], 1));
        let all: Vec<i64> = (0..4_000).rev().map(|position| delivery(&event, position)).collect();
        assert_eq!(fixture.all_deliveries(&DeliveryFilter::default(), 999).await.0[1..], all);
        let one = fixture.store().get_delivery(ORGANIZATION, delivery(&event, 5)).await.unwrap().unwrap();
        assert_eq!((one.webhook_id, one.state), (5, DeliveryState::Failed));
    }

    async fn events_are_found_behind_many_replays(fixture: &mut Fixture) {
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        let again = |_| {
            let new = fixture.event(&[11]);
            let mut made = (*new.event).clone();
            made.replay_of = Some(event.event.id);
            NewEvent { event: std::sync::Arc::new(made), ..new }
        };
        fixture.commit_many(again).await;
        let last = fixture.event(&[11]);
        fixture.commit_events(vec![last.clone()]).await;
        let (found, pages) = fixture.all_events(&EventFilter::default(), 1).await;
        assert_eq!(found, [last.event.id, event.event.id]);
        assert!(pages >= 3, "one call does not read all replays: {pages} pages");
    }
}
