//! Field masks of updates (AIP-134): the fields to change, validated against those that can be changed.

use prost_types::FieldMask;

use crate::app::error::{AppError, AppResult, Violation};

/// The fields to change. Without a mask these are the fields that are set; `*` means all.
pub(super) fn fields(
    mask: Option<&FieldMask>,
    known: &[&'static str],
    set: &[&'static str],
) -> AppResult<Vec<&'static str>> {
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
        return Ok(set.to_vec());
    };
    if mask.paths.iter().any(|path| path == "*") {
        if mask.paths.len() > 1 {
            let rule = "`*` means all fields and must be the only path";
            return Err(AppError::invalid("update_mask", "MASK_WILDCARD_NOT_ALONE", rule));
        }
        return Ok(known.to_vec());
    }
    let mut fields = Vec::with_capacity(mask.paths.len());
    let mut violations = Vec::new();
    for path in &mask.paths {
        match known.iter().find(|field| *field == path) {
            Some(field) if !fields.contains(field) => fields.push(field),
            // A repeated path has no effect.
            Some(_) => {}
            None => violations.push(Violation {
                field: "update_mask".to_owned(),
                description: format!("`{path}` cannot be updated; these can: `{}`", known.join("`, `")),
                reason: "MASK_FIELD_NOT_UPDATABLE",
            }),
        }
    }
    if violations.is_empty() {
        Ok(fields)
    } else {
        Err(AppError::Invalid(violations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn g08_unknown_immutable_repeated_and_wildcard_paths() {
        let known = ["events", "active"];
        assert_eq!(fields(None, &known, &["active"]).unwrap(), ["active"]);
        assert_eq!(fields(Some(&mask(&[])), &known, &["active"]).unwrap(), ["active"]);
        assert_eq!(fields(Some(&mask(&["*"])), &known, &[]).unwrap(), known);
        assert_eq!(
            fields(Some(&mask(&["active", "active"])), &known, &[]).unwrap(),
            ["active"]
        );
        for bad in [["name", "active"], ["events", "*"], ["headers.x", "nonsense"]] {
            assert!(fields(Some(&mask(&bad)), &known, &[]).is_err(), "{bad:?}");
        }
    }
}
