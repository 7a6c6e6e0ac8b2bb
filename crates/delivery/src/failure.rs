//! The failure of an attempt, and its phases. The connector, TLS and the sender create failures.

use hookwright_domain::outcome::{ErrorClass, OperatorPart};
use serde::Deserialize;

/// The duration of each phase, in microseconds. A phase that did not happen is absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the host name.
    #[serde(default)]
    pub dns_us: Option<i64>,
    /// Connecting.
    #[serde(default)]
    pub connect_us: Option<i64>,
    /// The TLS handshake.
    #[serde(default)]
    pub tls_us: Option<i64>,
    /// Sending, and waiting for the response's head.
    #[serde(default)]
    pub wait_us: Option<i64>,
    /// Reading the response's body.
    #[serde(default)]
    pub body_us: Option<i64>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub class: ErrorClass,
    /// The message for the webhook's owner. It never contains an address or a policy's reason.
    pub message: String,
    /// The details for operators.
    pub detail: Option<String>,
    /// The fault is the operator's, so it says nothing about the receiver.
    pub operator: Option<OperatorFault>,
}

/// A fault of a part of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorFault {
    /// The part.
    pub part: OperatorPart,
    /// Every attempt would fail.
    pub everywhere: bool,
}

impl OperatorFault {
    /// Whether every attempt for the same webhook fails by it, until its configuration or the server changes. DNS
    /// servers may answer the next question, and a bug may affect a single delivery.
    pub(crate) fn concerns_webhook(self) -> bool {
        matches!(self.part, OperatorPart::MasterKey | OperatorPart::TrustStore)
    }
}

impl Failure {
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            detail: None,
            operator: None,
        }
    }

    /// The fault is the operator's; `everywhere` if every attempt would fail.
    pub(crate) fn of_operator(mut self, part: OperatorPart, everywhere: bool) -> Self {
        self.operator = Some(OperatorFault { part, everywhere });
        self
    }

    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// A target that the policy refuses. Owners get the same message for every reason.
    pub(crate) fn blocked(rule: String) -> Self {
        Self::new(
            ErrorClass::BlockedAddress,
            "the URL leads to an address that is not allowed",
        )
        .with_detail(rule)
    }
}
