//! How many watch, and how many of them one organization: nobody takes the others' places.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::super::error::{AppError, AppResult};

/// How many watch one server at most.
const ALL_MAX: usize = 256;
/// How many of them one organization.
const ORGANIZATION_MAX: usize = 64;

/// The places that are taken, by organization.
#[derive(Clone, Default)]
pub(in super::super) struct Places(Arc<Mutex<HashMap<i64, usize>>>);

/// A place, until it is dropped.
pub(super) struct Place {
    places: Places,
    organization: i64,
}

impl Places {
    /// Takes a place for who watches an organization.
    pub(super) fn take(&self, organization: i64) -> AppResult<Place> {
        let mut taken = self.0.lock();
        if taken.values().sum::<usize>() >= ALL_MAX {
            let message = format!("{ALL_MAX} streams watch deliveries on this server, the most it serves; end some");
            return Err(exhausted(message));
        }
        let own = taken.entry(organization).or_default();
        if *own >= ORGANIZATION_MAX {
            let message = format!(
                "{ORGANIZATION_MAX} streams watch the organization's deliveries on this server, the most it serves of one; end some"
            );
            return Err(exhausted(message));
        }
        *own += 1;
        Ok(Place {
            places: self.clone(),
            organization,
        })
    }
}

fn exhausted(message: String) -> AppError {
    AppError::Exhausted {
        subject: "WatchDeliveries".to_owned(),
        message,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(own) = taken.get_mut(&self.organization) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.organization);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let places = Places::default();
        let mut held: Vec<Place> = (0..ORGANIZATION_MAX).map(|_| places.take(1).unwrap()).collect();
        let Err(AppError::Exhausted { message, .. }) = places.take(1) else {
            panic!("one has its share alone")
        };
        assert!(message.contains("organization"), "{message}");
        for other in 2..=i64::try_from(ALL_MAX / ORGANIZATION_MAX).unwrap() {
            held.extend((0..ORGANIZATION_MAX).map(|_| places.take(other).unwrap()));
        }
        assert!(places.take(99).is_err(), "all are taken");
        held.pop();
        assert!(places.take(99).is_ok());
        held.clear();
        assert!(places.0.lock().is_empty(), "nothing is remembered of who left");
    }
}
