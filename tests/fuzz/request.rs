//! Requests to `hookwright listen`: no bytes make the reader of heads panic, and a head reads the same whatever follows it.

#![no_main]

#[allow(dead_code, reason = "only the reader of heads is a target")]
#[path = "../../src/listen/http.rs"]
mod http;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http::fuzz(bytes));
