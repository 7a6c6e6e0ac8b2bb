//! Responses of receivers: no bytes make the sender panic or read without end, and it makes no difference how the bytes
//! are divided into reads.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hookwright_delivery::sender::fuzzing::response(bytes));
