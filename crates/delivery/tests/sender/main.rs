//! The sender against real sockets: names and addresses, connections, and receivers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

mod addresses;
mod http2;
mod origins;
mod receivers;
mod support;
mod tls;
