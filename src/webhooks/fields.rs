//! A webhook's fields as flags.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hookwright_proto::v1::{DeliveryMode, OrderedFailure, Ordering, RetrySchedule, Webhook};

use crate::{
    client::{failure::UsageError, input},
    units::parse_duration,
};

/// The fields of a new webhook.
#[derive(Args, Debug)]
pub(crate) struct CreateFields {
    /// URL to post deliveries to, for example `https://www.example.com/api/listener`
    #[arg(long, value_name = "URL", required_unless_present = "pull", conflicts_with = "pull")]
    payload_url: Option<String>,
    /// Create a pull webhook: the receiver pulls its deliveries, see `hookwright deliveries pull`; cannot be changed later
    #[arg(long)]
    pull: bool,
    /// Event type to subscribe to, or `*` for all; repeatable
    #[arg(
        long = "event-type",
        alias = "event",
        value_name = "TYPE",
        required = true,
        value_delimiter = ','
    )]
    events: Vec<String>,
    /// Create it paused: it receives nothing until it is resumed
    #[arg(long)]
    inactive: bool,
    /// Signing secret: text, @FILE, or - for standard input; generated if absent
    #[arg(long, value_name = "SECRET|@FILE|-")]
    signing_secret: Option<String>,
    #[command(flatten)]
    common: CommonFields,
}

/// The changed fields of a webhook.
#[derive(Args, Debug)]
pub(crate) struct UpdateFields {
    /// URL to post deliveries to
    #[arg(long, value_name = "URL")]
    payload_url: Option<String>,
    /// Event type to subscribe to, or `*` for all; repeatable; replaces the list
    #[arg(long = "event-type", alias = "event", value_name = "TYPE", value_delimiter = ',')]
    events: Vec<String>,
    /// Whether events are sent
    #[arg(long, value_name = "true|false")]
    active: Option<bool>,
    /// Reset a field to its default; repeatable
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    clear: Vec<Clearable>,
    /// Fail if the webhook has changed since this etag was read
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    common: CommonFields,
}

/// The fields that create and update share.
#[derive(Args, Debug)]
struct CommonFields {
    /// Description, at most 1,000 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Custom header of every delivery, `NAME: VALUE`; repeatable; replaces all headers
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,
    /// Timeout of an attempt, including connecting: 1s to 30s [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    attempt_timeout: Option<Duration>,
    /// Delay before a retry, 1s to 7d; repeatable, up to 100 [default: the installation's schedule]
    #[arg(long = "retry-delay", value_name = "DURATION", value_parser = parse_duration, value_delimiter = ',')]
    retry_delays: Vec<Duration>,
    /// Maximum number of attempts started per second, 0.01 to 10000 [default: unlimited]
    #[arg(long, value_name = "RATE")]
    requests_per_second: Option<f64>,
    /// Send even if the receiver's TLS certificate cannot be verified; the operator must have allowed it
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure_skip_tls_verify: Option<bool>,
    /// Also sign with ed25519 (`v1a` in webhook-signature)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ed25519: Option<bool>,
    /// CEL expression that selects events of the subscribed types, for example `attributes.region == 'eu'`: text, @FILE, or
    /// - for standard input [default: all]
    #[arg(long, value_name = "CEL|@FILE|-")]
    filter: Option<String>,
    /// Whether the deliveries of each ordering key are sent in order, one at a time [default: unordered]
    #[arg(long, value_name = "ORDERING")]
    ordering: Option<OrderingChoice>,
    /// What happens to a key of an ordered webhook when one of its deliveries fails permanently [default: skip]
    #[arg(long, value_name = "WHAT")]
    ordered_failure: Option<FailureChoice>,
}

/// The order of deliveries.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderingChoice {
    /// Concurrent
    Unordered,
    /// One at a time for each ordering key
    Ordered,
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailureChoice {
    /// The next delivery of the key is sent
    Skip,
    /// The key is blocked until someone retries or skips the delivery
    Pause,
}

/// A field that can be reset to its default.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Clearable {
    Description,
    Headers,
    AttemptTimeout,
    RetryDelays,
    RequestsPerSecond,
    Filter,
}

impl Clearable {
    fn path(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Headers => "headers",
            Self::AttemptTimeout => "timeout",
            Self::RetryDelays => "retry_schedule",
            Self::RequestsPerSecond => "requests_per_second",
            Self::Filter => "filter",
        }
    }
}

impl CreateFields {
    /// The webhook to create.
    pub(super) fn read(self) -> anyhow::Result<Webhook> {
        let mut webhook = Webhook {
            payload_url: self.payload_url.unwrap_or_default(),
            events: self.events,
            active: Some(!self.inactive),
            signing_secret: self
                .signing_secret
                .map_or(Ok(String::new()), |value| input::read_line(&value))?,
            ..Webhook::default()
        };
        if self.pull {
            webhook.set_delivery_mode(DeliveryMode::Pull);
        }
        self.common.put(&mut webhook)?;
        Ok(webhook)
    }
}

impl UpdateFields {
    /// The webhook with its new values, and the paths of the changed fields.
    pub(super) fn read(self) -> anyhow::Result<(Webhook, Vec<String>)> {
        let mut webhook = Webhook {
            etag: self.etag,
            ..Webhook::default()
        };
        let mut paths = self.common.put(&mut webhook)?;
        if let Some(payload_url) = self.payload_url {
            webhook.payload_url = payload_url;
            paths.push("payload_url");
        }
        if !self.events.is_empty() {
            webhook.events = self.events;
            paths.push("events");
        }
        if self.active.is_some() {
            webhook.active = self.active;
            paths.push("active");
        }
        for field in self.clear {
            if paths.contains(&field.path()) {
                return Err(UsageError::new(format!("`{}` is both set and cleared", field.path())).into());
            }
            paths.push(field.path());
        }
        if paths.is_empty() {
            return Err(UsageError::new("nothing to change: give the fields to change, see --help").into());
        }
        Ok((webhook, paths.into_iter().map(str::to_owned).collect()))
    }
}

impl CommonFields {
    /// Sets the given fields, and returns their paths.
    fn put(self, webhook: &mut Webhook) -> anyhow::Result<Vec<&'static str>> {
        let mut paths = Vec::new();
        if let Some(description) = self.description {
            webhook.description = description;
            paths.push("description");
        }
        if !self.headers.is_empty() {
            let count = self.headers.len();
            webhook.headers = self.headers.into_iter().collect();
            if webhook.headers.len() != count {
                return Err(UsageError::new("a header is given twice: give each name once").into());
            }
            paths.push("headers");
        }
        if let Some(timeout) = self.attempt_timeout {
            webhook.timeout = Some(input::duration(timeout));
            paths.push("timeout");
        }
        if !self.retry_delays.is_empty() {
            webhook.retry_schedule = Some(RetrySchedule {
                delays: self.retry_delays.into_iter().map(input::duration).collect(),
            });
            paths.push("retry_schedule");
        }
        if self.requests_per_second.is_some() {
            webhook.requests_per_second = self.requests_per_second;
            paths.push("requests_per_second");
        }
        if let Some(skip) = self.insecure_skip_tls_verify {
            webhook.insecure_skip_tls_verify = skip;
            paths.push("insecure_skip_tls_verify");
        }
        if let Some(sign) = self.ed25519 {
            webhook.ed25519_signing = sign;
            paths.push("ed25519_signing");
        }
        if let Some(filter) = self.filter {
            webhook.filter = input::read_line(&filter)?;
            paths.push("filter");
        }
        if let Some(ordering) = self.ordering {
            webhook.set_ordering(match ordering {
                OrderingChoice::Unordered => Ordering::Unordered,
                OrderingChoice::Ordered => Ordering::Ordered,
            });
            paths.push("ordering");
        }
        if let Some(failure) = self.ordered_failure {
            webhook.set_ordered_failure(match failure {
                FailureChoice::Skip => OrderedFailure::Skip,
                FailureChoice::Pause => OrderedFailure::Pause,
            });
            paths.push("ordered_failure");
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Update {
        #[command(flatten)]
        fields: UpdateFields,
    }

    fn update(line: &[&str]) -> anyhow::Result<(Webhook, Vec<String>)> {
        Update::try_parse_from([&["update"], line].concat())?.fields.read()
    }

    #[test]
    fn only_what_is_given_is_changed() {
        let (webhook, paths) =
            update(&["--event-type", "clocking,checksheet", "--active", "false", "--ed25519"]).unwrap();
        assert_eq!(webhook.events, ["clocking", "checksheet"]);
        assert_eq!((webhook.active, webhook.ed25519_signing), (Some(false), true));
        assert_eq!(paths, ["ed25519_signing", "events", "active"]);
    }

    #[test]
    fn event_types_are_named_as_in_other_commands_and_as_before() {
        for flag in ["--event-type", "--event"] {
            assert_eq!(update(&[flag, "clocking"]).unwrap().0.events, ["clocking"], "{flag}");
        }
    }

    #[test]
    fn a_field_can_be_put_back_to_its_default() {
        let (webhook, paths) = update(&["--clear", "attempt-timeout"]).unwrap();
        assert_eq!((webhook.timeout, paths), (None, vec!["timeout".to_owned()]));
        assert!(update(&["--clear", "headers", "--header", "A: b"]).is_err());
        assert!(update(&[]).is_err());
    }
}
