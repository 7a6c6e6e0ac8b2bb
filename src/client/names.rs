//! Expands ids to resource names.

use clap::Args;

use super::{Client, failure::UsageError};

/// The organization flag. [`Client`] has the default.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OrganizationArgs {
    /// `acme` or `organizations/acme` [env: HOOKWRIGHT_ORGANIZATION] [default: the profile's]
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
}

impl OrganizationArgs {
    /// The given value, or `default`.
    pub(super) fn given<'a>(&'a self, default: Option<&'a str>) -> Option<&'a str> {
        self.organization.as_deref().or(default)
    }
}

/// One webhook.
#[derive(Args, Debug)]
pub(crate) struct WebhookArgs {
    /// `wh_...` with --organization, or the full resource name
    webhook: String,
    #[command(flatten)]
    organization: OrganizationArgs,
}

impl WebhookArgs {
    /// Its resource name.
    pub(crate) fn name(&self, client: &Client) -> anyhow::Result<String> {
        Ok(client.within(&self.organization, "webhooks", &self.webhook)?)
    }
}

/// `acme` or `organizations/acme` as a resource name.
pub(crate) fn organization(text: &str) -> Result<String, UsageError> {
    let id = text.strip_prefix("organizations/").unwrap_or(text);
    if id.is_empty() || id.contains('/') {
        return Err(UsageError::new(format!(
            "`{text}` is not an organization: write `acme` or `organizations/acme`"
        )));
    }
    Ok(format!("organizations/{id}"))
}

/// `clocking` or `eventTypes/clocking` as a resource name.
pub(crate) fn event_type(text: &str) -> String {
    format!("eventTypes/{}", text.strip_prefix("eventTypes/").unwrap_or(text))
}

/// An id within an organization, or a full resource name, as a resource name. `collection` is for example `webhooks`.
pub(crate) fn within(organization_text: Option<&str>, collection: &str, text: &str) -> Result<String, UsageError> {
    if text.starts_with("organizations/") {
        return Ok(text.to_owned());
    }
    let id = text
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(text);
    let Some(parent) = organization_text else {
        return Err(UsageError::new(format!(
            "no organization given for `{text}`: add --organization, or write the full name: organizations/ORGANIZATION/{collection}/{id}"
        )));
    };
    Ok(format!("{}/{collection}/{id}", organization(parent)?))
}

/// The last part of a resource name, which users type.
pub(crate) fn id(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, id)| id)
}

/// The id of the organization that a resource belongs to.
pub(crate) fn owner(name: &str) -> &str {
    let within = name.strip_prefix("organizations/").unwrap_or(name);
    within.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_short_or_full() {
        assert_eq!(organization("acme").unwrap(), "organizations/acme");
        assert_eq!(organization("organizations/acme").unwrap(), "organizations/acme");
        assert!(organization("organizations/acme/webhooks/wh_1").is_err());
        let full = "organizations/acme/webhooks/wh_1";
        for text in ["wh_1", "webhooks/wh_1", full] {
            assert_eq!(within(Some("acme"), "webhooks", text).unwrap(), full);
        }
        assert_eq!(within(None, "webhooks", full).unwrap(), full);
        let message = within(None, "webhooks", "wh_1").unwrap_err().to_string();
        assert!(message.contains("--organization"), "{message}");
        assert_eq!((id(full), owner(full)), ("wh_1", "acme"));
    }
}
