//! Closed lists of the results of attempts and deliveries.

use std::{fmt, str::FromStr};

/// A text that is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not on the list")]
pub struct UnknownName;

macro_rules! closed_list {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $item_doc:literal])+ $item:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $item_doc])+ $item,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The form in the store, metrics and output.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|item| item.as_str() == text).ok_or(UnknownName)
            }
        }
    };
}

closed_list! {
    /// Why an attempt failed.
    ErrorClass {
        /// The host name did not resolve.
        Dns = "dns",
        /// The address is not allowed; no connection was made.
        BlockedAddress = "blocked_address",
        /// The connection was refused, or the address is unreachable.
        Connect = "connect",
        /// The certificate is for another host name.
        TlsName = "tls_name",
        /// The certificate has expired.
        TlsExpired = "tls_expired",
        /// The certificate is not valid yet.
        TlsNotYetValid = "tls_not_yet_valid",
        /// The certificate's issuer is not trusted.
        TlsUntrusted = "tls_untrusted",
        /// The TLS handshake failed in another way.
        TlsHandshake = "tls_handshake",
        /// The attempt timed out.
        Timeout = "timeout",
        /// The connection was lost after it was established.
        Reset = "reset",
        /// The response is not valid HTTP.
        InvalidResponse = "invalid_response",
        /// A 3xx status.
        Redirect = "redirect",
        /// A status that is neither 2xx nor 3xx nor 410.
        Status = "status",
        /// 410 Gone.
        Gone = "gone",
        /// The egress proxy refused to connect to the receiver, or failed.
        Proxy = "proxy",
        /// A fault of the service itself.
        Internal = "internal",
        /// The service has no certificate authorities to verify receivers.
        TrustStore = "trust_store",
    }
}

impl ErrorClass {
    /// Whether the receiver caused the failure, and not the operator's side.
    pub const fn concerns_receiver(self) -> bool {
        !matches!(self, Self::Proxy | Self::Internal | Self::TrustStore)
    }
}

closed_list! {
    /// A component of the operator that attempts need. While one fails, attempts wait: no receiver is at fault.
    OperatorPart {
        /// The egress proxy.
        Proxy = "proxy",
        /// The DNS servers.
        Resolver = "resolver",
        /// The master key that decrypts signing secrets.
        MasterKey = "master_key",
        /// The certificate authorities that verify receivers.
        TrustStore = "trust_store",
        /// File descriptors of the server.
        Descriptors = "descriptors",
        /// The service itself.
        Internal = "internal",
    }
}

impl OperatorPart {
    /// The fix for the operator.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Proxy => "check that the proxy at egress-proxy is running, and its user and password",
            Self::Resolver => "check that the DNS servers (dns-server, or the system's) answer",
            Self::MasterKey => "start the server with the master key that encrypted the secrets",
            Self::TrustStore => {
                "install the system's CA certificates (package ca-certificates), or set SSL_CERT_FILE or extra-ca-file, and restart"
            }
            Self::Descriptors => {
                "raise the limit of open files (ulimit -n, LimitNOFILE), or lower concurrent-attempts-max"
            }
            Self::Internal => "this is a bug: report it with the log",
        }
    }
}

closed_list! {
    /// The state of a delivery.
    DeliveryState {
        /// Not attempted yet.
        Pending = "pending",
        /// At least one attempt failed, and another is due.
        Retrying = "retrying",
        /// All attempts failed, and the delivery blocks its key until someone retries or skips it.
        Paused = "paused",
        /// The receiver answered with 2xx. Final.
        Delivered = "delivered",
        /// All attempts failed, or the receiver is gone. Final.
        Failed = "failed",
        /// Ended without further attempts. Final.
        Cancelled = "cancelled",
    }
}

impl DeliveryState {
    /// Whether the state is final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

closed_list! {
    /// What happens to an event whose payload does not fit the schema of its type.
    SchemaMode {
        /// The event is rejected.
        Reject = "reject",
        /// The event is published with warnings.
        Warn = "warn",
        /// The event is published without validation.
        Off = "off",
    }
}

/// The meaning of a response's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// 2xx.
    Success,
    /// 3xx: not followed.
    Redirect,
    /// 410: the receiver wants no more requests.
    Gone,
    /// Any other HTTP status, including 101.
    Failure,
    /// Not an HTTP status: below 100 or above 599.
    Invalid,
}

/// Classifies a status.
pub const fn classify_status(status: u16) -> StatusOutcome {
    match status {
        200..=299 => StatusOutcome::Success,
        300..=399 => StatusOutcome::Redirect,
        410 => StatusOutcome::Gone,
        100..=199 | 400..=599 => StatusOutcome::Failure,
        _ => StatusOutcome::Invalid,
    }
}

impl StatusOutcome {
    /// The error class of a status; `None` for success.
    pub const fn error_class(self) -> Option<ErrorClass> {
        match self {
            Self::Success => None,
            Self::Redirect => Some(ErrorClass::Redirect),
            Self::Gone => Some(ErrorClass::Gone),
            Self::Failure => Some(ErrorClass::Status),
            Self::Invalid => Some(ErrorClass::InvalidResponse),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_r13_r16_statuses() {
        for status in [200, 204, 205, 299] {
            assert_eq!(classify_status(status), StatusOutcome::Success, "{status}");
        }
        for status in [300, 302, 399] {
            assert_eq!(classify_status(status), StatusOutcome::Redirect, "{status}");
        }
        for status in [101, 400, 401, 404, 413, 429, 500, 502, 503, 504, 599] {
            assert_eq!(classify_status(status), StatusOutcome::Failure, "{status}");
        }
        for status in [0, 99, 600, 999] {
            assert_eq!(classify_status(status), StatusOutcome::Invalid, "{status}");
        }
        assert_eq!(classify_status(410), StatusOutcome::Gone);
    }

    #[test]
    fn names_survive() {
        for class in ErrorClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
        }
        assert!("nonsense".parse::<DeliveryState>().is_err());
    }
}
