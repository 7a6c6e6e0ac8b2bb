//! The outcome of every event: an acknowledged event was delivered, or failed with a reason; an unacknowledged event is
//! absent or complete.

use std::collections::BTreeMap;

use super::{
    Verdict,
    facts::{Attempt, Facts},
};

const DELIVERED: i32 = 1;
const FAILED: i32 = 2;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for promise in [
        "acknowledged_is_stored",
        "stored_is_final",
        "delivered_was_received",
        "bytes_received_are_bytes_published",
        "refused_is_not_delivered",
        "one_event_a_request_id",
        "attempts_are_consecutive_and_end_once",
    ] {
        verdict.promise(promise);
    }
    acknowledged(facts, verdict);
    stored(facts, verdict);
    requests(facts, verdict);
    received(facts, verdict);
    attempts(facts, verdict);
}

fn acknowledged(facts: &Facts<'_>, verdict: &mut Verdict) {
    verdict.count("acknowledged", facts.acknowledged.len());
    verdict.count("tries_that_failed", facts.failed_tries);
    for (request, answers) in &facts.acknowledged {
        for (_, event) in answers {
            if !facts.events.contains_key(event) {
                verdict.breach("acknowledged_is_stored", || format!("{request} as event {event}"));
            }
        }
    }
}

/// Every stored event, acknowledged or not, is final for all of its webhooks, never for a part of them.
fn stored(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (event, row) in &facts.events {
        if let Some(missing) = facts.webhooks.keys().find(|webhook| !row.webhooks.contains(webhook)) {
            verdict.breach("stored_is_final", || {
                format!("event {event} is not owed to webhook {missing}")
            });
        }
        for (delivery, _) in facts.deliveries(*event) {
            let last = facts.attempts.get(&delivery).and_then(|attempts| attempts.last());
            let state = match last.map(|attempt| attempt.state) {
                Some(DELIVERED) => "deliveries_delivered",
                Some(FAILED) => "deliveries_failed",
                _ if facts.endings.contains_key(&delivery) => "deliveries_cancelled",
                _ => {
                    verdict.breach("stored_is_final", || {
                        format!("delivery {delivery} of event {event} is lost")
                    });
                    "deliveries_lost"
                }
            };
            *counts.entry(state).or_default() += 1;
        }
    }
    for name in [
        "deliveries_delivered",
        "deliveries_failed",
        "deliveries_cancelled",
        "deliveries_lost",
    ] {
        verdict.count(name, counts.get(name).copied().unwrap_or(0));
    }
    verdict.count("events_stored", facts.events.len());
}

/// How many deliveries of an event are neither delivered, failed nor cancelled.
pub(super) fn unfinished(facts: &Facts<'_>, event: i64) -> usize {
    let is_final = |delivery: i64| {
        let last = facts.attempts.get(&delivery).and_then(|attempts| attempts.last());
        last.is_some_and(|attempt| matches!(attempt.state, DELIVERED | FAILED)) || facts.endings.contains_key(&delivery)
    };
    facts
        .deliveries(event)
        .filter(|(delivery, _)| !is_final(*delivery))
        .count()
}

fn requests(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut seen: BTreeMap<&str, i64> = BTreeMap::new();
    for (event, row) in &facts.events {
        if row.request.is_empty() {
            continue;
        }
        if let Some(other) = seen.insert(row.request, *event) {
            verdict.breach("one_event_a_request_id", || {
                format!("{}: events {other} and {event}", row.request)
            });
        }
    }
    for (request, answers) in &facts.acknowledged {
        if answers.iter().any(|(_, event)| Some(event) != seen.get(request)) && seen.contains_key(request) {
            verdict.breach("one_event_a_request_id", || {
                format!("{request} was acknowledged as another event")
            });
        }
    }
}

fn received(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (delivery, arrivals) in &facts.arrivals {
        for arrival in arrivals {
            if facts.refused.contains_key(arrival.request) {
                verdict.breach("refused_is_not_delivered", || format!("{} arrived", arrival.request));
            }
            let published = facts.tries.get(arrival.request).map(|one| one.sha256);
            if published != Some(arrival.sha256) {
                verdict.breach("bytes_received_are_bytes_published", || format!("delivery {delivery}"));
            }
        }
    }
    for (delivery, attempts) in &facts.attempts {
        let delivered = attempts.iter().any(|attempt| attempt.state == DELIVERED);
        let arrivals = facts.arrivals.get(delivery);
        // The receivers do not record pings.
        let is_known = facts
            .events
            .keys()
            .next_back()
            .is_some_and(|last| delivery <= &(last + 4_096))
            && facts
                .events
                .range(..*delivery)
                .next_back()
                .is_some_and(|(event, row)| delivery - event <= i64::try_from(row.webhooks.len()).unwrap_or(0));
        let received =
            arrivals.is_some_and(|arrivals| arrivals.iter().any(|arrival| (200..300).contains(&arrival.status)));
        if delivered && is_known && !received {
            verdict.breach("delivered_was_received", || format!("delivery {delivery}"));
        }
    }
    for (request, code) in &facts.refused {
        if *code == "OK" {
            verdict.breach("refused_is_not_delivered", || format!("{request} was accepted"));
        }
    }
    verdict.count("refused", facts.refused.len());
}

/// One owner at a time records attempts: their numbers count up from 1, and no attempt follows the last one.
fn attempts(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (delivery, attempts) in &facts.attempts {
        let consecutive = (1..).zip(attempts).all(|(number, attempt)| attempt.number == number);
        let ends_once = attempts.iter().rev().skip(1).all(|attempt| attempt.state == 0);
        if !consecutive || !ends_once {
            verdict.breach("attempts_are_consecutive_and_end_once", || {
                let ending = facts.endings.get(delivery);
                format!("delivery {delivery}: {}, ending {ending:?}", listed(attempts))
            });
        }
    }
    let count = facts.attempts.values().map(Vec::len).sum();
    verdict.count("attempts", count);
}

/// The attempts of a delivery, as text for the report of a breach.
fn listed(attempts: &[Attempt<'_>]) -> String {
    let one = |attempt: &Attempt<'_>| {
        let Attempt {
            number,
            state,
            started_at,
            error,
        } = attempt;
        format!("{number} (state {state}, started at {started_at}, error {error:?})")
    };
    attempts.iter().map(one).collect::<Vec<_>>().join(", ")
}
