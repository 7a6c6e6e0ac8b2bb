//! The window of unacknowledged events.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::v1::{PublishEventRequest, publish_event_request::Payload};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Window {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

/// An event's part of the window, until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their drop")]
pub(super) struct Room(Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

impl Window {
    pub(super) fn new(events_max: u32, bytes_max: u32) -> Self {
        let semaphore = |permits: u32| {
            let permits = usize::try_from(permits).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            events: semaphore(events_max),
            bytes: semaphore(bytes_max),
            bytes_max,
        }
    }

    /// Waits until the window allows an event, in order.
    pub(super) async fn room_for(&self, event: &PublishEventRequest) -> Room {
        let bytes = match &event.payload {
            Some(Payload::Json(json)) => json.len(),
            // The size of a `Struct` is unknown without walking through it.
            Some(Payload::Object(_)) => 1 << 10,
            None => 0,
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        // The semaphores are never closed; without a permit there would be no bound.
        let event = Arc::clone(&self.events).acquire_owned().await.ok();
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok();
        Room(event, bytes)
    }
}
