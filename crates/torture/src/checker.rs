//! The checker: reads one history and reports figures and broken guarantees.

mod bounds;
mod duplicates;
mod facts;
mod leaving;
mod moving;
mod order;
mod outcomes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use self::facts::Facts;
use crate::history::Entry;

/// How many breaches of one kind are described.
const TOLD_MAX: usize = 10;

/// The result of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Figures by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// The number of breaches of each guarantee; 0 for a guarantee that was kept.
    pub breaches: BTreeMap<&'static str, usize>,
    /// Descriptions of some breaches.
    pub told: Vec<String>,
}

impl Verdict {
    /// Whether every guarantee was kept.
    pub fn is_kept(&self) -> bool {
        self.breaches.values().all(|count| *count == 0)
    }

    fn figure(&mut self, name: &'static str, value: impl Into<f64>) {
        self.figures.insert(name, value.into());
    }

    fn count(&mut self, name: &'static str, count: usize) {
        self.figure(name, u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Adds a guarantee that is checked.
    fn promise(&mut self, name: &'static str) {
        self.breaches.entry(name).or_default();
    }

    fn breach(&mut self, name: &'static str, what: impl FnOnce() -> String) {
        let count = self.breaches.entry(name).or_default();
        *count += 1;
        if *count <= TOLD_MAX {
            self.told.push(format!("{name}: {}", what()));
        }
    }

    /// The verdict as text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.figures {
            text.push_str(&format!("{name:<44} {value:>12.0}\n"));
        }
        text.push('\n');
        for (name, count) in &self.breaches {
            let mark = if *count == 0 { "kept" } else { "BROKEN" };
            text.push_str(&format!("{name:<44} {count:>12}  {mark}\n"));
        }
        for line in &self.told {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

/// For each of these periods, how many deliveries of events that were acknowledged in it never became final.
pub(crate) fn lost_between(entries: &[Entry], stretches: &[(i64, i64)]) -> Vec<usize> {
    let facts = Facts::gather(entries);
    let mut lost = vec![0; stretches.len()];
    for (at, event) in facts.acknowledged.values().flatten() {
        let Some(place) = stretches.iter().position(|(from, until)| (from..=until).contains(&at)) else {
            continue;
        };
        lost[place] += match facts.events.get(event) {
            None => 1,
            Some(_) => outcomes::unfinished(&facts, *event),
        };
    }
    lost
}

/// Checks a history.
pub fn check(entries: &[Entry]) -> Verdict {
    let facts = Facts::gather(entries);
    let mut verdict = Verdict::default();
    outcomes::check(&facts, &mut verdict);
    duplicates::check(&facts, &mut verdict);
    order::check(&facts, &mut verdict);
    bounds::check(&facts, &mut verdict);
    leaving::check(&facts, &mut verdict);
    moving::check(&facts, &mut verdict);
    verdict
}
