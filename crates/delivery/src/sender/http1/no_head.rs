//! Reason for an exchange without the head of a response.

use std::{
    error::Error as _,
    io::{Error, ErrorKind},
};

use hookwright_domain::outcome::ErrorClass;

use super::{
    super::{Exchange, Failure},
    INTERIM_MAX,
    tap::{Refusal, Seen},
};

const EOF: ErrorKind = ErrorKind::UnexpectedEof;

/// See the module.
#[derive(Debug, PartialEq)]
pub(super) enum NoHead {
    /// The connection ended before the first byte.
    Closed(String),
    /// It ended, or broke, within the head.
    Broken(String),
    /// The received bytes are not an HTTP response.
    Invalid(String),
}

impl NoHead {
    /// From hyper's error, which is `None` if the connection had ended before the request.
    ///
    /// - `is_partial`: a part of a head arrived.
    /// - `is_long`: the request must not be repeated after sending it has failed.
    pub(super) fn of(error: Option<hyper::Error>, seen: &Seen, is_partial: bool, is_long: bool) -> Self {
        if seen.is_flooded() {
            return Self::flooded();
        }
        let Some(error) = error.filter(|error| !error.is_canceled()) else {
            return Self::closed();
        };
        let io = error.source().and_then(|source| source.downcast_ref::<Error>());
        let inner = io.and_then(Error::get_ref);
        if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return (*refusal).into();
        }
        let detail = io.map_or_else(|| EOF.to_string(), Error::to_string);
        match &seen.unsent {
            _ if is_partial && io.is_none() => Self::cut_off(),
            _ if seen.has_begun() => Self::Broken(detail),
            Some(unsent) if is_long => Self::Broken(unsent.to_string()),
            Some(unsent) => Self::Closed(unsent.kind().to_string()),
            None => Self::Closed(detail),
        }
    }

    pub(super) fn closed() -> Self {
        Self::Closed(EOF.to_string())
    }

    pub(super) fn cut_off() -> Self {
        Self::Invalid("the connection ended within the response head".to_owned())
    }

    pub(super) fn flooded() -> Self {
        Self::Invalid(format!("more than {INTERIM_MAX} interim responses"))
    }

    pub(super) fn into_exchange(self) -> Exchange {
        match self {
            Self::Closed(detail) => Exchange::Closed(reset(detail)),
            Self::Broken(detail) => Exchange::Failed(reset(detail)),
            Self::Invalid(problem) => Exchange::Failed(Failure::new(ErrorClass::InvalidResponse, problem)),
        }
    }
}

impl From<Refusal> for NoHead {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid(refusal.to_string())
    }
}

fn reset(detail: String) -> Failure {
    let message = "the receiver closed the connection before it answered";
    Failure::new(ErrorClass::Reset, message).with_detail(detail)
}
