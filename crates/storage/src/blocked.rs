//! Blocked keys of ordered webhooks: how their rows are found, and counted by webhook.

use diesel::{dsl::sql, expression::SqlLiteral, sql_types::Bool};

/// A webhook with blocked keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedKeys {
    /// Its organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// How many of its keys are blocked. A number above [`BLOCKED_COUNTED`] means at least that many.
    pub keys: usize,
}

/// The limit on counting a webhook's blocked keys, and the deliveries behind one of them.
pub const BLOCKED_COUNTED: usize = 1_000;

/// Selects webhooks with blocked keys, in order of organization and webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedRange {
    /// Only those of this organization.
    pub organization: Option<i64>,
    /// Only those after this organization and webhook.
    pub after: (i64, i64),
    /// Only those with ids up to this one.
    pub last: i64,
}

impl BlockedRange {
    /// Webhooks of an organization with ids from `first` through `last`.
    pub fn of(organization: i64, first: i64, last: i64) -> Self {
        Self {
            organization: Some(organization),
            after: (organization, first.saturating_sub(1)),
            last,
        }
    }

    /// All webhooks after a position.
    pub fn all_after(after: (i64, i64)) -> Self {
        Self {
            organization: None,
            after,
            last: i64::MAX,
        }
    }
}

/// How many rows of blocked keys one query reads: one more than the limit on counting a webhook's keys.
pub(crate) const STEP: i64 = BLOCKED_COUNTED as i64 + 1;

/// The condition of the partial index, with the literal [`crate::PAUSED`]: a database uses the index only for exactly
/// this condition.
pub(crate) fn is_paused() -> SqlLiteral<Bool> {
    sql("pending_deliveries.due_at = 9223372036854775806")
}

/// Adds the webhooks of a step of rows to the result. Returns the position after which to continue, if there may be
/// more rows. The next step reads a webhook again if this step may not have read all its rows, unless it has already
/// reached the limit on counting.
pub(crate) fn count_keys(rows: &[(i64, i64)], found: &mut Vec<BlockedKeys>) -> Option<(i64, i64)> {
    for of_webhook in rows.chunk_by(|one, other| one == other) {
        found.push(BlockedKeys {
            organization_id: of_webhook[0].0,
            webhook_id: of_webhook[0].1,
            keys: of_webhook.len(),
        });
    }
    let last = *found.last().filter(|_| rows.len() == STEP as usize)?;
    if last.keys > BLOCKED_COUNTED {
        return Some((last.organization_id, last.webhook_id));
    }
    found.pop();
    Some((last.organization_id, last.webhook_id - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Place = (i64, i64);

    fn found(steps: &[&[Place]]) -> (Vec<(i64, usize)>, Option<Place>) {
        let (mut found, mut next) = (Vec::new(), None);
        for step in steps {
            next = count_keys(step, &mut found);
        }
        (found.iter().map(|keys| (keys.webhook_id, keys.keys)).collect(), next)
    }

    #[test]
    fn the_index_is_asked_for_in_its_own_words() {
        let words = format!("{:?}", is_paused());
        assert!(words.contains(&crate::PAUSED.to_string()), "{words}");
    }

    #[test]
    fn a_webhook_that_a_step_ends_within_is_counted_by_the_next_one() {
        let step = vec![(1, 7); BLOCKED_COUNTED - 1];
        let first = [&step[..], &[(1, 8), (1, 8)]].concat();
        assert_eq!(found(&[&first]), (vec![(7, BLOCKED_COUNTED - 1)], Some((1, 7))));
        let second = [(1, 8), (1, 8), (1, 8), (2, 9)];
        assert_eq!(
            found(&[&first, &second]),
            (vec![(7, BLOCKED_COUNTED - 1), (8, 3), (9, 1)], None)
        );
        let many = vec![(1, 7); BLOCKED_COUNTED + 1];
        assert_eq!(found(&[&many]), (vec![(7, BLOCKED_COUNTED + 1)], Some((1, 7))));
        assert_eq!(found(&[&[]]), (vec![], None));
    }
}
