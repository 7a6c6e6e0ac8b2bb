//! An owner's settings of a webhook, and their rules.

use std::time::Duration;

use hookwright_domain::{
    filter::WebhookFilter, header::CustomHeaders, limits, retry::RetrySchedule, secret::SigningSecret,
    subscription::Subscription, url::PayloadUrl,
};
use hookwright_storage::WebhookRow;

use crate::app::{
    App,
    access::Caller,
    error::{AppError, AppResult, Faults},
    secrets,
};

const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// An owner's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSpec {
    /// The payload URL; empty for a pull webhook.
    pub payload_url: String,
    /// Whether the receiver pulls its deliveries. Fixed at creation.
    pub pull: bool,
    /// Names of event types, or `*`.
    pub events: Vec<String>,
    /// A CEL expression that events must match; empty for none.
    pub filter: String,
    /// Whether events are sent.
    pub active: bool,
    /// A description.
    pub description: String,
    /// Custom headers of every delivery.
    pub headers: Vec<(String, String)>,
    /// The timeout of an attempt.
    pub timeout: Duration,
    /// Delays between attempts; `None` for the installation's.
    pub retry_delays: Option<Vec<Duration>>,
    /// Maximum number of attempts per second.
    pub rate: Option<f64>,
    /// Whether deliveries are ordered by ordering key.
    pub ordered: bool,
    /// Whether a permanent failure of an ordered delivery blocks its key.
    pub pauses: bool,
    /// Whether TLS certificates are not verified.
    pub skip_verify: bool,
    /// Whether to sign with ed25519 too.
    pub ed25519: bool,
}

/// Settings that satisfy all rules, in normal form.
pub(super) struct CheckedSpec {
    pub(super) spec: WebhookSpec,
    pub(super) secret: Option<SigningSecret>,
}

impl App {
    /// Validates every field and returns the normal form. Event types in `subscribed` may be archived, or no longer visible
    /// to the organization: an update of another field must not fail because of them.
    pub(super) fn check_spec(
        &self,
        caller: &Caller,
        organization: i64,
        spec: WebhookSpec,
        secret: Option<&str>,
        subscribed: Option<&[String]>,
    ) -> AppResult<CheckedSpec> {
        let mut faults = Faults::of("webhook.");
        let payload_url = if spec.pull {
            check_nothing_is_posted(&spec, &mut faults);
            String::new()
        } else {
            self.check_url(&spec.payload_url, &mut faults).unwrap_or_default()
        };
        let subscribed = subscribed.unwrap_or_default();
        let events = self.check_events(caller, organization, &spec.events, subscribed, &mut faults);
        if let Some(Err(error)) = (!spec.filter.is_empty()).then(|| WebhookFilter::compile(&spec.filter)) {
            faults.add("filter", error.rule(), &error);
        }
        if let Err(error) = CustomHeaders::parse(spec.headers.clone(), &self.limits.header_prefix) {
            faults.add(format!("headers[\"{}\"]", error.name()), error.rule(), &error);
        }
        if let Err(error) = limits::check_timeout(spec.timeout) {
            faults.add("timeout", error.rule(), &error);
        }
        if let Some(Err(error)) = spec.rate.map(limits::check_rate) {
            faults.add("requests_per_second", error.rule(), &error);
        }
        if let Some(Err(error)) = spec.retry_delays.clone().map(RetrySchedule::new) {
            faults.add("retry_schedule.delays", error.rule(), &error);
        }
        if spec.skip_verify && !self.limits.allow_insecure_tls {
            let rule = "the operator's configuration does not allow it (allow-insecure-tls)";
            faults.add("insecure_skip_tls_verify", "INSECURE_TLS_NOT_ALLOWED", rule);
        }
        if let Err((reason, rule)) =
            crate::app::texts::check(&spec.description, DESCRIPTION_CHARS_MAX, "DESCRIPTION_TOO_LONG")
        {
            faults.add("description", reason, rule);
        }
        if let Err((reason, rule)) = crate::app::texts::check(&spec.filter, usize::MAX, "") {
            faults.add("filter", reason, rule);
        }
        let secret = secret.and_then(|text| {
            SigningSecret::parse(text)
                .inspect_err(|error| faults.add("signing_secret", error.rule(), error))
                .ok()
        });
        faults.check()?;
        Ok(CheckedSpec {
            spec: WebhookSpec {
                payload_url,
                events,
                ..spec
            },
            secret,
        })
    }

    fn check_url(&self, text: &str, faults: &mut Faults) -> Option<String> {
        let url = PayloadUrl::parse(text)
            .inspect_err(|error| faults.add("payload_url", error.rule(), error))
            .ok()?;
        if let Err(blocked) = self.targets.load().check_url(&url) {
            faults.add("payload_url", blocked.rule(), &blocked);
        }
        Some(url.as_str().to_owned())
    }

    pub(super) fn check_events(
        &self,
        caller: &Caller,
        organization: i64,
        names: &[String],
        subscribed: &[String],
        faults: &mut Faults,
    ) -> Vec<String> {
        let subscription = match Subscription::from_events(names) {
            Ok(subscription) => subscription,
            Err(error) => {
                faults.add("events", error.rule(), &error);
                return Vec::new();
            }
        };
        if !subscription.is_all() {
            let event_types = self.registry.event_types();
            for name in subscription.names() {
                let Some(known) = event_types.get(name) else {
                    let unknown = self.unknown_event_type(name, Some(organization));
                    faults.add("events", "EVENT_TYPE_UNKNOWN", unknown);
                    continue;
                };
                if subscribed.iter().any(|old| old == name) {
                    continue;
                }
                match self.check_visible(caller, known, organization) {
                    Err(error @ AppError::Precondition { reason, .. }) => faults.add("events", reason, error),
                    Err(error) => faults.add("events", "EVENT_TYPE_UNKNOWN", error),
                    Ok(()) if known.row.archived => {
                        let rule = format!("event type `{name}` is archived; unarchive it, or remove it");
                        faults.add("events", "EVENT_TYPE_ARCHIVED", rule);
                    }
                    Ok(()) => {}
                }
            }
        }
        subscription.names().into_iter().map(str::to_owned).collect()
    }

    /// An owner's settings, read from a row.
    pub(super) fn spec_of(&self, row: &WebhookRow) -> AppResult<WebhookSpec> {
        let read = || -> anyhow::Result<WebhookSpec> {
            let delays: Option<Vec<u64>> = row.retry_delays_ms.as_deref().map(serde_json::from_str).transpose()?;
            Ok(WebhookSpec {
                payload_url: row.payload_url.clone(),
                pull: row.pull,
                events: serde_json::from_str(&row.events)?,
                filter: row.filter.clone(),
                active: row.active,
                description: row.description.clone(),
                headers: secrets::open_headers(&self.key, row)?,
                timeout: Duration::from_millis(row.timeout_ms.unsigned_abs()),
                retry_delays: delays.map(|delays| delays.into_iter().map(Duration::from_millis).collect()),
                rate: row.rate_limit,
                ordered: row.ordered,
                pauses: row.pauses,
                skip_verify: row.insecure_skip_verify,
                ed25519: row.ed25519.is_some(),
            })
        };
        read().map_err(|error| AppError::internal(&error))
    }

    /// Whether a URL would be accepted now: the deciding rule, the error, and the normal form.
    pub fn explain_url(&self, text: &str) -> UrlVerdict {
        let url = match PayloadUrl::parse(text) {
            Ok(url) => url,
            Err(error) => {
                let message = error.to_string();
                return UrlVerdict {
                    allowed: false,
                    rule: error.rule().to_owned(),
                    message,
                    normalized: String::new(),
                };
            }
        };
        let normalized = url.as_str().to_owned();
        match self.targets.load().explain_url(&url) {
            Ok(rule) => UrlVerdict {
                allowed: true,
                rule,
                message: String::new(),
                normalized,
            },
            Err(blocked) => {
                let rule = blocked.rule_text();
                UrlVerdict {
                    allowed: false,
                    rule,
                    message: blocked.to_string(),
                    normalized,
                }
            }
        }
    }
}

/// Settings of the POST have no meaning for a pull webhook.
fn check_nothing_is_posted(spec: &WebhookSpec, faults: &mut Faults) {
    let given = [
        ("payload_url", !spec.payload_url.is_empty()),
        ("retry_schedule", spec.retry_delays.is_some()),
        ("requests_per_second", spec.rate.is_some()),
        ("insecure_skip_tls_verify", spec.skip_verify),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        let rule = "has no meaning for a pull webhook (DELIVERY_MODE_PULL), because nothing is posted; omit it";
        faults.add(field, "NOT_FOR_PULL", rule);
    }
}

/// The verdict on a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlVerdict {
    /// Whether it would be accepted.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: String,
    /// The error and its fix.
    pub message: String,
    /// The URL in normal form.
    pub normalized: String,
}
