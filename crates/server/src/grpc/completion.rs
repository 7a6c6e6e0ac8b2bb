//! Calls that change something run to completion even if their callers disconnect: see [`crate::app::completion`].
//!
//! The guard has read the whole body of such a call, so no task waits for a caller.
//!
//! Other calls are dropped with their callers, so that the server does not read for a caller that is gone. Some of them
//! store something in one atomic step: publishing, pinging, and pulling deliveries.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use futures::future::Either;
use http::{Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use crate::app::completion::Completion;

/// The calls that change something in several steps.
const CHANGES: [&str; 28] = [
    "/hookwright.v1.DeliveryService/SkipDelivery",
    "/hookwright.v1.DeliveryService/CancelDelivery",
    "/hookwright.v1.DeliveryService/RetryDelivery",
    "/hookwright.v1.DeliveryService/ReplayDelivery",
    "/hookwright.v1.TokenService/CreateToken",
    "/hookwright.v1.TokenService/RevokeToken",
    "/hookwright.v1.PortalService/CreatePortalLink",
    "/hookwright.v1.PortalService/RevokePortalLink",
    "/hookwright.v1.PullService/AcknowledgeDeliveries",
    "/hookwright.v1.PullService/ExtendDeliveries",
    "/hookwright.v1.EventTypeService/CreateEventType",
    "/hookwright.v1.EventTypeService/UpdateEventType",
    "/hookwright.v1.EventTypeService/ArchiveEventType",
    "/hookwright.v1.EventTypeService/UnarchiveEventType",
    "/hookwright.v1.EventTypeService/DeleteEventType",
    "/hookwright.v1.OrganizationService/CreateOrganization",
    "/hookwright.v1.OrganizationService/UpdateOrganization",
    "/hookwright.v1.OrganizationService/DeleteOrganization",
    "/hookwright.v1.ReplayService/ReplayDeliveries",
    "/hookwright.v1.ReplayService/CancelReplay",
    "/hookwright.v1.OperationService/CancelOperation",
    "/hookwright.v1.WebhookService/CreateWebhook",
    "/hookwright.v1.WebhookService/UpdateWebhook",
    "/hookwright.v1.WebhookService/ResumeWebhook",
    "/hookwright.v1.WebhookService/DeleteWebhook",
    "/hookwright.v1.WebhookService/RotateSigningSecret",
    "/hookwright.v1.WebhookService/CompleteSigningSecretRotation",
    "/hookwright.v1.WebhookService/RevealSigningSecret",
];

/// Completes the calls that change something.
#[derive(Clone)]
pub(super) struct CompletionLayer(pub(super) Completion);

impl<S> Layer<S> for CompletionLayer {
    type Service = Completing<S>;

    fn layer(&self, inner: S) -> Completing<S> {
        Completing {
            inner,
            completion: self.0.clone(),
        }
    }
}

/// See [`CompletionLayer`].
#[derive(Clone)]
pub(super) struct Completing<S> {
    inner: S,
    completion: Completion,
}

impl<S> Service<Request<Body>> for Completing<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_change = CHANGES.contains(&request.uri().path());
        let call = self.inner.call(request);
        if !is_change {
            return Either::Left(call);
        }
        let completion = self.completion.clone();
        Either::Right(Box::pin(async move {
            let done = completion.run(call).await;
            done.unwrap_or_else(|error| Ok(Status::from(error).into_http()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Calls that store something in one atomic step: the committer's batch, or leasing deliveries. The rest of the call
    /// only waits for the caller's sake.
    const IN_ONE_STEP: [&str; 5] = [
        "/hookwright.v1.EventService/PublishEvent",
        "/hookwright.v1.EventService/BatchPublishEvents",
        "/hookwright.v1.EventService/PublishStream",
        "/hookwright.v1.PullService/PullDeliveries",
        "/hookwright.v1.WebhookService/PingWebhook",
    ];
    /// Methods whose names begin like this only read.
    const READS: [&str; 8] = [
        "Get",
        "List",
        "Query",
        "Watch",
        "Explain",
        "Check",
        "Test",
        "ServerReflection",
    ];

    #[test]
    fn every_call_reads_or_is_completed_or_is_one_step() {
        let set = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                let name = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
                methods.extend(service.method.iter().map(|method| name(method.name())));
            }
        }
        let is_read = |path: &&String| {
            let method = path.rsplit('/').next().unwrap();
            READS.iter().any(|prefix| method.starts_with(prefix))
        };
        let changes: BTreeSet<&str> = methods
            .iter()
            .filter(|path| !is_read(path))
            .map(String::as_str)
            .collect();
        let known: BTreeSet<&str> = CHANGES.into_iter().chain(IN_ONE_STEP).collect();
        assert_eq!(known, changes, "each call that changes something is in one list");
        assert_eq!(known.len(), CHANGES.len() + IN_ONE_STEP.len());
    }
}
