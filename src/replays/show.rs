//! Prints replays for people.

use hookwright_proto::v1::{DeliveryState, ErrorClass, Replay, ReplayDeliveriesRequest, ReplaySelection};

use crate::{client::names, output};

fn state(replay: &Replay) -> String {
    output::enum_name(replay.state().as_str_name(), "REPLAY_STATE_")
}

/// The progress in one line.
pub(super) fn so_far(replay: &Replay) -> String {
    let dry_run = replay.request.as_ref().is_some_and(|request| request.dry_run);
    let mut text = if dry_run {
        format!("{} would be replayed", replay.matched_count)
    } else {
        format!("{} of {} replayed", replay.replayed_count, replay.matched_count)
    };
    if replay.skipped_count > 0 {
        text.push_str(&format!(", {} skipped", replay.skipped_count));
    }
    text
}

/// One replay.
pub(super) fn replay(replay: &Replay) -> String {
    let skipped = match replay.skipped_count {
        0 => String::new(),
        count => format!("{count} (their webhook is paused, disabled or deleted)"),
    };
    let request = replay.request.as_ref();
    let dry_run = request.is_some_and(|request| request.dry_run);
    output::fields(vec![
        ("replay", names::id(&replay.name).to_owned()),
        ("name", replay.name.clone()),
        ("state", state(replay)),
        ("error", replay.error_message.clone()),
        ("of", request.map(asked_for).unwrap_or_default()),
        ("progress", format!("{:.0} %", replay.progress * 100.0)),
        ("examined", output::counted(replay.examined_count, "event")),
        ("matched", output::counted(replay.matched_count, "delivery")),
        (
            "replayed",
            if dry_run {
                "nothing: a dry run".to_owned()
            } else {
                replay.replayed_count.to_string()
            },
        ),
        ("skipped", skipped),
        ("created", output::time(replay.create_time.as_ref())),
        ("ended", output::time(replay.end_time.as_ref())),
    ])
}

/// The selection in one line.
fn asked_for(request: &ReplayDeliveriesRequest) -> String {
    let mut parts = Vec::new();
    if request.selection() == ReplaySelection::Missed {
        parts.push("missed".to_owned());
    } else {
        let states: Vec<String> = request.states().map(state_name).collect();
        parts.push(if states.is_empty() {
            "failed, cancelled".to_owned()
        } else {
            states.join(", ")
        });
    }
    let errors: Vec<String> = request.error_classes().map(class_name).collect();
    if !errors.is_empty() {
        parts.push(format!("after {}", errors.join(", ")));
    }
    if !request.event_types.is_empty() {
        parts.push(format!("of type {}", request.event_types.join(", ")));
    }
    if !request.webhook.is_empty() {
        parts.push(format!("to {}", names::id(&request.webhook)));
    }
    for (word, time) in [("from", &request.start_time), ("until", &request.end_time)] {
        if time.is_some() {
            parts.push(format!("{word} {}", output::time(time.as_ref())));
        }
    }
    if let Some(rate) = request.deliveries_per_second {
        parts.push(format!("at most {rate}/s"));
    }
    parts.join("; ")
}

fn state_name(state: DeliveryState) -> String {
    output::enum_name(state.as_str_name(), "DELIVERY_STATE_")
}

fn class_name(class: ErrorClass) -> String {
    output::enum_name(class.as_str_name(), "ERROR_CLASS_")
}

/// Several replays.
pub(super) fn table(replays: &[Replay]) -> String {
    let rows = replays.iter().map(|one| {
        vec![
            names::id(&one.name).to_owned(),
            state(one),
            format!("{:.0} %", one.progress * 100.0),
            so_far(one),
            output::time(one.create_time.as_ref()),
            one.request.as_ref().map(asked_for).unwrap_or_default(),
        ]
    });
    output::table(
        &["REPLAY", "STATE", "PROGRESS", "RESULT", "CREATED", "OF"],
        rows.collect(),
    )
}
