//! Signals such as Ctrl-C, for commands that run until they are interrupted.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Watches for SIGINT, SIGTERM and SIGHUP, which a closed terminal sends, from its creation on.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupt {
    /// Starts watching; needs a runtime.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let watch = |kind, name: &str| signal(kind).with_context(|| format!("cannot watch for {name}"));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt(), "SIGINT")?,
            terminate: watch(SignalKind::terminate(), "SIGTERM")?,
            hangup: watch(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Resolves at the next signal.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
