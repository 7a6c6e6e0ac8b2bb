//! The clock watch: compares this machine's clock with others, and detects when one is set.
//!
//! Deliveries do not depend on the wall clock, because due times use the schedule clock ([`crate::clock`]). Receivers
//! do: they refuse a request whose `webhook-timestamp` is minutes off.
//!
//! | store | compared with | failure mode |
//! | --- | --- | --- |
//! | PostgreSQL | the database's clock | none: the store cannot be reached without it |
//! | SQLite | the `Date` headers of receivers, at most a few per second | unknown until three receivers have answered; then their median counts |

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{JUMP_MIN_US, Store};
use parking_lot::Mutex;

use crate::{clock, sender::AttemptReport};

const SECOND: i64 = 1_000_000;
/// A clock with a smaller error counts as right.
const OFF_MIN_US: i64 = 5 * SECOND;
/// How many responses are checked per second: the maximum that [`LOOKS_BITS`] can count.
const LOOKS_MAX: i64 = (1 << LOOKS_BITS) - 1;
const LOOKS_BITS: u32 = 6;
/// How often a receiver's clock is read.
const SAMPLE_EVERY_US: i64 = 30 * SECOND;
/// A slower response is too imprecise to compare its receiver's clock.
const SAMPLE_TOOK_MAX_US: i64 = 2 * SECOND;
/// How long a sample of a receiver's clock is used.
const SAMPLE_KEPT_US: i64 = 3_600 * SECOND;
/// How many receivers are remembered, and the minimum number of samples.
const RECEIVERS_MAX: usize = 64;
const RECEIVERS_MIN: usize = 3;

/// The state of this machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReport {
    /// How many microseconds it is ahead of the database's clock, or of most receivers' clocks; `None` if unknown.
    pub offset_us: Option<i64>,
    /// Whether it is compared with the database's clock.
    pub by_database: bool,
    /// How often a clock was set since the start: this machine's, or the database's.
    pub jumps: u64,
    /// The size of the last jump, in microseconds.
    pub last_jump_us: i64,
    /// How many microseconds new ids are ahead of the clock, after it was set back and until it has caught up.
    pub ids_ahead_us: i64,
}

impl ClockReport {
    /// Messages for operators; empty if there is nothing to report.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(offset) = self.offset_us.filter(|offset| offset.abs() >= OFF_MIN_US) {
            notes.push(format!(
                "the clock of this machine is {}; receivers refuse requests whose webhook-timestamp is minutes off: \
                 synchronize the clock",
                difference(offset, self.by_database)
            ));
        }
        if self.jumps > 0 {
            notes.push(format!(
                "clocks were set since the start: {} times, the last time by {} s; due times kept their distance",
                self.jumps,
                self.last_jump_us / SECOND
            ));
        }
        if self.ids_ahead_us >= OFF_MIN_US {
            notes.push(format!(
                "ids, and with them the creation times of events, are {} s ahead until the clock has caught up",
                self.ids_ahead_us / SECOND
            ));
        }
        notes
    }
}

fn difference(offset: i64, by_database: bool) -> String {
    let direction = if offset > 0 { "ahead of" } else { "behind" };
    let whose = if by_database {
        "the database's"
    } else {
        "the clocks of most receivers"
    };
    format!("{} s {direction} {whose}", offset.abs() / SECOND)
}

/// The observations of the clocks.
struct ClockWatch {
    /// The boot clock and the wall clock at the last check.
    last: Mutex<(i64, i64)>,
    jumps: AtomicU64,
    last_jump: AtomicI64,
    receivers: Mutex<HashMap<String, Sample>>,
    /// The second of the last check, and how many responses were checked in it.
    looks: AtomicI64,
    /// Whether a wrong clock was reported.
    is_off: AtomicBool,
}

/// How far this machine was ahead of a receiver's clock, and when.
#[derive(Clone, Copy)]
struct Sample {
    boot: i64,
    offset: i64,
}

impl ClockWatch {
    fn new() -> Self {
        Self {
            last: Mutex::new((clock::boot_us(), clock::now_us())),
            jumps: AtomicU64::new(0),
            last_jump: AtomicI64::new(0),
            receivers: Mutex::default(),
            looks: AtomicI64::new(0),
            is_off: AtomicBool::new(false),
        }
    }

    /// How far the wall clock was set since the last check, in microseconds. Time in suspend is not a jump, because the
    /// boot clock includes it.
    fn look(&self, boot: i64, wall: i64) -> Option<i64> {
        let mut last = self.last.lock();
        let jump = wall.saturating_sub(last.1).saturating_sub(boot - last.0);
        *last = (boot, wall);
        (jump.abs() >= JUMP_MIN_US).then_some(jump)
    }

    fn jumped(&self, by: i64) {
        self.jumps.fetch_add(1, Ordering::Relaxed);
        self.last_jump.store(by, Ordering::Relaxed);
    }

    /// Samples a receiver's clock from time to time, when the receiver has answered.
    fn heard(&self, host: &str, report: &AttemptReport) {
        let boot = clock::boot_us();
        let took = i64::try_from(report.duration.as_micros()).unwrap_or(i64::MAX);
        if took > SAMPLE_TOOK_MAX_US || !self.may_look(boot) || self.is_fresh(host, boot) {
            return;
        }
        let Some(date) = report.date_us() else { return };
        // The header has a resolution of one second.
        let offset = report.started_at_us + took / 2 - date - SECOND / 2;
        self.note(host, Sample { boot, offset });
    }

    /// Whether another response may be checked in this second.
    fn may_look(&self, boot: i64) -> bool {
        let (looks, first) = (self.looks.load(Ordering::Relaxed), (boot / SECOND) << LOOKS_BITS);
        let next = if looks < first { first } else { looks + 1 };
        looks < first + LOOKS_MAX
            && self
                .looks
                .compare_exchange(looks, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether a receiver's clock was read recently.
    fn is_fresh(&self, host: &str, boot: i64) -> bool {
        let known = self.receivers.lock().get(host).map(|known| known.boot);
        known.is_some_and(|known| boot - known < SAMPLE_EVERY_US)
    }

    fn note(&self, host: &str, sample: Sample) {
        let mut receivers = self.receivers.lock();
        receivers.retain(|_, known| sample.boot - known.boot < SAMPLE_KEPT_US);
        if receivers.len() >= RECEIVERS_MAX && !receivers.contains_key(host) {
            let oldest = receivers
                .iter()
                .min_by_key(|(_, known)| known.boot)
                .map(|(host, _)| host.clone());
            oldest.and_then(|oldest| receivers.remove(&oldest));
        }
        receivers.insert(host.to_owned(), sample);
    }

    /// The median of recent samples of receivers' clocks, if there are enough.
    fn offset_from_receivers(&self, boot: i64) -> Option<i64> {
        let receivers = self.receivers.lock();
        let recent = receivers.values().filter(|known| boot - known.boot < SAMPLE_KEPT_US);
        let mut offsets: Vec<i64> = recent.map(|known| known.offset).collect();
        drop(receivers);
        offsets.sort_unstable();
        (offsets.len() >= RECEIVERS_MIN).then(|| offsets[offsets.len() / 2])
    }
}

/// A handle to the clocks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Clocks(Arc<Shared>);

struct Shared {
    store: Store,
    ids: Arc<IdGenerator>,
    watch: ClockWatch,
}

impl Clocks {
    pub(super) fn new(store: Store, ids: Arc<IdGenerator>) -> Self {
        Self(Arc::new(Shared {
            store,
            ids,
            watch: ClockWatch::new(),
        }))
    }

    /// Checks whether a clock was set or is wrong, and reports it. If the schedule clock depends on this machine's
    /// clock, the store gets the new distance.
    pub(super) async fn look(&self) {
        let watch = &self.0.watch;
        let jump = watch.look(clock::boot_us(), clock::now_us());
        if let Some(jump) = jump {
            watch.jumped(jump);
            tracing::warn!(
                seconds = jump / SECOND,
                "the clock of this machine was set; due times keep their distance"
            );
            if let Err(error) = self.0.store.keep_clock().await {
                tracing::warn!(%error, "cannot store how far the clock was set; the server stores it again when it stops");
            }
            // Samples of receivers' clocks were compared with the clock before the change.
            watch.receivers.lock().clear();
        }
        let report = self.report();
        let is_off = report.offset_us.filter(|offset| offset.abs() >= OFF_MIN_US);
        if watch.is_off.swap(is_off.is_some(), Ordering::AcqRel) != is_off.is_some() {
            match is_off {
                Some(offset) => tracing::warn!(
                    "the clock of this machine is {}: receivers may refuse the signatures of this server; synchronize it",
                    difference(offset, report.by_database)
                ),
                None => tracing::info!("the clock of this machine is right again"),
            }
        }
    }

    /// Records that this node detected a change of the database's clock.
    pub(super) fn database_clock_set(&self, by: i64) {
        self.0.watch.jumped(by);
        tracing::warn!(
            seconds = by / SECOND,
            "the clock of the database was set; due times keep their distance"
        );
    }

    /// Records that a receiver has answered.
    pub(super) fn heard_from(&self, host: &str, report: &AttemptReport) {
        // The database's clock makes samples of receivers unnecessary.
        if self.0.store.lease().is_none() {
            self.0.watch.heard(host, report);
        }
    }

    /// The state of this machine's clock.
    pub(super) fn report(&self) -> ClockReport {
        let by_database = self.0.store.lease().is_some();
        let watch = &self.0.watch;
        ClockReport {
            offset_us: if by_database {
                Some(clock::now_us() - clock::reference_us())
            } else {
                watch.offset_from_receivers(clock::boot_us())
            },
            by_database,
            jumps: watch.jumps.load(Ordering::Relaxed),
            last_jump_us: watch.last_jump.load(Ordering::Relaxed),
            ids_ahead_us: self.0.ids.ahead_us(clock::reference_us()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * SECOND;

    #[test]
    fn f06_a_clock_that_is_set_is_noticed_and_a_clock_that_runs_is_not() {
        let watch = ClockWatch::new();
        let (boot, wall) = *watch.last.lock();
        let minute = 60 * SECOND;
        assert_eq!(watch.look(boot + minute, wall + minute), None);
        assert_eq!(
            watch.look(boot + 2 * minute, wall + 2 * minute + 24 * HOUR),
            Some(24 * HOUR)
        );
        assert_eq!(watch.look(boot + 3 * minute, wall + 3 * minute + 24 * HOUR), None);
        assert_eq!(
            watch.look(boot + 3 * minute, wall + 3 * minute + 23 * HOUR),
            Some(-HOUR)
        );
        assert_eq!(
            watch.look(boot + 3 * minute + 8 * HOUR, wall + 3 * minute + 31 * HOUR),
            None,
            "a machine that was suspended for eight hours"
        );
    }

    #[test]
    fn b31_the_dates_of_most_receivers_show_a_wrong_clock() {
        let watch = ClockWatch::new();
        let hear = |host: &str, boot, seconds| {
            watch.note(
                host,
                Sample {
                    boot,
                    offset: seconds * SECOND,
                },
            );
            watch.offset_from_receivers(boot)
        };
        assert_eq!(hear("a", 0, 600), None);
        assert_eq!(hear("a", 1, 600), None, "the same one again");
        assert_eq!(hear("b", 2, 601), None);
        assert_eq!(
            hear("wrong", 3, -9_000),
            Some(600 * SECOND),
            "one receiver's clock may be off too"
        );
        assert_eq!(hear("c", 4, 600), Some(600 * SECOND));
        assert_eq!(hear("d", 2 * HOUR, 0), None, "old samples do not count");
        for host in 0..2 * RECEIVERS_MAX {
            watch.note(
                &host.to_string(),
                Sample {
                    boot: 2 * HOUR,
                    offset: 0,
                },
            );
        }
        assert_eq!(watch.receivers.lock().len(), RECEIVERS_MAX);
    }

    #[test]
    fn b31_few_responses_are_looked_at() {
        let watch = ClockWatch::new();
        let looked = (0..1_000).filter(|_| watch.may_look(5 * SECOND)).count();
        assert_eq!(looked, 1 << LOOKS_BITS);
        assert!(watch.may_look(6 * SECOND));
    }

    #[test]
    fn b31_notes_say_what_is_wrong_and_nothing_while_nothing_is() {
        let right = ClockReport {
            offset_us: Some(SECOND),
            ..ClockReport::default()
        };
        assert_eq!(right.notes(), [""; 0]);
        let wrong = ClockReport {
            offset_us: Some(-600 * SECOND),
            by_database: true,
            jumps: 1,
            last_jump_us: -600 * SECOND,
            ids_ahead_us: 600 * SECOND,
        };
        let notes = wrong.notes();
        assert_eq!(notes.len(), 3);
        assert!(notes[0].contains("600 s behind the database's") && notes[0].contains("webhook-timestamp"));
    }
}
