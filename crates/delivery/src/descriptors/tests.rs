//! Permits and eviction. The model test compares them with a plain list after every step.

use std::{pin::Pin, task::Poll};

use proptest::prelude::*;

use super::*;

/// A connection that the tests can tell from others.
#[derive(Debug)]
struct Connection {
    number: usize,
    is_in_use: bool,
    is_open: bool,
    _permit: Permit,
}

impl Connection {
    fn new(number: usize, permit: Permit) -> Self {
        Self {
            number,
            is_in_use: false,
            is_open: true,
            _permit: permit,
        }
    }

    fn with_stream(self) -> Self {
        Self {
            is_in_use: true,
            ..self
        }
    }
}

impl Keep for Connection {
    fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}

fn connection(number: usize, descriptors: &Descriptors) -> Connection {
    Connection::new(number, descriptors.try_acquire(1).unwrap())
}

type Acquiring<'a> = Pin<Box<dyn Future<Output = Permit> + Send + 'a>>;

#[test]
fn x02_a_new_connection_evicts_the_one_that_was_idle_longest_over_all_lanes() {
    let descriptors = Descriptors::new(3);
    let keep = |number| descriptors.keep(connection(number, &descriptors)).unwrap();
    let (first, second, third) = (keep(1), keep(2), keep(3));
    let again = descriptors.keep(first.take().unwrap()).unwrap();
    let permit = descriptors.acquire(1).now_or_never().unwrap();
    assert!(second.take().is_none(), "it is closed");
    assert!(third.is(|idle| idle.number == 3) && again.is(|idle| idle.number == 1));
    assert_eq!(
        descriptors.counts(),
        ConnectionCounts {
            open: 3,
            idle: 2,
            max: 3
        }
    );
    drop((permit, third, again));
    assert_eq!((descriptors.counts().open, descriptors.counts().idle), (0, 0));
}

#[test]
fn x02_while_an_attempt_waits_a_connection_that_becomes_idle_is_closed() {
    let descriptors = Descriptors::new(1);
    let used = connection(1, &descriptors);
    let mut acquiring: Acquiring<'_> = Box::pin(descriptors.acquire(1));
    assert!(acquiring.as_mut().now_or_never().is_none() && descriptors.is_wanted());
    assert!(descriptors.try_acquire(1).is_none(), "nothing overtakes it");
    assert!(descriptors.keep(used).is_none());
    assert!(acquiring.as_mut().now_or_never().is_some());
    drop(acquiring);
    assert!(!descriptors.is_wanted());
}

#[test]
fn x02_a_connection_that_is_in_use_while_it_is_kept_is_neither_evicted_nor_closed() {
    let descriptors = Descriptors::new(2);
    let keep = |connection| descriptors.keep(connection).unwrap();
    let shared = keep(connection(1, &descriptors).with_stream());
    let idle = keep(connection(2, &descriptors));
    let permit = descriptors.acquire(1).now_or_never().unwrap();
    assert!(shared.is(|shared| shared.number == 1) && idle.take().is_none());
    let mut acquiring: Acquiring<'_> = Box::pin(descriptors.acquire(1));
    assert!(acquiring.as_mut().now_or_never().is_none());
    let shared = keep(shared.take().unwrap());
    assert!(acquiring.as_mut().now_or_never().is_none());
    drop((permit, acquiring));
    // It stays in its place, and is evicted when it is idle.
    let again = Connection {
        is_in_use: false,
        ..shared.take().unwrap()
    };
    let other = keep(connection(3, &descriptors));
    let again = keep(again);
    assert!(descriptors.acquire(2).now_or_never().is_some());
    assert!(other.take().is_none() && again.take().is_none());
}

#[test]
fn an_attempt_that_is_cancelled_while_it_waits_leaves_nothing_behind() {
    let descriptors = Descriptors::new(2);
    let used = [connection(1, &descriptors), connection(2, &descriptors)];
    let mut named: Acquiring<'_> = Box::pin(descriptors.acquire(2));
    assert!(named.as_mut().now_or_never().is_none());
    drop(named);
    assert!(!descriptors.is_wanted());
    drop(used);
    assert_eq!(descriptors.counts().open, 0);
}

#[test]
fn a_permit_is_released_in_parts_and_more_than_all_is_all() {
    let descriptors = Descriptors::new(3);
    let mut permit = descriptors.try_acquire(4).unwrap();
    assert_eq!(descriptors.counts().open, 3);
    permit.keep_one();
    permit.keep_one();
    assert_eq!(descriptors.counts().open, 1);
    drop(permit);
    assert_eq!(descriptors.counts().open, 0);
}

#[test]
fn x02_another_permit_is_taken_only_if_it_is_free_and_no_attempt_waits() {
    let descriptors = Descriptors::new(2);
    let permit = descriptors.try_acquire(1).unwrap();
    let another = permit.another();
    assert!(another.is_some() && permit.another().is_none());
    let mut acquiring: Acquiring<'_> = Box::pin(descriptors.acquire(1));
    assert!(acquiring.as_mut().now_or_never().is_none());
    drop(another);
    assert!(permit.another().is_none(), "the free one is for the attempt that waits");
    assert!(acquiring.as_mut().now_or_never().is_some());
}

#[test]
fn connections_that_are_taken_and_kept_again_do_not_let_the_queue_grow() {
    let descriptors = Descriptors::new(2);
    let mut idle = descriptors.keep(connection(1, &descriptors)).unwrap();
    for _ in 0..10_000 {
        idle = descriptors.keep(idle.take().unwrap()).unwrap();
    }
    assert!(descriptors.0.idle.entries() <= 100, "{}", descriptors.0.idle.entries());
    assert_eq!(descriptors.counts().idle, 1);
}

#[derive(Clone, Debug)]
enum Step {
    /// Opens a connection, or waits.
    Open(usize),
    /// A connection in use becomes idle.
    Keep(usize),
    /// An idle connection is used again.
    Take(usize),
    /// A connection in use is closed.
    Close(usize),
    /// A lane closes an idle connection.
    Expire(usize),
    /// An attempt that waits is cancelled.
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..4).prop_map(Step::Open),
        3 => any::<usize>().prop_map(Step::Keep),
        2 => any::<usize>().prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Expire),
        1 => any::<usize>().prop_map(Step::Cancel),
    ]
}

/// The expected permits and connections.
struct Model<'a> {
    descriptors: &'a Descriptors,
    max: usize,
    opened: usize,
    used: Vec<Connection>,
    /// Least recently used first.
    idle: Vec<(usize, Idle<Connection>)>,
    waiting: Vec<(usize, Acquiring<'a>)>,
}

impl<'a> Model<'a> {
    fn new(descriptors: &'a Descriptors, max: usize) -> Self {
        Self {
            descriptors,
            max,
            opened: 0,
            used: Vec::new(),
            idle: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn opened(&mut self, mut permit: Permit) {
        self.opened += 1;
        permit.keep_one();
        self.used.push(Connection::new(self.opened, permit));
    }

    fn run(&mut self, step: &Step) {
        let at = |at: usize, among: usize| (among > 0).then(|| at % among);
        match *step {
            Step::Open(count) => {
                let mut acquiring: Acquiring<'a> = Box::pin(self.descriptors.acquire(count));
                match acquiring.as_mut().now_or_never() {
                    Some(permit) => self.opened(permit),
                    None => self.waiting.push((count, acquiring)),
                }
            }
            Step::Keep(which) => {
                if let Some(at) = at(which, self.used.len()) {
                    let connection = self.used.remove(at);
                    let number = connection.number;
                    self.idle
                        .extend(self.descriptors.keep(connection).map(|idle| (number, idle)));
                }
            }
            Step::Take(which) => {
                if let Some(at) = at(which, self.idle.len()) {
                    self.used.extend(self.idle.remove(at).1.take());
                }
            }
            Step::Close(which) => {
                if let Some(at) = at(which, self.used.len()) {
                    drop(self.used.remove(at));
                }
            }
            Step::Expire(which) => {
                if let Some(at) = at(which, self.idle.len()) {
                    drop(self.idle.remove(at));
                }
            }
            Step::Cancel(which) => {
                if let Some(at) = at(which, self.waiting.len()) {
                    drop(self.waiting.remove(at));
                }
            }
        }
        self.serve();
    }

    /// Polls the attempts that wait, as their tasks would.
    fn serve(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let Some((_, first)) = self.waiting.first_mut() {
            let Poll::Ready(permit) = first.as_mut().poll(&mut context) else {
                break;
            };
            drop(self.waiting.remove(0));
            self.opened(permit);
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let there: Vec<bool> = self.idle.iter().map(|(_, idle)| idle.is(|_| true)).collect();
        let first_kept = there.iter().position(|there| *there).unwrap_or(there.len());
        prop_assert!(
            there[first_kept..].iter().all(|there| *there),
            "the least recently used ones go first: {there:?}"
        );
        self.idle.retain(|(_, idle)| idle.is(|_| true));
        let counts = self.descriptors.counts();
        prop_assert_eq!(counts.idle, self.idle.len());
        let open = self.used.len() + self.idle.len();
        prop_assert!(open <= self.max);
        prop_assert_eq!(self.descriptors.is_wanted(), !self.waiting.is_empty());
        match self.waiting.first() {
            // The free ones are reserved for the first attempt that waits.
            Some((count, _)) => {
                prop_assert!(self.idle.is_empty(), "nothing stays idle while an attempt waits");
                prop_assert!(
                    self.max - open < (*count).min(self.max),
                    "{open} are open, and an attempt waits for {count}"
                );
            }
            None => prop_assert_eq!(counts.open, open),
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn permits_are_bounded_none_is_lost_and_nothing_waits_in_vain(
        max in 1usize..7, steps in proptest::collection::vec(step(), 1..120),
    ) {
        let descriptors = Descriptors::new(max);
        let mut model = Model::new(&descriptors, max);
        for step in &steps {
            model.run(step);
            model.check()?;
        }
        drop(model);
        prop_assert_eq!(descriptors.counts(), ConnectionCounts { open: 0, idle: 0, max });
    }
}

#[test]
fn x02_a_connection_that_its_receiver_has_ended_releases_nothing_when_it_is_evicted() {
    let queue = idle::Queue::default();
    let descriptors = Descriptors::new(2);
    let ended = Connection {
        is_open: false,
        ..connection(1, &descriptors)
    };
    let (_first, second) = (
        queue.push(ended, || true),
        queue.push(connection(2, &descriptors), || true),
    );
    assert_eq!(queue.evict(1), 1);
    assert!(second.unwrap().take().is_none(), "the open one was evicted, too");
    assert_eq!(queue.len(), 0);
}
