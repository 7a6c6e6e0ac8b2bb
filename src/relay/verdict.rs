//! Decides about rows after a publish call.
//!
//! A rejection is the row's own fault if no retry can help: an invalid field, an organization or type that does not exist, a
//! request id used for other content. Such a row is marked, and the others continue. A failure that may be the
//! installation's fault (a token without the right scope, a limit, a server error) is attributed to the row only if other
//! rows of the same call succeeded. Otherwise nothing is settled and the call is retried without a limit: a wrong token must
//! not reject a whole backlog.

use hookwright_client::{Error, v1::PublishEventResponse};
use tonic::Code;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Published rows, with the event's name.
    pub(super) published: Vec<(i64, String)>,
    /// Rejected rows, with the reason.
    pub(super) refused: Vec<(i64, String)>,
    /// Why the other rows are to be retried after a delay; none if there are no others.
    pub(super) again: Option<Error>,
    /// The call was rejected as a whole: retry the rows in smaller calls.
    pub(super) split: bool,
}

impl Verdict {
    /// Decides from the result of one call that published `rows`.
    pub(super) fn of(rows: &[i64], answer: Result<Vec<Result<PublishEventResponse, Error>>, Error>) -> Self {
        match answer {
            Ok(results) => Self::of_each(rows, results),
            Err(error) => Self::of_call(rows, error),
        }
    }

    fn of_each(rows: &[i64], results: Vec<Result<PublishEventResponse, Error>>) -> Self {
        let mut verdict = Self::default();
        let any_published = results.iter().any(Result::is_ok);
        for (id, result) in rows.iter().zip(results) {
            match result {
                Ok(response) => verdict.published.push((*id, response.event)),
                Err(error) => match blame(error.code()) {
                    Blame::Row => verdict.refused.push((*id, error.to_string())),
                    Blame::Unclear if any_published => verdict.refused.push((*id, error.to_string())),
                    Blame::Unclear | Blame::Moment => verdict.again = Some(error),
                },
            }
        }
        verdict
    }

    fn of_call(rows: &[i64], error: Error) -> Self {
        match (blame(error.code()), rows) {
            (Blame::Row, [id]) => Self {
                refused: vec![(*id, error.to_string())],
                ..Self::default()
            },
            (Blame::Row, _) => Self {
                split: true,
                ..Self::default()
            },
            _ => Self {
                again: Some(error),
                ..Self::default()
            },
        }
    }
}

/// The cause of a failure.
enum Blame {
    /// The row's, permanently.
    Row,
    /// The row's, or the installation's.
    Unclear,
    /// Temporary.
    Moment,
}

fn blame(code: Code) -> Blame {
    match code {
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            Blame::Row
        }
        Code::ResourceExhausted
        | Code::PermissionDenied
        | Code::Internal
        | Code::Unknown
        | Code::Unimplemented
        | Code::DataLoss => Blame::Unclear,
        Code::Ok
        | Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unauthenticated => Blame::Moment,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn good() -> Result<PublishEventResponse, Error> {
        let event = "organizations/acme/events/evt_1".to_owned();
        Ok(PublishEventResponse {
            event,
            ..PublishEventResponse::default()
        })
    }

    fn bad(status: Status) -> Result<PublishEventResponse, Error> {
        Err(status.into())
    }

    fn ids<T>(rows: &[(i64, T)]) -> Vec<i64> {
        rows.iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn a_bad_row_does_not_hold_back_the_others() {
        let results = vec![good(), bad(Status::not_found("no such type")), good()];
        let verdict = Verdict::of(&[1, 2, 3], Ok(results));
        assert_eq!((ids(&verdict.published), ids(&verdict.refused)), (vec![1, 3], vec![2]));
        assert!(verdict.again.is_none() && !verdict.split);
        assert!(verdict.refused[0].1.contains("no such type"));
    }

    #[test]
    fn temporary_errors_settle_nothing() {
        let verdict = Verdict::of(
            &[1, 2],
            Ok(vec![
                bad(Status::unavailable("starting")),
                bad(Status::unavailable("starting")),
            ]),
        );
        assert!(verdict.published.is_empty() && verdict.refused.is_empty() && verdict.again.is_some());
        let verdict = Verdict::of(&[1], Err(Status::unauthenticated("token").into()));
        assert!(verdict.refused.is_empty() && verdict.again.is_some());
    }

    #[test]
    fn a_wrong_token_refuses_no_rows() {
        let denied = || bad(Status::permission_denied("scope"));
        let verdict = Verdict::of(&[1, 2], Ok(vec![denied(), denied()]));
        assert!(verdict.refused.is_empty() && verdict.again.is_some());
        let verdict = Verdict::of(&[1, 2], Ok(vec![denied(), good()]));
        assert_eq!(
            ids(&verdict.refused),
            [1],
            "others are allowed: it is this row's organization"
        );
    }

    #[test]
    fn a_call_that_is_refused_is_taken_apart() {
        let too_large = || Err(Status::out_of_range("message too large").into());
        assert!(Verdict::of(&[1, 2], too_large()).split);
        assert_eq!(ids(&Verdict::of(&[1], too_large()).refused), [1]);
    }
}
