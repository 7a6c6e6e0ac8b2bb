//! A worker: makes one lane's attempts, one after another, over one connection.
//!
//! The lane hands out each delivery together with the webhook to send it to: a worker never looks at the configuration by
//! itself. A delivery whose attempt panics goes back to the store, and the worker goes on; a panic anywhere else in a worker
//! is one of the engine ([`super::watchdog`]).

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use hookwright_domain::{
    id::DeliveryId,
    outcome::{DeliveryState, ErrorClass, OperatorPart, StatusOutcome, classify_status},
    retry::parse_retry_after,
};
use hookwright_storage::{AttemptRow, DELIVERED, FAILED, GOES_ON, PAUSED, PendingRow, fault};
use tracing::Instrument as _;

use super::{
    CONNECTION_IDLE_US, Inner,
    disabling::DisableReason,
    due::WAIT_MAX_US,
    lane::{Job, Lane, WakeHandle},
    later_second,
    record::{Change, Record},
};
use crate::{
    catalogue::Webhook,
    clock, details, random,
    request::PreparedRequest,
    sender::{AttemptReport, AttemptRequest, Connection, OperatorFault},
    trace::TraceContext,
};

/// When a delivery is due again whose attempt ended by a panic that no outcome could be made of.
const PANICKED_US: i64 = 60_000_000;
const _: () = assert!(PANICKED_US <= WAIT_MAX_US);

impl Inner {
    /// Starts a worker that has been counted by its lane and has its turn.
    pub(super) fn spawn_worker(self: &Arc<Self>, lane: &Arc<Lane>) {
        let worker = Arc::clone(self).run_worker(Arc::clone(lane));
        let worker = self.watchdog.clone().guard("worker", worker);
        self.threads.of(lane.webhook.raw()).spawn(worker);
    }

    async fn run_worker(self: Arc<Self>, lane: Arc<Lane>) {
        let mut connection = lane.take_connection();
        let mut first = true;
        while let Some((job, webhook)) = lane.next(first, clock::schedule_us()) {
            first = false;
            self.work_off(&lane, &webhook, &job, &mut connection).await;
            if self.stopping.has_begun() || self.turns.contended() {
                lane.leave();
                break;
            }
        }
        let now = clock::schedule_us();
        if let Some(connection) = connection {
            lane.keep_connection(connection);
            self.timer
                .at(later_second(now + CONNECTION_IDLE_US), lane.webhook.raw());
        }
        self.pass_turn(&lane);
    }

    /// Gives the turn to the lane that has waited longest for one; this lane may then take or wait for another.
    fn pass_turn(self: &Arc<Self>, lane: &Arc<Lane>) {
        let stopping = self.stopping.has_begun();
        if let Some(next) = self.turns.give() {
            self.start_next(next);
        }
        if !stopping {
            let actions = lane.look(clock::schedule_us());
            self.act(lane, actions);
        }
    }

    /// Starts a worker for a lane that was given a turn, or for the next in the queue if that one has nothing to do any more.
    pub(super) fn start_next(self: &Arc<Self>, handle: WakeHandle) {
        let stopping = self.stopping.has_begun();
        let mut next = Some(handle);
        while let Some(handle) = next {
            let lane = handle.lane().filter(|_| !stopping);
            if let Some(lane) = lane.filter(|lane| lane.called(clock::schedule_us())) {
                self.spawn_worker(&lane);
                let actions = lane.look(clock::schedule_us());
                self.act(&lane, actions);
                return;
            }
            next = self.turns.give();
        }
    }

    /// Makes one attempt and queues what came of it for the committer.
    async fn work_off(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        webhook: &Arc<Webhook>,
        job: &Job,
        connection: &mut Option<Connection>,
    ) {
        let attempt = AssertUnwindSafe(self.attempt(lane, webhook, job, connection));
        let record = attempt.catch_unwind().await.unwrap_or_else(|_| {
            let delivery = DeliveryId::from_raw(job.delivery);
            tracing::error!(webhook = %lane.webhook, %delivery, "an attempt could not be recorded: this is a bug");
            Record::parked(lane, job, clock::schedule_us() + PANICKED_US)
        });
        fault::point("after-send");
        self.recorder.record(record).await;
    }

    async fn attempt(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        webhook: &Arc<Webhook>,
        job: &Job,
        connection: &mut Option<Connection>,
    ) -> Record {
        let number = job.attempts + 1;
        let delivery = DeliveryId::from_raw(job.delivery);
        let parent = TraceContext::of_event(&job.event);
        let span = parent.attempt_span(delivery, number);
        let trace = parent.child(&span, job.delivery, number);
        let prepared = PreparedRequest::new(&self.options.format, webhook, job.delivery, &job.event, &trace);
        let report = match (&prepared, &webhook.url) {
            (Some(prepared), Some(url)) => {
                let request = AttemptRequest {
                    url,
                    skip_verify: webhook.skip_verify,
                    timeout: webhook.timeout,
                    headers: &prepared.headers,
                    body: job.event.payload.clone(),
                    is_current: &|| lane.sends_by(webhook),
                };
                let attempt = self.sender.attempt(connection, &request).instrument(span.clone());
                // A worker that ended by a panic would keep its turn and its delivery for ever.
                AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!(webhook = %lane.webhook, %delivery, "an attempt ended by a panic: this is a bug");
                    AttemptReport::internal(clock::now_us(), "the server failed while it made the attempt")
                })
            }
            (None, _) => {
                let message = "the signing secret cannot be opened";
                AttemptReport::of_operator(clock::now_us(), message, OperatorPart::MasterKey)
            }
            (_, None) => AttemptReport::internal(clock::now_us(), "the payload URL cannot be used"),
        };
        if report.superseded {
            trace.finish(&span, &report);
            return Record::parked(lane, job, clock::schedule_us());
        }
        if let Some(url) = &webhook.url {
            self.clocks.heard_from(url.host(), &report);
        }
        if let Some(fault) = report.operator_fault() {
            trace.finish(&span, &report);
            return self.hold_back(lane, job, fault, &report);
        }
        if report.was_connected() && self.turns.faults().passed(clock::schedule_us()) {
            self.resume_sending();
        }
        let outcome = self.judge(webhook, job, number, &report);
        trace.finish(&span, &report);
        self.metrics.attempted(&report, outcome.state);
        let success = outcome.state == DeliveryState::Delivered;
        let concerns_receiver = outcome.class.is_none_or(ErrorClass::concerns_receiver);
        if concerns_receiver {
            lane.attempted(success, report.duration);
        }
        self.statistics.count(
            lane,
            job.event.organization_id,
            job.event.id,
            outcome.state,
            report.duration,
        );
        let health = if concerns_receiver {
            self.disabling.track(lane, success)
        } else {
            None
        };
        if outcome.class == Some(ErrorClass::Gone) {
            self.disabling.ask(lane.webhook, DisableReason::Gone);
        }
        let attempt = attempt_row(webhook, job, number, &report, prepared.as_ref(), &outcome);
        Record::of(
            lane,
            job,
            Change::Attempted {
                attempt: Arc::new(attempt),
                retry: outcome.retry,
            },
            health,
        )
    }

    /// What follows from an attempt: delivered, failed for good, or due again.
    fn judge(&self, webhook: &Webhook, job: &Job, number: u32, report: &AttemptReport) -> Verdict {
        let class = report.error_class();
        let status = report.status();
        if class.is_none() && status.is_some_and(|status| classify_status(status) == StatusOutcome::Success) {
            return Verdict {
                state: DeliveryState::Delivered,
                class: None,
                retry: None,
            };
        }
        if class == Some(ErrorClass::Gone) {
            return Verdict {
                state: DeliveryState::Failed,
                class,
                retry: None,
            };
        }
        let now = clock::schedule_us();
        let jitter = random::unit(job.delivery, number);
        match webhook.schedule.delay(number, jitter) {
            None if webhook.ordered && webhook.pauses && job.ordering_key.is_some() => Verdict {
                state: DeliveryState::Paused,
                class,
                retry: Some(job.pending_row(number, PAUSED)),
            },
            None => Verdict {
                state: DeliveryState::Failed,
                class,
                retry: None,
            },
            Some(delay) => {
                // A date is one of the receiver's clock, like that of its answer.
                let receivers_now = report.date_us().unwrap_or_else(clock::now_us);
                let hint = parse_retry_after(status.unwrap_or(0), &report.retry_after(), receivers_now);
                let due_at = now + micros(delay.max(hint.unwrap_or(Duration::ZERO)));
                Verdict {
                    state: DeliveryState::Retrying,
                    class,
                    retry: Some(job.pending_row(number, due_at)),
                }
            }
        }
    }

    /// An attempt failed by the operator's fault: it counts for nothing, and its delivery waits.
    fn hold_back(&self, lane: &Arc<Lane>, job: &Job, fault: OperatorFault, report: &AttemptReport) -> Record {
        self.metrics.held_back(report);
        let detail = report.operator_detail().or(report.error_message()).unwrap_or_default();
        let pause = self.turns.faults().failed(fault, detail, clock::schedule_us());
        let due_at = clock::schedule_us().saturating_add(pause);
        if fault.concerns_webhook() {
            lane.hold_until(due_at);
        }
        Record::parked(lane, job, due_at)
    }
}

/// What an attempt means for its delivery.
struct Verdict {
    state: DeliveryState,
    class: Option<ErrorClass>,
    retry: Option<PendingRow>,
}

fn attempt_row(
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
        // PostgreSQL's text cannot hold NUL, and one row that it refuses would hold up all others.
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

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
