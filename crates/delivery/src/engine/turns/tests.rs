//! Tests of the turns, step by step in single cases.

use super::*;

pub(super) fn turns(limit: usize) -> Turns<usize> {
    Turns::new(limit, Arc::new(Lease::new(false)))
}

fn good(host: u64) -> Account {
    Account {
        standing: Standing::Good,
        host,
    }
}

pub(super) fn doubtful(host: u64) -> Account {
    Account {
        standing: Standing::Doubtful,
        host,
    }
}

fn ask(account: Account, used_us: i64) -> Ask {
    Ask {
        account,
        held: 0,
        used_us,
        expected_us: 0,
    }
}

impl Turns<usize> {
    fn takes(&self, account: Account, handle: usize) -> bool {
        self.take(&ask(account, 0), || handle) == Answer::Taken
    }

    fn called(&self, account: Account) -> Option<usize> {
        self.give(account).map(|(handle, _)| handle)
    }
}

#[test]
fn a_returned_turn_belongs_to_the_longest_waiting_lane() {
    let turns = turns(1);
    assert!(turns.takes(good(1), 1));
    assert!(!turns.takes(good(2), 2) && !turns.takes(good(3), 3) && turns.contended());
    assert_eq!((turns.called(good(1)), turns.called(good(2))), (Some(2), Some(3)));
    assert_eq!((turns.taken(), turns.contended()), (1, false));
    assert_eq!((turns.called(good(3)), turns.taken()), (None, 0));
    turns.check(|handle| *handle).unwrap();
}

#[test]
fn the_check_sees_a_turn_that_was_lost_and_a_lane_that_waits_twice() {
    let turns = turns(2);
    let broken = || turns.check(|handle| *handle).unwrap_err().invariant;
    turns.taken.store(1, Ordering::Relaxed);
    assert_eq!(broken(), Invariant::TurnsAddUp);
    turns.taken.store(0, Ordering::Relaxed);
    assert!(turns.takes(good(1), 7) && turns.takes(good(2), 7));
    assert!(!turns.takes(good(3), 7) && !turns.takes(good(3), 7));
    assert_eq!(broken(), Invariant::QueuedOnce);
}

#[test]
fn doubtful_receivers_get_half_and_share_it_by_time() {
    let turns = turns(64);
    for host in 0..32 {
        assert!(turns.takes(doubtful(host), 0));
    }
    let waits = |host, used_us, handle| turns.take(&ask(doubtful(host), used_us), || handle) != Answer::Taken;
    assert!(waits(40, 30_000_000, 1) && waits(41, 1_000, 2) && waits(42, 0, 3));
    assert!(turns.waits_on_purpose(doubtful(50)));
    for host in 100..132 {
        assert!(turns.takes(good(host), 0), "the other half is free");
    }
    let called = [0, 1, 2].map(|host| turns.called(doubtful(host)));
    assert_eq!(
        called,
        [Some(3), Some(2), Some(1)],
        "who has used the least time is first"
    );
    // A lane that joins later does not get the time before it.
    assert!(waits(43, 0, 4) && waits(44, 30_000_001, 5));
    assert_eq!([3, 4].map(|host| turns.called(doubtful(host))), [Some(4), Some(5)]);
    turns.check(|handle| *handle).unwrap();
}

#[test]
fn a_host_has_a_part_and_its_lanes_wait_apart() {
    let turns = turns(64);
    for _ in 0..8 {
        assert!(turns.takes(doubtful(1), 0));
    }
    assert!(!turns.takes(doubtful(1), 1) && !turns.takes(doubtful(1), 2));
    assert!(turns.takes(doubtful(2), 0), "another host");
    assert_eq!(turns.resume(), None, "they join those that wait for their host");
    assert!(turns.takes(doubtful(3), 0));
    assert!(turns.contended() && turns.should_pass(doubtful(1)) && !turns.should_pass(doubtful(2)));
    assert_eq!(turns.called(doubtful(2)), None);
    assert_eq!(turns.called(doubtful(1)), Some(1));
    assert_eq!(turns.called(doubtful(1)), Some(2));
    assert!(!turns.contended());
    turns.check(|handle| *handle).unwrap();
}

#[test]
fn a_lane_holds_no_more_than_are_left_except_for_two() {
    let turns = turns(10);
    let mut held = 0;
    let mut taken = || {
        let ask = Ask {
            account: good(held as u64),
            held,
            used_us: 0,
            expected_us: 0,
        };
        let answer = turns.take(&ask, || 1);
        held += usize::from(answer == Answer::Taken);
        answer
    };
    while taken() == Answer::Taken {}
    assert_eq!((taken(), turns.taken()), (Answer::Refused, 6));
    for host in 0..4 {
        assert!(turns.takes(good(host), 2));
    }
    assert_eq!(
        taken(),
        Answer::Refused,
        "none is free, and it does not wait in the queue of those that have none"
    );
}

#[test]
fn turns_that_move_to_another_account_make_place() {
    let turns = turns(16);
    for host in 0..8 {
        assert!(turns.takes(doubtful(host), 0));
    }
    assert!(!turns.takes(doubtful(9), 1));
    turns.reassign(1, doubtful(0), good(0));
    assert_eq!(turns.resume(), Some((1, doubtful(9))));
    turns.check(|handle| *handle).unwrap();
}

#[test]
fn a_lane_that_withdraws_is_not_called() {
    let turns = turns(1);
    assert!(turns.takes(good(1), 1));
    let Answer::Queued(ticket) = turns.take(&ask(good(2), 0), || 2) else {
        panic!("no turn was free");
    };
    assert!(turns.withdraw(ticket) && !turns.withdraw(ticket));
    assert_eq!(turns.called(good(1)), None);
    let Answer::Taken = turns.take(&ask(good(1), 0), || 1) else {
        panic!("a turn is free");
    };
    let Answer::Queued(ticket) = turns.take(&ask(good(2), 0), || 2) else {
        panic!("no turn was free");
    };
    assert_eq!(turns.called(good(1)), Some(2));
    assert!(!turns.withdraw(ticket), "it was called");
}

#[test]
fn good_lanes_of_a_host_do_not_starve_its_doubtful_ones() {
    let turns = turns(64);
    for _ in 0..32 {
        assert!(turns.takes(good(1), 0));
    }
    assert!(!turns.takes(good(1), 1) && !turns.takes(good(1), 2) && !turns.takes(doubtful(1), 3));
    assert_eq!(turns.resume(), None, "the host has its part");
    assert_eq!(turns.called(good(1)), Some(3), "none of its doubtful lanes has a turn");
    assert_eq!([turns.called(good(1)), turns.called(good(1))], [Some(1), Some(2)]);
    turns.check(|handle| *handle).unwrap();
}

#[test]
fn a_lane_that_was_busy_for_days_waits_no_longer_than_others_when_it_becomes_doubtful() {
    let turns = turns(2);
    assert!(turns.takes(doubtful(1), 0));
    let waits = |host, used_us, handle| turns.take(&ask(doubtful(host), used_us), || handle) != Answer::Taken;
    assert!(waits(2, 80_000_000_000, 2) && waits(3, 70_000_000, 3));
    assert_eq!(
        [turns.called(doubtful(1)), turns.called(doubtful(2))],
        [Some(2), Some(3)]
    );
}
