//! Answers to publish calls, after the commit of their events or instead of it.

use std::collections::HashMap;

use hookwright_domain::id::EventId;
use hookwright_storage::{CommitError, Committed, Repeat, StoreError};

use super::{
    super::{
        command::{PublishError, Published},
        inbox::PublishCall,
        membership::LEASE_LOST,
        reply,
    },
    intake::Intake,
};

/// A publish call, or a part of one, that is waiting for its answer.
pub(super) struct Reply {
    pub(super) results: Vec<Pending>,
    pub(super) sender: reply::Reply,
}

pub(super) enum Pending {
    /// Index of the event within the commit.
    Event(usize),
    Refused(PublishError),
}

/// Answers the publish calls. A caller that left meanwhile is not an error: its events are published.
pub(super) fn answer(replies: Vec<Reply>, results: &[Result<Published, PublishError>]) {
    for Reply {
        results: pending,
        sender,
    } in replies
    {
        let results = pending
            .into_iter()
            .map(|result| match result {
                Pending::Event(index) => results[index].clone(),
                Pending::Refused(error) => Err(error),
            })
            .collect();
        sender.send(results);
    }
}

/// The result of each event of a commit.
pub(super) fn results(intakes: &[Intake], committed: &Committed) -> Vec<Result<Published, PublishError>> {
    let repeats: HashMap<usize, &Repeat> = committed.repeats.iter().map(|repeat| (repeat.index, repeat)).collect();
    let result = |(index, intake): (usize, &Intake)| match repeats.get(&index) {
        None => Ok(intake.published()),
        Some(repeat) if repeat.same => Ok(Published {
            event: EventId::from_raw(repeat.event_id),
            delivery_count: repeat.delivery_count,
            repeated: true,
        }),
        Some(repeat) => Err(PublishError::Conflict(EventId::from_raw(repeat.event_id))),
    };
    intakes.iter().enumerate().map(result).collect()
}

/// The answers of a server with a planted bug that does not wait for the commit: see [`hookwright_storage::fault`].
pub(super) fn promised(intakes: &[Intake]) -> Vec<Result<Published, PublishError>> {
    intakes.iter().map(|intake| Ok(intake.published())).collect()
}

/// Refuses calls whose events were in a commit.
pub(super) fn refuse_replies(replies: Vec<Reply>, error: &PublishError) {
    for Reply { results, sender } in replies {
        sender.send(results.iter().map(|_| Err(error.clone())).collect());
    }
}

/// Refuses calls before their events get ids.
pub(super) fn refuse(calls: Vec<PublishCall>, error: &PublishError) {
    for PublishCall { drafts, reply, .. } in calls {
        reply.send(drafts.iter().map(|_| Err(error.clone())).collect());
    }
}

/// The error that publishers get when a commit fails. It contains no text of the database, which publishers must not
/// see.
pub(super) fn publish_error(error: &CommitError) -> PublishError {
    match error {
        CommitError::Full(_) => PublishError::Full,
        CommitError::Store(StoreError::LeaseLost) => PublishError::Unavailable(LEASE_LOST),
        CommitError::Store(error) if error.is_timeout() => {
            PublishError::Unavailable("the store did not answer in time")
        }
        CommitError::Store(StoreError::Unreachable(_)) => PublishError::Unavailable("the store cannot be reached"),
        CommitError::Store(_) => PublishError::Unavailable("the store failed"),
    }
}
