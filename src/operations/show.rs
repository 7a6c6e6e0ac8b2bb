//! Prints operations for people.

use hookwright_proto::v1::Operation;

use crate::{client::names, output};

fn state(operation: &Operation) -> String {
    output::enum_name(operation.state().as_str_name(), "OPERATION_STATE_")
}

fn kind(operation: &Operation) -> String {
    output::enum_name(operation.kind().as_str_name(), "OPERATION_KIND_")
}

/// The progress in one line.
pub(super) fn so_far(operation: &Operation) -> String {
    match operation.total_count {
        Some(total) => format!("{} of {}", operation.done_count, output::counted(total, "delivery")),
        None => output::counted(operation.done_count, "delivery"),
    }
}

/// The processed share, if known.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
pub(super) fn share(operation: &Operation) -> Option<f64> {
    let total = operation.total_count.filter(|total| *total > 0)?;
    Some(operation.done_count as f64 / total as f64)
}

/// One operation.
pub(super) fn operation(operation: &Operation) -> String {
    output::fields(vec![
        ("operation", names::id(&operation.name).to_owned()),
        ("name", operation.name.clone()),
        ("kind", kind(operation)),
        ("state", state(operation)),
        ("error", operation.error_message.clone()),
        ("organization", names::id(&operation.organization).to_owned()),
        ("webhook", names::id(&operation.webhook).to_owned()),
        ("done", so_far(operation)),
        ("actor", operation.actor.clone()),
        ("created", output::time(operation.create_time.as_ref())),
        ("updated", output::time(operation.update_time.as_ref())),
        ("ended", output::time(operation.end_time.as_ref())),
    ])
}

/// Several operations.
pub(super) fn table(operations: &[Operation]) -> String {
    let rows = operations.iter().map(|one| {
        vec![
            names::id(&one.name).to_owned(),
            kind(one),
            state(one),
            so_far(one),
            names::id(&one.organization).to_owned(),
            names::id(&one.webhook).to_owned(),
            output::time(one.create_time.as_ref()),
        ]
    });
    output::table(
        &[
            "OPERATION",
            "KIND",
            "STATE",
            "PROGRESS",
            "ORGANIZATION",
            "WEBHOOK",
            "CREATED",
        ],
        rows.collect(),
    )
}
