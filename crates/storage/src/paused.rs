//! Paused keys of ordered webhooks: how their rows are found, and counted by webhook.

use diesel::{dsl::sql, expression::SqlLiteral, sql_types::Bool};

use crate::batch::{PAUSED_COUNTED, PausedKeys};

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
