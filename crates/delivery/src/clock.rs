//! The clocks, as the store keeps them: see [`hookwright_storage::clock`].

pub use hookwright_storage::clock::{boot_us, now_us, reference_us, retention_us, schedule_us, shown_us};
