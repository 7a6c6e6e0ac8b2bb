//! What changes of configuration are made to, so that other nodes read again only what changed.

use std::collections::{BTreeSet, HashMap};

use crate::{
    operations::OperationRow,
    rows::{EndedSessionRow, EventTypeRow, OrganizationRow, RevokedLinkRow, SecretRow, TokenRow, WebhookRow},
};

/// What one change was made to.
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
    /// The backlogs that are being discarded, which are read with every other part.
    Discards,
    /// More than one of these, or what this version does not know.
    Everything,
}

impl ConfigurationPart {
    /// As it is stored: a name, and an id where there is one.
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
            // Another version may know more.
            _ => Self::Everything,
        }
    }
}

/// The parts that several changes were made to.
#[derive(Debug, Default)]
pub(crate) struct ChangedParts {
    pub(crate) organizations: BTreeSet<i64>,
    pub(crate) webhooks: BTreeSet<i64>,
    pub(crate) event_types: bool,
    pub(crate) tokens: bool,
    pub(crate) sessions: bool,
}

impl ChangedParts {
    /// `None` where everything is to be read again.
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

/// What a node lacks of the configuration.
#[derive(Debug)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// These rows.
    Parts(Box<ChangedRows>),
    /// So much that all is to be read again, or nobody knows.
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
