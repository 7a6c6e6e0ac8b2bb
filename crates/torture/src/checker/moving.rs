//! Requests to a webhook whose URL was changed: after the answer to a change, every node sends them to the new address
//! only.

use super::{
    Verdict,
    facts::{Facts, Move},
};

const PROMISE: &str = "nothing_goes_to_the_old_receiver";
/// How much later a request may arrive that was in flight when the change was answered.
const IN_FLIGHT_US: i64 = 3_000_000;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    verdict.promise(PROMISE);
    verdict.count("changes_of_url", facts.moves.len());
    for (at, delivery, home) in &facts.came_to {
        let at = *at;
        if !homes(&facts.moves, at).any(|possible| possible == *home) && !is_excused(facts, at) {
            verdict.breach(PROMISE, || {
                format!("delivery {delivery} arrived at {at} at the address {home}, long after the webhook had moved")
            });
        }
    }
}

/// The addresses that may have been in force when the request that arrived at `arrived` began: that of the last change
/// that was answered by then, and those of later changes.
fn homes(moves: &[Move], arrived: i64) -> impl Iterator<Item = usize> {
    let since = arrived - IN_FLIGHT_US;
    let answered = |change: &Move| change.answered.is_some_and(|answered| answered <= since);
    let last = moves.iter().rposition(answered);
    let first = last.map_or(0, |last| moves[last].home);
    let later = moves.iter().skip(last.map_or(0, |last| last + 1));
    let later = later
        .filter(move |change| change.at <= arrived)
        .map(|change| change.home);
    std::iter::once(first).chain(later)
}

/// A node that was suspended in the middle of an attempt continues it when it resumes.
fn is_excused(facts: &Facts<'_>, at: i64) -> bool {
    let frozen = |kind: &str| matches!(kind, "freeze" | "store_slow");
    let mut faults = facts.faults.iter();
    faults.any(|fault| frozen(fault.kind) && fault.at - IN_FLIGHT_US <= at && at <= fault.until + IN_FLIGHT_US)
}
