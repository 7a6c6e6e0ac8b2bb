//! The behaviour of one simulated host, which the suite changes while connections are served.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use super::super::messages::Behaviour;

/// A host. Its behaviour is one number, so that reading it costs nothing: a delay in milliseconds, or one of the two
/// largest values.
#[derive(Default)]
pub(super) struct Host {
    behaviour: AtomicU32,
    changed: Notify,
}

const FAIL: u32 = u32::MAX;
const HANG: u32 = u32::MAX - 1;

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Failed,
    /// None: the connection is closed when the behaviour of the host changes.
    Never,
}

impl Host {
    pub(super) fn behave(&self, how: Behaviour) {
        let number = match how {
            Behaviour::Accept => 0,
            Behaviour::Slow { ms } => ms.min(HANG - 1),
            Behaviour::Fail => FAIL,
            Behaviour::Hang => HANG,
        };
        self.behaviour.store(number, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The answer to a request that was just read, and the delay before it.
    pub(super) fn answer(&self) -> (Answer, Duration) {
        match self.behaviour.load(Ordering::Acquire) {
            FAIL => (Answer::Failed, Duration::ZERO),
            HANG => (Answer::Never, Duration::ZERO),
            ms => (Answer::Accepted, Duration::from_millis(ms.into())),
        }
    }

    /// Returns when the host does not hang any more.
    pub(super) async fn recovered(&self) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.behaviour.load(Ordering::Acquire) != HANG {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn answers_follow_the_behaviour() {
        let host = Host::default();
        assert_eq!(host.answer(), (Answer::Accepted, Duration::ZERO));
        host.behave(Behaviour::Slow { ms: 100 });
        assert_eq!(host.answer(), (Answer::Accepted, Duration::from_millis(100)));
        host.behave(Behaviour::Fail);
        assert_eq!(host.answer().0, Answer::Failed);
        host.behave(Behaviour::Hang);
        assert_eq!(host.answer().0, Answer::Never);
    }

    #[tokio::test]
    async fn unanswered_requests_end_when_the_host_recovers() {
        let host = Host::default();
        host.behave(Behaviour::Hang);
        let recovered = host.recovered();
        let mut recovered = std::pin::pin!(recovered);
        assert!(recovered.as_mut().now_or_never().is_none());
        host.behave(Behaviour::Accept);
        recovered.await;
        host.recovered().await;
    }
}
