//! The Rust client of Hookwright: for services that publish events, follow deliveries or pull them.
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
//! println!("{} is owed to {} webhooks", published.event, published.delivery_count);
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
//! | item | what it is for |
//! | --- | --- |
//! | [`Client`] | one connection with token, deadlines and retries; the services; [`Client::publish`] and [`Client::publish_batch`] |
//! | [`Publisher`] | a stream of events, each sent until it is acknowledged |
//! | [`DeliveryWatch`] | deliveries as they change, without a gap when the stream breaks |
//! | [`Puller`] | fetches the deliveries of a webhook whose delivery mode is PULL, and acknowledges them |
//! | [`Error`] | a failure: code, reason, fields at fault |
//! | [`v1`] | the API's messages and generated clients |
//!
//! # What is repeated
//!
//! A call that fails with UNAVAILABLE, or with RESOURCE_EXHAUSTED and a `RetryInfo`, is made again if that is safe: a read
//! (`Get`, `List`, `Query`, `Explain`, `Test`), or a publish call of this crate, whose events all carry a request id. It is
//! repeated with growing pauses (see [`RetryPolicy`]), no earlier than the server asked for, and until its deadline. A lost
//! or refused connection counts as UNAVAILABLE. Every other call, and every other failure, is the caller's to judge.
//!
//! # Exactly one event
//!
//! Whoever publishes cannot know after a lost answer whether the event was stored. A **request id** settles it: Hookwright
//! stores one event for it, however often it comes. This crate gives every event that has none a random one before it is sent
//! first, so that its own repeats are safe. It cannot do so across a restart of your process: where an event must not be
//! published twice even then, give it a request id from your own data.
//!
//! # Order
//!
//! Events are stored in the order of calls that follow one another. Within a batch the order is that of the batch. For a
//! [`Publisher`] see there.

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
/// The gRPC library that the generated clients are made with.
pub use tonic;
pub use transport::{Repeatable, Transport};
pub use watch::DeliveryWatch;
