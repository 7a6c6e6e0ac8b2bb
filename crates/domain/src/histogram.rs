//! Histograms of durations: eight steps per doubling, so a percentile is accurate to about 6 %, in a few dozen bytes.

use crate::varint;

/// Steps per doubling, as a power of two.
const STEP_BITS: u32 = 3;
/// Shorter durations (in microseconds) are counted as this.
const LEAST: u64 = 1 << STEP_BITS;

/// Counts of values, by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Step and count, by step. Few steps are in use, because the values of one webhook are similar.
    counts: Vec<(u16, u64)>,
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.add_to(step_of(value), 1);
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (step, count) in &other.counts {
            self.add_to(*step, *count);
        }
    }

    fn add_to(&mut self, step: u16, count: u64) {
        match self.counts.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(at) => self.counts[at].1 += count,
            Err(at) => self.counts.insert(at, (step, count)),
        }
    }

    /// The number of counted values.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The value that `share` (0 to 1) of all values do not exceed, to about 6 %; `None` if nothing was counted.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank needs no more digits than a double has, and lies between 1 and the count"
        )]
        let rank = ((self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut passed = 0;
        self.counts.iter().find_map(|(step, count)| {
            passed += count;
            (passed >= rank).then(|| middle_of(*step))
        })
    }

    /// As bytes: alternating step and count, each as a varint, the step as the difference to the previous one.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(self.counts.len() * 3);
        let mut last = 0;
        for (step, count) in &self.counts {
            varint::push(&mut packed, u64::from(step - last));
            varint::push(&mut packed, *count);
            last = *step;
        }
        packed
    }

    /// Decodes the bytes of [`Histogram::pack`].
    pub fn unpack(packed: &[u8]) -> Self {
        let mut histogram = Self::default();
        let mut rest = packed;
        let mut step = 0_u16;
        while let (Some(distance), Some(count)) = (varint::pop(&mut rest), varint::pop(&mut rest)) {
            step = step.saturating_add(u16::try_from(distance).unwrap_or(u16::MAX));
            histogram.add_to(step, count);
        }
        histogram
    }
}

fn step_of(value: u64) -> u16 {
    let value = value.max(LEAST);
    let doubling = value.ilog2() - STEP_BITS;
    let within = (value >> doubling) - LEAST;
    u16::try_from((u64::from(doubling) << STEP_BITS) + within).unwrap_or(u16::MAX)
}

fn middle_of(step: u16) -> u64 {
    // No value has a higher step, but decoded bytes may.
    let doubling = (u32::from(step) >> STEP_BITS).min(u64::BITS - 1);
    let within = u64::from(step) & (LEAST - 1);
    let first = u128::from(LEAST + within) << doubling;
    let width = 1_u128 << doubling;
    u64::try_from(first + width / 2).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(Histogram::default().percentile(0.5), None);
    }

    #[test]
    fn percentiles_of_a_known_row() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|number| histogram.record(number * 1_000));
        for (share, exact) in [(0.5, 500_000_u64), (0.95, 950_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let told = histogram.percentile(share).unwrap();
            assert!(told.abs_diff(exact) * 100 <= exact * 7, "{share}: {told}, not {exact}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_told_to_seven_percent(value in LEAST..u64::MAX) {
            let mut histogram = Histogram::default();
            histogram.record(value);
            let told = histogram.percentile(0.5).unwrap();
            prop_assert!(u128::from(told.abs_diff(value)) * 100 <= u128::from(value) * 7);
        }

        #[test]
        fn bytes_give_the_same_back(values in proptest::collection::vec(any::<u64>(), 0..100)) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            prop_assert_eq!(Histogram::unpack(&histogram.pack()), histogram);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Histogram::unpack(&bytes).percentile(0.5);
        }
    }
}
