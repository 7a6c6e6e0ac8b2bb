//! The order of events at ordered webhooks: an event that was published after another one of its key was acknowledged
//! arrives after it.

use std::collections::BTreeMap;

use super::{
    Verdict, duplicates,
    facts::{Arrival, Facts},
};

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    verdict.promise("order_of_first_arrivals");
    verdict.promise("one_of_a_key_at_a_time");
    let mut keys: BTreeMap<(i64, &str), Vec<&Arrival<'_>>> = BTreeMap::new();
    for arrival in facts.arrivals.values().flatten() {
        if facts
            .webhooks
            .get(&arrival.webhook)
            .is_some_and(|(_, ordered)| *ordered)
        {
            keys.entry((arrival.webhook, arrival.key)).or_default().push(arrival);
        }
    }
    verdict.count("ordered_keys", keys.len());
    for ((webhook, key), mut arrivals) in keys {
        arrivals.sort_by_key(|arrival| arrival.at);
        first_arrivals(facts, verdict, webhook, key, &arrivals);
        at_a_time(facts, verdict, webhook, key, &arrivals);
    }
}

/// Compares the times of acknowledgements and first tries: only events that were published one after the
/// acknowledgement of another have an order.
fn first_arrivals(facts: &Facts<'_>, verdict: &mut Verdict, webhook: i64, key: &str, arrivals: &[&Arrival<'_>]) {
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    for arrival in arrivals {
        if seen.insert(arrival.number, arrival.request).is_some() {
            continue;
        }
        let acknowledged = facts
            .acknowledged
            .get(arrival.request)
            .and_then(|answers| answers.first());
        let Some((acknowledged, _)) = acknowledged else {
            continue;
        };
        // No event that was first tried after this one's acknowledgement may have arrived earlier.
        let earlier = seen.range(arrival.number + 1..).find(|(_, request)| {
            let tried = facts.tries.get(*request);
            tried.is_some_and(|later| later.at > *acknowledged)
        });
        if let Some((later, _)) = earlier {
            verdict.breach("order_of_first_arrivals", || {
                format!(
                    "webhook {webhook}, key {key}: {later} arrived before {}",
                    arrival.number
                )
            });
        }
    }
}

/// After an event of a key was accepted, an earlier one arrives again only if a fault prevented the record of its
/// outcome.
fn at_a_time(facts: &Facts<'_>, verdict: &mut Verdict, webhook: i64, key: &str, arrivals: &[&Arrival<'_>]) {
    let mut begun = 0;
    let mut repeats: u32 = 0;
    for arrival in arrivals {
        if arrival.number < begun {
            repeats += 1;
            let explained = duplicates::cause(facts, arrival.at).is_some();
            // Events that were published at the same time have no order, so the later number may have arrived first.
            let is_first = arrivals.iter().find(|other| other.number == arrival.number);
            let is_first = is_first.is_some_and(|first| first.at == arrival.at);
            if !explained && !is_first {
                verdict.breach("one_of_a_key_at_a_time", || {
                    format!(
                        "webhook {webhook}, key {key}: {} arrived again after {begun}",
                        arrival.number
                    )
                });
            }
        }
        begun = begun.max(arrival.number);
    }
    let before = verdict.figures.get("ordered_repeats").copied().unwrap_or(0.0);
    verdict.figure("ordered_repeats", before + f64::from(repeats));
}
