//! Body of a receiver's response. Its first part is kept, and only as much is read as is worth a connection that can be reused.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::ResponseRecord;

/// How much of a body is kept.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// How much of a body is read. A connection with a longer one is closed.
const READ_BYTES_MAX: usize = 64 << 10;

/// Reads a body into the record. Returns whether it was read to its end. Where it breaks off, what came of it is kept.
pub(super) async fn read(
    body: &mut (impl Body<Data = Bytes> + Unpin),
    deadline: Instant,
    record: &mut ResponseRecord,
) -> bool {
    let (mut kept, mut length) = (Vec::new(), 0);
    let reading = read_frames(body, &mut kept, &mut length);
    let complete = matches!(timeout_at(deadline, reading).await, Ok(true));
    record.truncated = length > kept.len() || !complete;
    record.body = Bytes::from(kept);
    complete
}

async fn read_frames(body: &mut (impl Body<Data = Bytes> + Unpin), kept: &mut Vec<u8>, length: &mut usize) -> bool {
    while !body.is_end_stream() {
        if *length > READ_BYTES_MAX {
            return false;
        }
        match body.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                let room = KEPT_BYTES_MAX - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
                *length += data.len();
            }
        }
    }
    true
}
