//! The clocks of a server, and the only module that reads them.
//!
//! | clock | use | can be set |
//! | --- | --- | --- |
//! | wall ([`now_us`]) | times that users and receivers see: signature timestamps, times of attempts, the audit log | yes |
//! | reference ([`reference_us`]) | ids and retention: the database's clock on PostgreSQL, the wall clock on SQLite | yes |
//! | boot ([`boot_us`]) | durations within this process; keeps running while the machine is suspended | no |
//! | schedule ([`schedule_us`]) | due times and leases of deliveries | no |
//!
//! The schedule clock starts at the reference clock and advances with the boot clock. Setting the reference clock does
//! not change it: a retry that was due in a minute still is, the store needs no rewrite, and no delivery waits for a
//! clock to catch up. `schedule` in this crate keeps the distance between the two clocks over restarts and nodes.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::fault;

/// The value of a clock that has not started yet.
const UNSET: i64 = i64::MIN;
const SECOND: i64 = 1_000_000;

/// How far the schedule clock is ahead of the boot clock.
static SCHEDULE: AtomicI64 = AtomicI64::new(UNSET);
/// How far the reference clock is ahead of the boot clock; unset where it is the wall clock.
static REFERENCE: AtomicI64 = AtomicI64::new(UNSET);

/// The wall clock: microseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the only function that reads the wall clock"
)]
pub fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    now.saturating_add(fault::wall_clock_shift_us(boot_us))
}

/// Microseconds since the machine started, including time in suspend. This clock cannot be set.
pub fn boot_us() -> i64 {
    #[cfg(target_os = "linux")]
    const BOOT: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const BOOT: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(BOOT);
    time.tv_sec * SECOND + time.tv_nsec / 1_000
}

/// The clock of ids and retention: the database's clock on PostgreSQL, as last measured, otherwise the wall clock.
pub fn reference_us() -> i64 {
    match REFERENCE.load(Ordering::Relaxed) {
        UNSET => now_us(),
        offset => boot_us() + offset,
    }
}

/// The clock of due times.
pub fn schedule_us() -> i64 {
    if fault::is_planted("wall-clock-due") {
        return now_us();
    }
    let boot = boot_us();
    match SCHEDULE.load(Ordering::Relaxed) {
        UNSET => {
            let offset = now_us() - boot;
            match SCHEDULE.compare_exchange(UNSET, offset, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => boot + offset,
                Err(offset) => boot + offset,
            }
        }
        offset => boot + offset,
    }
}

/// Converts a time of the schedule clock to the reference clock, for users. The difference is rounded to whole seconds,
/// so that repeated calls return the same time.
pub fn shown_us(scheduled: i64) -> i64 {
    let ahead = schedule_us() - reference_us();
    scheduled.saturating_sub((ahead + ahead.signum() * SECOND / 2) / SECOND * SECOND)
}

/// The clock of retention: the earlier of the two clocks, so that setting a clock forward removes nothing early.
pub fn retention_us() -> i64 {
    reference_us().min(schedule_us())
}

/// Sets the schedule clock to `schedule` at the boot time `boot`.
pub(crate) fn set_schedule(boot: i64, schedule: i64) {
    SCHEDULE.store(schedule - boot, Ordering::Release);
}

/// Sets the reference clock to `reference` at the boot time `boot`, where it is not the wall clock.
pub(crate) fn set_reference(boot: i64, reference: i64) {
    REFERENCE.store(reference - boot, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_runs_forward_and_the_schedule_follows_it() {
        let (boot, schedule) = (boot_us(), schedule_us());
        assert!(boot > 0 && boot_us() >= boot);
        assert!(schedule_us() >= schedule);
        assert!((schedule - now_us()).abs() < 60 * SECOND, "it starts at the wall clock");
    }

    #[test]
    fn a_scheduled_time_reads_the_same_each_time() {
        let due = schedule_us() + 20 * SECOND;
        assert_eq!(shown_us(due), shown_us(due));
        assert_eq!(
            shown_us(i64::MAX),
            i64::MAX,
            "a time that stands for no time is not converted"
        );
    }
}
