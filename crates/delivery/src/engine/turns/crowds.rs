//! A model of crowds of receivers in simulated time: what a healthy receiver gets beside them.
//!
//! Each receiver has the record and the limit of a real lane. Time passes in milliseconds.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::{
    super::{limit::Limit, standing::ReceiverRecord},
    tests::{doubtful, turns},
    *,
};

/// How a receiver behaves, in milliseconds.
#[derive(Clone, Copy)]
struct Behaviour {
    takes: i64,
    /// The interval of its deliveries.
    every: i64,
    succeeds: bool,
    /// From when on it hangs until the timeout.
    hangs_from: i64,
}

/// The timeout of attempts.
const TIMEOUT: i64 = 10_000;
const HEALTHY: Behaviour = Behaviour {
    takes: 3,
    every: 50,
    succeeds: true,
    hangs_from: i64::MAX,
};
const HANGS: Behaviour = Behaviour {
    every: 1_000,
    hangs_from: 0,
    ..HEALTHY
};
const FAILS: Behaviour = Behaviour {
    succeeds: false,
    every: 20,
    ..HEALTHY
};
const SLOW: Behaviour = Behaviour {
    takes: 5_000,
    every: 1_000,
    ..HEALTHY
};
const BUSY: Behaviour = Behaviour {
    takes: 100,
    every: 10,
    ..HEALTHY
};

struct Lane {
    behaviour: Behaviour,
    record: ReceiverRecord,
    limit: Limit,
    account: Account,
    in_flight: usize,
    used_us: i64,
    ticket: Option<Ticket>,
    /// When each delivery became due.
    ready: VecDeque<i64>,
}

struct Crowd {
    turns: Turns<usize>,
    lanes: Vec<Lane>,
    now: i64,
    /// When attempts end: the time, the lane, when it began, whether it succeeds.
    ends: BinaryHeap<Reverse<(i64, usize, i64, bool)>>,
    /// The observed lane's longest wait for a turn.
    longest: i64,
}

impl Crowd {
    fn new(limit: usize, parts: &[(usize, Behaviour)]) -> Self {
        let behaviours = parts
            .iter()
            .flat_map(|(count, part)| std::iter::repeat_n(*part, *count));
        let lane = |(index, behaviour)| Lane {
            behaviour,
            record: ReceiverRecord::default(),
            limit: Limit::new(64),
            account: doubtful(index as u64),
            in_flight: 0,
            used_us: 0,
            ticket: None,
            ready: VecDeque::new(),
        };
        Self {
            turns: turns(limit),
            lanes: behaviours.enumerate().map(lane).collect(),
            now: 0,
            ends: BinaryHeap::new(),
            longest: 0,
        }
    }

    fn now_us(&self) -> i64 {
        self.now * 1_000
    }

    fn begin(&mut self, index: usize) {
        let (now, now_us) = (self.now, self.now_us());
        let lane = &mut self.lanes[index];
        let since = lane.ready.pop_front().unwrap();
        // The first seconds show which receivers are good.
        if index == 0 && since > 2_000 {
            self.longest = self.longest.max(now - since);
        }
        if lane.in_flight == 0 {
            lane.record.progressed(now_us);
        }
        lane.in_flight += 1;
        lane.used_us += lane.record.average_us();
        let hangs = now >= lane.behaviour.hangs_from;
        let takes = if hangs { TIMEOUT } else { lane.behaviour.takes };
        let succeeds = lane.behaviour.succeeds && !hangs;
        self.ends.push(Reverse((now + takes, index, now, succeeds)));
    }

    fn review(&mut self, index: usize) {
        let now_us = self.now_us();
        let lane = &mut self.lanes[index];
        let account = Account {
            standing: lane.record.standing(lane.in_flight, now_us),
            ..lane.account
        };
        if account != lane.account {
            if lane.ticket.is_some_and(|ticket| self.turns.withdraw(ticket)) {
                lane.ticket = None;
            }
            lane.used_us = 0;
            self.turns.reassign(lane.in_flight, lane.account, account);
            lane.account = account;
        }
    }

    fn end_attempts(&mut self) {
        while let Some(Reverse((_, index, began, succeeds))) =
            self.ends.peek().copied().filter(|end| end.0.0 <= self.now)
        {
            self.ends.pop();
            let (took_us, now_us) = ((self.now - began) * 1_000, self.now_us());
            let lane = &mut self.lanes[index];
            lane.used_us += took_us - lane.record.average_us();
            lane.record.attempted(succeeds, took_us, now_us);
            if succeeds {
                lane.limit.succeeded(took_us, true);
            } else {
                lane.limit.failed();
            }
            lane.in_flight -= 1;
            let next = self.turns.give(lane.account);
            self.call(next);
            self.review(index);
        }
    }

    fn call(&mut self, next: Option<(usize, Account)>) {
        let mut next = next;
        while let Some((index, account)) = next {
            let lane = &mut self.lanes[index];
            lane.ticket = None;
            if lane.ready.is_empty() || lane.in_flight >= lane.limit.get() {
                next = self.turns.give(account);
                continue;
            }
            self.turns.reassign(1, account, lane.account);
            self.begin(index);
            return;
        }
    }

    fn take(&mut self, index: usize) {
        self.review(index);
        loop {
            let lane = &mut self.lanes[index];
            if lane.ready.is_empty() || lane.ticket.is_some() || lane.in_flight >= lane.limit.get() {
                return;
            }
            let ask = Ask {
                account: lane.account,
                held: lane.in_flight,
                used_us: lane.used_us,
                expected_us: lane.record.average_us(),
            };
            match self.turns.take(&ask, || index) {
                Answer::Taken => self.begin(index),
                Answer::Queued(ticket) => {
                    lane.used_us = ticket.used_us().unwrap_or(lane.used_us);
                    lane.ticket = Some(ticket);
                }
                Answer::Refused => return,
            }
        }
    }

    fn pass_millisecond(&mut self) {
        self.end_attempts();
        for index in 0..self.lanes.len() {
            let every = self.lanes[index].behaviour.every;
            if (self.now + index as i64) % every == 0 {
                self.lanes[index].ready.push_back(self.now);
            }
            self.take(index);
        }
        while let Some(next) = self.turns.resume() {
            self.call(Some(next));
        }
        self.now += 1;
    }

    /// The observed lane's longest wait for a turn, in milliseconds. A delivery that still waits counts, too.
    fn longest_wait(mut self, until: i64) -> i64 {
        while self.now < until {
            self.pass_millisecond();
        }
        self.turns.check(|handle| *handle).unwrap();
        let waits = self.lanes[0].ready.front().map_or(0, |since| until - since);
        self.longest.max(waits)
    }
}

#[test]
fn x01_a_healthy_receiver_keeps_its_pace_beside_any_crowd() {
    let from = |hangs_from| Behaviour { hangs_from, ..HEALTHY };
    let slower = |from: Behaviour| Behaviour { every: 1_000, ..from };
    // The limit on turns, the crowd (its first receiver is observed), and the longest wait allowed, in milliseconds.
    let scenarios = [
        ("alone", 128, vec![(20, HEALTHY)], 0),
        ("most hang", 128, vec![(20, HEALTHY), (1_000, HANGS)], 0),
        (
            "most begin to hang",
            128,
            vec![(20, HEALTHY), (50, slower(from(5_000)))],
            0,
        ),
        ("half are slow", 128, vec![(20, HEALTHY), (100, SLOW)], 0),
        ("many fail", 128, vec![(20, HEALTHY), (300, FAILS)], 0),
        // They need more than twice the turns: it waits until their attempts end.
        ("many are busy", 128, vec![(20, HEALTHY), (30, BUSY)], BUSY.takes),
        (
            "busy ones begin to hang",
            1_024,
            vec![
                (20, HEALTHY),
                (
                    30,
                    Behaviour {
                        hangs_from: 5_000,
                        ..BUSY
                    },
                ),
            ],
            20,
        ),
    ];
    for (name, limit, crowd, most) in scenarios {
        let waited = Crowd::new(limit, &crowd).longest_wait(20_000);
        assert!(
            waited <= most,
            "{name}: a delivery waited {waited} ms; {most} ms are allowed"
        );
    }
}

#[test]
fn x01_a_new_receiver_is_found_to_be_healthy_beside_hanging_ones() {
    let mut crowd = Crowd::new(128, &[(1, HEALTHY), (1_000, HANGS)]);
    crowd.lanes[0].behaviour.every = i64::MAX;
    while crowd.now < 30_000 {
        crowd.pass_millisecond();
    }
    crowd.lanes[0].behaviour.every = 50;
    let waited = crowd.longest_wait(60_000);
    assert!(
        waited <= TIMEOUT,
        "its first delivery waits until a hanging one releases a turn: {waited} ms"
    );
}

#[test]
fn x01_a_busy_receiver_that_failed_for_a_moment_recovers_beside_hanging_ones() {
    let mut crowd = Crowd::new(128, &[(1, BUSY), (500, HANGS)]);
    // Until each of the others has had its first attempt.
    while crowd.now < 100_000 {
        crowd.pass_millisecond();
    }
    crowd.lanes[0].behaviour.succeeds = false;
    while crowd.now < 101_000 {
        crowd.pass_millisecond();
    }
    crowd.lanes[0].behaviour.succeeds = true;
    while crowd.now < 125_000 {
        crowd.pass_millisecond();
    }
    assert_eq!(crowd.lanes[0].account.standing, Standing::Good);
    assert!(
        crowd.lanes[0].ready.len() < 100,
        "{} deliveries wait",
        crowd.lanes[0].ready.len()
    );
}
