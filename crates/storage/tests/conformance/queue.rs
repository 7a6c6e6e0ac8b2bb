//! The queue: refills in order and within limits, and recovery after a crash.

use hookwright_storage::{Batch, DELIVERED, ENDING_CANCELLED, EndingRow, LatestDue, NewEvent, PAUSED, ReadLimits};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, delivery, on_both_stores, pending, session, until_blocked};

on_both_stores! {
    async fn refills_come_in_order_of_due_time(fixture: &mut Fixture) {
        let events: Vec<_> = (0..5).map(|_| fixture.event(&[11, 12])).collect();
        let due = [NOW - 1, NOW - 5, NOW, NOW + 1, NOW - 5];
        let pend = events.iter().zip(due).map(|(event, due_at)| pending(event, 0, due_at, 1)).collect();
        let other = pending(&events[0], 1, NOW - 100, 0);
        let batch = Batch { events: events.clone(), pend, ..Batch::default() };
        fixture.store().commit(&batch).await.unwrap();
        fixture.store().commit(&Batch { pend: vec![other], ..Batch::default() }).await.unwrap();
        let refill = fixture.store().due(11, NOW, 10, 1 << 20).await.unwrap();
        let order: Vec<i64> = refill.rows.iter().map(|row| row.pending.delivery_id).collect();
        assert_eq!(order, [1, 4, 0, 2].map(|at| delivery(&events[at], 0)));
        assert_eq!(refill.rows[0].event, *events[1].event);
        assert_eq!((refill.more_due, refill.next_due), (false, Some(NOW + 1)));
        let bounded = fixture.store().due(11, NOW, 2, 1 << 20).await.unwrap();
        assert_eq!((bounded.rows.len(), bounded.more_due), (2, true));
        let small = fixture.store().due(11, NOW, 10, 0).await.unwrap();
        assert_eq!((small.rows.len(), small.more_due), (1, true), "at least one delivery, however large");
        assert_eq!(fixture.store().pending_webhooks().await.unwrap(), [(11, NOW - 5), (12, NOW - 100)]);
    }

    async fn x10_impossible_due_times_are_corrected(fixture: &mut Fixture) {
        let events: Vec<_> = (0..6).map(|_| fixture.event(&[11, 12])).collect();
        // Due now, a first attempt that was postponed for a minute, one in an hour, a retry in an hour, one in a year,
        // and a paused one.
        let (minute, hour, day) = (60_000_000, 3_600_000_000, 86_400_000_000);
        let rows = [(NOW, 1), (NOW + minute, 0), (NOW + hour, 0), (NOW + hour, 1), (NOW + 365 * day, 3), (PAUSED, 4)];
        let pend = events.iter().zip(rows).map(|(event, (due_at, attempts))| pending(event, 0, due_at, attempts)).collect();
        let other = pending(&events[0], 1, NOW + 365 * day, 0);
        let batch = Batch { events: events.clone(), pend, ..Batch::default() };
        let store = fixture.store();
        store.commit(&batch).await.unwrap();
        store.commit(&Batch { pend: vec![other], ..Batch::default() }).await.unwrap();
        let refill = store.due(11, NOW, 10, 1 << 20).await.unwrap();
        assert!(refill.rows.len() == 1 && refill.next_is_first);
        let latest = LatestDue { first: NOW + minute, any: NOW + day };
        assert_eq!(store.correct_due(11, NOW, latest).await.unwrap(), 2);
        assert_eq!(store.correct_due(11, NOW, latest).await.unwrap(), 0);
        let refill = store.due(11, NOW, 10, 1 << 20).await.unwrap();
        assert_eq!(refill.rows.len(), 2, "a first attempt does not wait for an hour");
        assert_eq!((refill.next_due, refill.next_is_first), (Some(NOW + minute), true), "a first attempt may wait for \
                                                                                         a minute");
        let refill = store.due(11, NOW + minute, 10, 1 << 20).await.unwrap();
        assert_eq!((refill.next_due, refill.next_is_first), (Some(NOW + hour), false), "a retry keeps its due time");
        let due = store.due(11, NOW + day, 10, 1 << 20).await.unwrap();
        assert_eq!((due.rows.len(), due.next_due), (5, None), "a paused delivery stays paused");
        assert_eq!(store.due(12, NOW + day, 10, 1 << 20).await.unwrap().rows, [], "only those of the webhook");
    }

    async fn spilled_deliveries_wait_in_the_store_from_the_start(fixture: &mut Fixture) {
        let event = NewEvent { spilled: vec![1], ..fixture.event(&[11, 12]) };
        fixture.commit_events(vec![event.clone()]).await;
        assert_eq!(fixture.store().due(11, i64::MAX, 10, 1 << 20).await.unwrap().rows, []);
        let rows = fixture.store().due(12, i64::MAX, 10, 1 << 20).await.unwrap().rows;
        assert_eq!(rows[0].pending.delivery_id, delivery(&event, 1));
        assert_eq!(rows[0].pending.attempts, 0);
    }

    async fn a_first_payload_that_is_too_large_is_not_read(fixture: &mut Fixture) {
        let event = |bytes: usize| NewEvent {
            spilled: vec![0],
            ..fixture.event_of(&[11], "clocking", &format!("{:bytes$}", "{}"))
        };
        let events = vec![event(3_000), event(100), event(9_000)];
        fixture.commit_events(events.clone()).await;
        let due = async |bytes, first_bytes| {
            let limits = ReadLimits { rows: 10, bytes, first_bytes };
            let refill = fixture.store().due_beyond(None, 11, i64::MAX / 2, limits).await.unwrap();
            (refill.rows.len(), refill.more_due, refill.too_large)
        };
        assert_eq!(due(1, 2_999).await, (0, true, true));
        assert_eq!(due(1, 3_000).await, (1, true, false), "the first delivery, whatever the other limit");
        assert_eq!(due(3_100, 0).await, (2, true, false));
        assert_eq!(due(20_000, 0).await, (3, false, false));
        fixture.store().commit(&Batch { unpend: vec![delivery(&events[0], 0)], ..Batch::default() }).await.unwrap();
        assert_eq!(due(1, 2_999).await, (1, true, false), "the next delivery is small");
    }

    async fn a_delivery_without_any_row_is_unfinished(fixture: &mut Fixture) {
        let events: Vec<_> = (0..4).map(|_| fixture.event(&[11, 12, 13])).collect();
        fixture.commit_events(events.clone()).await;
        let ending = EndingRow {
            delivery_id: delivery(&events[1], 2),
            event_id: events[1].event.id,
            organization_id: ORGANIZATION,
            webhook_id: 13,
            state: ENDING_CANCELLED,
            reason: "webhook_deleted".to_owned(),
            ended_at: NOW,
        };
        let done = Batch {
            attempts: vec![attempt(&events[1], 0, 1, DELIVERED), attempt(&events[2], 1, 1, DELIVERED)],
            pend: vec![pending(&events[1], 1, NOW, 1)],
            endings: vec![ending],
            ..Batch::default()
        };
        fixture.store().commit(&done).await.unwrap();
        let last = events[3].event.id;
        let page = fixture.store().unfinished(events[0].event.id, last, 100).await.unwrap();
        let found: Vec<(i64, Vec<usize>)> = page.events.into_iter().map(|event| (event.event.id, event.positions)).collect();
        assert_eq!(found, [(events[2].event.id, vec![0, 2]), (last, vec![0, 1, 2])]);
        assert_eq!(page.last_id, last);
        let first = fixture.store().unfinished(0, last, 2).await.unwrap();
        assert_eq!(first.last_id, events[1].event.id, "in pages");
        let none = fixture.store().unfinished(last, last, 100).await.unwrap();
        assert_eq!((none.events.len(), none.last_id), (0, last));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_ends_while_the_unfinished_are_looked_for_is_finished() {
    let fixture = Fixture::postgres().await;
    let event = fixture.event(&[11]);
    let batch = Batch {
        events: vec![event.clone()],
        pend: vec![pending(&event, 0, NOW, 0)],
        ..Batch::default()
    };
    fixture.store().commit(&batch).await.unwrap();
    let other = session(&fixture.options.url).await;
    other
        .batch_execute("BEGIN; LOCK TABLE pending_deliveries IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let (store, last) = (fixture.store().clone(), event.event.id);
    let looking = tokio::spawn(async move { store.unfinished(0, last, 10).await });
    until_blocked(&session(&fixture.options.url).await).await;
    // The statements by which a commit stores the outcome of the last attempt.
    let (delivery, event) = (delivery(&event, 0), event.event.id);
    let text = format!(
        "INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
             delivery_state, details)
         VALUES ({delivery}, 1, {event}, {ORGANIZATION}, 11, {NOW}, 1, {DELIVERED}, '{{}}');
         DELETE FROM pending_deliveries WHERE delivery_id = {delivery};
         COMMIT"
    );
    other.batch_execute(&text).await.unwrap();
    let page = looking.await.unwrap().unwrap();
    assert_eq!(page.events, []);
}
