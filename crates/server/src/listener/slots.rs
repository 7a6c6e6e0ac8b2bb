//! Limits connections in total and per address. When all slots are taken, the longest-idle connection is closed. A
//! connection also counts as idle while it waits for the rest of a request or for its peer to read an answer. Connections
//! without an admitted request are closed first.
//!
//! An evicted connection has its file descriptor until its task has ended. The listener accepts no further connection
//! while [`CLOSING_MAX`] of them are closing, so that open ones stay within the budget of descriptors.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pulse::Pulse;

/// How many evicted connections may be closing.
const CLOSING_MAX: usize = 8;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// In total.
    pub(crate) all: usize,
    /// Per address. Trusted proxies represent many clients, and this machine its operator: both are exempt.
    pub(crate) of_address: usize,
    /// Additional slots for trusted proxies and this machine.
    pub(crate) reserved: usize,
}

impl ConnectionLimits {
    /// The most connections that are open at the same time.
    pub(crate) fn total(self) -> usize {
        self.all + self.reserved
    }

    /// The limits if at most this many connections may be open at the same time. One address then gets half of them
    /// at most.
    pub(crate) fn within(self, total: usize) -> Self {
        if self.total() <= total {
            return self;
        }
        let reserved = self.reserved.min(total / 4);
        let all = total.saturating_sub(reserved).max(1);
        Self {
            all,
            of_address: self.of_address.min(all.div_ceil(2)),
            reserved,
        }
    }
}

/// Why a connection gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its address has reached its limit.
    Address,
    /// All are taken.
    Total,
}

/// See the module.
pub(super) struct Slots {
    limits: ConnectionLimits,
    held: Mutex<Held>,
    closed: Notify,
}

#[derive(Default)]
struct Held {
    slots: HashMap<u64, (IpAddr, Arc<Pulse>)>,
    given: u64,
    /// Evicted connections that are not closed yet.
    closing: usize,
}

/// A connection's slot, until it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    pulse: Arc<Pulse>,
}

impl Slots {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            held: Mutex::default(),
            closed: Notify::new(),
        }
    }

    /// Takes a slot for a connection from an address.
    ///
    /// # Errors
    /// When all are taken and in use.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, is_trusted: bool) -> Result<Slot, Refusal> {
        let address = network(address);
        let mut held = self.held.lock();
        if !is_trusted && held.of(address) >= self.limits.of_address && !held.evict(Some(address)) {
            return Err(Refusal::Address);
        }
        let reserved = if is_trusted { self.limits.reserved } else { 0 };
        if held.slots.len() >= self.limits.all && !held.evict(None) && held.slots.len() >= self.limits.all + reserved {
            return Err(Refusal::Total);
        }
        let (number, pulse) = (held.given, Arc::new(Pulse::default()));
        held.given += 1;
        held.slots.insert(number, (address, Arc::clone(&pulse)));
        Ok(Slot {
            slots: Arc::clone(self),
            number,
            pulse,
        })
    }

    /// Waits until few of the evicted connections are still open.
    pub(super) async fn settle(&self) {
        while self.held.lock().closing >= CLOSING_MAX {
            self.closed.notified().await;
        }
    }

    /// Closes the longest-idle connection, because no file descriptors are left. False if all are in use.
    pub(super) fn evict(&self) -> bool {
        self.held.lock().evict(None)
    }
}

impl Held {
    fn of(&self, address: IpAddr) -> usize {
        self.slots.values().filter(|(known, _)| *known == address).count()
    }

    /// Closes the longest-idle connection of an address, or of all; false if there is none.
    fn evict(&mut self, address: Option<IpAddr>) -> bool {
        let among = self.slots.iter();
        let among = among.filter(|(_, (known, _))| address.is_none_or(|address| *known == address));
        let resting = among.filter_map(|(number, (_, pulse))| Some((pulse.is_known(), pulse.rests_since()?, *number)));
        let Some((_, _, number)) = resting.min() else {
            return false;
        };
        if let Some((_, pulse)) = self.slots.remove(&number) {
            pulse.evict();
            self.closing += 1;
        }
        true
    }
}

impl Slot {
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Increments from one slot to the next.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.slots.held.lock();
        if held.slots.remove(&self.number).is_none() {
            held.closing -= 1;
            self.slots.closed.notify_one();
        }
    }
}

/// The holder of an IPv6 address usually has its whole /64 network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::listener::pulse::Trust;

    fn slots(all: usize, of_address: usize, reserved: usize) -> Arc<Slots> {
        Arc::new(Slots::new(ConnectionLimits {
            all,
            of_address,
            reserved,
        }))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn numbers(slots: &Slots) -> Vec<u64> {
        let mut numbers: Vec<u64> = slots.held.lock().slots.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn the_longest_idle_connection_is_evicted() {
        let slots = slots(2, 2, 0);
        let take = |text: &str| slots.take(address(text), false).unwrap();
        let first = take("192.0.2.1");
        let in_flight = first.pulse().begin(Trust::Admitted);
        let second = take("192.0.2.2");
        let third = take("192.0.2.3");
        assert_eq!(
            numbers(&slots),
            [first.number, third.number],
            "the second is told to go"
        );
        assert!(second.pulse().evicted().now_or_never().is_some());
        assert!(third.pulse().evicted().now_or_never().is_none());
        drop((second, in_flight));
        assert_eq!(numbers(&slots), [first.number, third.number]);
        drop((first, third));
        assert!(numbers(&slots).is_empty(), "what ends leaves nothing behind");
    }

    #[test]
    fn a_connection_in_use_keeps_its_slot_and_an_address_has_its_share() {
        let slots = slots(3, 2, 1);
        let take = |text: &str, is_trusted| slots.take(address(text), is_trusted);
        let busy = |slot: &Slot| slot.pulse().begin(Trust::Admitted);
        let first = take("2001:db8::1", false).unwrap();
        let second = take("2001:db8::2", false).unwrap();
        let mut in_flight = vec![busy(&first), busy(&second)];
        assert!(take("2001:db8::3", false).is_err(), "its network has two already");
        let other = take("192.0.2.1", false).unwrap();
        in_flight.push(busy(&other));
        assert!(take("192.0.2.2", false).is_err(), "all are in use");
        let reserved = take("127.0.0.1", true).unwrap();
        in_flight.push(busy(&reserved));
        assert!(take("127.0.0.1", true).is_err(), "the reserved one is too");
        drop((in_flight.pop(), reserved, in_flight.remove(1)));
        assert!(
            take("2001:db8::3", false).is_ok(),
            "one of its own connections is evicted"
        );
    }

    #[tokio::test]
    async fn x02_evicted_connections_that_are_not_closed_yet_delay_the_next_one() {
        let slots = slots(1, 100, 0);
        let take = |text: &str| slots.take(address(text), false).unwrap();
        let mut evicted: Vec<Slot> = (0..CLOSING_MAX).map(|_| take("192.0.2.1")).collect();
        assert!(slots.settle().now_or_never().is_some());
        let last = take("192.0.2.1");
        assert!(slots.settle().now_or_never().is_none());
        drop(evicted.pop());
        assert!(slots.settle().now_or_never().is_some());
        drop((evicted, last));
        assert_eq!(slots.held.lock().closing, 0);
    }

    #[test]
    fn x02_connection_limits_fit_the_budget_of_descriptors() {
        let limits = ConnectionLimits {
            all: 2_000,
            of_address: 256,
            reserved: 64,
        };
        let few = limits.within(53);
        assert_eq!((few.all, few.of_address, few.reserved), (40, 20, 13));
        assert_eq!(limits.within(2_064).total(), 2_064);
        let least = limits.within(1);
        assert_eq!((least.all, least.of_address, least.reserved), (1, 1, 0));
    }

    #[test]
    fn x05_a_caller_that_was_admitted_is_closed_after_all_strangers() {
        let slots = slots(2, 2, 0);
        let take = |text: &str| slots.take(address(text), false).unwrap();
        let caller = take("192.0.2.1");
        drop(caller.pulse().begin(Trust::Admitted));
        for stranger in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            let stranger = take(stranger);
            let _refused = stranger.pulse().begin(Trust::Stranger);
            assert_eq!(numbers(&slots), [caller.number, stranger.number]);
            let next = take("192.0.2.5");
            assert_eq!(numbers(&slots), [caller.number, next.number], "the stranger was closed");
        }
    }
}
