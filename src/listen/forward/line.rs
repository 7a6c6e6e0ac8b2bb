//! The output line of a posted delivery.

use std::time::Duration;

use hookwright_delivery::sender::AttemptReport;
use hookwright_proto::v1::PulledDelivery;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    client::names,
    listen::{http::Request, print_raw, verify::Verdict},
    output::{self, Output, printable},
    units::show_duration,
};

/// What happens to a posted delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// A 2xx answer: acknowledged.
    Acknowledge,
    /// Retried after this delay.
    TryAgain(Duration),
    /// Attempted often enough: acknowledged anyway.
    GiveUp,
}

/// A delivery with its result.
pub(super) struct Line<'a> {
    pub(super) delivery: &'a PulledDelivery,
    pub(super) report: &'a AttemptReport,
    pub(super) verdict: Option<&'a Verdict>,
    pub(super) then: Then,
}

/// The heading of the output.
pub(super) fn header() -> String {
    columns(["TIME", "STATUS", "DURATION", "TYPE", "DELIVERY", "TRY", ""])
}

/// Rows arrive one by one, so columns have fixed widths.
fn columns(cells: [&str; 7]) -> String {
    let [time, status, took, event_type, delivery, attempt, remark] = cells;
    let line = format!("{time:<21} {status:<6} {took:>10}  {event_type:<20} {delivery:<21} {attempt:>3}  {remark}");
    line.trim_end().to_owned()
}

impl Line<'_> {
    /// Prints the row, or the bytes of the request if they are given.
    pub(super) fn show(&self, output: Output, raw: Option<&Request>) -> anyhow::Result<()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line has the wall clock of its machine"
        )]
        let now = OffsetDateTime::now_utc();
        if let Some(request) = raw {
            print_raw(request)?;
            output::note(&self.text(now));
            return Ok(());
        }
        if output.for_people() {
            return output::print(&self.text(now));
        }
        output::print(&output.format().record(&self.json(now))?)
    }

    fn text(&self, now: OffsetDateTime) -> String {
        let status = self
            .report
            .status()
            .map_or_else(|| "-".to_owned(), |status| status.to_string());
        let time = prost_types::Timestamp {
            seconds: now.unix_timestamp(),
            nanos: 0,
        };
        let took = format!("{:.1} ms", self.report.duration.as_secs_f64() * 1_000.0);
        columns([
            &output::time(Some(&time)),
            &status,
            &took,
            &printable(&self.delivery.event_type),
            names::id(&self.delivery.delivery),
            &self.delivery.attempt.to_string(),
            &self.remark(),
        ])
    }

    /// Whether it verified; for a failure, what happened and what follows.
    fn remark(&self) -> String {
        let mut parts = Vec::new();
        match self.then {
            Then::Acknowledge => {}
            Then::TryAgain(delay) => parts.push(format!("{}; again in {}", self.error(), show_duration(delay))),
            Then::GiveUp => parts.push(format!("{}; gave up and acknowledged it", self.error())),
        }
        parts.extend(self.verdict.map(ToString::to_string));
        parts.join("; ")
    }

    /// The result, including the operator's detail: here the user is the operator.
    fn error(&self) -> String {
        let message = self.report.error_message().unwrap_or_default();
        match self.report.operator_detail() {
            Some(detail) => format!("{} ({})", printable(message), printable(detail)),
            None => printable(message),
        }
    }

    fn json(&self, now: OffsetDateTime) -> Value {
        let error = self
            .report
            .error_class()
            .map(|class| json!({ "class": class.to_string(), "message": self.error() }));
        json!({
            "time": now.format(&Rfc3339).unwrap_or_default(),
            "delivery": self.delivery.delivery,
            "event": self.delivery.event,
            "eventType": self.delivery.event_type,
            "attempt": self.delivery.attempt,
            "status": self.report.status(),
            "error": error,
            "durationSeconds": self.report.duration.as_secs_f64(),
            "verified": self.verdict.map(Verdict::to_json),
            "then": match self.then {
                Then::Acknowledge => "acknowledged",
                Then::TryAgain(_) => "tryAgain",
                Then::GiveUp => "givenUp",
            },
        })
    }
}
