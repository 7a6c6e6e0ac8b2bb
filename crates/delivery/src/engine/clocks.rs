//! Watch over the clocks: compares this machine's clock with others, and notices when one is set.
//!
//! Deliveries do not depend on the wall clock: due times go by the schedule clock ([`crate::clock`]). Receivers do: they refuse
//! a request whose `webhook-timestamp` is minutes off.
//!
//! | store | compared with | failure mode |
//! | --- | --- | --- |
//! | PostgreSQL | the database's clock | none: the store cannot be reached without it |
//! | SQLite | the `Date` headers of receivers, a few a second at most | unknown until three receivers have answered; then their median counts |

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
/// A clock that is off by less than this is right.
const OFF_MIN_US: i64 = 5 * SECOND;
/// How many responses are looked at in a second: as many as [`LOOKS_BITS`] can count.
const LOOKS_MAX: i64 = (1 << LOOKS_BITS) - 1;
const LOOKS_BITS: u32 = 6;
/// How often a receiver's clock is read.
const SAMPLE_EVERY_US: i64 = 30 * SECOND;
/// A response that took longer tells too little of its receiver's clock.
const SAMPLE_TOOK_MAX_US: i64 = 2 * SECOND;
/// How long what a receiver's clock said counts.
const SAMPLE_KEPT_US: i64 = 3_600 * SECOND;
/// How many receivers are remembered, and how many must have answered.
const RECEIVERS_MAX: usize = 64;
const RECEIVERS_MIN: usize = 3;

/// What is known of this machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReport {
    /// By how many microseconds it is ahead of the database's clock, or of most receivers'; `None` while that is not known.
    pub offset_us: Option<i64>,
    /// Whether it is compared with the database's clock.
    pub by_database: bool,
    /// How often a clock was set since the start: this machine's, or the database's.
    pub jumps: u64,
    /// By how many microseconds one was set last.
    pub last_jump_us: i64,
    /// By how many microseconds new ids are ahead of the clock: after it was set back, until it has caught up.
    pub ids_ahead_us: i64,
}

impl ClockReport {
    /// What people who look after the server should know; empty while there is nothing.
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

/// What was seen of the clocks.
struct ClockWatch {
    /// Boot clock and wall clock at the last look.
    last: Mutex<(i64, i64)>,
    jumps: AtomicU64,
    last_jump: AtomicI64,
    receivers: Mutex<HashMap<String, Sample>>,
    /// The second of the last look, and how many responses were looked at in it.
    looks: AtomicI64,
    /// Whether it was said that the clock is off.
    is_off: AtomicBool,
}

/// By how much this machine was ahead of a receiver's clock, and when.
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

    /// By how many microseconds the wall clock was set since the last look. Time in suspend is no jump: the boot clock runs on.
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

    /// A receiver has answered; looks at its clock now and then.
    fn heard(&self, host: &str, report: &AttemptReport) {
        let boot = clock::boot_us();
        let took = i64::try_from(report.duration.as_micros()).unwrap_or(i64::MAX);
        if took > SAMPLE_TOOK_MAX_US || !self.may_look(boot) || self.is_fresh(host, boot) {
            return;
        }
        let Some(date) = report.date_us() else { return };
        // The header tells whole seconds.
        let offset = report.started_at_us + took / 2 - date - SECOND / 2;
        self.note(host, Sample { boot, offset });
    }

    /// Whether one more response may be looked at in this second.
    fn may_look(&self, boot: i64) -> bool {
        let (looks, first) = (self.looks.load(Ordering::Relaxed), (boot / SECOND) << LOOKS_BITS);
        let next = if looks < first { first } else { looks + 1 };
        looks < first + LOOKS_MAX
            && self
                .looks
                .compare_exchange(looks, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether a receiver's clock was read lately.
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

    /// The median of what receivers' clocks said lately, if enough of them did.
    fn offset_from_receivers(&self, boot: i64) -> Option<i64> {
        let receivers = self.receivers.lock();
        let recent = receivers.values().filter(|known| boot - known.boot < SAMPLE_KEPT_US);
        let mut offsets: Vec<i64> = recent.map(|known| known.offset).collect();
        drop(receivers);
        offsets.sort_unstable();
        (offsets.len() >= RECEIVERS_MIN).then(|| offsets[offsets.len() / 2])
    }
}

/// The clocks as the engine's components see them. Cheap to clone.
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

    /// Looks whether a clock was set or is off, and says so. Where the schedule clock rests on this machine's, the store is told.
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
                tracing::warn!(%error, "cannot store by how much the clock was set; the next checkpoint will");
            }
            // What receivers' clocks said was compared with the clock before.
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

    /// The database's clock was set, as this node found out.
    pub(super) fn database_clock_set(&self, by: i64) {
        self.0.watch.jumped(by);
        tracing::warn!(
            seconds = by / SECOND,
            "the clock of the database was set; due times keep their distance"
        );
    }

    /// A receiver has answered.
    pub(super) fn heard_from(&self, host: &str, report: &AttemptReport) {
        // Where there is a database's clock, no receiver needs to be asked.
        if self.0.store.lease().is_none() {
            self.0.watch.heard(host, report);
        }
    }

    /// What is known of this machine's clock.
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
    fn b31_most_receivers_tell_whether_the_clock_is_off() {
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
        assert_eq!(hear("d", 2 * HOUR, 0), None, "what was said long ago does not count");
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
