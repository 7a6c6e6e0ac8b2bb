//! Sessions that were ended early: none of them becomes valid again.
//!
//! Each is recorded until it would have expired. The number of records per owner (a token, a portal link) is limited. Beyond
//! the limit one record stands for all sessions of the owner that began before it, ended or not. The memory is therefore
//! bounded, and an owner that exceeds the limit signs out only its own users.

use std::collections::HashMap;

use hookwright_storage::EndedSessionRow;
use parking_lot::Mutex;

use super::{CLOCKS_US, Id, LIFE_US};

/// Maximum number of individual records per owner.
const NOTED_MAX: usize = 256;

/// Interval at which expired records of all owners are removed.
const SWEEP_EVERY_US: i64 = 60 * 1_000_000;

/// The ended sessions of every owner.
#[derive(Default)]
pub(in crate::app) struct Ended(Mutex<Owners>);

#[derive(Default)]
struct Owners {
    all: HashMap<i64, Owner>,
    swept_at: i64,
}

/// The ended sessions of one owner.
#[derive(Default)]
struct Owner {
    noted: HashMap<Id, Times>,
    /// Sessions that began before this have ended.
    before: i64,
}

#[derive(Clone, Copy)]
struct Times {
    began_at: i64,
    until: i64,
}

impl Owner {
    fn put(&mut self, id: Id, times: Times, and_before: Option<i64>) {
        self.noted.insert(id, times);
        if let Some(before) = and_before {
            self.before = self.before.max(before);
            self.noted.retain(|_, times| times.began_at >= before);
        }
    }
}

impl Owners {
    fn sweep(&mut self, now: i64) {
        if now < self.swept_at + SWEEP_EVERY_US {
            return;
        }
        self.swept_at = now;
        self.all.retain(|_, owner| {
            owner.noted.retain(|_, times| times.until > now);
            !owner.noted.is_empty() || owner.before + LIFE_US + CLOCKS_US > now
        });
    }
}

impl Ended {
    /// When the session began that will stand for those before it, if one more is recorded.
    pub(super) fn crowded(&self, owner: i64, now: i64) -> Option<i64> {
        let mut owners = self.0.lock();
        owners.sweep(now);
        let noted = &mut owners.all.get_mut(&owner)?.noted;
        noted.retain(|_, times| times.until > now);
        if noted.len() < NOTED_MAX {
            return None;
        }
        let mut began: Vec<i64> = noted.values().map(|times| times.began_at).collect();
        began.sort_unstable();
        // Half of them, so that this is rare.
        began.get(began.len() / 2).copied()
    }

    /// Records a session, with the result of [`Self::crowded`].
    pub(super) fn put(&self, owner: i64, id: Id, began_at: i64, until: i64, and_before: Option<i64>) {
        let times = Times { began_at, until };
        let mut owners = self.0.lock();
        owners.all.entry(owner).or_default().put(id, times, and_before);
    }

    /// Replaces the records with those of the store.
    pub(in crate::app) fn replace(&self, rows: Vec<EndedSessionRow>) {
        let mut owners: HashMap<i64, Owner> = HashMap::new();
        for row in rows {
            let Ok(id) = row.id.try_into() else { continue };
            let times = Times {
                began_at: row.began_at,
                until: row.ended_until,
            };
            let and_before = row.and_earlier.then_some(row.began_at);
            owners.entry(row.token_id).or_default().put(id, times, and_before);
        }
        self.0.lock().all = owners;
    }

    pub(super) fn has(&self, owner: i64, id: &Id, began_at: i64) -> bool {
        let owners = self.0.lock();
        let owner = owners.all.get(&owner);
        owner.is_some_and(|owner| began_at < owner.before || owner.noted.contains_key(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: i64 = 1_000_000;

    fn id(number: i64) -> Id {
        i128::from(number).to_le_bytes()
    }

    /// Ends the session that began at a time, and returns its row.
    fn end(ended: &Ended, owner: i64, began_at: i64) -> (EndedSessionRow, Option<i64>) {
        let and_before = ended.crowded(owner, began_at);
        ended.put(owner, id(began_at), began_at, began_at + LIFE, and_before);
        let row = EndedSessionRow {
            id: id(began_at).to_vec(),
            token_id: owner,
            began_at,
            ended_until: began_at + LIFE,
            and_earlier: false,
        };
        (row, and_before)
    }

    #[test]
    fn no_ended_session_comes_back_however_many_there_are() {
        let ended = Ended::default();
        end(&ended, 8, 1);
        for began_at in 0..10_000 {
            end(&ended, 7, began_at);
            assert!(ended.0.lock().all[&7].noted.len() <= NOTED_MAX);
        }
        for began_at in 0..10_000 {
            assert!(ended.has(7, &id(began_at), began_at), "{began_at}");
        }
        assert!(
            !ended.has(7, &id(20_000), 20_000),
            "who signed in later is not concerned"
        );
        assert!(
            ended.has(7, &id(20_000), 1),
            "who signed in long before with that token is"
        );
        assert!(ended.has(8, &id(1), 1) && !ended.has(8, &id(2), 0), "nor any other's");
    }

    #[test]
    fn sessions_that_would_have_expired_are_evicted_first() {
        let ended = Ended::default();
        let count = i64::try_from(NOTED_MAX).unwrap();
        (0..count).for_each(|began_at| drop(end(&ended, 7, began_at)));
        assert_eq!(ended.crowded(7, LIFE), None);
        assert!(ended.has(7, &id(1), 1) && !ended.has(7, &id(count), 0));
    }

    #[test]
    fn nothing_is_remembered_of_owners_whose_sessions_would_all_be_over() {
        let ended = Ended::default();
        for began_at in 0..300 {
            end(&ended, 7, began_at);
        }
        end(&ended, 8, 300);
        let later = LIFE_US + CLOCKS_US + SWEEP_EVERY_US;
        end(&ended, 9, later);
        let owners: Vec<i64> = ended.0.lock().all.keys().copied().collect();
        assert_eq!(owners, [9]);
    }

    #[test]
    fn another_node_learns_the_same_from_the_store() {
        let (here, there) = (Ended::default(), Ended::default());
        let mut stored: Vec<EndedSessionRow> = Vec::new();
        for began_at in 0..2_000 {
            let (row, and_before) = end(&here, 7, began_at);
            stored.push(row);
            if let Some(before) = and_before {
                stored.retain(|row| row.began_at >= before);
                stored[0].and_earlier = true;
            }
        }
        there.replace(stored);
        for began_at in 0..2_100 {
            assert_eq!(
                there.has(7, &id(began_at), began_at),
                here.has(7, &id(began_at), began_at),
                "{began_at}"
            );
        }
    }
}
