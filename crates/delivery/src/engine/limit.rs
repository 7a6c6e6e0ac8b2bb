//! The limit on attempts in flight of one lane: additive increase, multiplicative decrease.
//!
//! It grows by one on success up to the webhook's maximum, and halves on failure down to one. So a hanging webhook soon
//! gets a single attempt at a time.

/// The limit before the first attempt.
const START: usize = 8;

/// The limit of a lane.
#[derive(Debug)]
pub(super) struct Limit {
    now: usize,
    cap: usize,
}

impl Limit {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self {
            now: START.min(cap),
            cap,
        }
    }

    pub(super) fn get(&self) -> usize {
        self.now
    }

    pub(super) fn succeeded(&mut self) {
        self.now = (self.now + 1).min(self.cap);
    }

    pub(super) fn failed(&mut self) {
        self.now = (self.now / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_within_one_and_the_cap(cap in 0usize..200, results in proptest::collection::vec(any::<bool>(), 0..300)) {
            let mut limit = Limit::new(cap);
            for success in results {
                if success { limit.succeeded() } else { limit.failed() }
                prop_assert!((1..=cap.max(1)).contains(&limit.get()));
            }
        }
    }

    #[test]
    fn a_failing_webhook_comes_down_to_one_in_few_failures() {
        let mut limit = Limit::new(64);
        (0..100).for_each(|_| limit.succeeded());
        assert_eq!(limit.get(), 64);
        (0..6).for_each(|_| limit.failed());
        assert_eq!(limit.get(), 1);
    }
}
