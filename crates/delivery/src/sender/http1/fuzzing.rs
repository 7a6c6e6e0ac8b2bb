//! The entry point of the fuzz target (`make fuzz`).

use bytes::BytesMut;
use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::head::{Head, read_final_head};

/// Reads a response twice: at once, and in two pieces. The first byte says where they are divided.
///
/// # Panics
/// If the results differ, or if reading waits although the stream has ended.
pub fn response(bytes: &[u8]) {
    let Some((at, bytes)) = bytes.split_first() else {
        return;
    };
    let (first, rest) = bytes.split_at(bytes.len().min(usize::from(*at)));
    assert_eq!(read(bytes), read(first.chain(rest)), "divided at {at}");
}

/// The head, the body and whether it is complete, or the error.
fn read(mut stream: impl AsyncRead + Unpin) -> Result<(Head, Vec<u8>, Option<bool>), String> {
    let reading = async {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let head = read_final_head(&mut stream, &mut buffer, None).await;
        let head = head.map_err(|no_head| format!("{no_head:?}"))?;
        let complete = head.framing.read(&mut stream, &mut buffer, &mut body).await.ok();
        Ok((head, body, complete))
    };
    reading.now_or_never().expect("the stream is always ready")
}

/// `make lint` does not build the fuzz target, which needs other flags for every crate. These tests build its body, run it
/// with its seeds, and compare the name that the target calls.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/seeds/response");
        let seeds: Vec<_> = std::fs::read_dir(seeds).unwrap().collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            response(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_fuzz_target_calls_this_function() {
        let target = include_str!("../../../../../tests/fuzz/response.rs");
        let name: fn(&[u8]) = crate::sender::fuzzing::response;
        name(&[]);
        assert!(target.contains("|bytes: &[u8]| hookwright_delivery::sender::fuzzing::response(bytes)"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_fuzz_target_fail(bytes in prop::collection::vec(any::<u8>(), 0..60), well_begun in any::<bool>()) {
            let start: &[u8] = if well_begun { b"\x09HTTP/1.1 200 OK\r\n" } else { b"" };
            response(&[start, &bytes].concat());
        }
    }
}
