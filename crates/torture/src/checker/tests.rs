//! Tests that the checker detects the breach of each guarantee.

use super::*;

const EVENT: i64 = 1 << 30;
const DELIVERY: i64 = EVENT + 1;
const HOOK: i64 = 7;
const SECOND: i64 = 1_000_000;

/// One event that was published, delivered to one ordered webhook, and recorded.
fn story() -> Vec<Entry> {
    let mut entries = vec![Entry::Webhook {
        id: HOOK,
        name: "ordered".to_owned(),
        ordered: true,
        silent: false,
    }];
    entries.extend(chapter(EVENT, "r1", 1, SECOND));
    entries.push(Entry::Lifted { at: 100 * SECOND });
    entries.push(Entry::Drained {
        at: 101 * SECOND,
        whole: true,
    });
    entries
}

fn chapter(event: i64, request: &str, number: u64, at: i64) -> Vec<Entry> {
    vec![
        Entry::Tried {
            at,
            request: request.to_owned(),
            key: "k".to_owned(),
            number,
            sha256: "aa".to_owned(),
        },
        Entry::Acknowledged {
            at: at + 10,
            request: request.to_owned(),
            event,
            tries: 1,
        },
        arrived(event, request, number, at + 20, 200),
        Entry::Event {
            id: event,
            request: request.to_owned(),
            webhooks: vec![HOOK],
        },
        attempt(event + 1, 1, 1, at + 15, None),
    ]
}

fn arrived(event: i64, request: &str, number: u64, at: i64, status: u16) -> Entry {
    Entry::Arrived {
        at,
        webhook: HOOK,
        event,
        delivery: event + 1,
        request: request.to_owned(),
        key: "k".to_owned(),
        number,
        sha256: "aa".to_owned(),
        status,
    }
}

fn attempt(delivery: i64, number: i32, state: i32, started_at: i64, error: Option<&str>) -> Entry {
    Entry::Attempt {
        delivery,
        number,
        state,
        started_at,
        error: error.map(str::to_owned),
    }
}

fn broken(entries: &[Entry]) -> Vec<&'static str> {
    let verdict = check(entries);
    let broken = verdict.breaches.iter().filter(|(_, count)| **count > 0);
    broken.map(|(name, _)| *name).collect()
}

fn without(mut entries: Vec<Entry>, remove: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    entries.retain(|entry| !remove(entry));
    entries
}

fn with(more: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut entries = story();
    entries.extend(more);
    entries
}

#[test]
fn a_story_that_ends_well_breaks_nothing() {
    assert_eq!(broken(&story()), [""; 0]);
}

#[test]
fn an_acknowledged_event_that_is_not_stored() {
    let entries = without(story(), |entry| {
        matches!(entry, Entry::Event { .. } | Entry::Attempt { .. })
    });
    assert_eq!(broken(&entries), ["acknowledged_is_stored"]);
}

#[test]
fn a_delivery_without_an_end() {
    let entries = without(story(), |entry| matches!(entry, Entry::Attempt { .. }));
    assert_eq!(broken(&entries), ["stored_is_final"]);
}

#[test]
fn half_of_a_fan_out() {
    let other = Entry::Webhook {
        id: 8,
        name: "steady".to_owned(),
        ordered: false,
        silent: false,
    };
    assert_eq!(broken(&with([other])), ["stored_is_final"]);
}

#[test]
fn a_delivery_that_nobody_received() {
    let entries = without(story(), |entry| matches!(entry, Entry::Arrived { .. }));
    assert_eq!(broken(&entries), ["delivered_was_received"]);
}

#[test]
fn other_bytes() {
    let mut entries = story();
    for entry in &mut entries {
        if let Entry::Arrived { sha256, .. } = entry {
            "bb".clone_into(sha256);
        }
    }
    assert_eq!(broken(&entries), ["bytes_received_are_bytes_published"]);
}

#[test]
fn a_refused_event_that_arrives() {
    let refused = Entry::Refused {
        at: 0,
        request: "r1".to_owned(),
        code: "NotFound".to_owned(),
    };
    assert_eq!(broken(&with([refused])), ["refused_is_not_delivered"]);
}

#[test]
fn two_events_of_one_request() {
    let again = chapter(2 * EVENT, "r1", 1, 2 * SECOND);
    let found = broken(&with(
        again.into_iter().filter(|entry| !matches!(entry, Entry::Tried { .. })),
    ));
    assert!(found.contains(&"one_event_a_request_id"), "{found:?}");
}

#[test]
fn two_owners() {
    let found = broken(&with([attempt(DELIVERY, 2, 1, 2 * SECOND, None)]));
    assert_eq!(found, ["attempts_are_consecutive_and_end_once"]);
}

#[test]
fn a_repeat_needs_a_reason() {
    let again = arrived(EVENT, "r1", 1, 40 * SECOND, 200);
    assert_eq!(broken(&with([again.clone()])), ["duplicates_are_explained"]);
    let fault = |kind: &str| Entry::Fault {
        at: 41 * SECOND,
        until: 42 * SECOND,
        kind: kind.to_owned(),
        node: None,
        number: None,
    };
    assert_eq!(broken(&with([again.clone(), fault("kill")])), [""; 0]);
    for kind in ["receivers_down", "clock_back", "clock_forward", "clock_skew"] {
        assert_eq!(
            broken(&with([again.clone(), fault(kind)])),
            ["duplicates_are_explained"],
            "{kind}"
        );
    }
}

#[test]
fn a_retry_is_a_reason() {
    let mut entries = without(story(), |entry| {
        matches!(entry, Entry::Attempt { .. } | Entry::Arrived { .. })
    });
    entries.extend([
        arrived(EVENT, "r1", 1, 2 * SECOND, 500),
        attempt(DELIVERY, 1, 0, 2 * SECOND - 10, Some("status")),
        arrived(EVENT, "r1", 1, 20 * SECOND, 200),
        attempt(DELIVERY, 2, 1, 20 * SECOND - 10, None),
    ]);
    assert_eq!(broken(&entries), [""; 0]);
}

#[test]
fn x10_a_retry_is_a_reason_by_a_clock_that_was_set_too() {
    let hour = 3_600 * SECOND;
    let mut entries = without(story(), |entry| {
        matches!(entry, Entry::Attempt { .. } | Entry::Arrived { .. })
    });
    entries.extend([
        arrived(EVENT, "r1", 1, 2 * SECOND, 500),
        attempt(DELIVERY, 1, 0, 2 * SECOND - 10 - hour, Some("status")),
        arrived(EVENT, "r1", 1, 20 * SECOND, 200),
        attempt(DELIVERY, 2, 1, 20 * SECOND - 10, None),
    ]);
    assert_eq!(broken(&entries), ["duplicates_are_explained"], "no clock was set");
    entries.push(Entry::Clock {
        at: SECOND,
        node: 0,
        ahead: -hour,
    });
    assert_eq!(broken(&entries), [""; 0]);
}

#[test]
fn out_of_order() {
    // This event was published after the first one was acknowledged, but arrived before it.
    let mut second = chapter(2 * EVENT, "r2", 2, SECOND + 15);
    second[2] = arrived(2 * EVENT, "r2", 2, SECOND + 18, 200);
    assert_eq!(broken(&with(second)), ["order_of_first_arrivals"]);
}

#[test]
fn unbounded_figures_and_backlogs_that_do_not_drain_are_found() {
    let usage = |rss_mib, descriptors, threads| Entry::Usage {
        at: 0,
        node: 0,
        rss_mib,
        descriptors,
        threads,
    };
    assert_eq!(broken(&with([usage(9_000, 1, 1)])), ["memory_is_bounded"]);
    assert_eq!(broken(&with([usage(1, 90_000, 1)])), ["descriptors_are_bounded"]);
    assert_eq!(broken(&with([usage(1, 1, 9_000)])), ["threads_are_bounded"]);
    assert_eq!(broken(&with([Entry::Pending { delivery: 1 }])), ["the_backlog_drains"]);
    let stuck = without(story(), |entry| matches!(entry, Entry::Drained { .. }));
    assert_eq!(broken(&stuck), ["the_backlog_drains"]);
}

#[test]
fn an_earlier_one_again_after_a_later_one() {
    let mut entries = with(chapter(2 * EVENT, "r2", 2, 2 * SECOND));
    entries.extend([
        arrived(EVENT, "r1", 1, 60 * SECOND, 500),
        attempt(DELIVERY, 2, 0, 60 * SECOND, Some("status")),
    ]);
    let found = broken(&entries);
    assert!(found.contains(&"one_of_a_key_at_a_time"), "{found:?}");
}

#[test]
fn a_change_of_a_caller_who_left_is_whole() {
    let made = |lines, secrets| Entry::Made {
        name: "organizations/a/webhooks/wh_1".to_owned(),
        lines,
        secrets,
    };
    let verdict = |more: Vec<Entry>| check(&[story(), more].concat());
    assert!(verdict(vec![made(1, Some(1)), made(1, None)]).is_kept());
    for broken in [made(0, None), made(0, Some(1)), made(1, Some(0))] {
        assert_eq!(verdict(vec![broken]).breaches["what_was_made_is_whole"], 1);
    }
    let event = EVENT + 1_000;
    let offered = Entry::Offered { at: SECOND, event };
    let fetched = Entry::Fetched { event, webhooks: 1 };
    assert_eq!(verdict(vec![offered.clone()]).breaches["what_was_offered_is_stored"], 1);
    let lost = verdict(vec![offered.clone(), fetched.clone()]);
    assert_eq!(lost.breaches["what_was_fetched_is_final"], 1);
    let acknowledged = attempt(event + 1, 1, 1, SECOND, None);
    assert!(verdict(vec![offered, fetched, acknowledged]).is_kept());
}

#[test]
fn a_connection_that_was_closed_is_a_reason_for_one_repeat_at_once() {
    let closed = arrived(EVENT, "r1", 1, SECOND + 5, 0);
    assert_eq!(broken(&with([closed])), [""; 0]);
    let long_ago = arrived(EVENT, "r1", 1, -40 * SECOND, 0);
    assert_eq!(broken(&with([long_ago])), ["duplicates_are_explained"]);
}

#[test]
fn x07_a_request_to_the_old_receiver_is_a_breach_once_the_change_was_answered() {
    let moved = |at: i64, answered: Option<i64>, home: usize| Entry::Moved { at, answered, home };
    let came = |at: i64, home: usize| Entry::CameTo {
        at,
        delivery: DELIVERY,
        home,
    };
    let story = [
        came(SECOND, 0),
        moved(2 * SECOND, Some(3 * SECOND), 1),
        came(4 * SECOND, 0),
        came(10 * SECOND, 1),
        // It is unknown whether this change is in force.
        moved(20 * SECOND, None, 0),
        came(40 * SECOND, 0),
        came(40 * SECOND, 1),
    ];
    assert_eq!(broken(&with(story.clone())), [""; 0]);
    let late = broken(&with([&story[..3], &[came(10 * SECOND, 0)]].concat()));
    assert_eq!(late, ["nothing_goes_to_the_old_receiver"]);
}
