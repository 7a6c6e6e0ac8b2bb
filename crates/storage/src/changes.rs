//! The changes of deliveries, for callers that watch them. Each commit adds one row that names all deliveries that it
//! changed, so that the hot path pays for one row per commit and for no index on attempts.
//!
//! A stream of rows has one writer at a time, which assigns the positions, so a reader that has read up to a position
//! has seen all earlier changes. On PostgreSQL each node has its own stream, and changes by callers share the stream
//! `STEERED`. On SQLite everything shares stream 0.

use std::collections::{BTreeMap, HashMap};

use hookwright_domain::varint;

use crate::{batch::Batch, records::DeliveryRecord};

/// The stream of changes by callers, where each node has its own stream.
pub(crate) const STEERED: i32 = -1;
/// How long changes are kept, in microseconds.
pub const CHANGES_KEPT_US: i64 = 86_400_000_000;

/// A reader's position in each stream: the last position that it has seen.
pub type Positions = BTreeMap<i32, i64>;

/// The changes after some positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The deliveries that changed and match the filter, by id, in their current state.
    pub deliveries: Vec<DeliveryRecord>,
    /// Where to continue.
    pub positions: Positions,
    /// Whether there may be more already.
    pub more: bool,
}

/// The changes of a batch; `None` if it only stores events.
pub(crate) fn of_batch(batch: &Batch) -> Option<Vec<u8>> {
    let attempted = batch.attempts.iter().map(|row| (row.organization_id, row.delivery_id));
    let ended = batch.endings.iter().map(|row| (row.organization_id, row.delivery_id));
    pack(attempted.chain(ended))
}

/// Packs deliveries by organization:
///
/// - the organization's id, in 8 bytes;
/// - the number of bytes that follow for it, in 4 bytes;
/// - the delivery ids in order, each as its difference from the previous one, in 7 bits per byte.
pub(crate) fn pack(deliveries: impl Iterator<Item = (i64, i64)>) -> Option<Vec<u8>> {
    let mut by_organization: HashMap<i64, Vec<i64>> = HashMap::new();
    for (organization, delivery) in deliveries {
        by_organization.entry(organization).or_default().push(delivery);
    }
    let mut packed = Vec::new();
    for (organization, mut ids) in by_organization {
        ids.sort_unstable();
        ids.dedup();
        packed.extend_from_slice(&organization.to_le_bytes());
        let length_at = packed.len();
        packed.extend_from_slice(&[0; 4]);
        let mut last = 0;
        for id in ids {
            varint::push(&mut packed, id.abs_diff(last));
            last = id;
        }
        let length = u32::try_from(packed.len() - length_at - 4).unwrap_or(u32::MAX);
        packed[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
    (!packed.is_empty()).then_some(packed)
}

/// Unpacks the deliveries of one organization.
pub(crate) fn unpack(mut packed: &[u8], organization: i64) -> Vec<i64> {
    while let Some((owner, rest)) = packed.split_first_chunk::<8>()
        && let Some((length, rest)) = rest.split_first_chunk::<4>()
    {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (ids, rest) = rest.split_at(length.min(rest.len()));
        if i64::from_le_bytes(*owner) == organization {
            return unpack_ids(ids);
        }
        packed = rest;
    }
    Vec::new()
}

fn unpack_ids(mut bytes: &[u8]) -> Vec<i64> {
    let mut last = 0_i64;
    let distances = std::iter::from_fn(|| varint::pop(&mut bytes));
    let ids = distances.map(|distance| {
        last = last.saturating_add_unsigned(distance);
        last
    });
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organization_finds_its_own() {
        let all = [
            (7, 5_000_000_000),
            (9, 3),
            (7, 5_000_000_001),
            (7, 1),
            (9, 3),
            (8, i64::MAX),
        ];
        let packed = pack(all.into_iter()).unwrap();
        assert_eq!(unpack(&packed, 7), [1, 5_000_000_000, 5_000_000_001]);
        assert_eq!(unpack(&packed, 9), [3], "a delivery that is named twice is packed once");
        assert_eq!(unpack(&packed, 8), [i64::MAX]);
        assert_eq!(unpack(&packed, 10), [0; 0]);
        assert_eq!(pack(std::iter::empty()), None);
    }

    #[test]
    fn a_truncated_row_is_read_as_far_as_it_goes() {
        let packed = pack([(7, 1), (7, 2)].into_iter()).unwrap();
        for end in 0..packed.len() {
            assert!(unpack(&packed[..end], 7).len() < 2);
        }
    }
}
