//! The facts of a history, sorted by subject.

use std::collections::{BTreeMap, HashMap};

use hookwright_domain::id::EventId;

use crate::history::Entry;

pub(super) struct Try<'a> {
    pub(super) at: i64,
    pub(super) sha256: &'a str,
}

pub(super) struct Arrival<'a> {
    pub(super) at: i64,
    pub(super) webhook: i64,
    pub(super) event: i64,
    pub(super) request: &'a str,
    pub(super) key: &'a str,
    pub(super) number: u64,
    pub(super) sha256: &'a str,
    pub(super) status: u16,
}

impl<'a> Arrival<'a> {
    /// The arrival that an entry is about, if it is about one.
    fn of(entry: &'a Entry) -> Option<Self> {
        let Entry::Arrived {
            at,
            webhook,
            event,
            request,
            key,
            number,
            sha256,
            status,
            ..
        } = entry
        else {
            return None;
        };
        Some(Self {
            at: *at,
            webhook: *webhook,
            event: *event,
            request,
            key,
            number: *number,
            sha256,
            status: *status,
        })
    }
}

pub(super) struct Attempt<'a> {
    pub(super) number: i32,
    pub(super) state: i32,
    pub(super) started_at: i64,
    pub(super) error: Option<&'a str>,
}

pub(super) struct Fault<'a> {
    pub(super) at: i64,
    pub(super) until: i64,
    pub(super) kind: &'a str,
    pub(super) number: Option<u16>,
}

pub(super) struct Event<'a> {
    pub(super) request: &'a str,
    pub(super) webhooks: &'a [i64],
}

pub(super) struct Move {
    pub(super) at: i64,
    pub(super) answered: Option<i64>,
    pub(super) home: usize,
}

pub(super) struct Made<'a> {
    pub(super) name: &'a str,
    pub(super) lines: usize,
    pub(super) secrets: Option<usize>,
}

#[derive(Default)]
pub(super) struct Facts<'a> {
    pub(super) webhooks: HashMap<i64, (&'a str, bool)>,
    pub(super) tries: BTreeMap<&'a str, Try<'a>>,
    /// The time and the event of each acknowledgement; several if a request was acknowledged more than once.
    pub(super) acknowledged: BTreeMap<&'a str, Vec<(i64, i64)>>,
    pub(super) refused: BTreeMap<&'a str, &'a str>,
    pub(super) failed_tries: usize,
    /// By delivery.
    pub(super) arrivals: BTreeMap<i64, Vec<Arrival<'a>>>,
    pub(super) faults: Vec<Fault<'a>>,
    /// The offsets of the nodes' clocks during the run, including 0.
    pub(super) clocks: Vec<i64>,
    pub(super) usage: Vec<(usize, u64, u64, u64)>,
    pub(super) drained: Option<bool>,
    pub(super) lifted_at: i64,
    pub(super) drained_at: i64,
    pub(super) events: BTreeMap<i64, Event<'a>>,
    pub(super) attempts: HashMap<i64, Vec<Attempt<'a>>>,
    pub(super) endings: HashMap<i64, &'a str>,
    pub(super) pending: Vec<i64>,
    /// Requests to the webhook that moves: the time, the delivery, and the address.
    pub(super) came_to: Vec<(i64, i64, usize)>,
    /// In order.
    pub(super) moves: Vec<Move>,
    /// Calls whose callers left before they were answered.
    pub(super) left: usize,
    pub(super) offered: Vec<i64>,
    /// The number of deliveries of each pulled event.
    pub(super) fetched: BTreeMap<i64, usize>,
    pub(super) made: Vec<Made<'a>>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(entries: &'a [Entry]) -> Self {
        let mut facts = Self {
            clocks: vec![0],
            ..Self::default()
        };
        for entry in entries {
            facts.add(entry);
        }
        for attempts in facts.attempts.values_mut() {
            attempts.sort_by_key(|attempt| attempt.number);
        }
        for arrivals in facts.arrivals.values_mut() {
            arrivals.sort_by_key(|arrival| arrival.at);
        }
        facts
    }

    fn add(&mut self, entry: &'a Entry) {
        match entry {
            Entry::Webhook { id, name, ordered, .. } => drop(self.webhooks.insert(*id, (name, *ordered))),
            Entry::Tried {
                at, request, sha256, ..
            } => drop(self.tries.insert(request, Try { at: *at, sha256 })),
            Entry::Acknowledged { at, request, event, .. } => {
                self.acknowledged.entry(request).or_default().push((*at, *event));
            }
            Entry::Refused { request, code, .. } => drop(self.refused.insert(request, code)),
            Entry::Failed { .. } => self.failed_tries += 1,
            Entry::Arrived { delivery, .. } => {
                let arrivals = self.arrivals.entry(*delivery).or_default();
                arrivals.extend(Arrival::of(entry));
            }
            Entry::Fault {
                at,
                until,
                kind,
                number,
                ..
            } => self.faults.push(Fault {
                at: *at,
                until: *until,
                kind,
                number: *number,
            }),
            Entry::Clock { ahead, .. } => self.clocks.push(*ahead),
            Entry::Usage {
                node,
                rss_mib,
                descriptors,
                threads,
                ..
            } => self.usage.push((*node, *rss_mib, *descriptors, *threads)),
            Entry::Lifted { at } => self.lifted_at = *at,
            Entry::Drained { at, whole } => (self.drained_at, self.drained) = (*at, Some(*whole)),
            Entry::Event { id, request, webhooks } => drop(self.events.insert(*id, Event { request, webhooks })),
            Entry::Attempt {
                delivery,
                number,
                state,
                started_at,
                error,
            } => self.attempts.entry(*delivery).or_default().push(Attempt {
                number: *number,
                state: *state,
                started_at: *started_at,
                error: error.as_deref(),
            }),
            Entry::Ending { delivery, reason } => drop(self.endings.insert(*delivery, reason)),
            Entry::Pending { delivery } => self.pending.push(*delivery),
            Entry::CameTo { at, delivery, home } => self.came_to.push((*at, *delivery, *home)),
            Entry::Moved { at, answered, home } => self.moves.push(Move {
                at: *at,
                answered: *answered,
                home: *home,
            }),
            Entry::Left { is_left, .. } => self.left += usize::from(*is_left),
            Entry::Offered { event, .. } => self.offered.push(*event),
            Entry::Fetched { event, webhooks } => drop(self.fetched.insert(*event, *webhooks)),
            Entry::Made { name, lines, secrets } => self.made.push(Made {
                name,
                lines: *lines,
                secrets: *secrets,
            }),
        }
    }

    /// The deliveries of an event, each with its webhook.
    pub(super) fn deliveries(&self, event: i64) -> impl Iterator<Item = (i64, i64)> + '_ {
        let webhooks = self.events.get(&event).map_or(&[][..], |event| event.webhooks);
        let id = EventId::from_raw(event);
        let pair = move |(position, webhook): (usize, &i64)| (id.delivery(position).raw(), *webhook);
        webhooks.iter().enumerate().map(pair)
    }
}
