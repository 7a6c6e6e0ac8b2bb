//! The schedule clock of [`clock`], preserved over restarts and shared by the nodes of one database.
//!
//! The store keeps how far the schedule clock is ahead of the reference clock: 0 until the reference clock is set. A
//! server that starts continues from there, and never before the last time in the store. So no delivery waits if a
//! clock is set while no server runs.
//!
//! On SQLite the reference is the machine's wall clock, and the record is stored with every watermark. On PostgreSQL it
//! is the database's clock, measured with every heartbeat, so that the clock of one node has no influence on what is
//! due. A node that detects a change of the database's clock stores the new distance. The other nodes detect the new
//! distance and follow.

use crate::clock;

/// The setting that holds the record.
pub(crate) const SCHEDULE: &str = "schedule_clock";

/// A smaller change of a clock is not reported: the schedule clock follows it.
pub const JUMP_MIN_US: i64 = 2_000_000;

/// The readings of two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) reference: i64,
    pub(crate) schedule: i64,
}

impl Record {
    /// The current readings, with the wall clock as the reference.
    pub(crate) fn of_wall() -> Self {
        Self {
            reference: clock::now_us(),
            schedule: clock::schedule_us(),
        }
    }

    pub(crate) fn ahead(self) -> i64 {
        self.schedule.saturating_sub(self.reference)
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [self.reference.to_le_bytes(), self.schedule.to_le_bytes()].concat()
    }

    /// Parses a record; `None` if it is invalid.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (reference, schedule) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            reference: i64::from_le_bytes(*reference),
            schedule: i64::from_le_bytes(schedule.try_into().ok()?),
        })
    }
}

/// The schedule clock at the start, when the reference clock shows `reference`, and how far the reference clock was set
/// back meanwhile. The schedule clock was `ahead` of it when a server last ran, and `known` is a past time of the
/// schedule clock.
pub(crate) fn start(ahead: i64, reference: i64, known: i64) -> (i64, i64) {
    let expected = reference.saturating_add(ahead);
    let schedule = expected.max(known);
    let set_back = schedule - expected;
    (schedule, if set_back >= JUMP_MIN_US { set_back } else { 0 })
}

/// The consequence of a reading of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The clocks agree.
    Keep,
    /// The schedule clock moves by this much.
    Follow(i64),
    /// The database's clock was set by this much. The schedule clock stays, and its new distance must be stored.
    Set(i64),
}

/// Decides what a node does if its schedule clock should be ahead by `ahead`, according to the database's clock and the
/// stored distance, with an error of at most `uncertainty`.
///
/// `decided` is true if another node has changed the stored distance. A node whose machine was suspended for up to
/// `patience` follows the others. After a longer time it has lost its lease, and starts its clock again.
pub(crate) fn judge(ahead: i64, uncertainty: i64, decided: bool, patience: i64) -> Verdict {
    let size = ahead.saturating_abs();
    if size <= uncertainty {
        Verdict::Keep
    } else if decided || (0..=patience).contains(&ahead) {
        Verdict::Follow(ahead)
    } else if size < JUMP_MIN_US + uncertainty {
        Verdict::Follow(ahead / 4)
    } else {
        Verdict::Set(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    const NOW: i64 = 1_735_689_600_000_000;

    #[test]
    fn a_record_reads_back_and_nonsense_does_not() {
        let record = Record {
            reference: NOW,
            schedule: NOW - HOUR,
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
        for bad in [&b""[..], &[0; 8], &[0; 15], &[0; 17]] {
            assert_eq!(Record::from_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn x10_a_clock_that_is_set_while_nobody_runs_makes_nothing_wait() {
        assert_eq!(start(0, NOW, 0), (NOW, 0), "the first start");
        let (ahead, known) = (HOUR, NOW + HOUR);
        assert_eq!(
            start(ahead, NOW + 5 * SECOND, known),
            (NOW + HOUR + 5 * SECOND, 0),
            "the distance stays"
        );
        assert_eq!(
            start(ahead, NOW - HOUR, known),
            (NOW + HOUR, HOUR),
            "set back: never before a known time"
        );
        assert_eq!(
            start(0, NOW - SECOND, NOW),
            (NOW, 0),
            "a change by one second is not reported"
        );
    }

    #[test]
    fn x10_a_database_whose_clock_is_set_moves_no_schedule_and_a_node_that_stood_still_follows() {
        let lease = 5 * SECOND;
        let alone = |ahead| judge(ahead, 1_000, false, lease);
        assert_eq!(alone(900), Verdict::Keep);
        assert_eq!(alone(-HOUR), Verdict::Set(-HOUR));
        assert_eq!(alone(24 * HOUR), Verdict::Set(24 * HOUR));
        assert_eq!(
            alone(3 * SECOND),
            Verdict::Follow(3 * SECOND),
            "suspended for less than its lease"
        );
        assert_eq!(
            alone(-40_000),
            Verdict::Follow(-10_000),
            "clocks drift: corrected in small steps"
        );
        assert_eq!(
            judge(-HOUR, 1_000, true, lease),
            Verdict::Follow(-HOUR),
            "another node has decided"
        );
        assert_eq!(
            judge(HOUR, 2 * HOUR, false, lease),
            Verdict::Keep,
            "a slow answer is too uncertain"
        );
    }
}
