//! The flag that the engine is stopping: no event is accepted and no attempt begins any more. It is never reset.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A handle to the flag. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
