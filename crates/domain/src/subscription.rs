//! The event types of a webhook.

use crate::name::{EventTypeName, NameError};

/// The wildcard.
pub const WILDCARD: &str = "*";
/// The maximum number of event types of a webhook.
pub const EVENTS_MAX: usize = 1_000;

/// Why a list of events is not a subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// No event at all.
    #[error("must name at least one event type, or `*`")]
    Empty,
    /// Too many.
    #[error("must name at most {EVENTS_MAX} event types; it names {0}. Use `*` for all")]
    TooMany(usize),
    /// `ping` is sent by the service itself.
    #[error("`ping` cannot be subscribed to: every webhook receives it when it is created or changed")]
    Ping,
    /// Not a name.
    #[error("the event at position {index} is not an event type: {error}")]
    Name {
        /// Its position in the list, from 0.
        index: usize,
        /// The error.
        error: NameError,
    },
}

impl SubscriptionError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Empty => "EVENTS_EMPTY",
            Self::TooMany(_) => "EVENTS_TOO_MANY",
            Self::Ping => "EVENT_TYPE_RESERVED",
            Self::Name { .. } => "INVALID_EVENT_TYPE_ID",
        }
    }
}

/// A webhook's event types: all, or a list that is sorted and without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `None` for all.
    types: Option<Vec<EventTypeName>>,
}

impl Subscription {
    /// From the given names. A `*` among them replaces all others, which must still be valid names.
    ///
    /// # Errors
    /// When the list is empty or too long, or contains a name that cannot be subscribed to.
    pub fn from_events(events: &[String]) -> Result<Self, SubscriptionError> {
        match events.len() {
            0 => return Err(SubscriptionError::Empty),
            count if count > EVENTS_MAX => return Err(SubscriptionError::TooMany(count)),
            _ => {}
        }
        let mut all = false;
        let mut types = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            if event == WILDCARD {
                all = true;
                continue;
            }
            match EventTypeName::parse(event) {
                Ok(name) => types.push(name),
                Err(NameError::Reserved) => return Err(SubscriptionError::Ping),
                Err(error) => return Err(SubscriptionError::Name { index, error }),
            }
        }
        types.sort_unstable();
        types.dedup();
        Ok(Self {
            types: (!all).then_some(types),
        })
    }

    /// Whether it is the wildcard.
    pub fn is_all(&self) -> bool {
        self.types.is_none()
    }

    /// The names as stored: sorted, or just `*`.
    pub fn names(&self) -> Vec<&str> {
        match &self.types {
            None => vec![WILDCARD],
            Some(types) => types.iter().map(EventTypeName::as_str).collect(),
        }
    }

    /// Whether events of this type match.
    pub fn matches(&self, event_type: &str) -> bool {
        match &self.types {
            None => true,
            Some(types) => types.binary_search_by(|name| name.as_str().cmp(event_type)).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(events: &[&str]) -> Result<Subscription, SubscriptionError> {
        Subscription::from_events(&events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn the_wildcard_replaces_whatever_is_there(mut events in proptest::collection::vec("[a-z]{1,8}", 0..20), at in 0usize..20, other in "[a-z]{1,8}") {
            events.retain(|event| event != "ping");
            events.insert(at.min(events.len()), "*".to_owned());
            let subscription = Subscription::from_events(&events).unwrap();
            prop_assert_eq!(subscription.names(), ["*"]);
            prop_assert!(subscription.matches(&other));
        }

        #[test]
        fn a_list_matches_exactly_its_names(events in proptest::collection::vec("[a-c]{1,3}", 1..20), other in "[a-c]{1,3}") {
            let subscription = Subscription::from_events(&events).unwrap();
            prop_assert_eq!(subscription.matches(&other), events.contains(&other));
            let names = subscription.names();
            prop_assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]));
            let again = Subscription::from_events(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            prop_assert_eq!(again.unwrap(), subscription);
        }
    }

    #[test]
    fn h06_events_that_are_refused_and_events_that_are_normalised() {
        assert_eq!(from(&[]), Err(SubscriptionError::Empty));
        assert_eq!(from(&vec!["a"; 1_001]), Err(SubscriptionError::TooMany(1_001)));
        assert!(matches!(
            from(&["a", "not a name"]),
            Err(SubscriptionError::Name { index: 1, .. })
        ));
        assert_eq!(from(&["clocking", "ping"]), Err(SubscriptionError::Ping));
        assert_eq!(from(&["*", "ping"]), Err(SubscriptionError::Ping));
        assert_eq!(from(&["clocking", "*"]).unwrap().names(), ["*"]);
        assert_eq!(from(&["b", "a", "b"]).unwrap().names(), ["a", "b"]);
    }
}
