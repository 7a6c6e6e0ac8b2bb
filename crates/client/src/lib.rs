//! The Rust client of Hookwright, for services that publish events, watch deliveries or pull them.
//!
//! ```no_run
//! use hookwright_client::{Client, event};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://hookwright.internal:50051")
//!     .token_file("/run/secrets/hookwright-token")
//!     .connect()?;
//!
//! // One event: durable when the call returns.
//! let published = client.publish(event("acme", "clocking", r#"{"action":"created"}"#)).await?;
//! println!("{} is sent to {} webhooks", published.event, published.delivery_count);
//!
//! // Many events: a stream that survives a lost connection and a restarted server.
//! let publisher = client.publisher().start();
//! for n in 0..100_000 {
//!     publisher.send(event("acme", "clocking", format!(r#"{{"n":{n}}}"#))).await;
//! }
//! publisher.close().await?;
//!
//! // Everything else: the generated clients, one for each service.
//! let request = hookwright_client::v1::ListWebhooksRequest {
//!     parent: "organizations/acme".to_owned(),
//!     ..Default::default()
//! };
//! let webhooks = client.webhooks().list_webhooks(request).await?.into_inner();
//! # Ok(())
//! # }
//! ```
//!
//! | item | purpose |
//! | --- | --- |
//! | [`Client`] | one connection with token, deadlines and retries; the services; [`Client::publish`] and [`Client::publish_batch`] |
//! | [`Publisher`] | a stream of events, each sent until it is acknowledged |
//! | [`DeliveryWatch`] | deliveries as they change, without a gap when the stream breaks |
//! | [`Puller`] | pulls the deliveries of a webhook whose delivery mode is PULL, and acknowledges them |
//! | [`Error`] | a failure: code, reason, invalid fields |
//! | [`v1`] | the API's messages and generated clients |
//!
//! # Retries
//!
//! A call that fails with UNAVAILABLE, or with RESOURCE_EXHAUSTED and a `RetryInfo`, is retried if that is safe: a read
//! (`Get`, `List`, `Query`, `Explain`, `Test`), or a publish call of this crate, whose events all carry a request id. Retries
//! use exponential backoff (see [`RetryPolicy`]), wait at least as long as the server asked for, and stop at the call's
//! deadline. A lost or refused connection counts as UNAVAILABLE. The caller must handle every other call, and every other
//! failure.
//!
//! # Exactly one event
//!
//! After a lost answer a publisher cannot know whether the event was stored. A **request id** solves this: Hookwright stores
//! one event per request id, however often it arrives. This crate gives every event without a request id a random one before
//! it is first sent, so that its own retries are safe. A random id does not help across a restart of your process: if an event
//! must not be published twice even then, give it a request id from your own data.
//!
//! # Order
//!
//! Events of consecutive calls are stored in the order of the calls. Within a batch the order is that of the batch. For the
//! order of a [`Publisher`] see there.

mod builder;
mod calls;
mod error;
mod publish;
mod publisher;
mod pull;
mod random;
mod retry;
mod service;
mod tls;
mod transport;
mod watch;

pub use builder::{ClientBuilder, ConnectError};
pub use error::Error;
/// The API: messages, and the generated clients.
pub use hookwright_proto::v1;
pub use publish::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, event};
pub use publisher::{Publisher, PublisherBuilder, Receipt};
pub use pull::{Puller, PullerBuilder};
pub use retry::{Backoff, RetryPolicy};
pub use service::Client;
pub use tls::TlsFault;
/// The gRPC library of the generated clients.
pub use tonic;
pub use transport::{Repeatable, Transport};
pub use watch::DeliveryWatch;
