//! One trace from the publisher's span over the commit to each attempt and, by `traceparent`, into the receiver.
//!
//! The publisher's context is stored with the event. If there was none, the trace id is derived from the event's id, so
//! that all attempts of an event share a trace. If OpenTelemetry export is disabled, no span is recorded, but ids are
//! still sent.

use std::sync::atomic::{AtomicBool, Ordering};

use hookwright_domain::id::DeliveryId;
use hookwright_storage::StoredEvent;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{random, report::AttemptReport};

/// The target of exported spans. The log filter excludes it unless export is configured.
pub const TRACE_TARGET: &str = "hookwright::trace";

/// Whether spans are exported. Asking every layer for each attempt costs more than an attempt's record.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Enables spans from now on, for a collector.
pub fn start_exporting() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// Whether spans are created.
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// A position in a trace.
#[derive(Clone, Debug)]
pub(crate) struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
    state: Option<String>,
}

impl TraceContext {
    /// The context in which the event was published.
    pub(crate) fn of_event(event: &StoredEvent) -> Self {
        let state = event.tracestate.clone();
        if let Some(stored) = &event.trace
            && stored.len() == 25
        {
            let mut trace = [0; 16];
            let mut span = [0; 8];
            trace.copy_from_slice(&stored[..16]);
            span.copy_from_slice(&stored[16..24]);
            return Self {
                trace,
                span,
                flags: stored[24],
                state,
            };
        }
        let mut trace = [0; 16];
        let id = event.known_as();
        trace[..8].copy_from_slice(&random::mix(id, u64::MAX - 1).to_be_bytes());
        trace[8..].copy_from_slice(&id.to_be_bytes());
        let span = (random::mix(id, 0) | 1).to_be_bytes();
        Self {
            trace,
            span,
            flags: 0,
            state,
        }
    }

    /// A span for one attempt, below the publisher's. It is disabled, and almost free, if nothing is exported.
    pub(crate) fn attempt_span(&self, delivery: DeliveryId, number: u32) -> Span {
        if !is_exporting() {
            return Span::none();
        }
        let span = tracing::info_span!(
            target: TRACE_TARGET,
            "attempt",
            otel.kind = "client",
            delivery = tracing::field::Empty,
            attempt = number,
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        if !span.is_disabled() {
            span.record("delivery", tracing::field::display(delivery));
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(self.span_context()));
        }
        span
    }

    /// The context to send: that of the attempt's span, or one with a new id if no span is recorded.
    pub(crate) fn child(&self, span: &Span, delivery: i64, number: u32) -> Self {
        let mut child = self.clone();
        child.span = (random::mix(delivery, u64::from(number)) | 1).to_be_bytes();
        if !span.is_disabled() {
            let context = span.context();
            let recorded = context.span().span_context().clone();
            if recorded.is_valid() {
                child.trace = recorded.trace_id().to_bytes();
                child.span = recorded.span_id().to_bytes();
                child.flags = recorded.trace_flags().to_u8();
            }
        }
        child
    }

    /// The header `traceparent` (W3C Trace Context, version 00).
    pub(crate) fn traceparent(&self) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        let mut push = |bytes: &[u8]| {
            for byte in bytes {
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
            text.push('-');
        };
        push(&self.trace);
        push(&self.span);
        push(&[self.flags]);
        text.pop();
        text
    }

    /// The header `tracestate`, if the publisher sent one.
    pub(crate) fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Records the outcome of the attempt in its span.
    pub(crate) fn finish(&self, span: &Span, report: &AttemptReport) {
        if span.is_disabled() {
            return;
        }
        if let Some(status) = report.status() {
            span.record("http.response.status_code", status);
        }
        if let Some(class) = report.error_class() {
            span.record("error.type", class.as_str());
        }
    }

    fn span_context(&self) -> SpanContext {
        SpanContext::new(
            TraceId::from_bytes(self.trace),
            SpanId::from_bytes(self.span),
            TraceFlags::new(self.flags),
            true,
            TraceState::default(),
        )
    }
}
