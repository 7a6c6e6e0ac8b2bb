//! What is recorded of an attempt beside the columns of its row: one JSON text, for people and for the API.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Webhook,
    request::PreparedRequest,
    sender::{AttemptReport, Phases},
};

/// What stands for a value that is secret.
pub const REDACTED: &str = "(redacted)";

/// Request and response of one attempt, without bodies.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct AttemptDetails {
    /// The URL posted to.
    pub url: String,
    /// The address connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Microseconds by phase; a phase that did not happen is absent.
    #[serde(default)]
    pub phases: Phases,
    /// The headers sent; signatures and the owner's values are redacted.
    #[serde(default)]
    pub request: Vec<(String, String)>,
    /// The headers received.
    #[serde(default)]
    pub response: Vec<(String, String)>,
    /// Whether the response's body was longer than what was kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What operators may know beyond the message for the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_detail: Option<String>,
}

impl AttemptDetails {
    pub(crate) fn new(webhook: &Webhook, prepared: Option<&PreparedRequest<'_>>, report: &AttemptReport) -> Self {
        let own = webhook.headers.len();
        let sent = prepared.map_or(&[][..], |prepared| &prepared.headers);
        let request = sent
            .iter()
            .enumerate()
            .map(|(index, (name, value))| {
                let secret = index + own >= sent.len() || name.to_ascii_lowercase().contains("signature");
                let value = if secret { REDACTED } else { value };
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self {
            url: webhook.url.as_str().to_owned(),
            remote: report.remote.map(|remote| remote.to_string()),
            phases: report.phases.clone(),
            request,
            response: report
                .headers()
                .iter()
                .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
                .collect(),
            truncated: report.truncated(),
            operator_detail: report.operator_detail().map(str::to_owned),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}
