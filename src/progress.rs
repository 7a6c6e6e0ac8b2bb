//! Progress of long work, drawn on standard error if it is a terminal. Results and pipes stay clean.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// Interval at which a bar without updates is redrawn.
const TICK: Duration = Duration::from_millis(200);
/// Resolution of a share.
const STEPS: u64 = 10_000;

/// A progress line. It disappears when this value is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(output: Output, bar: ProgressBar, template: &str) -> Self {
        // A bar would spoil results for programs on the same terminal.
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

    /// For work with a known share.
    pub(crate) fn share(output: Output) -> Self {
        let template = "{spinner} [{bar:30}] {percent:>3} %  {wide_msg}";
        Self::new(output, ProgressBar::new(STEPS), template)
    }

    /// For reading `total` bytes.
    pub(crate) fn bytes(output: Output, total: u64) -> Self {
        let template = "{spinner} [{bar:30}] {percent:>3} %  {bytes}/{total_bytes}, {eta} left  {wide_msg}";
        Self::new(output, ProgressBar::new(total), template)
    }

    /// For work with an unknown end.
    pub(crate) fn endless(output: Output) -> Self {
        Self::new(output, ProgressBar::new_spinner(), "{spinner} {elapsed}  {wide_msg}")
    }

    /// Draws nothing.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Sets the finished share, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 1, in ten thousandths"
    )]
    pub(crate) fn set_share(&self, share: f64) {
        self.bar.set_position((share.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// Sets the number of finished bytes.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Sets the text next to the bar.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Writes other output without the bar.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
