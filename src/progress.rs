//! Progress of work that takes long: drawn on standard error, and on a terminal only. Results and pipes stay clean.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How often a bar of which nobody tells anything is drawn.
const TICK: Duration = Duration::from_millis(200);
/// How fine a share is told.
const STEPS: u64 = 10_000;

/// A line that tells how far work has come. It is gone when this value is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(output: Output, bar: ProgressBar, template: &str) -> Self {
        // Where results for programs are written to the same terminal, a bar between them would spoil them.
        let wanted = std::io::stderr().is_terminal() && (output.for_people() || !std::io::stdout().is_terminal());
        bar.set_draw_target(if wanted {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if wanted {
            bar.enable_steady_tick(TICK);
        }
        Self { bar }
    }

    /// Of work whose share that is done is known.
    pub(crate) fn share(output: Output) -> Self {
        let template = "{spinner} [{bar:30}] {percent:>3} %  {wide_msg}";
        Self::new(output, ProgressBar::new(STEPS), template)
    }

    /// Of `total` bytes that are read.
    pub(crate) fn bytes(output: Output, total: u64) -> Self {
        let template = "{spinner} [{bar:30}] {percent:>3} %  {bytes}/{total_bytes}, {eta} left  {wide_msg}";
        Self::new(output, ProgressBar::new(total), template)
    }

    /// Of work whose end is not known.
    pub(crate) fn endless(output: Output) -> Self {
        Self::new(output, ProgressBar::new_spinner(), "{spinner} {elapsed}  {wide_msg}")
    }

    /// Of what is not shown.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Sets the share that is done, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 1, in ten thousandths"
    )]
    pub(crate) fn set_share(&self, share: f64) {
        self.bar.set_position((share.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// Sets how many bytes are done.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Sets the text beside the bar.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Writes something else in between.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
