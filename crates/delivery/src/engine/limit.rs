//! The limit on attempts in flight of one lane.
//!
//! | attempt | the limit |
//! | --- | --- |
//! | succeeded | moves by one towards what the receiver's distance needs, at most the webhook's maximum: it doubles in each round trip |
//! | succeeded, but took much longer than the receiver's best | shrinks by one: more attempts only wait at the receiver |
//! | the same with few attempts in flight | stays: the receiver has become slower, and its best is corrected |
//! | succeeded, while this server was too busy to tell when | stays, or grows by one up to that of a near receiver |
//! | failed | halves, down to one |
//!
//! So a hanging webhook soon gets a single attempt at a time, a distant one as many as its distance needs, and a near one few
//! connections, each with much to do.

/// The limit before the first attempt. Waiting at the receiver does not shrink the limit below it.
const START: usize = 8;
/// More connections than a receiver's distance needs only cost memory and CPU. A receiver needs as many as let it take this many
/// attempts per second at its best, and at least [`NEAR`]. Its average would not do: it contains the wait for a busy CPU, which more
/// attempts only prolong.
const RATE: i64 = 2_000;
const NEAR: usize = 4;
/// The part of the difference by which the receiver's best is corrected.
const CORRECTION: i64 = 8;
/// Attempts wait at the receiver if they take this many times its best on average, and this many microseconds more. Both absorb the
/// noise of a network and of this server.
const WAITED_TIMES: i64 = 2;
const WAITED_US: i64 = 20_000;

/// The limit of a lane.
#[derive(Debug)]
pub(super) struct Limit {
    now: usize,
    cap: usize,
    /// The average duration, and the best average so far, in microseconds. Single attempts may be much faster, for example
    /// those of events that the receiver ignores.
    average_us: Option<i64>,
    best_us: i64,
}

impl Limit {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self {
            now: START.min(cap),
            cap,
            average_us: None,
            best_us: i64::MAX,
        }
    }

    pub(super) fn get(&self) -> usize {
        self.now
    }

    /// An attempt succeeded. `is_exact` is false if the duration may include time in which the response waited for this
    /// server.
    pub(super) fn succeeded(&mut self, took_us: i64, is_exact: bool) {
        if !is_exact && took_us < WAITED_US {
            self.now = self.now.max((self.now + 1).min(NEAR).min(self.cap));
            return;
        }
        let average_us = self.average_us.map_or(took_us, |average| (average * 7 + took_us) / 8);
        self.average_us = Some(average_us);
        let mut best_us = self.best_us.min(average_us);
        if average_us <= best_us.saturating_mul(WAITED_TIMES).saturating_add(WAITED_US) {
            let needed = needed(best_us).min(self.cap);
            self.now = (self.now + 1).min(needed).max(self.now - 1).max(1);
        } else if self.now > START {
            self.now -= 1;
        } else {
            best_us += (average_us - best_us) / CORRECTION;
        }
        self.best_us = best_us;
    }

    pub(super) fn failed(&mut self) {
        self.now = (self.now / 2).max(1);
    }
}

/// How many attempts in flight a receiver at this distance needs.
fn needed(best_us: i64) -> usize {
    let needed = best_us.saturating_mul(RATE) / 1_000_000;
    usize::try_from(needed).unwrap_or(usize::MAX).max(NEAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_within_one_and_the_cap(
            cap in 0usize..200,
            results in proptest::collection::vec(proptest::option::of((0i64..1 << 40, any::<bool>())), 0..300),
        ) {
            let mut limit = Limit::new(cap);
            for took in results {
                match took {
                    Some((took, is_exact)) => limit.succeeded(took, is_exact),
                    None => limit.failed(),
                }
                prop_assert!((1..=cap.max(1)).contains(&limit.get()));
            }
        }
    }

    #[test]
    fn a_failing_webhook_comes_down_to_one_in_few_failures() {
        let mut limit = Limit::new(64);
        (0..100).for_each(|_| limit.succeeded(40_000, true));
        assert_eq!(limit.get(), 64);
        (0..6).for_each(|_| limit.failed());
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn a_near_receiver_gets_few() {
        let mut limit = Limit::new(256);
        (0..100).for_each(|_| limit.succeeded(300, true));
        assert_eq!(limit.get(), NEAR);
    }

    #[test]
    fn durations_of_a_busy_server_say_nothing_about_the_receiver() {
        let mut limit = Limit::new(256);
        (0..100).for_each(|_| limit.succeeded(300, true));
        (0..1_000).for_each(|_| limit.succeeded(15_000, false));
        assert_eq!(limit.get(), NEAR);
        // But it recovers from failures.
        limit.failed();
        limit.failed();
        assert_eq!(limit.get(), 1);
        (0..100).for_each(|_| limit.succeeded(15_000, false));
        assert_eq!(limit.get(), NEAR);
    }

    #[test]
    fn a_receiver_that_is_not_as_near_as_it_seemed_gets_more() {
        let mut limit = Limit::new(256);
        limit.succeeded(300, true);
        (0..1_000).for_each(|_| limit.succeeded(40_000, true));
        assert!(limit.get() >= 2 * START, "{}", limit.get());
    }

    #[test]
    fn a_distant_receiver_gets_as_many_as_its_distance_needs() {
        let mut limit = Limit::new(256);
        // 300 ms, 500 a second: 150 in flight.
        (0..1_000).for_each(|number| limit.succeeded(300_000 + number % 20 * 1_000, true));
        assert_eq!(limit.get(), 256);
    }

    #[test]
    fn a_receiver_with_two_speeds_is_not_held_to_the_faster_one() {
        let mut limit = Limit::new(256);
        (0..5_000).for_each(|number| limit.succeeded(if number % 50 == 0 { 3_000 } else { 300_000 }, true));
        assert!(limit.get() >= 150, "{}", limit.get());
    }

    /// A receiver with `capacity` workers of 10 ms each: what is beyond them waits.
    #[test]
    fn a_receiver_that_makes_attempts_wait_gets_no_more_than_it_works_on_and_some() {
        const CAPACITY: i64 = 20;
        let mut limit = Limit::new(1_000);
        for _ in 0..20_000 {
            let in_flight = i64::try_from(limit.get()).unwrap();
            limit.succeeded(10_000 * in_flight.max(CAPACITY) / CAPACITY, true);
        }
        let in_flight = i64::try_from(limit.get()).unwrap();
        assert!((CAPACITY..20 * CAPACITY).contains(&in_flight), "{in_flight}");
    }

    #[test]
    fn a_receiver_that_became_permanently_slower_gets_a_new_best() {
        let mut limit = Limit::new(100);
        (0..200).for_each(|_| limit.succeeded(40_000, true));
        let comes_down = (0..200).any(|_| {
            limit.succeeded(400_000, true);
            limit.get() == START
        });
        assert!(comes_down);
        (0..20_000).for_each(|_| limit.succeeded(400_000, true));
        assert_eq!(limit.get(), 100);
    }
}
