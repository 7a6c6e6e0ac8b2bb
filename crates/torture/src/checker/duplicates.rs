//! Deliveries that arrived more than once: each repeat carries the same ids, and something explains it.

use std::collections::BTreeMap;

use super::{
    Verdict,
    facts::{Arrival, Facts},
};

/// An attempt that was under way when something happened to its node began this long before, at most.
const UNDER_WAY_US: i64 = 15_000_000;
/// The clocks of an arrival and of the fault that explains it are read in different processes, a moment apart.
const MOMENT_US: i64 = 3_000_000;
/// An attempt begins so much before its request arrives, at most, on a busy machine.
const ON_ITS_WAY_US: i64 = 5_000_000;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    verdict.promise("duplicates_are_explained");
    verdict.promise("duplicates_carry_the_same_ids");
    let mut causes: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut total = 0;
    for (delivery, arrivals) in &facts.arrivals {
        let first = &arrivals[0];
        if arrivals
            .iter()
            .any(|arrival| arrival.event != first.event || arrival.webhook != first.webhook)
        {
            verdict.breach("duplicates_carry_the_same_ids", || format!("delivery {delivery}"));
        }
        if arrivals.len() == 1 {
            continue;
        }
        total += arrivals.len() - 1;
        for (place, recorded) in unrecorded(facts, *delivery, arrivals) {
            let arrival = &arrivals[place];
            if recorded {
                *causes.entry("duplicates_retries").or_default() += 1;
            } else if was_repeated_at_once(arrival, arrivals.get(place + 1)) {
                *causes.entry("duplicates_closed_connection").or_default() += 1;
            } else if let Some(cause) = cause(facts, arrival.at) {
                *causes.entry(cause).or_default() += 1;
            } else {
                verdict.breach("duplicates_are_explained", || {
                    format!("delivery {delivery} arrived at {} and nothing explains it", arrival.at)
                });
            }
        }
    }
    verdict.count("duplicates", total);
    for name in [
        "duplicates_retries",
        "duplicates_closed_connection",
        "duplicates_crash_of_a_node",
        "duplicates_lost_lease",
        "duplicates_fault_of_the_store",
    ] {
        verdict.count(name, causes.get(name).copied().unwrap_or(0));
    }
}

/// Whether the receiver closed a connection without an answer, and the same attempt sent the request once more over a fresh one:
/// the sender does so where the connection was a reused one, which the receiver may have closed before it read the request.
fn was_repeated_at_once(arrival: &Arrival<'_>, next: Option<&Arrival<'_>>) -> bool {
    arrival.status == 0 && next.is_some_and(|next| next.at - arrival.at < MOMENT_US)
}

/// The place of each arrival but the last, and whether an attempt was recorded for it that calls for another one.
fn unrecorded(facts: &Facts<'_>, delivery: i64, arrivals: &[Arrival<'_>]) -> Vec<(usize, bool)> {
    let mut failed: Vec<i64> = facts.attempts.get(&delivery).map_or_else(Vec::new, |attempts| {
        let failed = attempts
            .iter()
            .filter(|attempt| attempt.error.is_some() && attempt.state == 0);
        failed.map(|attempt| attempt.started_at).collect()
    });
    let delivered = facts.attempts.get(&delivery).and_then(|attempts| {
        let delivered = attempts.iter().find(|attempt| attempt.state == 1);
        delivered.map(|attempt| attempt.started_at)
    });
    // The arrival that belongs to the attempt recorded as delivered is no repeat.
    let counted = delivered.and_then(|started| {
        arrivals
            .iter()
            .position(|arrival| (200..300).contains(&arrival.status) && belongs(facts, started, arrival.at))
    });
    let counted = counted.unwrap_or(arrivals.len() - 1);
    let mut found = Vec::new();
    for (place, arrival) in arrivals.iter().enumerate().filter(|(place, _)| *place != counted) {
        let attempt = failed.iter().position(|started| belongs(facts, *started, arrival.at));
        if let Some(attempt) = attempt {
            failed.swap_remove(attempt);
        }
        found.push((place, attempt.is_some()));
    }
    found
}

/// Whether an attempt that began then is that of a request that arrived then: by any clock that its node may have had.
fn belongs(facts: &Facts<'_>, started: i64, arrived: i64) -> bool {
    let within = |ahead: &i64| (-MOMENT_US..ON_ITS_WAY_US).contains(&(arrived - (started - ahead)));
    facts.clocks.iter().any(within)
}

/// What happened so that the outcome of an attempt was not recorded, of which the request arrived at this time.
pub(super) fn cause(facts: &Facts<'_>, at: i64) -> Option<&'static str> {
    let near = facts
        .faults
        .iter()
        .filter(|fault| fault.at - UNDER_WAY_US <= at && at <= fault.until + UNDER_WAY_US);
    let cause = |kind: &str| match kind {
        "kill" | "kill_all" | "failpoint" | "terminate" | "rolling_restart" | "clock_restart" => {
            Some("duplicates_crash_of_a_node")
        }
        "freeze" | "partition" | "connections_cut" | "store_slow" => Some("duplicates_lost_lease"),
        // A clock that is set repeats nothing.
        "receivers_down" | "clock_back" | "clock_forward" | "clock_skew" => None,
        _ => Some("duplicates_fault_of_the_store"),
    };
    near.filter_map(|fault| Some((cause(fault.kind)?, (fault.at - at).abs())))
        .min_by_key(|(_, distance)| *distance)
        .map(|(cause, _)| cause)
}
