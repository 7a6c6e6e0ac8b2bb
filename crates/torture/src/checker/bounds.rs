//! Limits: memory, descriptors and threads are bounded, the backlog drains, and deliveries resume after a kill.

use super::{Verdict, facts::Facts};
use crate::receivers::node_of;

/// A development build needs more than a release. The limit shows growth over the run.
const RSS_MIB_MAX: u64 = 512;
const DESCRIPTORS_MAX: u64 = 2_000;
const THREADS_MAX: u64 = 128;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for promise in [
        "memory_is_bounded",
        "descriptors_are_bounded",
        "threads_are_bounded",
        "the_backlog_drains",
    ] {
        verdict.promise(promise);
    }
    for (node, rss, descriptors, threads) in &facts.usage {
        if *rss > RSS_MIB_MAX {
            verdict.breach("memory_is_bounded", || format!("node {node}: {rss} MiB"));
        }
        if *descriptors > DESCRIPTORS_MAX {
            verdict.breach("descriptors_are_bounded", || format!("node {node}: {descriptors}"));
        }
        if *threads > THREADS_MAX {
            verdict.breach("threads_are_bounded", || format!("node {node}: {threads}"));
        }
    }
    let peak = |of: fn(&(usize, u64, u64, u64)) -> u64| facts.usage.iter().map(of).max().unwrap_or(0);
    verdict.figure("memory_peak_mib", peak(|usage| usage.1) as f64);
    verdict.figure("descriptors_peak", peak(|usage| usage.2) as f64);
    verdict.figure("threads_peak", peak(|usage| usage.3) as f64);
    if facts.drained != Some(true) || !facts.pending.is_empty() {
        verdict.breach("the_backlog_drains", || {
            format!("{} deliveries are still pending", facts.pending.len())
        });
    }
    verdict.figure(
        "drained_ms_after_the_faults",
        ((facts.drained_at - facts.lifted_at).max(0) / 1_000) as f64,
    );
    verdict.count("faults", facts.faults.len());
    resumption(facts, verdict);
}

/// Measures the time from a kill to the first arrival of an event that the killed node had accepted before.
fn resumption(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut arrivals: Vec<(u16, i64, i64)> = facts
        .arrivals
        .values()
        .flatten()
        .map(|arrival| {
            (
                node_of(arrival.event),
                hookwright_domain::id::time_us(arrival.event),
                arrival.at,
            )
        })
        .collect();
    arrivals.sort_unstable_by_key(|(_, _, at)| *at);
    let kills = facts.faults.iter().filter(|fault| fault.kind == "kill");
    let mut times: Vec<i64> = kills
        .filter_map(|kill| {
            let number = kill.number?;
            let after = arrivals
                .iter()
                .find(|(node, made, at)| *node == number && *made <= kill.at && *at > kill.at + 100_000)?;
            Some((after.2 - kill.at) / 1_000)
        })
        .collect();
    times.sort_unstable();
    if let (Some(median), Some(last)) = (times.get(times.len() / 2), times.last()) {
        verdict.figure("kill_to_resumption_ms_median", *median as f64);
        verdict.figure("kill_to_resumption_ms_max", *last as f64);
    }
}
