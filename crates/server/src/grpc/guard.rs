//! The gRPC listener's guard: authenticates each call by its headers only, before its body is read.
//!
//! - A call without a valid token fails at once with UNAUTHENTICATED. Its body is dropped unread.
//! - Health and reflection need no token. Their messages have a small maximum size, and their streams a maximum number.
//! - The handler receives the caller with the request ([`Admission`]), and does not look it up again.
//! - A call has a deadline, its own or [`CALL_TIMEOUT`], from its headers on.
//! - A unary call begins when its whole body has arrived; until then it holds only bytes of the budget.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, body::Body};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::{Status, service::Routes};
use tower::{Layer as _, ServiceExt as _};

use super::{
    CALL_TIMEOUT,
    body::{self, Metered},
    calls::{CallMetrics, Calls},
    completion::{Completing, CompletionLayer},
    in_flight::{Budget, InFlight, RequestMetrics},
};
use crate::{
    app::{App, access::Caller, error::AppError},
    listener::{
        Answers, Peer,
        pulse::{Question, Ticket, Trust, UntilSent},
    },
};

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];
/// The maximum size of messages of calls without a token.
const HEALTH_BYTES_MAX: usize = 4 << 10;
const REFLECTION_BYTES_MAX: usize = 16 << 10;
/// Maximum number of calls in flight without a token.
const HEALTH_CALLS_MAX: usize = 1_024;
const REFLECTION_CALLS_MAX: usize = 32;

/// The guard's result for a call, in the request's extensions.
#[derive(Clone)]
pub(super) struct Admission {
    /// The caller.
    pub(super) caller: Caller,
    /// The bytes that the call holds.
    pub(super) in_flight: Arc<InFlight>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Guard {
    services: Completing<Router>,
    shared: Arc<Shared>,
}

struct Shared {
    app: Arc<App>,
    methods: HashMap<String, Method>,
    calls: Calls,
    budget: Arc<Budget>,
    metrics: RequestMetrics,
    health: Arc<Semaphore>,
    reflection: Arc<Semaphore>,
}

/// The streaming sides of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) requests: bool,
    pub(super) responses: bool,
}

impl Guard {
    /// The layer in front of the services.
    ///
    /// # Errors
    /// When the embedded descriptor set cannot be read.
    pub(crate) fn new(
        app: Arc<App>,
        routes: Routes,
        request_bytes_max: usize,
        metrics: RequestMetrics,
        calls: &CallMetrics,
    ) -> anyhow::Result<Self> {
        let completion = app.completion.clone();
        let methods = methods()?;
        let shared = Shared {
            app,
            calls: Calls::new(calls, methods.keys()),
            methods,
            budget: Arc::new(Budget::new(request_bytes_max, metrics.clone())),
            metrics,
            health: Arc::new(Semaphore::new(HEALTH_CALLS_MAX)),
            reflection: Arc::new(Semaphore::new(REFLECTION_CALLS_MAX)),
        };
        Ok(Self {
            services: CompletionLayer(completion).layer(routes.into_axum_router().with_state(())),
            shared: Arc::new(shared),
        })
    }

    /// A call that needs no token: health or reflection.
    async fn answer_stranger(
        &self,
        request: Request<Question>,
        place: &Arc<Semaphore>,
        bytes_max: usize,
    ) -> Response<Body> {
        let Ok(place) = Arc::clone(place).try_acquire_owned() else {
            self.shared.metrics.crowded.inc();
            return refused(AppError::Exhausted {
                subject: "calls without a token".to_owned(),
                message: "too many calls without a token are in flight; retry later".to_owned(),
            });
        };
        let in_flight = self.in_flight(true);
        let request = request.map(|body| Body::new(Metered::new(body, in_flight, true).at_most(bytes_max)));
        let limit = call_timeout(request.headers());
        let mut answer = in_time(limit, self.answer_now(request)).await;
        answer.extensions_mut().insert(UntilSent::new(Place { _permit: place }));
        answer
    }

    async fn answer_caller(&self, mut request: Request<Question>, caller: Caller, method: Method) -> Response<Body> {
        let in_flight = self.in_flight(method.requests);
        // A unary message is held until the answer is ready; each message of a stream until it is answered, by its handler.
        let held = (!method.requests).then(|| Arc::clone(&in_flight));
        request.extensions_mut().insert(Admission {
            caller,
            in_flight: Arc::clone(&in_flight),
        });
        let limit = call_timeout(request.headers());
        let request = request.map(|body| Metered::new(body, in_flight, method.requests));
        let answer = in_time(limit, async {
            if method.requests {
                return self.answer_now(request.map(Body::new)).await;
            }
            let (head, body) = request.into_parts();
            match body::read(body).await {
                Ok(body) => self.answer_now(Request::from_parts(head, Body::new(body))).await,
                Err(status) => status.into_http(),
            }
        });
        let answer = answer.await;
        drop(held);
        answer
    }

    async fn answer_now(&self, request: Request<Body>) -> Response<Body> {
        let answer = self.services.clone().oneshot(request).await;
        answer.unwrap_or_else(|never| match never {})
    }

    fn in_flight(&self, has_many_messages: bool) -> Arc<InFlight> {
        Arc::new(InFlight::new(Arc::clone(&self.shared.budget), has_many_messages))
    }
}

/// The permit of a call without a token.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Answers for Guard {
    const BEGINS_AS: Trust = Trust::Stranger;

    async fn answer(&self, request: Request<Question>, _peer: Peer, ticket: Ticket) -> Response<Body> {
        let call = self.shared.calls.begin(request.uri().path());
        call.answered(self.admit(request, ticket).await)
    }
}

impl Guard {
    /// Answers a call, depending on its caller.
    async fn admit(&self, request: Request<Question>, ticket: Ticket) -> Response<Body> {
        let shared = &*self.shared;
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return self.answer_stranger(request, &shared.health, HEALTH_BYTES_MAX).await;
        }
        if REFLECTION.iter().any(|service| path.starts_with(service)) {
            let places = &shared.reflection;
            return self.answer_stranger(request, places, REFLECTION_BYTES_MAX).await;
        }
        let method = shared.methods.get(path).copied().unwrap_or_default();
        let authorization = request.headers().get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        match shared.app.authenticate(authorization) {
            Ok(caller) => {
                ticket.admit(method.requests || method.responses);
                self.answer_caller(request, caller, method).await
            }
            Err(error) => {
                shared.metrics.unauthenticated.inc();
                refused(error)
            }
        }
    }
}

async fn in_time(limit: Duration, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
    let late = || Status::deadline_exceeded("the deadline of the call has passed").into_http();
    timeout(limit, answer).await.unwrap_or_else(|_| late())
}

fn refused(error: AppError) -> Response<Body> {
    Status::from(error).into_http()
}

/// Every method of the API, by its path.
pub(super) fn methods() -> anyhow::Result<HashMap<String, Method>> {
    let described = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).context("the descriptor set")?;
    let mut methods = HashMap::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = Method {
                    requests: method.client_streaming(),
                    responses: method.server_streaming(),
                };
                methods.insert(path, streams);
            }
        }
    }
    Ok(methods)
}

/// The timeout of a call: `grpc-timeout`, or the maximum.
fn call_timeout(headers: &HeaderMap) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok());
    asked
        .and_then(read_timeout)
        .map_or(CALL_TIMEOUT, |asked| asked.min(CALL_TIMEOUT))
}

/// Up to eight digits and a unit.
fn read_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = number.len() <= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_callers_write_them() {
        for (text, expected) in [
            ("30m", Some(Duration::from_millis(30))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("2S", Some(Duration::from_secs(2))),
            ("1H", Some(Duration::from_secs(3_600))),
            ("", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("123456789S", None),
            ("1ä", None),
        ] {
            assert_eq!(read_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn every_stream_of_the_api_is_known() {
        let methods = methods().unwrap();
        assert!(methods.len() > 50);
        let both = Method {
            requests: true,
            responses: true,
        };
        assert_eq!(methods["/hookwright.v1.EventService/PublishStream"], both);
        assert!(methods["/hookwright.v1.DeliveryService/WatchDeliveries"].responses);
        assert_eq!(methods["/hookwright.v1.EventService/PublishEvent"], Method::default());
    }
}
