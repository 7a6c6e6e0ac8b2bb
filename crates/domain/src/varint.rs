//! Varints: 7 bits per byte, low bits first; all bytes except the last have their top bit set.

/// Appends a number.
pub fn push(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    packed.push(number.to_le_bytes()[0]);
}

/// Takes a number off the front; `None` if there is no complete one.
pub fn pop(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, others) = rest.split_first()?;
        *rest = others;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_survive(numbers in proptest::collection::vec(any::<u64>(), 0..50)) {
            let mut packed = Vec::new();
            numbers.iter().for_each(|number| push(&mut packed, *number));
            let mut rest = &packed[..];
            let back: Vec<u64> = std::iter::from_fn(|| pop(&mut rest)).collect();
            prop_assert_eq!(back, numbers);
        }
    }
}
