//! The configuration as rows, and the parts that a change concerns, so that other nodes read only those parts again.

use std::collections::{BTreeSet, HashMap};

use crate::{
    operations::OperationRow,
    rows::{EndedSessionRow, EventTypeRow, OrganizationRow, RevokedLinkRow, SecretRow, TokenRow, WebhookRow},
};

/// All configuration.
#[derive(Clone, Debug, Default)]
pub struct CatalogueRows {
    /// Organizations that are not deleted.
    pub organizations: Vec<OrganizationRow>,
    /// Every event type.
    pub event_types: Vec<EventTypeRow>,
    /// Webhooks that are not deleted.
    pub webhooks: Vec<WebhookRow>,
    /// Every signing secret.
    pub signing_secrets: Vec<SecretRow>,
    /// Every token.
    pub tokens: Vec<TokenRow>,
    /// Ended sessions of the console.
    pub ended_sessions: Vec<EndedSessionRow>,
    /// Revoked portal links.
    pub revoked_links: Vec<RevokedLinkRow>,
    /// Backlogs that are being discarded.
    pub discards: Vec<OperationRow>,
}

/// The part that one change concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigurationPart {
    /// An organization's own row.
    Organization(i64),
    /// A webhook, with its secrets.
    Webhook(i64),
    /// The event types.
    EventTypes,
    /// Tokens and revoked portal links.
    Tokens,
    /// Ended sessions of the console.
    Sessions,
    /// The backlogs that are being discarded. Nodes read them with every other part.
    Discards,
    /// More than one of these, or a part that this version does not know.
    Everything,
}

impl ConfigurationPart {
    /// Its stored form: a name, and an id if it has one.
    pub(crate) fn stored(self) -> (&'static str, i64) {
        match self {
            Self::Organization(id) => ("organization", id),
            Self::Webhook(id) => ("webhook", id),
            Self::EventTypes => ("event_types", 0),
            Self::Tokens => ("tokens", 0),
            Self::Sessions => ("sessions", 0),
            Self::Discards => ("discards", 0),
            Self::Everything => ("everything", 0),
        }
    }

    pub(crate) fn read(name: &str, id: i64) -> Self {
        match name {
            "organization" => Self::Organization(id),
            "webhook" => Self::Webhook(id),
            "event_types" => Self::EventTypes,
            "tokens" => Self::Tokens,
            "sessions" => Self::Sessions,
            "discards" => Self::Discards,
            // Another version may have more parts.
            _ => Self::Everything,
        }
    }
}

/// The parts that several changes concerned.
#[derive(Debug, Default)]
pub(crate) struct ChangedParts {
    pub(crate) organizations: BTreeSet<i64>,
    pub(crate) webhooks: BTreeSet<i64>,
    pub(crate) event_types: bool,
    pub(crate) tokens: bool,
    pub(crate) sessions: bool,
}

impl ChangedParts {
    /// `None` if a node must read everything again.
    pub(crate) fn of(parts: impl IntoIterator<Item = ConfigurationPart>) -> Option<Self> {
        let mut changed = Self::default();
        for part in parts {
            match part {
                ConfigurationPart::Organization(id) => drop(changed.organizations.insert(id)),
                ConfigurationPart::Webhook(id) => drop(changed.webhooks.insert(id)),
                ConfigurationPart::EventTypes => changed.event_types = true,
                ConfigurationPart::Tokens => changed.tokens = true,
                ConfigurationPart::Sessions => changed.sessions = true,
                ConfigurationPart::Discards => {}
                ConfigurationPart::Everything => return None,
            }
        }
        Some(changed)
    }
}

/// The rows of the parts that changed.
#[derive(Debug, Default)]
pub struct ChangedRows {
    /// By id; `None` where it was deleted.
    pub organizations: HashMap<i64, Option<OrganizationRow>>,
    /// By id, with their secrets; `None` where it was deleted.
    pub webhooks: HashMap<i64, Option<(WebhookRow, Vec<SecretRow>)>>,
    /// All of them, if one changed.
    pub event_types: Option<Vec<EventTypeRow>>,
    /// All of them, if one changed.
    pub tokens: Option<(Vec<TokenRow>, Vec<RevokedLinkRow>)>,
    /// All of them, if one changed.
    pub ended_sessions: Option<Vec<EndedSessionRow>>,
    /// All backlogs that are being discarded.
    pub discards: Vec<OperationRow>,
}

/// The configuration that a node is missing.
#[derive(Debug)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// These rows.
    Parts(Box<ChangedRows>),
    /// Everything must be read again, because too much changed or the changes are unknown.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_stored_and_an_unknown_one_is_everything() {
        for part in [
            ConfigurationPart::Organization(1),
            ConfigurationPart::Webhook(2),
            ConfigurationPart::EventTypes,
            ConfigurationPart::Tokens,
            ConfigurationPart::Sessions,
            ConfigurationPart::Discards,
            ConfigurationPart::Everything,
        ] {
            let (name, id) = part.stored();
            assert_eq!(ConfigurationPart::read(name, id), part);
        }
        assert_eq!(ConfigurationPart::read("quotas", 7), ConfigurationPart::Everything);
        assert!(ChangedParts::of([ConfigurationPart::Tokens, ConfigurationPart::Everything]).is_none());
    }
}
