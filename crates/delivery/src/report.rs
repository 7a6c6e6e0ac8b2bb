//! The report of an attempt that has ended: the response, the cause of a failure, and the durations.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use hookwright_domain::{
    outcome::{ErrorClass, OperatorPart},
    retry::parse_date,
};

use crate::failure::{Failure, OperatorFault, Phases};

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseRecord {
    /// The status.
    pub status: u16,
    /// The headers, at most 64 and 8 KiB.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Every `Retry-After`.
    pub retry_after: Vec<Vec<u8>>,
    /// The first part of the body.
    pub body: Bytes,
    /// Whether the body had more.
    pub truncated: bool,
}

impl ResponseRecord {
    /// A response's head, from which a limited number of headers is kept.
    pub(crate) fn head<'a>(status: u16, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        const HEADERS_MAX: usize = 64;
        const BYTES_MAX: usize = 8 << 10;
        let mut record = Self {
            status,
            ..Self::default()
        };
        let mut bytes = 0;
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("retry-after") {
                record.retry_after.push(value.to_vec());
            }
            bytes += name.len() + value.len();
            if record.headers.len() < HEADERS_MAX && bytes <= BYTES_MAX {
                record.headers.push((name.to_ascii_lowercase(), value.to_vec()));
            }
        }
        record
    }
}

/// An attempt that has ended.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// When it began.
    pub started_at_us: i64,
    /// How long it took.
    pub duration: Duration,
    /// How long each phase took.
    pub phases: Phases,
    /// The address connected to.
    pub remote: Option<SocketAddr>,
    /// The response, if there was one.
    pub response: Option<ResponseRecord>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// It was not repeated on a new connection, because the webhook was changed meanwhile. It counts for nothing, and
    /// must be made with the new configuration.
    pub superseded: bool,
}

impl AttemptReport {
    pub(crate) fn begun(started_at_us: i64) -> Self {
        Self {
            started_at_us,
            duration: Duration::ZERO,
            phases: Phases::default(),
            remote: None,
            response: None,
            failure: None,
            superseded: false,
        }
    }

    /// An attempt that failed before anything was sent, by a fault of the server.
    pub fn internal(started_at_us: i64, message: &str) -> Self {
        Self::of_operator(started_at_us, message, OperatorPart::Internal)
    }

    /// An attempt that failed before anything was sent, because of a part of the operator's, only for this webhook.
    pub(crate) fn of_operator(started_at_us: i64, message: &str, part: OperatorPart) -> Self {
        Self {
            failure: Some(Failure::new(ErrorClass::Internal, message).of_operator(part, false)),
            ..Self::begun(started_at_us)
        }
    }

    /// The operator's fault that caused the failure.
    pub fn operator_fault(&self) -> Option<OperatorFault> {
        let failure = self.failure.as_ref()?;
        let internal = OperatorFault {
            part: OperatorPart::Internal,
            everywhere: false,
        };
        failure
            .operator
            .or((failure.class == ErrorClass::Internal).then_some(internal))
    }

    /// Why it failed.
    pub fn error_class(&self) -> Option<ErrorClass> {
        self.failure.as_ref().map(|failure| failure.class)
    }

    /// Why it failed, for the webhook's owner.
    pub fn error_message(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.message.as_str())
    }

    /// Why it failed, for operators.
    pub fn operator_detail(&self) -> Option<&str> {
        self.failure.as_ref().and_then(|failure| failure.detail.as_deref())
    }

    /// Whether there was a connection to the receiver, or the proxy tried to open one.
    pub(crate) fn was_connected(&self) -> bool {
        self.response.is_some() || self.phases.connect_us.is_some()
    }

    /// The response's status.
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }

    /// The response's headers.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        self.response.as_ref().map_or(&[], |response| &response.headers)
    }

    /// The first part of the response's body.
    pub fn body(&self) -> Option<&Bytes> {
        self.response.as_ref().map(|response| &response.body)
    }

    /// Whether the body had more than was kept.
    pub fn truncated(&self) -> bool {
        self.response.as_ref().is_some_and(|response| response.truncated)
    }

    /// The receiver's clock when it answered: the response's `Date`, if it can be parsed.
    pub fn date_us(&self) -> Option<i64> {
        let (_, value) = self.headers().iter().find(|(name, _)| name == "date")?;
        parse_date(value)
    }

    /// Every `Retry-After` of the response.
    pub fn retry_after(&self) -> Vec<&[u8]> {
        self.response
            .as_ref()
            .map(|response| response.retry_after.iter().map(Vec::as_slice).collect())
            .unwrap_or_default()
    }
}
