//! Figures of a run, and their summary over several runs.

use std::{collections::BTreeMap, io::Write as _, path::Path, time::Instant};

use serde::{Deserialize, Serialize};

/// The figures of one run, by metric.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// A metric over several runs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Summary {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self {
            min: values[0],
            median,
            max: values[values.len() - 1],
        }
    }
}

/// The percentile of the values; `part` is between 0 and 1. `values` must be sorted and not be empty.
pub(super) fn percentile(values: &[f64], part: f64) -> f64 {
    let place = (part * (values.len() - 1) as f64).round() as usize;
    values[place.min(values.len() - 1)]
}

/// The sorted differences, in microseconds.
pub(super) fn sorted(values: impl Iterator<Item = i64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.map(|value| value as f64).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median time of an fdatasync after a small append, in microseconds: the minimum cost of one durable commit on
/// this machine.
pub(super) fn fdatasync_us(directory: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        rustix::fs::fdatasync(&file)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(percentile(&times, 0.5))
}

/// Reads a file of triples that the sink or the publisher wrote.
pub(super) fn read_triples(path: &Path) -> anyhow::Result<Vec<[i64; 3]>> {
    let bytes = std::fs::read(path)?;
    let number = |bytes: &[u8]| {
        let mut raw = [0; 8];
        raw.copy_from_slice(bytes);
        i64::from_le_bytes(raw)
    };
    let triples = bytes.chunks_exact(24);
    Ok(triples
        .map(|triple| [number(&triple[..8]), number(&triple[8..16]), number(&triple[16..])])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        let odd = Summary::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(Summary::of(vec![4.0, 1.0]).median, 2.5);
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (50.0, 99.0));
    }
}
