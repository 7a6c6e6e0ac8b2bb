//! The reply to a publish call, which may be committed in several parts.
//!
//! Each part is answered after its own commit. The publisher gets one answer when the last part was answered or
//! dropped, with the results in the order of its events.
//!
//! | failure | what the publisher gets |
//! | --- | --- |
//! | the store could not accept a part | later parts are refused with the same error, so that no later event of the call is stored before an earlier one that its publisher has to repeat |
//! | the committer ends | "stopping" for every event without an answer |
//! | the publisher left | nothing; its events are published |

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::command::{PublishError, PublishResults};

/// A reply to a publisher. Dropped without an answer, it reports that the server is stopping.
#[derive(Debug)]
pub(super) enum Reply {
    /// To a call that is committed in one part.
    Whole(oneshot::Sender<PublishResults>),
    /// To a part of a call.
    Part(Part),
}

/// One of the parts of a call. They are answered in their order.
#[derive(Debug)]
pub(super) struct Part(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    state: Mutex<State>,
    /// How many events the call has.
    events: usize,
}

#[derive(Debug)]
struct State {
    sender: Option<oneshot::Sender<PublishResults>>,
    results: PublishResults,
    failed: Option<PublishError>,
}

impl Reply {
    /// Divides the reply to a call of `events` events in two. The first is answered before the second.
    pub(super) fn divide(self, events: usize) -> (Self, Self) {
        let parts = match self {
            Self::Part(part) => part.0,
            Self::Whole(sender) => Arc::new(Parts {
                state: Mutex::new(State {
                    sender: Some(sender),
                    results: Vec::with_capacity(events),
                    failed: None,
                }),
                events,
            }),
        };
        (Self::Part(Part(Arc::clone(&parts))), Self::Part(Part(parts)))
    }

    /// The error of an earlier part of the call, after which the rest must not be stored.
    pub(super) fn failed(&self) -> Option<PublishError> {
        match self {
            Self::Whole(_) => None,
            Self::Part(part) => part.0.state.lock().failed.clone(),
        }
    }

    /// Answers. A publisher that left meanwhile is not an error: its events are published.
    pub(super) fn send(self, results: PublishResults) {
        match self {
            Self::Whole(sender) => {
                let _ = sender.send(results);
            }
            Self::Part(part) => {
                let mut state = part.0.state.lock();
                let failure = results
                    .iter()
                    .find_map(|result| result.as_ref().err().filter(|error| error.ends_call()));
                state.failed = state.failed.take().or_else(|| failure.cloned());
                state.results.extend(results);
            }
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let mut results = std::mem::take(&mut state.results);
        // Parts without an answer.
        results.resize_with(self.events, || Err(PublishError::Stopping));
        if let Some(sender) = state.sender.take() {
            let _ = sender.send(results);
        }
    }
}

#[cfg(test)]
mod tests {
    use hookwright_domain::id::EventId;

    use super::{super::command::Published, *};

    fn published(id: i64) -> Result<Published, PublishError> {
        Ok(Published {
            event: EventId::from_raw(id),
            delivery_count: 1,
            repeated: false,
        })
    }

    #[test]
    fn the_publisher_gets_one_answer_after_the_last_part() {
        let (sender, mut answer) = oneshot::channel();
        let (first, rest) = Reply::Whole(sender).divide(4);
        first.send(vec![published(1), Err(PublishError::Conflict(EventId::from_raw(9)))]);
        assert!(answer.try_recv().is_err(), "half of it is not durable");
        assert_eq!(rest.failed(), None, "a conflict concerns one event");
        let (second, third) = rest.divide(2);
        second.send(vec![published(3)]);
        assert!(answer.try_recv().is_err());
        third.send(vec![published(4)]);
        assert_eq!(
            answer.try_recv().unwrap(),
            [
                published(1),
                Err(PublishError::Conflict(EventId::from_raw(9))),
                published(3),
                published(4)
            ]
        );
    }

    #[test]
    fn a_part_that_could_not_be_stored_ends_the_call() {
        let (sender, mut answer) = oneshot::channel();
        let (first, rest) = Reply::Whole(sender).divide(3);
        first.send(vec![published(1)]);
        let (second, third) = rest.divide(2);
        second.send(vec![Err(PublishError::Full)]);
        assert_eq!(third.failed(), Some(PublishError::Full));
        third.send(vec![Err(PublishError::Full)]);
        assert_eq!(
            answer.try_recv().unwrap(),
            [published(1), Err(PublishError::Full), Err(PublishError::Full)]
        );
    }

    #[test]
    fn the_results_of_parts_that_were_stored_are_told_when_the_committer_ends() {
        let (sender, mut answer) = oneshot::channel();
        let (first, rest) = Reply::Whole(sender).divide(2);
        first.send(vec![published(1)]);
        drop(rest);
        assert_eq!(answer.try_recv().unwrap(), [published(1), Err(PublishError::Stopping)]);
    }
}
