//! Deterministic pseudorandom numbers without a generator: the same inputs give the same number.
//!
//! They are good enough for jitter and span ids, which must only differ between deliveries. They are not good enough
//! for secrets.

/// Mixes two numbers into one (the finaliser of the SplitMix64 generator).
pub(crate) fn mix(a: i64, b: u64) -> u64 {
    let mut z = a
        .cast_unsigned()
        .wrapping_add((b.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number between 0, inclusive, and 1, exclusive.
#[expect(clippy::cast_precision_loss, reason = "a double has 53 bits")]
pub(crate) fn unit(delivery: i64, attempt: u32) -> f64 {
    (mix(delivery, u64::from(attempt)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_spreads_over_the_whole_range() {
        let values: Vec<f64> = (0..1_000).map(|delivery| unit(delivery, 1)).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let count = values.iter().filter(|value| (low..low + 0.1).contains(*value)).count();
            assert!(
                (50..200).contains(&count),
                "{count} of 1,000 values in the tenth from {low}"
            );
        }
    }
}
