//! Publishing with unary calls and batches.

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tonic::Request;

use crate::{
    error::Error,
    random,
    service::Client,
    transport::Repeatable,
    v1::{
        BatchPublishEventsRequest, PublishEventRequest, PublishEventResponse, PublishResult,
        publish_event_request::Payload, publish_result,
    },
};

/// The maximum number of events in a batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// The maximum size of a batch on the wire in bytes, unless the server was built with another limit.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// The result of one event.
type Published = Result<PublishEventResponse, Error>;

/// An event without request id, attributes, ordering key and time; set those that you need on the returned value.
/// `organization` is an id or a name: `acme` or `organizations/acme`. Receivers get `json` byte for byte.
#[must_use]
pub fn event(
    organization: impl AsRef<str>,
    event_type: impl Into<String>,
    json: impl Into<Bytes>,
) -> PublishEventRequest {
    let organization = organization.as_ref();
    let organization = if organization.starts_with("organizations/") {
        organization.to_owned()
    } else {
        format!("organizations/{organization}")
    };
    PublishEventRequest {
        organization,
        event_type: event_type.into(),
        payload: Some(Payload::Json(json.into())),
        ..PublishEventRequest::default()
    }
}

/// Gives the event a random request id if it has none.
///
/// # Errors
/// Fails if the operating system provides no randomness.
pub(crate) fn ensure_request_id(event: &mut PublishEventRequest) -> Result<(), Error> {
    ensure_request_id_of(event, random::request_id)
}

fn ensure_request_id_of(event: &mut PublishEventRequest, random: impl Fn() -> Option<String>) -> Result<(), Error> {
    if event.request_id.is_empty() {
        let message = "the operating system provides no randomness for a request id; set your own `request_id`";
        event.request_id = random().ok_or_else(|| tonic::Status::internal(message))?;
    }
    Ok(())
}

impl Client {
    /// Publishes one event: durable when this returns. Retries temporary failures until the client's timeout; an event
    /// without a request id gets a random one first. `repeated_request` of the answer is true if an earlier try had
    /// published the event.
    ///
    /// # Errors
    /// As PublishEvent: INVALID_ARGUMENT with the invalid fields, NOT_FOUND, FAILED_PRECONDITION, ALREADY_EXISTS, ... INTERNAL
    /// if the event has no request id and the operating system provides no randomness for one. After
    /// UNAVAILABLE, RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED the event may or may not have been published: with your own
    /// request id it is safe to publish it again.
    pub async fn publish(&self, mut event: PublishEventRequest) -> Published {
        ensure_request_id(&mut event)?;
        let response = self.events().publish_event(repeatable(event)).await?;
        Ok(response.into_inner())
    }

    /// Publishes 1 to [`BATCH_EVENTS_MAX`] events, together at most [`BATCH_BYTES_MAX`], in one call, in order. The results
    /// are in the same order, one for each event; an invalid event does not block valid ones. Events that temporarily could
    /// not be stored are retried until the client's timeout; events without a request id get random ones first.
    ///
    /// # Errors
    /// When the call as a whole fails: the batch is empty or too large, the token is not valid, the server was unreachable.
    /// Then the events may or may not have been published.
    pub async fn publish_batch(&self, mut events: Vec<PublishEventRequest>) -> Result<Vec<Published>, Error> {
        events.iter_mut().try_for_each(ensure_request_id)?;
        let deadline = Instant::now() + self.timeout();
        let mut backoff = self.transport().settings().retry.map(crate::RetryPolicy::backoff);
        let mut results: Vec<Option<Published>> = events.iter().map(|_| None).collect();
        // Positions of the unsettled events.
        let mut open: Vec<usize> = (0..events.len()).collect();
        loop {
            let requests = open.iter().map(|index| events[*index].clone()).collect();
            let answers = match self.batch(requests, deadline).await {
                Ok(answers) => answers,
                Err(error) if open.len() == events.len() => return Err(error),
                // Settled events stay settled; the others keep their failure.
                Err(_) => return Ok(settled(results)),
            };
            let mut again = Vec::new();
            for (index, answer) in open.into_iter().zip(answers) {
                if matches!(&answer, Err(error) if error.is_transient()) {
                    again.push(index);
                }
                results[index] = Some(answer);
            }
            open = again;
            let pause = backoff.as_mut().map(|backoff| backoff.pause(None));
            match pause.filter(|pause| !open.is_empty() && Instant::now() + *pause < deadline) {
                Some(pause) => sleep(pause).await,
                None => return Ok(settled(results)),
            }
        }
    }

    async fn batch(&self, requests: Vec<PublishEventRequest>, deadline: Instant) -> Result<Vec<Published>, Error> {
        let count = requests.len();
        let organization = String::new();
        let mut request = repeatable(BatchPublishEventsRequest { organization, requests });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let results = self.events().batch_publish_events(request).await?.into_inner().results;
        // One for each event, whatever the server sends.
        let missing = std::iter::repeat_with(unanswered);
        Ok(results.into_iter().map(outcome).chain(missing).take(count).collect())
    }
}

fn settled(results: Vec<Option<Published>>) -> Vec<Published> {
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(unanswered))
        .collect()
}

fn repeatable<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Repeatable);
    request
}

/// The result of one event of a batch or stream.
pub(crate) fn outcome(result: PublishResult) -> Published {
    match result.result {
        Some(publish_result::Result::Published(response)) => Ok(response),
        Some(publish_result::Result::Error(error)) => Err(error.into()),
        None => unanswered(),
    }
}

fn unanswered() -> Published {
    Err(tonic::Status::internal("the server's answer has no result for this event").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_gets_a_request_id_once() {
        let mut plain = event("acme", "clocking", "{}");
        assert_eq!(plain, event("organizations/acme", "clocking", "{}"));
        ensure_request_id(&mut plain).unwrap();
        let id = plain.request_id.clone();
        assert_eq!(id.len(), 32);
        ensure_request_id(&mut plain).unwrap();
        assert_eq!(plain.request_id, id);
        let mut other = event("acme", "clocking", "{}");
        ensure_request_id(&mut other).unwrap();
        assert_ne!(other.request_id, id);
    }
    #[test]
    fn without_randomness_only_an_event_with_a_request_id_is_accepted() {
        let mut plain = event("acme", "clocking", "{}");
        let error = ensure_request_id_of(&mut plain, || None).unwrap_err();
        assert_eq!(error.code(), tonic::Code::Internal);
        assert!(
            error.message().contains("`request_id`") && !error.is_transient(),
            "{error}"
        );
        assert_eq!(plain.request_id, "");
        plain.request_id = "clocking-1".to_owned();
        ensure_request_id_of(&mut plain, || None).unwrap();
    }
}
