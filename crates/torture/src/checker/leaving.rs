//! Changes by callers that left in the middle of their calls: each is complete or absent.

use super::{Verdict, facts::Facts};

const DELIVERED: i32 = 1;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for promise in [
        "what_was_made_is_whole",
        "what_was_offered_is_stored",
        "what_was_fetched_is_final",
    ] {
        verdict.promise(promise);
    }
    verdict.count("calls_left", facts.left);
    verdict.count("events_offered", facts.offered.len());
    for made in &facts.made {
        if made.lines == 0 {
            verdict.breach("what_was_made_is_whole", || format!("{} has no audit entry", made.name));
        }
        if made.secrets == Some(0) {
            verdict.breach("what_was_made_is_whole", || {
                format!("{} has no signing secret", made.name)
            });
        }
    }
    for event in &facts.offered {
        if !facts.fetched.contains_key(event) {
            verdict.breach("what_was_offered_is_stored", || format!("event {event}"));
        }
    }
    for (event, webhooks) in &facts.fetched {
        for delivery in (event + 1..).take(*webhooks) {
            let last = facts.attempts.get(&delivery).and_then(|attempts| attempts.last());
            let is_delivered = last.is_some_and(|attempt| attempt.state == DELIVERED);
            if !is_delivered && !facts.endings.contains_key(&delivery) {
                verdict.breach("what_was_fetched_is_final", || {
                    format!("delivery {delivery} of event {event}")
                });
            }
        }
    }
}
