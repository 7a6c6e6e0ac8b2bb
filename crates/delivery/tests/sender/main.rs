//! The sender against real sockets: names and addresses, connections, and misbehaving receivers.

#![expect(clippy::unwrap_used, reason = "a test fails if its environment is missing")]

mod addresses;
mod descriptors;
mod http2;
mod origins;
mod proxies;
mod receivers;
mod refused;
mod shared;
mod support;
mod tls;
