//! Filter flags that listing, watching and replaying share.

use std::sync::LazyLock;

use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use hookwright_proto::v1::{DeliveryState, ErrorClass};

use crate::{
    client::{Client, names::OrganizationArgs},
    output,
};

/// The state of a delivery.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// Not attempted yet
    Pending,
    /// At least one attempt failed, and another one is due
    Retrying,
    /// The receiver answered with a 2xx status, or acknowledged it
    Delivered,
    /// All attempts failed, or the receiver returned 410
    Failed,
    /// Ended without further attempts
    Cancelled,
    /// All attempts failed, and the delivery blocks its ordering key
    Paused,
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Retrying => Self::Retrying,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::Paused => Self::Paused,
        }
    }
}

/// Parses a final state, which is what a replay selects by.
pub(crate) fn final_state() -> impl TypedValueParser<Value = State> {
    let finals = [State::Delivered, State::Failed, State::Cancelled];
    let names = finals.iter().filter_map(State::to_possible_value);
    PossibleValuesParser::new(names).try_map(|name| State::from_str(&name, false))
}

/// An error class, by its name in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(ErrorClass);

static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let known = (1..).map_while(|number| ErrorClass::try_from(number).ok());
    known.map(Class).collect()
});

impl ValueEnum for Class {
    fn value_variants<'a>() -> &'a [Self] {
        &CLASSES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let name = output::enum_name(self.0.as_str_name(), "ERROR_CLASS_");
        let alias = name.replace('_', "-");
        Some(PossibleValue::new(name).alias(alias))
    }
}

/// The states as the API takes them.
pub(crate) fn states(states: &[State]) -> Vec<i32> {
    states.iter().map(|state| DeliveryState::from(*state).into()).collect()
}

/// The classes as the API takes them.
pub(crate) fn classes(classes: &[Class]) -> Vec<i32> {
    classes.iter().map(|class| i32::from(class.0)).collect()
}

/// An event type's id, from an id or a resource name.
pub(crate) fn event_type_id(text: &str) -> String {
    text.strip_prefix("eventTypes/").unwrap_or(text).to_owned()
}

/// Filters of listing and watching.
#[derive(Args, Debug)]
pub(super) struct Choice {
    #[command(flatten)]
    pub(super) organization: OrganizationArgs,
    /// Only deliveries to this webhook: `wh_...` or a resource name
    #[arg(long, value_name = "WEBHOOK")]
    webhook: Option<String>,
    /// Only deliveries in this state; repeatable
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// Only deliveries of events of this type; `ping` for pings
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    event_type: String,
    /// Only deliveries whose last attempt failed with this error class, for example timeout; repeatable
    #[arg(long = "error", value_name = "CLASS", value_delimiter = ',')]
    errors: Vec<Class>,
}

/// The filter as the API takes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) parent: String,
    pub(super) webhook: String,
    pub(super) states: Vec<i32>,
    pub(super) event_type: String,
    pub(super) error_classes: Vec<i32>,
}

impl Choice {
    pub(super) fn read(&self, client: &Client) -> anyhow::Result<Chosen> {
        let webhook = self.webhook.as_deref();
        Ok(Chosen {
            parent: client.parent(&self.organization)?,
            webhook: webhook.map_or(Ok(String::new()), |id| {
                client.within(&self.organization, "webhooks", id)
            })?,
            states: states(&self.states),
            event_type: event_type_id(&self.event_type),
            error_classes: classes(&self.errors),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_class_has_a_name_to_type() {
        assert_eq!(CLASSES.len(), 17, "the API's classes but for the unspecified one");
        for text in ["tls_name", "tls-name", "TLS_NAME"] {
            assert_eq!(Class::from_str(text, true), Ok(Class(ErrorClass::TlsName)), "{text}");
        }
        assert!(Class::from_str("unspecified", true).is_err());
    }
}
