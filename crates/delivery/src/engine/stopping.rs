//! The flag that the engine stops: no event is accepted and no attempt begins any more. It is never taken back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// See the module. Cheap to clone.
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
