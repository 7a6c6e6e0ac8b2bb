//! Changes of deliveries: complete, in order, and separate for each organization.

use std::collections::BTreeSet;

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    Batch, DELIVERED, DeliveryFilter, ENDING_CANCELLED, EndingRow, GOES_ON, Store,
    changes::{CHANGES_KEPT_US, Changes, Positions},
};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, audit, delivery, on_both_stores, pending};

async fn after(store: &Store, positions: &Positions) -> Changes {
    let everything = DeliveryFilter::default();
    store.changes_after(ORGANIZATION, &everything, positions).await.unwrap()
}

fn ids(changes: &Changes) -> Vec<i64> {
    changes.deliveries.iter().map(|record| record.delivery_id).collect()
}

on_both_stores! {
    async fn each_commit_records_its_changes(fixture: &mut Fixture) {
        let store = fixture.store();
        let begin = store.change_positions().await.unwrap();
        let events = [fixture.event(&[11, 12]), fixture.event(&[11])];
        fixture.commit_events(events.to_vec()).await;
        let none = after(store, &begin).await;
        assert_eq!((ids(&none), none.more), (Vec::new(), false), "storing events changes no delivery");
        let first = Batch {
            attempts: vec![attempt(&events[0], 0, 1, DELIVERED), attempt(&events[0], 1, 1, GOES_ON)],
            pend: vec![pending(&events[0], 1, NOW + 5, 1)],
            ..Batch::default()
        };
        store.commit(&first).await.unwrap();
        let seen = after(store, &none.positions).await;
        assert_eq!(ids(&seen), [delivery(&events[0], 0), delivery(&events[0], 1)]);
        let states: Vec<_> = seen.deliveries.iter().map(|record| record.state).collect();
        assert_eq!(states, [DeliveryState::Delivered, DeliveryState::Retrying]);
        store.commit(&Batch { attempts: vec![attempt(&events[1], 0, 1, DELIVERED)], ..Batch::default() }).await.unwrap();
        let next = after(store, &seen.positions).await;
        assert_eq!(ids(&next), [delivery(&events[1], 0)], "changes that were seen are not returned again");
        assert_eq!(ids(&after(store, &begin).await).len(), 3, "all changes from the beginning");
        assert_eq!(ids(&after(store, &next.positions).await), [0i64; 0]);
        let delivered = DeliveryFilter { webhook_id: Some(12), ..DeliveryFilter::default() };
        let of_webhook = store.changes_after(ORGANIZATION, &delivered, &begin).await.unwrap();
        assert_eq!(ids(&of_webhook), [delivery(&events[0], 1)]);
        let others = store.changes_after(ORGANIZATION + 1, &DeliveryFilter::default(), &begin).await.unwrap();
        assert_eq!(ids(&others), [0i64; 0], "another organization sees nothing of it");
    }

    async fn a_delivery_that_ends_without_an_attempt_is_a_change(fixture: &mut Fixture) {
        let store = fixture.store();
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        let begin = store.change_positions().await.unwrap();
        let ending = EndingRow {
            delivery_id: delivery(&event, 0),
            event_id: event.event.id,
            organization_id: ORGANIZATION,
            webhook_id: 11,
            state: ENDING_CANCELLED,
            reason: "webhook_deleted".to_owned(),
            ended_at: NOW,
        };
        store.commit(&Batch { endings: vec![ending], ..Batch::default() }).await.unwrap();
        let seen = after(store, &begin).await;
        assert_eq!(ids(&seen), [delivery(&event, 0)]);
        assert_eq!(seen.deliveries[0].state, DeliveryState::Cancelled);
    }

    async fn a_delivery_that_a_caller_ends_is_a_change(fixture: &mut Fixture) {
        let store = fixture.store();
        let event = fixture.event(&[11, 12]);
        let pend = vec![pending(&event, 0, NOW, 0), pending(&event, 1, NOW, 0)];
        store.commit(&Batch { events: vec![event.clone()], pend, ..Batch::default() }).await.unwrap();
        let begin = store.change_positions().await.unwrap();
        store.end_delivery(ORGANIZATION, delivery(&event, 0), "skipped", NOW, &audit(1)).await.unwrap();
        let seen = after(store, &begin).await;
        assert_eq!(ids(&seen), [delivery(&event, 0)]);
        fixture.deleted_webhook(12).await;
        store.cancel_pending(12, NOW).await.unwrap();
        assert_eq!(ids(&after(store, &seen.positions).await), [delivery(&event, 1)]);
    }

    async fn a_long_row_of_changes_is_read_in_stretches(fixture: &mut Fixture) {
        let store = fixture.store();
        let begin = store.change_positions().await.unwrap();
        let events: Vec<_> = (0..150).map(|_| fixture.event(&[11])).collect();
        fixture.commit_events(events.clone()).await;
        for event in &events {
            store.commit(&Batch { attempts: vec![attempt(event, 0, 1, DELIVERED)], ..Batch::default() }).await.unwrap();
        }
        let mut found = BTreeSet::new();
        let mut positions = begin;
        loop {
            let changes = after(store, &positions).await;
            let some = ids(&changes);
            assert!(some.iter().all(|id| found.insert(*id)), "each once");
            positions = changes.positions;
            if !changes.more {
                break;
            }
        }
        assert_eq!(found.len(), 150);
    }

    async fn old_changes_are_removed_and_positions_stay_valid(fixture: &mut Fixture) {
        let store = fixture.store();
        let events = [fixture.event(&[11]), fixture.event(&[11]), fixture.event(&[11])];
        fixture.commit_events(events.to_vec()).await;
        let commit = async |event| {
            store.commit(&Batch { attempts: vec![attempt(event, 0, 1, DELIVERED)], ..Batch::default() }).await.unwrap();
        };
        commit(&events[0]).await;
        commit(&events[1]).await;
        let seen = store.change_positions().await.unwrap();
        assert_eq!(store.forget_changes(i64::MAX - CHANGES_KEPT_US).await.unwrap(), 1, "the last row of a stream stays");
        assert_eq!(store.change_positions().await.unwrap(), seen);
        commit(&events[2]).await;
        assert_eq!(ids(&after(store, &seen).await), [delivery(&events[2], 0)]);
    }
}
