//! The values of the form of a webhook as text, and their meaning.

use std::{collections::BTreeSet, time::Duration};

use super::super::{errors::Errors, fields::Fields, units};
use crate::app::webhooks::WebhookSpec;

/// The texts and checkboxes of the form.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) payload_url: String,
    pub(super) pull: bool,
    pub(super) all_events: bool,
    pub(super) events: BTreeSet<String>,
    pub(super) more_events: String,
    pub(super) filter: String,
    pub(super) active: bool,
    pub(super) description: String,
    pub(super) headers: String,
    pub(super) timeout: String,
    pub(super) rate: String,
    pub(super) delays: String,
    pub(super) ordered: bool,
    pub(super) pauses: bool,
    pub(super) skip_verify: bool,
    pub(super) ed25519: bool,
    /// The version being changed, to detect concurrent changes.
    pub(super) version: i64,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            payload_url: String::new(),
            pull: false,
            all_events: false,
            events: BTreeSet::new(),
            more_events: String::new(),
            filter: String::new(),
            active: true,
            description: String::new(),
            headers: String::new(),
            timeout: "10s".to_owned(),
            rate: String::new(),
            delays: String::new(),
            ordered: false,
            pauses: false,
            skip_verify: false,
            ed25519: false,
            version: 0,
        }
    }
}

impl Values {
    /// The current settings.
    pub(super) fn of(spec: &WebhookSpec, version: i64) -> Self {
        let headers = spec.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let delays = spec.retry_delays.iter().flatten().map(|delay| units::shown(*delay));
        Self {
            payload_url: spec.payload_url.clone(),
            pull: spec.pull,
            all_events: spec.events.iter().any(|event| event == "*"),
            events: spec.events.iter().filter(|event| *event != "*").cloned().collect(),
            more_events: String::new(),
            filter: spec.filter.clone(),
            active: spec.active,
            description: spec.description.clone(),
            headers: headers.collect(),
            timeout: units::shown(spec.timeout),
            rate: spec.rate.map(|rate| rate.to_string()).unwrap_or_default(),
            delays: delays.collect::<Vec<_>>().join(", "),
            ordered: spec.ordered,
            pauses: spec.pauses,
            skip_verify: spec.skip_verify,
            ed25519: spec.ed25519,
            version,
        }
    }

    /// The submitted values.
    pub(super) fn read(fields: &Fields) -> Self {
        let typed = units::names(fields.get("more_events"));
        Self {
            payload_url: fields.get("payload_url").to_owned(),
            pull: fields.get("mode") == "pull",
            all_events: fields.all("event").any(|event| event == "*"),
            events: fields
                .all("event")
                .filter(|event| *event != "*")
                .chain(typed)
                .map(str::to_owned)
                .collect(),
            more_events: fields.get("more_events").to_owned(),
            filter: fields.get("filter").to_owned(),
            active: fields.has("active"),
            description: fields.get("description").to_owned(),
            headers: fields.raw("headers").to_owned(),
            timeout: fields.get("timeout").to_owned(),
            rate: fields.get("rate").to_owned(),
            delays: fields.get("delays").to_owned(),
            ordered: fields.has("ordered"),
            pauses: fields.has("pauses"),
            skip_verify: fields.has("skip_verify"),
            ed25519: fields.has("ed25519"),
            version: fields.get("version").parse().unwrap_or(0),
        }
    }

    /// The typed event types.
    pub(super) fn typed(&self) -> impl Iterator<Item = &str> {
        units::names(&self.more_events)
    }

    /// The settings, or the errors of the texts.
    pub(super) fn spec(&self) -> Result<WebhookSpec, Errors> {
        let mut errors = Errors::default();
        let timeout = units::duration(&self.timeout).unwrap_or_else(|error| {
            errors.add("timeout", error);
            Duration::ZERO
        });
        let delays = units::durations(&self.delays).unwrap_or_else(|error| {
            errors.add("retry_schedule", error);
            Vec::new()
        });
        let rate: Option<Result<f64, _>> = (!self.rate.is_empty()).then(|| self.rate.parse());
        if let Some(Err(_)) = rate {
            errors.add("requests_per_second", "must be a number, such as 10 or 0.5");
        }
        let headers = self.header_pairs(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(WebhookSpec {
            payload_url: self.payload_url.clone(),
            pull: self.pull,
            events: if self.all_events {
                vec!["*".to_owned()]
            } else {
                self.events.iter().cloned().collect()
            },
            filter: self.filter.clone(),
            active: self.active,
            description: self.description.clone(),
            headers,
            timeout,
            retry_delays: (!delays.is_empty()).then_some(delays),
            rate: rate.and_then(Result::ok),
            ordered: self.ordered,
            pauses: self.pauses,
            skip_verify: self.skip_verify,
            ed25519: self.ed25519,
        })
    }

    fn header_pairs(&self, errors: &mut Errors) -> Vec<(String, String)> {
        let lines = self.headers.lines().map(str::trim).filter(|line| !line.is_empty());
        let pairs = lines.filter_map(|line| match line.split_once(':') {
            Some((name, value)) => Some((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                errors.add("headers", format!("`{line}` is not a header; write Name: value"));
                None
            }
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_values_are_the_stored_ones() {
        let spec = WebhookSpec {
            payload_url: "https://example.com/".to_owned(),
            pull: false,
            events: vec!["a".to_owned(), "b".to_owned()],
            filter: "true".to_owned(),
            active: true,
            description: "note".to_owned(),
            headers: vec![("X-A".to_owned(), "1: 2".to_owned())],
            timeout: Duration::from_millis(1_500),
            retry_delays: Some(vec![Duration::from_secs(5), Duration::from_secs(120)]),
            rate: Some(0.5),
            ordered: true,
            pauses: true,
            skip_verify: false,
            ed25519: true,
        };
        assert_eq!(Values::of(&spec, 3).spec().unwrap(), spec);
    }

    #[test]
    fn the_wildcard_replaces_the_others() {
        let fields = Fields::parse(b"event=a&event=*&timeout=10s");
        assert_eq!(Values::read(&fields).spec().unwrap().events, ["*"]);
    }

    #[test]
    fn every_text_that_means_nothing_is_named() {
        let fields = Fields::parse(b"timeout=soon&rate=fast&delays=5s,later&headers=nonsense");
        let errors = Values::read(&fields).spec().unwrap_err();
        for field in ["timeout", "requests_per_second", "retry_schedule", "headers"] {
            assert!(errors.at(field).is_some(), "{field}");
        }
    }
}
