//! A map whose copies share their common parts.
//!
//! The entries are in [`SHARDS`] hash maps behind `Arc`s. A clone copies the pointers. A change to a clone copies the
//! one shard that contains the key. A snapshot of 10,000 webhooks that differs from the previous one in a single
//! webhook costs about 40 entries and 256 pointers.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, ops::Index, sync::Arc};

/// How many shards a map has. A power of two.
const SHARDS: usize = 256;

/// A key whose shard can be computed without its hash.
pub trait ShardKey {
    /// A number that is spread evenly over its upper bits.
    fn spread(&self) -> u64;
}

/// 2^64 divided by the golden ratio: multiplication by it spreads neighbouring numbers (Knuth, The Art of Computer Programming,
/// volume 3, section 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl ShardKey for i64 {
    fn spread(&self) -> u64 {
        self.cast_unsigned().wrapping_mul(GOLDEN)
    }
}

impl ShardKey for str {
    fn spread(&self) -> u64 {
        let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(GOLDEN).rotate_left(23);
        self.bytes().fold(0, fold).wrapping_mul(GOLDEN)
    }
}

impl ShardKey for String {
    fn spread(&self) -> u64 {
        self.as_str().spread()
    }
}

/// A map of shards.
#[derive(Debug)]
pub struct Sharded<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::default();
        Self {
            shards: vec![empty; SHARDS],
        }
    }
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self {
            shards: self.shards.clone(),
        }
    }
}

fn shard_of<Q: ShardKey + ?Sized>(key: &Q) -> usize {
    // The upper eight bits, which select one of 256 shards.
    (key.spread() >> 56) as usize
}

impl<K: ShardKey + Eq + Hash, V> Sharded<K, V> {
    /// The value of a key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: ShardKey + Eq + Hash + ?Sized,
    {
        self.shards[shard_of(key)].get(key)
    }

    /// Every value, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_empty())
    }
}

impl<K, V, Q> Index<&Q> for Sharded<K, V>
where
    K: ShardKey + Eq + Hash + Borrow<Q>,
    Q: ShardKey + Eq + Hash + ?Sized,
{
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is present")
    }
}

impl<K: ShardKey + Eq + Hash + Clone, V: Clone> Sharded<K, V> {
    /// Sets the value of a key, only in this copy.
    pub fn insert(&mut self, key: K, value: V) {
        Arc::make_mut(&mut self.shards[shard_of(&key)]).insert(key, value);
    }

    /// Removes a key, only in this copy.
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: ShardKey + Eq + Hash + ?Sized,
    {
        let shard = &mut self.shards[shard_of(key)];
        if shard.contains_key(key) {
            Arc::make_mut(shard).remove(key);
        }
    }
}

impl<K: ShardKey + Eq + Hash + Clone, V: Clone> FromIterator<(K, V)> for Sharded<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_to_a_copy_copies_one_shard_and_leaves_the_original() {
        let original: Sharded<i64, u32> = (0..10_000).map(|key| (key, 1)).collect();
        let mut copy = original.clone();
        copy.insert(77, 2);
        copy.remove(&78);
        copy.remove(&-1);
        assert_eq!((original.get(&77), copy.get(&77)), (Some(&1), Some(&2)));
        assert_eq!((original.get(&78), copy.get(&78)), (Some(&1), None));
        assert_eq!((original.len(), copy.len()), (10_000, 9_999));
        let pairs = original.shards.iter().zip(&copy.shards);
        assert!(pairs.filter(|(one, other)| !Arc::ptr_eq(one, other)).count() <= 2);
    }

    #[test]
    fn keys_are_spread_over_the_shards() {
        let ids: Sharded<i64, ()> = (0..10_000).map(|number| (number << 20, ())).collect();
        let names: Sharded<String, ()> = (0..10_000)
            .map(|number| (format!("organization-{number}"), ()))
            .collect();
        assert!(ids.shards.iter().all(|shard| shard.len() < 160));
        assert!(names.shards.iter().all(|shard| shard.len() < 160));
        assert!(names.get("organization-9999").is_some() && names.get("organization-10000").is_none());
    }
}
