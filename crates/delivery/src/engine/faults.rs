//! The pause of sending while a part of the operator's fails that every attempt needs.
//!
//! ```text
//!            fails TRIPS times in a row
//!   sending ---------------------------> paused --+
//!      ^                                   |      | a probe fails: the next one comes later
//!      +-----------------------------------+ <----+
//!            a probe reaches its receiver
//! ```
//!
//! An attempt that fails by the operator's fault does not count as an attempt of its delivery: it is repeated, uses up
//! no retry, and does not affect the webhook's health. While sending is paused, lanes wait in the queue for turns, and
//! one attempt at a time is made as a probe. A fault that does not affect all attempts does not pause sending: only its
//! delivery waits. If every attempt for a webhook fails by it, for example because a secret cannot be opened, that
//! webhook's lane waits as well.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use hookwright_domain::outcome::OperatorPart;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::due::WAIT_MAX_US;
use crate::{clock, sender::OperatorFault};

/// The number of consecutive faults that pause sending.
const TRIPS: u32 = 3;
/// The delay of a delivery after a fault of a part that all attempts need. Then it waits for a turn.
const AGAIN_US: i64 = 1_000_000;
/// The delay of a delivery after a fault that affects only its webhook.
const AGAIN_ALONE_US: i64 = 15_000_000;
const _: () = assert!(AGAIN_US <= WAIT_MAX_US && AGAIN_ALONE_US <= WAIT_MAX_US);
/// How long such a fault counts as present after it last occurred.
const PRESENT_US: i64 = 60_000_000;

/// A failing part of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingPart {
    /// The part.
    pub part: OperatorPart,
    /// Since when it fails, in microseconds since the Unix epoch.
    pub since: i64,
    /// The last error, for operators.
    pub detail: String,
    /// Whether sending is paused because of it.
    pub pauses: bool,
}

/// The faults, and the pause.
#[derive(Default)]
pub(super) struct Faults {
    paused: AtomicBool,
    /// The number of attempts that may be made while sending is paused.
    probes: AtomicI64,
    /// Whether any fault is recorded: checked after every attempt.
    any: AtomicBool,
    parts: Mutex<BTreeMap<&'static str, Noted>>,
    tripped: Notify,
}

struct Noted {
    part: OperatorPart,
    since: i64,
    last: i64,
    in_a_row: u32,
    everywhere: bool,
    detail: String,
}

impl Faults {
    /// Whether an attempt or a probe may begin.
    pub(super) fn may_send(&self) -> bool {
        !self.paused.load(Ordering::Acquire) || self.probes.load(Ordering::Acquire) > 0
    }

    /// Takes the permission to begin one attempt.
    pub(super) fn begin(&self) -> bool {
        if !self.paused.load(Ordering::Acquire) {
            return true;
        }
        let taken = self.probes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            (left > 0).then_some(left - 1)
        });
        taken.is_ok()
    }

    /// Records an attempt that failed by the operator's fault. Returns the delay in microseconds after which its
    /// delivery is due again.
    pub(super) fn failed(&self, fault: OperatorFault, detail: &str, now: i64) -> i64 {
        let mut parts = self.parts.lock();
        let noted = parts.entry(fault.part.as_str()).or_insert_with(|| {
            if !fault.everywhere {
                tracing::warn!(part = %fault.part, detail, fix = fault.part.fix(), "a part of the operator's fails; some deliveries wait");
            }
            Noted {
                part: fault.part,
                since: now,
                last: now,
                in_a_row: 0,
                everywhere: false,
                detail: String::new(),
            }
        });
        noted.last = now;
        detail.clone_into(&mut noted.detail);
        noted.everywhere |= fault.everywhere;
        self.any.store(true, Ordering::Release);
        if !fault.everywhere {
            return AGAIN_ALONE_US;
        }
        noted.in_a_row = noted.in_a_row.saturating_add(1);
        if noted.in_a_row >= TRIPS && !self.paused.swap(true, Ordering::AcqRel) {
            tracing::warn!(part = %fault.part, detail, fix = fault.part.fix(), "sending is paused");
            self.probes.store(0, Ordering::Release);
            self.tripped.notify_one();
        }
        AGAIN_US
    }

    /// Records an attempt that reached its receiver, or failed by the receiver's fault, so no part that all attempts
    /// need fails. Returns true if this resumes sending.
    pub(super) fn passed(&self, now: i64) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let mut parts = self.parts.lock();
        parts.retain(|_, noted| {
            let over = noted.everywhere || now.saturating_sub(noted.last) > PRESENT_US;
            if over && (noted.in_a_row >= TRIPS || !noted.everywhere) {
                tracing::info!(part = %noted.part, seconds = (now - noted.since) / 1_000_000, "a part of the operator's works again");
            }
            !over
        });
        self.any.store(!parts.is_empty(), Ordering::Release);
        self.paused.swap(false, Ordering::AcqRel)
    }

    /// The failing parts.
    pub(super) fn failing(&self, now: i64) -> Vec<FailingPart> {
        let paused = self.paused.load(Ordering::Acquire);
        let parts = self.parts.lock();
        let present = parts
            .values()
            .filter(|noted| noted.everywhere || now.saturating_sub(noted.last) <= PRESENT_US);
        let failing = present.map(|noted| FailingPart {
            part: noted.part,
            since: noted.since,
            detail: noted.detail.clone(),
            pauses: paused && noted.in_a_row >= TRIPS,
        });
        failing.collect()
    }

    /// Whether sending is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Waits until sending is paused.
    pub(super) async fn tripped(&self) {
        self.tripped.notified().await;
    }

    /// Allows one attempt while sending is paused.
    pub(super) fn allow_probe(&self) {
        self.probes.store(1, Ordering::Release);
    }

    /// Since when sending is paused.
    pub(super) fn paused_since(&self) -> Option<i64> {
        let failing = self.failing(clock::schedule_us()).into_iter();
        failing.filter(|part| part.pauses).map(|part| part.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(part: OperatorPart, everywhere: bool) -> OperatorFault {
        OperatorFault { part, everywhere }
    }

    #[test]
    fn faults_in_a_row_pause_and_one_attempt_that_passes_resumes() {
        let faults = Faults::default();
        let proxy = fault(OperatorPart::Proxy, true);
        for _ in 1..TRIPS {
            assert_eq!(faults.failed(proxy, "refused", 5), AGAIN_US);
        }
        assert!(!faults.passed(6) && faults.begin(), "too few to pause");
        assert_eq!(faults.failing(6), []);
        for _ in 0..TRIPS {
            faults.failed(proxy, "refused", 7);
        }
        assert!(!faults.may_send() && !faults.begin());
        assert_eq!(faults.paused_since(), Some(7));
        faults.allow_probe();
        assert!(faults.may_send() && faults.begin() && !faults.begin(), "one probe");
        faults.failed(proxy, "refused", 8);
        assert!(!faults.may_send());
        assert!(faults.passed(9) && faults.may_send());
        assert_eq!(faults.paused_since(), None);
    }

    #[test]
    fn a_fault_of_one_webhook_pauses_nothing_and_is_told_for_a_while() {
        let faults = Faults::default();
        for _ in 0..10 {
            assert_eq!(
                faults.failed(fault(OperatorPart::MasterKey, false), "sealed", 5),
                AGAIN_ALONE_US
            );
        }
        assert!(faults.may_send() && !faults.passed(6));
        let failing = faults.failing(6);
        assert_eq!(
            (failing.len(), failing[0].part, failing[0].pauses),
            (1, OperatorPart::MasterKey, false)
        );
        assert_eq!(faults.failing(6 + PRESENT_US), []);
    }
}
