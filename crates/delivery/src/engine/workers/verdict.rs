//! The verdict on an attempt: delivered, failed permanently, paused, or due again, and the row that records it.

use std::time::Duration;

use hookwright_domain::{
    outcome::{DeliveryState, ErrorClass, StatusOutcome, classify_status},
    retry::parse_retry_after,
};
use hookwright_storage::{AttemptRow, DELIVERED, FAILED, GOES_ON, PAUSED, PendingRow};

use super::super::{health::micros, lane::Job};
use crate::{catalogue::Webhook, clock, details, random, request::PreparedRequest, sender::AttemptReport};

/// The verdict on an attempt.
pub(super) struct Verdict {
    pub(super) state: DeliveryState,
    pub(super) class: Option<ErrorClass>,
    /// The pending row, if the delivery continues.
    pub(super) retry: Option<PendingRow>,
}

impl Verdict {
    /// Decides the result of an attempt.
    pub(super) fn of(webhook: &Webhook, job: &Job, number: u32, report: &AttemptReport) -> Self {
        let class = report.error_class();
        let status = report.status();
        let ended = |state| Self {
            state,
            class,
            retry: None,
        };
        if class.is_none() && status.is_some_and(|status| classify_status(status) == StatusOutcome::Success) {
            return ended(DeliveryState::Delivered);
        }
        if class == Some(ErrorClass::Gone) {
            return ended(DeliveryState::Failed);
        }
        let now = clock::schedule_us();
        let jitter = random::unit(job.delivery, number);
        match webhook.schedule.delay(number, jitter) {
            None if webhook.ordered && webhook.pauses && job.ordering_key.is_some() => Self {
                state: DeliveryState::Paused,
                class,
                retry: Some(job.pending_row(number, PAUSED)),
            },
            None => ended(DeliveryState::Failed),
            Some(delay) => {
                // A date is by the receiver's clock, like the date of its response.
                let receivers_now = report.date_us().unwrap_or_else(clock::now_us);
                let hint = parse_retry_after(status.unwrap_or(0), &report.retry_after(), receivers_now);
                let due_at = now + micros(delay.max(hint.unwrap_or(Duration::ZERO)));
                Self {
                    state: DeliveryState::Retrying,
                    class,
                    retry: Some(job.pending_row(number, due_at)),
                }
            }
        }
    }
}

/// The row that records an attempt.
pub(super) fn attempt_row(
    webhook: &Webhook,
    job: &Job,
    number: u32,
    report: &AttemptReport,
    prepared: Option<&PreparedRequest<'_>>,
    verdict: &Verdict,
) -> AttemptRow {
    AttemptRow {
        delivery_id: job.delivery,
        number: i32::try_from(number).unwrap_or(i32::MAX),
        event_id: job.event.id,
        organization_id: job.event.organization_id,
        webhook_id: job.webhook,
        started_at: report.started_at_us,
        duration_us: micros(report.duration),
        status: report.status().map(i32::from),
        error_class: verdict.class.map(|class| class.as_str().to_owned()),
        // PostgreSQL's text cannot contain NUL, and one refused row would block all others.
        error_message: report.error_message().map(|message| message.replace('\0', "")),
        delivery_state: match verdict.state {
            DeliveryState::Delivered => DELIVERED,
            DeliveryState::Failed => FAILED,
            _ => GOES_ON,
        },
        details: details::to_json(webhook, prepared, report),
        response_body: report.body().filter(|body| !body.is_empty()).map(|body| body.to_vec()),
    }
}
