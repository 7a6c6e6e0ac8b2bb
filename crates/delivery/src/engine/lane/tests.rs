//! Tests of a lane, step by step in single cases.

use std::time::Duration;

use super::{
    super::{lease::Lease, memory::DELIVERY_BYTES},
    fixtures::{SECOND, catalogue, configure, event, job, lane_with, webhook},
    model::World,
    *,
};
use crate::catalogue::Webhook;

#[test]
fn a_row_that_was_asked_for_is_not_written_after_the_outcome() {
    let mut world = World::new();
    world.publish();
    world.hand_off();
    let taken = world.lane.take_unstored(world.now + 1);
    assert_eq!(taken.len(), 1);
    assert!(world.lane.is_noted(taken[0].delivery));
    let actions = world.lane.settle(taken[0].delivery, None, world.now);
    world.act(actions);
    assert!(
        !world.lane.is_noted(taken[0].delivery),
        "it would be delivered again after a restart"
    );
}

#[test]
fn a_deleted_webhook_leaves_nothing_behind() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish();
    }
    let late = world.committed.pop().unwrap();
    configure(&world.catalogue, None);
    let actions = world.lane.look(world.now);
    assert_eq!(actions.cancel.len(), 0, "nothing was handed off yet");
    let actions = world.lane.enqueue(late, world.now);
    assert_eq!(actions.cancel.len(), 1, "a late delivery ends");
    assert!(
        world.lane.note_due(world.now, world.now).cancel_stored,
        "so does one that was returned to the store"
    );
    assert!(!world.lane.reserve(
        Place {
            delivery: 9,
            event: 8,
            organization: 1
        },
        DELIVERY_BYTES + 2,
        world.now
    ));
}

#[test]
fn a_stalled_lane_says_since_when_and_a_slow_webhook_is_no_stall() {
    let lease = Arc::new(Lease::new(true));
    let turns = Arc::new(Turns::new(3, Arc::clone(&lease)));
    let limits = LaneLimits {
        jobs: 10,
        bytes: 1 << 20,
        attempts: 2,
    };
    let memory = Arc::new(Memory::new(1 << 20));
    let lane = lane_with(limits, &memory, &turns, &catalogue());
    assert_eq!(lane.stalled_since(SECOND), None);
    let place = Place {
        delivery: 1,
        event: 0,
        organization: 1,
    };
    assert!(lane.reserve(place, 10_usize, SECOND));
    let job = Job {
        delivery: 1,
        webhook: 7,
        event: event(0),
        attempts: 0,
        ordering_key: None,
    };
    // The lease has not begun, so the delivery waits in the queue.
    assert_eq!(lane.enqueue(job, SECOND).workers, 0);
    assert_eq!(lane.stalled_since(3 * SECOND), Some(SECOND));
    lease.renewed(crate::clock::boot_us(), Duration::from_secs(3600));
    let resumed = turns.resume();
    let (handle, account) = resumed.unwrap();
    assert!(handle.lane().unwrap().called(account, 3 * SECOND));
    assert_eq!(
        lane.stalled_since(3 * SECOND),
        None,
        "an attempt is made, however long it takes"
    );
    assert!(lane.next(true, 3 * SECOND).is_some());
    lease.lost();
    assert!(lane.next(false, 3 * SECOND).is_none(), "nothing begins without a lease");
}

/// A recovered delivery is stored as pending because memory is full. Its row is durable before the lane is notified,
/// and a refill reads the row in between. If the lane took it in then, the delivery would be sent, and sent again after
/// the notice.
#[test]
fn a_row_that_is_read_before_the_news_of_it_is_not_taken_in() {
    let mut world = World::new();
    let place = Place {
        delivery: 2_001,
        event: 2_000,
        organization: 1,
    };
    world.lane.keep_until_settled(place, DELIVERY_BYTES + 2, world.now);
    // Another due delivery makes the lane read the store, which contains the row already.
    world.rows.insert(2_001, (world.now, 0));
    world.rows.insert(3_001, (world.now, 0));
    let lane = Arc::clone(&world.lane);
    let actions = lane.note_due(world.now, world.now);
    world.act(actions);
    let read = world.reading.take().unwrap();
    assert!(read.jobs.iter().any(|job| job.delivery == 2_001), "the row is read");
    let actions = lane.refilled(read, world.now);
    world.act(actions);
    assert_eq!(world.working.len(), 1, "the other one");
    assert!(
        world.working.iter().all(|job| job.delivery != 2_001),
        "{:?}",
        world.working
    );
    // Now the lane is notified: the delivery is only in the store, and is read from there.
    let actions = lane.settle(2_001, Some(world.now), world.now);
    world.act(actions);
    let read = world.reading.take().unwrap();
    assert!(read.jobs.iter().any(|job| job.delivery == 2_001), "it is not forgotten");
}

#[test]
fn x09_a_lane_that_was_paused_and_resumed_unnoticed_continues() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish();
        world.hand_off();
    }
    assert!(!world.working.is_empty());
    // The webhook is paused and resumed between two steps: a worker's next step uses the current configuration.
    world.switch(false);
    world.switch(true);
    world.finish(0, true);
    assert!(!world.working.is_empty(), "the worker continues");
    world.check();
    world.drain();
    assert_eq!(world.delivered.len(), 3);
}

#[test]
fn a_rate_limit_that_is_raised_or_removed_delays_nothing() {
    let world = World::new();
    let rated = |rate| Some(Webhook { rate, ..webhook(true) });
    let begins = |now: i64| {
        let lane = &world.lane;
        let place = Place {
            delivery: 2_001,
            event: 2_000,
            organization: 1,
        };
        assert!(lane.reserve(place, DELIVERY_BYTES + 2, now));
        let actions = lane.enqueue(job(2_001, 0), now);
        for _ in 0..actions.workers {
            assert!(lane.next(true, now).is_some());
            lane.leave();
            assert!(world.turns.give(lane.release_turn()).is_none());
        }
        lane.forget(2_001);
        let settled = lane.settle(2_001, None, now);
        assert_eq!(settled.workers, 0);
        actions.workers == 1
    };
    let change = |rate, now: i64| {
        configure(&world.catalogue, rated(rate));
        let actions = world.lane.look(now);
        assert!(actions.refill, "pending deliveries may be due by the new configuration");
        assert_eq!(world.lane.refilled(Read::default(), now).workers, 0);
    };
    let now = 1_000 * SECOND;
    assert_eq!(world.lane.look(now).workers, 0);
    change(Some(0.01), now);
    // After an idle time one attempt may be early.
    assert!(begins(now) && begins(now));
    assert!(!begins(now + SECOND), "the next one has to wait for 100 seconds");
    let now = now + 2 * SECOND;
    change(Some(1.0), now);
    assert!(begins(now) && begins(now), "one a second");
    assert!(!begins(now));
    change(None, now);
    assert!(begins(now) && begins(now) && begins(now), "as many as come");
}
