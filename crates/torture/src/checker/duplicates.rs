//! Deliveries that arrived more than once: each repeat carries the same ids, and a fault explains it.

use std::collections::BTreeMap;

use super::{
    Verdict,
    facts::{Arrival, Facts},
};

/// How long before a fault an attempt may have begun that was in flight then.
const IN_FLIGHT_US: i64 = 15_000_000;
/// The difference between the clocks of an arrival and of the fault that explains it: they are read in different
/// processes.
const MOMENT_US: i64 = 3_000_000;
/// The longest time between the beginning of an attempt and the arrival of its request, on a busy machine.
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

/// Whether the receiver closed a connection without an answer, and the same attempt repeated the request over a fresh
/// connection. The sender does so if the connection was reused, because the receiver may have closed it before it read
/// the request.
fn was_repeated_at_once(arrival: &Arrival<'_>, next: Option<&Arrival<'_>>) -> bool {
    arrival.status == 0 && next.is_some_and(|next| next.at - arrival.at < MOMENT_US)
}

/// The index of each arrival but the last, and whether a recorded attempt of it requires another one.
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
    // The arrival of the attempt that is recorded as delivered is not a repeat.
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

/// Whether an attempt that began at `started` can have sent the request that arrived at `arrived`, by any clock that
/// its node may have had.
fn belongs(facts: &Facts<'_>, started: i64, arrived: i64) -> bool {
    let within = |ahead: &i64| (-MOMENT_US..ON_ITS_WAY_US).contains(&(arrived - (started - ahead)));
    facts.clocks.iter().any(within)
}

/// The cause for which the outcome of an attempt was not recorded, if its request arrived at this time.
pub(super) fn cause(facts: &Facts<'_>, at: i64) -> Option<&'static str> {
    let near = facts
        .faults
        .iter()
        .filter(|fault| fault.at - IN_FLIGHT_US <= at && at <= fault.until + IN_FLIGHT_US);
    let cause = |kind: &str| match kind {
        "kill" | "kill_all" | "failpoint" | "terminate" | "rolling_restart" | "clock_restart" => {
            Some("duplicates_crash_of_a_node")
        }
        "freeze" | "partition" | "connections_cut" | "store_slow" => Some("duplicates_lost_lease"),
        // Setting a clock causes no repeat.
        "receivers_down" | "clock_back" | "clock_forward" | "clock_skew" => None,
        _ => Some("duplicates_fault_of_the_store"),
    };
    near.filter_map(|fault| Some((cause(fault.kind)?, (fault.at - at).abs())))
        .min_by_key(|(_, distance)| *distance)
        .map(|(cause, _)| cause)
}
