//! The commit: all or nothing, harmless when repeated, and one event per request id.

use hookwright_storage::{Batch, DELIVERED, GOES_ON, HealthChange, HealthRow};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, on_both_stores, pending, with_request};

on_both_stores! {
    async fn an_event_comes_back_as_it_went_in(fixture: &mut Fixture) {
        let mut new = fixture.event_of(&[11, 12], "clocking", "{\"text\":\"caf\u{e9} \\u0000\"}");
        let event = std::sync::Arc::get_mut(&mut new.event).unwrap();
        event.attributes = Some(r#"{"region":"eu"}"#.to_owned());
        event.trace = Some([9; 25]);
        event.tracestate = Some("vendor=x".to_owned());
        fixture.commit_events(vec![new.clone()]).await;
        fixture.reopen().await;
        let record = fixture.store().get_event(ORGANIZATION, new.event.id).await.unwrap().unwrap();
        assert_eq!(record.event, *new.event);
        assert_eq!(record.payload_bytes, i64::try_from(new.event.payload.len()).unwrap());
        assert_eq!(fixture.store().get_event(ORGANIZATION + 1, new.event.id).await.unwrap(), None, "of its organization alone");
    }

    async fn outcomes_that_are_committed_again_change_nothing(fixture: &mut Fixture) {
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        let outcome = Batch { attempts: vec![attempt(&event, 0, 1, DELIVERED)], ..Batch::default() };
        fixture.store().commit(&outcome).await.unwrap();
        let again = Batch { repeated: true, ..outcome.clone() };
        fixture.store().commit(&again).await.unwrap();
        let attempts = fixture.store().list_attempts(ORGANIZATION, attempt(&event, 0, 1, DELIVERED).delivery_id).await.unwrap();
        assert_eq!(attempts, [(*outcome.attempts[0]).clone()]);
    }

    async fn a_failed_commit_stores_nothing_of_itself(fixture: &mut Fixture) {
        let (one, two) = (fixture.event(&[11]), fixture.event(&[11]));
        fixture.commit_events(vec![one.clone()]).await;
        // The second event of this batch is stored already: its key is refused, and the whole batch with it.
        let batch = Batch { events: vec![two.clone(), one], ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap_err();
        assert_eq!(fixture.store().events_exist(&[two.event.id]).await.unwrap(), [0i64; 0]);
        fixture.commit_events(vec![two.clone()]).await;
        assert_eq!(fixture.store().events_exist(&[two.event.id]).await.unwrap(), [two.event.id], "the store still works");
    }

    async fn a_request_id_is_good_for_one_event(fixture: &mut Fixture) {
        let first = with_request(fixture.event(&[11, 12]), "r", 1);
        let twin = with_request(fixture.event(&[11, 12]), "r", 1);
        let other = with_request(fixture.event(&[11]), "s", 1);
        let batch = Batch { events: vec![first.clone(), twin.clone(), other.clone()], ..Batch::default() };
        let repeats = fixture.store().commit(&batch).await.unwrap().repeats;
        assert_eq!(repeats.len(), 1, "the twin in the same batch");
        assert_eq!((repeats[0].index, repeats[0].event_id, repeats[0].same, repeats[0].delivery_count), (1, first.event.id, true, 2));
        let later = with_request(fixture.event(&[11]), "r", 2);
        let batch = Batch { events: vec![fixture.event(&[11]), later.clone()], ..Batch::default() };
        let repeats = fixture.store().commit(&batch).await.unwrap().repeats;
        assert_eq!((repeats[0].index, repeats[0].event_id, repeats[0].same, repeats[0].delivery_count), (1, first.event.id, false, 2));
        let stored = fixture.store().events_exist(&[first.event.id, twin.event.id, other.event.id, later.event.id]).await.unwrap();
        assert_eq!(stored.len(), 2, "repeats are not stored: {stored:?}");
    }

    async fn pending_rows_are_written_replaced_and_removed(fixture: &mut Fixture) {
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        let store = fixture.store();
        let failed = Batch {
            attempts: vec![attempt(&event, 0, 1, GOES_ON)],
            pend: vec![pending(&event, 0, NOW + 5, 1)],
            ..Batch::default()
        };
        store.commit(&failed).await.unwrap();
        let again = Batch { pend: vec![pending(&event, 0, NOW + 50, 2)], ..Batch::default() };
        store.commit(&again).await.unwrap();
        assert_eq!(store.pending_webhooks().await.unwrap(), [(11, NOW + 50)]);
        let done = Batch { unpend: vec![pending(&event, 0, 0, 0).delivery_id], ..Batch::default() };
        store.commit(&done).await.unwrap();
        assert_eq!(store.pending_webhooks().await.unwrap(), []);
    }

    async fn health_and_watermark_are_kept(fixture: &mut Fixture) {
        let failing = |since, failures| HealthRow { webhook_id: 11, failing_since: since, failures };
        let change = HealthChange { failing_since: Some(NOW), failures: 3, ..HealthChange::none(11) };
        let batch = Batch { health: vec![change], watermark: Some(42), ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        fixture.reopen().await;
        assert_eq!(fixture.store().all_failing_webhooks().await.unwrap(), [failing(Some(NOW), 3)]);
        let webhook = failing(Some(NOW), 3).webhook_id;
        assert_eq!(fixture.store().failing_webhooks(vec![webhook, 99]).await.unwrap(), [failing(Some(NOW), 3)]);
        assert_eq!(fixture.store().failing_webhooks(vec![99]).await.unwrap(), []);
        assert_eq!(fixture.store().watermark().await.unwrap(), 42);
        let change = HealthChange { succeeded_at: Some(NOW), ..HealthChange::none(11) };
        let batch = Batch { health: vec![change], watermark: Some(43), ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        assert_eq!(fixture.store().all_failing_webhooks().await.unwrap(), []);
        assert_eq!(fixture.store().watermark().await.unwrap(), 43);
    }

    async fn a_thousand_events_in_one_commit(fixture: &mut Fixture) {
        let events: Vec<_> = (0..1_000).map(|n| fixture.event_of(&[11, 12, 13], "clocking", &format!(r#"{{"n":{n}}}"#))).collect();
        let attempts = events.iter().flat_map(|event| (0..3).map(|position| attempt(event, position, 1, DELIVERED))).collect();
        let ids: Vec<i64> = events.iter().map(|event| event.event.id).collect();
        let batch = Batch { events, attempts, ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap().len(), 1_000);
        assert!(fixture.store().largest_id().await.unwrap() >= *ids.last().unwrap() + 3);
    }
}
