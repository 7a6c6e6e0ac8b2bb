//! The accounts and the queues of turns.
//!
//! A turn is held in an account: the standing of its receiver, and its host. Limits apply to the sum of all accounts, to
//! doubtful ones, and to those of a host. A lane waits in the queue of its standing. If its host has no turn left, it waits
//! apart until the host gives one back.

use std::collections::{BTreeMap, HashMap};

use super::{
    super::{
        invariant::{Broken, Invariant, queued_once},
        standing::Standing,
    },
    Ask,
};

/// The account of a turn. The host is a hash of its name and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Account {
    pub(in super::super) standing: Standing,
    pub(in super::super) host: u64,
}

impl Account {
    fn is_doubtful(self) -> bool {
        self.standing == Standing::Doubtful
    }
}

/// The place of a lane in a queue: the time that it will have used after its next attempt, and the order of arrival.
pub(super) type Rank = (i64, u64);

/// How much more time than the lane that was called last a lane can have used, in microseconds. A lane that was busy for days
/// and then became doubtful is not blocked for longer.
const USED_MAX_US: i64 = 60_000_000;

/// The turns that may be held at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    /// By doubtful receivers.
    pub(super) doubtful: usize,
    /// Doubtful receivers go first while they hold fewer, so that good ones cannot starve them.
    pub(super) doubtful_reserved: usize,
    /// By one host.
    pub(super) host: usize,
    /// By the doubtful receivers of one host.
    pub(super) host_doubtful: usize,
}

impl Limits {
    pub(super) fn new(all: usize) -> Self {
        let all = all.max(1);
        let doubtful = all.div_ceil(2);
        Self {
            all,
            doubtful,
            doubtful_reserved: all.div_ceil(16),
            host: all.div_ceil(2),
            host_doubtful: doubtful.div_ceil(4),
        }
    }
}

/// A lane that waits.
struct Waiting<H> {
    handle: H,
    account: Account,
    /// The time that it has used.
    used_us: i64,
}

type Queue<H> = BTreeMap<Rank, Waiting<H>>;

/// The lanes that wait, by standing.
struct Queues<H> {
    good: Queue<H>,
    /// By time used, so that receivers share their part by time, not by number of attempts.
    doubtful: Queue<H>,
}

impl<H> Default for Queues<H> {
    fn default() -> Self {
        Self {
            good: BTreeMap::new(),
            doubtful: BTreeMap::new(),
        }
    }
}

impl<H> Queues<H> {
    fn of(&mut self, standing: Standing) -> &mut Queue<H> {
        match standing {
            Standing::Good => &mut self.good,
            Standing::Doubtful => &mut self.doubtful,
        }
    }

    fn insert(&mut self, rank: Rank, waiting: Waiting<H>) {
        self.of(waiting.account.standing).insert(rank, waiting);
    }

    fn len(&self) -> usize {
        self.good.len() + self.doubtful.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Waiting<H>> {
        self.good.values().chain(self.doubtful.values())
    }
}

/// A host whose lanes hold turns or wait.
struct Host<H> {
    held: usize,
    doubtful: usize,
    /// Lanes that wait until a turn of this host is released.
    waiting: Queues<H>,
}

impl<H> Default for Host<H> {
    fn default() -> Self {
        Self {
            held: 0,
            doubtful: 0,
            waiting: Queues::default(),
        }
    }
}

impl<H> Host<H> {
    /// The lane that joins the others, because a turn was released: a good one, but a doubtful one while these hold less than a
    /// quarter of their part.
    fn next(&mut self, limits: &Limits) -> Option<(Rank, Waiting<H>)> {
        let doubtful_admitted = self.held == 0 || self.doubtful < limits.host_doubtful;
        let doubtful_first = self.doubtful < limits.host_doubtful.div_ceil(4);
        let Queues { good, doubtful } = &mut self.waiting;
        if (doubtful_first || good.is_empty()) && doubtful_admitted {
            return doubtful.pop_first().or_else(|| good.pop_first());
        }
        good.pop_first()
    }
}

/// The turns and queues, under the lock of [`super::Turns`].
pub(super) struct State<H> {
    limits: Limits,
    held: usize,
    doubtful: usize,
    hosts: HashMap<u64, Host<H>>,
    /// How many lanes wait for a host.
    waiting_for_hosts: usize,
    queues: Queues<H>,
    /// The time that the doubtful lane had used that was called last. Lanes that join later do not get the time before it.
    called_us: i64,
    arrivals: u64,
}

impl<H> State<H> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: 0,
            doubtful: 0,
            hosts: HashMap::new(),
            waiting_for_hosts: 0,
            queues: Queues::default(),
            called_us: 0,
            arrivals: 0,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn free(&self) -> usize {
        self.limits.all.saturating_sub(self.held)
    }

    /// Whether a turn is free for this account.
    pub(super) fn admits(&self, account: Account) -> bool {
        let doubtful_admitted = !account.is_doubtful() || self.doubtful < self.limits.doubtful;
        self.free() > 0 && doubtful_admitted && self.host_admits(account)
    }

    fn host_admits(&self, account: Account) -> bool {
        self.hosts.get(&account.host).is_none_or(|host| {
            let doubtful_admitted = !account.is_doubtful() || host.doubtful < self.limits.host_doubtful;
            host.held < self.limits.host && doubtful_admitted
        })
    }

    pub(super) fn add(&mut self, account: Account, turns: usize) {
        let doubtful = if account.is_doubtful() { turns } else { 0 };
        self.held += turns;
        self.doubtful += doubtful;
        let host = self.hosts.entry(account.host).or_default();
        host.held += turns;
        host.doubtful += doubtful;
    }

    /// Takes turns from an account. As many lanes that waited for its host join the others, and all of them once the host
    /// holds none, because none would be released.
    pub(super) fn remove(&mut self, account: Account, turns: usize) {
        let doubtful = if account.is_doubtful() { turns } else { 0 };
        self.held = self.held.saturating_sub(turns);
        self.doubtful = self.doubtful.saturating_sub(doubtful);
        let Some(host) = self.hosts.get_mut(&account.host) else {
            return;
        };
        host.held = host.held.saturating_sub(turns);
        host.doubtful = host.doubtful.saturating_sub(doubtful);
        let join = if host.held == 0 { host.waiting.len() } else { turns };
        for _ in 0..join {
            if let Some((rank, waiting)) = host.next(&self.limits) {
                self.waiting_for_hosts -= 1;
                self.queues.insert(rank, waiting);
            }
        }
        if host.held == 0 && host.waiting.len() == 0 {
            self.hosts.remove(&account.host);
        }
    }

    /// The rank of a lane, and the time that counts as used by it. Among lanes that have used the same time, the one with
    /// the shortest attempts is first.
    pub(super) fn rank(&mut self, ask: &Ask) -> (Rank, i64) {
        self.arrivals += 1;
        match ask.account.standing {
            Standing::Good => ((0, self.arrivals), 0),
            Standing::Doubtful => {
                let used_us = ask
                    .used_us
                    .clamp(self.called_us, self.called_us.saturating_add(USED_MAX_US));
                ((used_us.saturating_add(ask.expected_us), self.arrivals), used_us)
            }
        }
    }

    pub(super) fn enqueue(&mut self, (rank, used_us): (Rank, i64), handle: H, account: Account) {
        let waiting = Waiting {
            handle,
            account,
            used_us,
        };
        self.queues.insert(rank, waiting);
    }

    /// Removes a lane from its queue. Returns false if it was called already.
    pub(super) fn withdraw(&mut self, rank: Rank, account: Account) -> bool {
        if self.queues.of(account.standing).remove(&rank).is_some() {
            return true;
        }
        let Some(host) = self.hosts.get_mut(&account.host) else {
            return false;
        };
        let withdrawn = host.waiting.of(account.standing).remove(&rank).is_some();
        self.waiting_for_hosts -= usize::from(withdrawn);
        withdrawn
    }

    /// Takes a turn for the lane that is next, if it may have one.
    pub(super) fn call(&mut self) -> Option<(H, Account)> {
        if self.free() == 0 {
            return None;
        }
        let doubtful_first = self.doubtful < self.limits.doubtful_reserved;
        let order = if doubtful_first {
            [Standing::Doubtful, Standing::Good]
        } else {
            [Standing::Good, Standing::Doubtful]
        };
        order.into_iter().find_map(|standing| self.call_of(standing))
    }

    fn call_of(&mut self, standing: Standing) -> Option<(H, Account)> {
        if standing == Standing::Doubtful && self.doubtful >= self.limits.doubtful {
            return None;
        }
        loop {
            let (rank, waiting) = self.queues.of(standing).pop_first()?;
            let account = waiting.account;
            if self.host_admits(account) {
                if standing == Standing::Doubtful {
                    self.called_us = self.called_us.max(waiting.used_us);
                }
                self.add(account, 1);
                return Some((waiting.handle, account));
            }
            let host = self.hosts.entry(account.host).or_default();
            host.waiting.insert(rank, waiting);
            self.waiting_for_hosts += 1;
        }
    }

    /// Whether a lane waits that may be called, unless its host has no turn left.
    pub(super) fn may_call(&self) -> bool {
        let doubtful_may = !self.queues.doubtful.is_empty() && self.doubtful < self.limits.doubtful;
        self.free() > 0 && (!self.queues.good.is_empty() || doubtful_may)
    }

    /// Whether a lane that may be called waits: a worker with a turn of the given standing should pass it then.
    pub(super) fn should_pass(&self, standing: Standing) -> bool {
        let doubtful_waits = !self.queues.doubtful.is_empty();
        match standing {
            Standing::Good => {
                !self.queues.good.is_empty() || doubtful_waits && self.doubtful < self.limits.doubtful_reserved
            }
            Standing::Doubtful => !self.queues.good.is_empty() || doubtful_waits,
        }
    }

    /// Whether lanes wait for a turn of any host.
    pub(super) fn any_host_waits(&self) -> bool {
        self.waiting_for_hosts > 0
    }

    /// Whether lanes wait for a turn of this host.
    pub(super) fn host_waits(&self, host: u64) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.waiting.len() > 0)
    }

    /// Whether doubtful receivers hold their part, so that others of them wait on purpose.
    pub(super) fn doubtful_is_full(&self, host: u64) -> bool {
        let account = Account {
            standing: Standing::Doubtful,
            host,
        };
        self.doubtful >= self.limits.doubtful || !self.host_admits(account)
    }

    /// Checks the invariants. `key` distinguishes handles of different lanes.
    pub(super) fn check(&self, key: impl Fn(&H) -> usize) -> Result<(), Broken> {
        let hosts = self.hosts.values();
        let (held, doubtful) = hosts.fold((0, 0), |(held, doubtful), host| {
            (held + host.held, doubtful + host.doubtful)
        });
        let waiting: usize = self.hosts.values().map(|host| host.waiting.len()).sum();
        let adds_up = (held, doubtful, waiting) == (self.held, self.doubtful, self.waiting_for_hosts)
            && held <= self.limits.all
            && doubtful <= held;
        Invariant::TurnsAddUp.check(adds_up, || {
            format!(
                "{} held, {} of them doubtful, of {}, {} wait for hosts; hosts hold {held} and {doubtful}, {waiting} wait",
                self.held, self.doubtful, self.limits.all, self.waiting_for_hosts
            )
        })?;
        let hosts = self.hosts.values();
        let waiting = self.queues.iter().chain(hosts.flat_map(|host| host.waiting.iter()));
        queued_once(waiting.map(|waiting| key(&waiting.handle)).collect())
    }
}
