//! Pages of lists (AIP-158): the size, a token with the position and a hash of the other arguments, and the size limit of a
//! response.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::app::error::{AppError, AppResult};

const SIZE_DEFAULT: usize = 50;
const SIZE_MAX: usize = 1_000;

/// The default size limit of a response: clients accept 4 MiB by default.
pub(super) const RESPONSE_BYTES_MAX: usize = 4_000_000;
/// The overhead of an item of a list: its tag and its length.
const ITEM_BYTES: usize = 8;

/// The number of items to return: 0 means the default, too many the maximum, and negative is an error.
pub(super) fn size(requested: i32) -> AppResult<usize> {
    size_or(requested, SIZE_DEFAULT)
}

/// As [`size`], with another default.
pub(super) fn size_or(requested: i32, default: usize) -> AppResult<usize> {
    match usize::try_from(requested) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(SIZE_MAX)),
        Err(_) => {
            let rule = format!("must not be negative; omit it for {default}");
            Err(AppError::invalid("page_size", "PAGE_SIZE_NEGATIVE", rule))
        }
    }
}

/// The items of a page that fit one response, at least one; and the position of the last one if some were dropped, else
/// `next`.
pub(super) fn fit<R, T: prost::Message>(
    rows: Vec<R>,
    next: Option<String>,
    place: impl Fn(&R) -> String,
    item: impl Fn(R) -> T,
) -> (Vec<T>, Option<String>) {
    let mut items = Vec::with_capacity(rows.len());
    let mut last = None;
    let mut bytes = 0;
    for row in rows {
        let here = place(&row);
        let item = item(row);
        bytes += item.encoded_len() + ITEM_BYTES;
        if bytes > RESPONSE_BYTES_MAX && !items.is_empty() {
            return (items, last);
        }
        items.push(item);
        last = Some(here);
    }
    (items, next)
}

/// A hash of the other arguments of a list call, so that a token is valid for the same list only.
pub(super) struct Arguments([u8; 8]);

impl Arguments {
    /// From the call's name and every argument except page size and token.
    pub(super) fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        Self(head)
    }

    /// The token of a page that begins after `place`; empty for none.
    pub(super) fn token(&self, place: Option<&str>) -> String {
        let Some(place) = place else { return String::new() };
        let mut bytes = self.seal(place).to_vec();
        bytes.extend_from_slice(place.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a token; `None` for an empty token.
    pub(super) fn place(&self, token: &str) -> AppResult<Option<String>> {
        if token.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            let fix =
                "pass the next_page_token of the previous page with the same arguments, or none for the first page";
            AppError::invalid("page_token", "INVALID_PAGE_TOKEN", fix)
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let (seal, place) = bytes.split_at_checked(8).ok_or_else(wrong)?;
        let place = std::str::from_utf8(place).map_err(|_| wrong())?;
        if seal != self.seal(place) {
            Err(wrong())
        } else {
            Ok(Some(place.to_owned()))
        }
    }

    /// The id below which a page begins: the token's, or the maximum for an empty token.
    pub(super) fn before(&self, token: &str) -> AppResult<i64> {
        let place = self.place(token)?.and_then(|place| place.parse().ok());
        Ok(place.unwrap_or(i64::MAX))
    }

    /// Binds a position to the arguments.
    fn seal(&self, place: &str) -> [u8; 8] {
        Self::new(&[&hex::encode(self.0), place]).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g07_tokens_are_good_for_their_own_list_only() {
        let list = Arguments::new(&["ListWebhooks", "organizations/acme"]);
        let token = list.token(Some("wh_17"));
        assert_eq!(list.place(&token).unwrap().as_deref(), Some("wh_17"));
        assert_eq!(list.place("").unwrap(), None);
        assert_eq!(list.token(None), "");
        let other = Arguments::new(&["ListWebhooks", "organizations/other"]);
        let mut altered = token.clone().into_bytes();
        altered[4] ^= 1;
        let altered = String::from_utf8(altered).unwrap();
        for (arguments, token) in [(&other, &*token), (&list, &*altered), (&list, "!"), (&list, "AAAA")] {
            assert!(arguments.place(token).is_err(), "{token}");
        }
    }

    #[test]
    fn b09_a_page_holds_what_fits_a_response_and_one_item_at_least() {
        use hookwright_proto::v1::Organization;
        let fitted = |sizes: &[usize]| {
            let rows = sizes.iter().copied().enumerate().collect();
            let item = |(_, bytes)| Organization {
                display_name: "x".repeat(bytes),
                ..Organization::default()
            };
            let (items, next) = fit(rows, Some("end".to_owned()), |(index, _)| index.to_string(), item);
            (items.len(), next.unwrap())
        };
        assert_eq!(fitted(&[10, 10]), (2, "end".to_owned()));
        assert_eq!(fitted(&[1_900_000; 3]), (2, "1".to_owned()));
        assert_eq!(fitted(&[5_000_000, 1]), (1, "0".to_owned()));
        assert_eq!(fitted(&[]), (0, "end".to_owned()));
    }

    #[test]
    fn g07_sizes_are_clamped_and_negative_ones_refused() {
        assert_eq!(size(0).unwrap(), 50);
        assert_eq!(size(7).unwrap(), 7);
        assert_eq!(size(1_000_000).unwrap(), 1_000);
        assert!(size(-1).is_err());
    }
}
