//! Paused keys of ordered webhooks: how their rows are found, and counted by webhook.

use diesel::{dsl::sql, expression::SqlLiteral, sql_types::Bool};

/// A webhook with paused keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedKeys {
    /// Its organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// How many of its keys are paused; more than [`PAUSED_COUNTED`] stands for any number above it.
    pub keys: usize,
}

/// How many paused keys of a webhook are counted, and how many deliveries that wait behind one.
pub const PAUSED_COUNTED: usize = 1_000;

/// Which webhooks to look for paused keys of, in order of organization and webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedRange {
    /// Only those of this organization.
    pub organization: Option<i64>,
    /// Only those after this organization and webhook.
    pub after: (i64, i64),
    /// Only those with ids up to this one.
    pub last: i64,
}

impl PausedRange {
    /// Webhooks of an organization, from one through another.
    pub fn of(organization: i64, first: i64, last: i64) -> Self {
        Self {
            organization: Some(organization),
            after: (organization, first.saturating_sub(1)),
            last,
        }
    }

    /// All webhooks after a place.
    pub fn all_after(after: (i64, i64)) -> Self {
        Self {
            organization: None,
            after,
            last: i64::MAX,
        }
    }
}

/// How many rows of paused keys are read at once: one more than are counted of a webhook.
pub(crate) const STEP: i64 = PAUSED_COUNTED as i64 + 1;

/// The index's own words, with [`crate::PAUSED`]: a database uses it for no others.
pub(crate) fn is_paused() -> SqlLiteral<Bool> {
    sql("pending_deliveries.due_at = 9223372036854775806")
}

/// Adds the webhooks of a step of rows to what was found. Returns the place to go on after, if there may be more rows: a webhook of
/// which the step may not have all rows is left to the next one, unless as many were read as are counted.
pub(crate) fn count_keys(rows: &[(i64, i64)], found: &mut Vec<PausedKeys>) -> Option<(i64, i64)> {
    for of_webhook in rows.chunk_by(|one, other| one == other) {
        found.push(PausedKeys {
            organization_id: of_webhook[0].0,
            webhook_id: of_webhook[0].1,
            keys: of_webhook.len(),
        });
    }
    let last = *found.last().filter(|_| rows.len() == STEP as usize)?;
    if last.keys > PAUSED_COUNTED {
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
        let step = vec![(1, 7); PAUSED_COUNTED - 1];
        let first = [&step[..], &[(1, 8), (1, 8)]].concat();
        assert_eq!(found(&[&first]), (vec![(7, PAUSED_COUNTED - 1)], Some((1, 7))));
        let second = [(1, 8), (1, 8), (1, 8), (2, 9)];
        assert_eq!(
            found(&[&first, &second]),
            (vec![(7, PAUSED_COUNTED - 1), (8, 3), (9, 1)], None)
        );
        let many = vec![(1, 7); PAUSED_COUNTED + 1];
        assert_eq!(found(&[&many]), (vec![(7, PAUSED_COUNTED + 1)], Some((1, 7))));
        assert_eq!(found(&[&[]]), (vec![], None));
    }
}
