//! Permits for a bounded resource, with a share for each owner (an organization, a token, an address), so that no owner can
//! take all of them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

/// The permits of one resource.
#[derive(Clone)]
pub(crate) struct Permits(Arc<Taken>);

struct Taken {
    most: usize,
    share: usize,
    by_owner: Mutex<HashMap<i64, usize>>,
}

/// A permit, until it is dropped.
pub(crate) struct Permit {
    permits: Permits,
    owner: i64,
}

/// Why no permit is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    All,
    /// The owner has its full share.
    Share,
}

impl Permits {
    pub(crate) fn new(most: usize, share: usize) -> Self {
        Self(Arc::new(Taken {
            most,
            share,
            by_owner: Mutex::default(),
        }))
    }

    /// Takes a permit.
    pub(crate) fn take(&self, owner: i64) -> Result<Permit, Full> {
        let mut taken = self.0.by_owner.lock();
        if taken.values().sum::<usize>() >= self.0.most {
            return Err(Full::All);
        }
        let own = taken.entry(owner).or_default();
        if *own >= self.0.share {
            return Err(Full::Share);
        }
        *own += 1;
        Ok(Permit {
            permits: self.clone(),
            owner,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.0.by_owner.lock();
        if let Some(own) = taken.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let permits = Permits::new(8, 2);
        let mut held: Vec<Permit> = (0..2).map(|_| permits.take(1).ok().unwrap()).collect();
        assert_eq!(permits.take(1).err(), Some(Full::Share));
        for other in 2..=4 {
            held.extend((0..2).map(|_| permits.take(other).ok().unwrap()));
        }
        assert_eq!(permits.take(99).err(), Some(Full::All));
        held.pop();
        assert!(permits.take(99).is_ok());
        held.clear();
        let remembered = permits.0.by_owner.lock();
        assert!(remembered.is_empty(), "nothing is remembered of who left");
    }
}
