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
