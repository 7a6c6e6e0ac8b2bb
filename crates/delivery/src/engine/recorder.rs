//! The recorder: counts records as memory, and queues them in the committer's inbox.
//!
//! A caller waits while the inbox is full. After the committer has ended a record is lost, and the log reports it: the
//! attempt is repeated after the next start.

use std::sync::Arc;

use super::{inbox::Inbox, memory::Memory, record::Record};

/// A handle to the recorder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder {
    inbox: Arc<Inbox>,
    memory: Arc<Memory>,
}

impl Recorder {
    pub(super) fn new(inbox: Arc<Inbox>, memory: Arc<Memory>) -> Self {
        Self { inbox, memory }
    }

    /// Queues a record for the committer, and waits while the queue is full.
    pub(super) async fn record(&self, mut record: Record) {
        record.load = Some(self.memory.load(record.bytes()));
        if self.inbox.record(record).await.is_err() {
            tracing::error!("an outcome was lost: the committer has ended; the attempt will be made again");
        }
    }
}
