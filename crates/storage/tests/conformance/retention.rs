//! Retention removes what is final, whole, and nothing else.

use hookwright_storage::{Batch, DELIVERED, GOES_ON, NewEvent, Store};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, delivery, on_both_stores, pending, with_request};

/// Steps until there is nothing more to remove.
async fn expire(store: &Store, before: i64) -> usize {
    let (mut removed, mut next) = (0, Some(0));
    while let Some(after) = next {
        let step = store.expire(after, before).await.unwrap();
        removed += step.events;
        next = step.next;
    }
    removed
}

on_both_stores! {
    async fn what_is_pending_stays_and_the_rest_goes(fixture: &mut Fixture) {
        let events: Vec<NewEvent> = vec![
            fixture.event(&[11]),
            with_request(fixture.event(&[11]), "first", 1),
            fixture.event(&[11, 12]),
            fixture.event(&[11]),
        ];
        let waiting = &events[2];
        let batch = Batch {
            attempts: vec![
                attempt(&events[0], 0, 1, DELIVERED),
                attempt(&events[1], 0, 1, DELIVERED),
                attempt(waiting, 0, 1, DELIVERED),
                attempt(waiting, 1, 1, GOES_ON),
                attempt(&events[3], 0, 1, DELIVERED),
            ],
            events: events.clone(),
            pend: vec![pending(waiting, 1, NOW, 1)],
            ..Batch::default()
        };
        fixture.store().commit(&batch).await.unwrap();
        let ids: Vec<i64> = events.iter().map(|event| event.event.id).collect();
        assert_eq!(expire(fixture.store(), ids[0]).await, 0, "nothing is that old");
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), ids);

        expire(fixture.store(), i64::MAX).await;
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), [ids[2]]);
        for (event, position, kept) in [(&events[0], 0, 0), (waiting, 0, 1), (waiting, 1, 1), (&events[3], 0, 0)] {
            let attempts = fixture.store().list_attempts(ORGANIZATION, delivery(event, position)).await.unwrap();
            assert_eq!(attempts.len(), kept);
        }
        let again = with_request(fixture.event(&[11]), "first", 2);
        fixture.store().maintain(NOW).await.unwrap();
        // Its request id went with the event: this one is no repeat.
        fixture.commit_events(vec![again]).await;

        fixture.store().commit(&Batch { unpend: vec![delivery(waiting, 1)], ..Batch::default() }).await.unwrap();
        expire(fixture.store(), i64::MAX).await;
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), [0i64; 0], "final now, and gone");
    }

    async fn what_was_freed_is_given_back_or_used_again(fixture: &mut Fixture) {
        let payload = format!("{{\"filler\":\"{}\"}}", "x".repeat(100_000));
        for _ in 0..10 {
            let events = (0..50).map(|_| fixture.event_of(&[11], "clocking", &payload)).collect();
            fixture.commit_events(events).await;
        }
        expire(fixture.store(), i64::MAX).await;
        let mut rounds = 0;
        while fixture.store().maintain(NOW).await.unwrap() {
            rounds += 1;
            assert!(rounds < 1_000, "it comes to an end");
        }
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        assert_eq!(fixture.store().events_exist(&[event.event.id]).await.unwrap(), [event.event.id]);
    }
}
