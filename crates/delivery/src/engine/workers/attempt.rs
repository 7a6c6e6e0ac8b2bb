//! One attempt of a delivery: it is signed, posted, and turned into a record of its outcome.
//!
//! | result | what follows |
//! | --- | --- |
//! | the webhook was reconfigured, or the lease has ended, before the request was sent | the delivery returns to the store, and counts no attempt |
//! | a fault of the operator's | the same, after a pause ([`super::super::faults`]) |
//! | anything else | a verdict ([`super::verdict`]), counted for the webhook's limit, health and statistics |

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use hookwright_domain::{
    id::DeliveryId,
    outcome::{DeliveryState, ErrorClass, OperatorPart},
};
use tracing::{Instrument as _, Span};

use super::{
    super::{
        disabling::DisableReason,
        health::Outcome,
        lane::{Job, Lane},
        record::{Change, Record},
        threads,
    },
    Workers,
    verdict::{self, Verdict},
};
use crate::{
    catalogue::Webhook,
    clock,
    request::PreparedRequest,
    sender::{AttemptReport, AttemptRequest, Connection, OperatorFault},
    trace::TraceContext,
};

impl Workers {
    pub(super) async fn attempt(
        &self,
        lane: &Arc<Lane>,
        webhook: &Arc<Webhook>,
        job: &Job,
        connection: &mut Option<Connection>,
        resumed: &impl Fn(),
    ) -> Record {
        let number = job.attempts + 1;
        let parent = TraceContext::of_event(&job.event);
        let span = parent.attempt_span(DeliveryId::from_raw(job.delivery), number);
        let trace = parent.child(&span, job.delivery, number);
        let prepared = PreparedRequest::new(&self.0.format, webhook, job.delivery, &job.event, &trace);
        let report = self
            .post(lane, webhook, job, prepared.as_ref(), connection, &span)
            .await;
        if report.superseded {
            trace.finish(&span, &report);
            return Record::parked(lane, job, clock::schedule_us());
        }
        if let Some(url) = &webhook.url {
            self.0.clocks.heard_from(url.host(), &report);
        }
        if let Some(fault) = report.operator_fault() {
            trace.finish(&span, &report);
            return self.hold_back(lane, job, fault, &report);
        }
        if report.was_connected() && self.0.turns.faults().passed(clock::schedule_us()) {
            resumed();
        }
        let verdict = Verdict::of(webhook, job, number, &report);
        trace.finish(&span, &report);
        let health = self.count(lane, job, &report, &verdict);
        let attempt = verdict::attempt_row(webhook, job, number, &report, prepared.as_ref(), &verdict);
        let change = Change::Attempted {
            attempt: Arc::new(attempt),
            retry: verdict.retry,
        };
        Record::of(lane, job, change, health)
    }

    /// Posts the request, if there is one. A panic inside becomes an outcome like others.
    async fn post(
        &self,
        lane: &Lane,
        webhook: &Arc<Webhook>,
        job: &Job,
        prepared: Option<&PreparedRequest<'_>>,
        connection: &mut Option<Connection>,
        span: &Span,
    ) -> AttemptReport {
        match (prepared, &webhook.url) {
            (Some(prepared), Some(url)) => {
                let request = AttemptRequest {
                    url,
                    skip_verify: webhook.skip_verify,
                    timeout: webhook.timeout,
                    headers: &prepared.headers,
                    body: job.event.payload.clone(),
                    is_current: &|| lane.sends_by(webhook) && self.may_still_send(),
                    shared: Some(lane),
                };
                let attempt = self.0.sender.attempt(connection, &request).instrument(span.clone());
                // A worker that panicked would never release its turn and its delivery.
                AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
                    let delivery = DeliveryId::from_raw(job.delivery);
                    tracing::error!(webhook = %lane.webhook, %delivery, "an attempt ended by a panic: this is a bug");
                    AttemptReport::internal(clock::now_us(), "the server failed while it made the attempt")
                })
            }
            (None, _) => {
                let message = "the signing secret cannot be opened";
                AttemptReport::of_operator(clock::now_us(), message, OperatorPart::MasterKey)
            }
            (_, None) => AttemptReport::internal(clock::now_us(), "the payload URL cannot be used"),
        }
    }

    /// Whether an attempt that has waited may still send its request. While the engine stops, attempts in flight finish.
    fn may_still_send(&self) -> bool {
        self.0.lease.holds() || self.0.stopping.has_begun()
    }

    /// Counts an attempt for its webhook. Returns the result to store for the webhook's health.
    fn count(&self, lane: &Lane, job: &Job, report: &AttemptReport, verdict: &Verdict) -> Option<Outcome> {
        self.0.metrics.attempted(report, verdict.state);
        let success = verdict.state == DeliveryState::Delivered;
        let concerns_receiver = verdict.class.is_none_or(ErrorClass::concerns_receiver);
        if concerns_receiver {
            let is_exact = threads::has_rested_within(report.duration);
            lane.attempted(success, report.duration, is_exact, clock::schedule_us());
        }
        let event = &job.event;
        let statistics = &self.0.statistics;
        statistics.count(lane, event.organization_id, event.id, verdict.state, report.duration);
        let health = if concerns_receiver {
            self.0.disabling.track(lane, success)
        } else {
            None
        };
        if verdict.class == Some(ErrorClass::Gone) {
            self.0.disabling.ask(lane.webhook, DisableReason::Gone);
        }
        health
    }

    /// Handles an attempt that failed by the operator's fault: it does not count, and its delivery waits.
    fn hold_back(&self, lane: &Arc<Lane>, job: &Job, fault: OperatorFault, report: &AttemptReport) -> Record {
        self.0.metrics.held_back(report);
        let detail = report.operator_detail().or(report.error_message()).unwrap_or_default();
        let pause = self.0.turns.faults().failed(fault, detail, clock::schedule_us());
        let due_at = clock::schedule_us().saturating_add(pause);
        if fault.concerns_webhook() {
            lane.hold_until(due_at);
        }
        Record::parked(lane, job, due_at)
    }
}
