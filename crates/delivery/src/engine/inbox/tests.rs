//! Tests of the inbox: everything is taken, in order and within limits.

use std::sync::Arc;

use futures::FutureExt as _;
use hookwright_domain::id::{DeliveryId, EventId, WebhookId};
use hookwright_storage::AttemptRow;
use proptest::prelude::*;

use super::{
    super::{
        command::{PublishError, Published},
        health::Health,
        lane::{Lane, LaneLimits, Shared, fixtures::catalogue},
        lease::Lease,
        memory::Memory,
        record::Change,
        turns::Turns,
    },
    *,
};

fn lane(memory: &Arc<Memory>) -> Arc<Lane> {
    let limits = LaneLimits {
        jobs: 10,
        bytes: 1 << 20,
        attempts: 2,
    };
    let shared = Shared::new(
        catalogue(),
        Arc::clone(memory),
        Arc::new(Turns::new(3, Arc::new(Lease::new(false)))),
    );
    let lane = Lane::new(WebhookId::from_raw(7), limits, shared, Health::default());
    Arc::new(lane)
}

fn record(lane: &Arc<Lane>, delivery: i64, body_bytes: usize) -> Record {
    let attempt = AttemptRow {
        delivery_id: delivery,
        number: 1,
        event_id: delivery - 1,
        organization_id: 1,
        webhook_id: 7,
        started_at: 0,
        duration_us: 0,
        status: Some(200),
        error_class: None,
        error_message: None,
        delivery_state: 1,
        details: String::new(),
        response_body: Some(vec![0; body_bytes]),
    };
    Record {
        lane: Arc::clone(lane),
        delivery: DeliveryId::from_raw(delivery),
        change: Change::Attempted {
            attempt: Arc::new(attempt),
            retry: None,
        },
        health: None,
        load: None,
        ordering_key: None,
    }
}

/// An event that is identified by its time.
fn draft(number: i64, webhooks: usize, payload_bytes: usize) -> Draft {
    Draft {
        occurred_at: Some(number),
        ..Draft::sample(&vec![7; webhooks], vec![b' '; payload_bytes])
    }
}

fn number(draft: &Draft) -> i64 {
    draft.occurred_at.unwrap()
}

/// The committer's answer to an event.
fn stored(draft: &Draft) -> Result<Published, PublishError> {
    Ok(Published {
        event: EventId::from_raw(number(draft)),
        delivery_count: draft.webhooks.len(),
        repeated: false,
    })
}

fn rows(gathered: &Gathered) -> usize {
    let drafts = gathered.calls.iter().flat_map(|call| &call.drafts);
    drafts.map(Draft::rows).sum()
}

fn answer(gathered: Gathered) {
    for call in gathered.calls {
        let results = call.drafts.iter().map(stored).collect();
        call.reply.send(results);
    }
}

#[tokio::test]
async fn a_call_of_more_rows_than_a_commit_may_write_is_taken_in_parts() {
    let inbox = Inbox::new();
    let (reply, mut large) = oneshot::channel();
    inbox
        .publish((0..1_000).map(|n| draft(n, 100, 2)).collect(), 0, reply)
        .await
        .unwrap();
    let first = inbox.take(Bounds::MAX);
    assert!(rows(&first) <= Bounds::MAX.event_rows, "{} rows", rows(&first));
    answer(first);
    // A small call that arrives now waits for one commit at most.
    let (reply, mut small) = oneshot::channel();
    inbox.publish(vec![draft(5_000, 1, 2)], 0, reply).await.unwrap();
    let mut commits = 1;
    while inbox.events() > 0 {
        assert!(large.try_recv().is_err(), "it is answered when all of it is durable");
        answer(inbox.take(Bounds::MAX));
        commits += 1;
        if commits == 2 {
            assert!(small.try_recv().is_ok(), "the small call waits behind the large one");
        }
    }
    assert!(commits >= 101_000 / Bounds::MAX.event_rows, "{commits} commits");
    let results = large.try_recv().unwrap();
    let events: Vec<i64> = results.into_iter().map(|result| result.unwrap().event.raw()).collect();
    assert_eq!(events, (0..1_000).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn all_calls_are_taken_whole_in_order_and_within_the_bounds(
        calls in proptest::collection::vec(proptest::collection::vec((0usize..60, 0usize..3_000), 1..40), 1..12),
        events in 1usize..30,
        event_bytes in 1usize..10_000,
        event_rows in 1usize..200,
    ) {
        let inbox = Inbox::new();
        let bounds = Bounds { events, event_bytes, event_rows, ..Bounds::MAX };
        let mut answers = Vec::new();
        let mut expected = Vec::new();
        for (call, drafts) in calls.iter().enumerate() {
            let (reply, answer) = oneshot::channel();
            let id = |at: usize| i64::try_from(call * 1_000 + at).unwrap();
            let drafts: Vec<Draft> =
                drafts.iter().enumerate().map(|(at, (webhooks, bytes))| draft(id(at), *webhooks, *bytes)).collect();
            expected.push(drafts.iter().map(number).collect::<Vec<_>>());
            inbox.publish(drafts, 0, reply).now_or_never().unwrap().unwrap();
            answers.push(answer);
        }
        while inbox.events() > 0 {
            inbox.check().unwrap();
            let gathered = inbox.take(bounds);
            let drafts: Vec<&Draft> = gathered.calls.iter().flat_map(|call| &call.drafts).collect();
            prop_assert!(!drafts.is_empty());
            let bytes: usize = drafts.iter().map(|draft| draft.payload.len()).sum();
            let within = drafts.len() <= events && bytes <= event_bytes && rows(&gathered) <= event_rows;
            prop_assert!(within || drafts.len() == 1, "{} events", drafts.len());
            answer(gathered);
        }
        for (mut answer, expected) in answers.into_iter().zip(expected) {
            let results = answer.try_recv().unwrap();
            let events: Vec<i64> = results.into_iter().map(|result| result.unwrap().event.raw()).collect();
            prop_assert_eq!(events, expected);
        }
        prop_assert_eq!(inbox.units.available_permits(), UNITS_MAX, "the whole capacity is free");
        prop_assert_eq!(inbox.state.lock().size, Size::default());
    }
}

#[tokio::test]
async fn a_commit_takes_outcomes_within_its_bytes_and_in_order() {
    let (inbox, lane) = (Inbox::new(), lane(&Arc::new(Memory::new(1 << 20))));
    for delivery in 1..=5 {
        inbox.record(record(&lane, delivery, 1_000)).await.unwrap();
        inbox.check().unwrap();
    }
    let watermark = NewWatermark { losses: 0, id: 9 };
    inbox.watermark(watermark).unwrap();
    let bounds = Bounds {
        record_bytes: 3_000,
        ..Bounds::MAX
    };
    let mut taken = Vec::new();
    loop {
        let gathered = inbox.take(bounds);
        assert!(gathered.records.len() <= 2, "{} of 1,400 bytes", gathered.records.len());
        taken.extend(gathered.records.iter().map(|record| record.delivery.raw()));
        match gathered.watermark {
            Some(found) => break assert_eq!(found, watermark),
            None => assert!(taken.len() < 5, "the watermark is taken with the last record before it"),
        }
    }
    assert_eq!(taken, [1, 2, 3, 4, 5]);
    inbox.record(record(&lane, 6, 1 << 20)).await.unwrap();
    assert_eq!(inbox.take(bounds).records.len(), 1, "a large record is taken alone");
}

#[tokio::test]
async fn outcomes_that_wait_are_bounded_in_bytes_and_count_as_memory() {
    let memory = Arc::new(Memory::new(1 << 20));
    let (inbox, lane) = (Inbox::new(), lane(&memory));
    let mut waiting = 0;
    loop {
        let mut record = record(&lane, waiting + 1, 16 << 10);
        record.load = Some(memory.load(record.bytes()));
        // Otherwise tokio would make some wait although there is capacity.
        match tokio::task::unconstrained(inbox.record(record)).now_or_never() {
            Some(added) => added.unwrap(),
            None => break,
        }
        waiting += 1;
    }
    assert!((400..600).contains(&waiting), "8 MiB in pieces of 16 KiB: {waiting}");
    assert!(memory.used() > 6 << 20);
    let mut taken = 0;
    while let gathered = inbox.take(Bounds::MAX)
        && !gathered.records.is_empty()
    {
        taken += gathered.records.len();
    }
    assert_eq!(taken, usize::try_from(waiting).unwrap());
    assert_eq!(
        memory.used(),
        0,
        "they are dropped, and so is the one that waited for capacity"
    );
    assert!(
        inbox.record(record(&lane, 1, 0)).now_or_never().is_some(),
        "there is free capacity again"
    );
}

#[tokio::test]
async fn the_check_sees_a_size_that_is_wrong() {
    let inbox = Inbox::new();
    let (reply, _answer) = oneshot::channel();
    inbox.publish(vec![draft(1, 2, 3)], 0, reply).await.unwrap();
    inbox.check().unwrap();
    inbox.state.lock().size.rows += 1;
    assert_eq!(inbox.check().unwrap_err().invariant, Invariant::InboxAddsUp);
}
