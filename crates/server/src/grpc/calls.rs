//! Counts the calls of the gRPC listener by service, method and code, and measures their duration.
//!
//! A call ends when its status is known: in the headers of an answer that failed at once, else in its trailers. A stream
//! counts when it ends. If an answer's body is dropped earlier, its caller cancelled it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::body::{Body as AnswerBody, Bytes};
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, SizeHint};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tonic::Code;

/// The label of calls outside our services: health, reflection, and unknown methods.
const OTHER: &str = "other";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct MethodLabels {
    service: String,
    method: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    service: String,
    method: String,
    code: &'static str,
}

type Durations = Family<MethodLabels, Histogram, fn() -> Histogram>;

/// The metrics of calls.
#[derive(Clone)]
pub(crate) struct CallMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Durations,
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 4.0, 10))
}

impl CallMetrics {
    /// Creates and registers the metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            seconds: Durations::new_with_constructor(durations),
        };
        let help = "Finished gRPC calls by service, method and code; calls outside the API's services are `other`";
        registry.register("grpc_calls", help, metrics.calls.clone());
        let help = "Duration of gRPC calls, from their headers to their status; a stream counts when it ends";
        registry.register("grpc_call_seconds", help, metrics.seconds.clone());
        metrics
    }
}

/// The metrics of each method, by its path.
pub(super) struct Calls {
    methods: HashMap<String, Arc<MethodCalls>>,
    other: Arc<MethodCalls>,
}

/// The metrics of a method. Labels are looked up once.
struct MethodCalls {
    metrics: CallMetrics,
    labels: MethodLabels,
    codes: [OnceLock<Counter>; CODES.len()],
    seconds: OnceLock<Histogram>,
}

impl Calls {
    /// For the methods with these paths.
    pub(super) fn new<'a>(metrics: &CallMetrics, paths: impl Iterator<Item = &'a String>) -> Self {
        let of = |service: &str, method: &str| {
            Arc::new(MethodCalls {
                metrics: metrics.clone(),
                labels: MethodLabels {
                    service: service.to_owned(),
                    method: method.to_owned(),
                },
                codes: Default::default(),
                seconds: OnceLock::new(),
            })
        };
        let methods = paths.map(|path| {
            let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((OTHER, OTHER));
            (path.clone(), of(service, method))
        });
        Self {
            methods: methods.collect(),
            other: of(OTHER, OTHER),
        }
    }

    /// A call that begins now.
    pub(super) fn begin(&self, path: &str) -> Call {
        Call {
            method: Arc::clone(self.methods.get(path).unwrap_or(&self.other)),
            begun: Instant::now(),
            code: None,
        }
    }
}

/// A call that is not counted yet. If it is dropped without a code, it was cancelled.
pub(super) struct Call {
    method: Arc<MethodCalls>,
    begun: Instant,
    code: Option<Code>,
}

impl Call {
    /// Counts the call when its answer has ended.
    pub(super) fn answered(mut self, answer: Response<AnswerBody>) -> Response<AnswerBody> {
        if let Some(code) = code_of(answer.headers()) {
            self.code = Some(code);
            return answer;
        }
        answer.map(|body| AnswerBody::new(Counted { body, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let MethodCalls {
            metrics,
            labels,
            codes,
            seconds,
        } = &*self.method;
        let code = self.code.unwrap_or(Code::Cancelled) as usize;
        let counter = codes[code].get_or_init(|| {
            let labels = CallLabels {
                service: labels.service.clone(),
                method: labels.method.clone(),
                code: CODES[code],
            };
            metrics.calls.get_or_create_owned(&labels)
        });
        counter.inc();
        let seconds = seconds.get_or_init(|| metrics.seconds.get_or_create_owned(labels));
        seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// The body of an answer, which counts its call.
struct Counted {
    body: AnswerBody,
    call: Call,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.code = Some(code_of(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(_)) => self.call.code = Some(Code::Internal),
            // There was no status.
            None => self.call.code = Some(self.call.code.unwrap_or(Code::Unknown)),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// The names of codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_name() {
        for (number, name) in CODES.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).unwrap());
            assert_eq!(format!("{code:?}").to_lowercase(), name.replace('_', "").to_lowercase());
        }
    }
}
