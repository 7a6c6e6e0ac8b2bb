//! JSON text of payloads that are sent as a protobuf `Struct`.

use bytes::Bytes;

use crate::app::error::{AppError, AppResult};

/// JSON text of a `Struct`, with sorted members. Whole numbers in the exact range of doubles have no fraction.
pub(super) fn json_text(object: prost_types::Struct) -> AppResult<Bytes> {
    let mut depth_left = 126;
    let value = json_object(object, &mut depth_left)?;
    Ok(Bytes::from(
        serde_json::to_vec(&value).expect("a JSON value always serialises"),
    ))
}

fn json_object(object: prost_types::Struct, depth_left: &mut u32) -> AppResult<serde_json::Value> {
    let fields = object
        .fields
        .into_iter()
        .map(|(name, value)| Ok((name, json_value(value, depth_left)?)));
    Ok(serde_json::Value::Object(fields.collect::<AppResult<_>>()?))
}

fn json_value(value: prost_types::Value, depth_left: &mut u32) -> AppResult<serde_json::Value> {
    use prost_types::value::Kind;
    use serde_json::Value;
    if *depth_left == 0 {
        return Err(AppError::invalid(
            "object",
            "PAYLOAD_TOO_DEEP",
            "must be nested less than 128 levels deep",
        ));
    }
    *depth_left -= 1;
    let json = match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(number)) => json_number(number)?,
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().map(|value| json_value(value, depth_left));
            Value::Array(values.collect::<AppResult<_>>()?)
        }
        Some(Kind::StructValue(object)) => json_object(object, depth_left)?,
    };
    *depth_left += 1;
    Ok(json)
}

fn json_number(number: f64) -> AppResult<serde_json::Value> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Ok(serde_json::Value::from(number as i64));
    }
    serde_json::Number::from_f64(number)
        .map(serde_json::Value::Number)
        .ok_or_else(|| {
            AppError::invalid(
                "object",
                "PAYLOAD_NOT_JSON",
                "contains a number that is not finite, which JSON does not allow",
            )
        })
}

#[cfg(test)]
mod tests {
    use prost_types::{Struct, Value, value::Kind};

    use super::*;

    fn number(number: f64) -> Struct {
        Struct {
            fields: [(
                "n".to_owned(),
                Value {
                    kind: Some(Kind::NumberValue(number)),
                },
            )]
            .into(),
        }
    }

    #[test]
    fn p03_numbers_of_a_struct_are_doubles() {
        for (given, text) in [
            (1.0, r#"{"n":1}"#),
            (-0.5, r#"{"n":-0.5}"#),
            (1e300, r#"{"n":1e+300}"#),
            (0.0, r#"{"n":0}"#),
        ] {
            assert_eq!(json_text(number(given)).unwrap(), text);
        }
        assert!(json_text(number(f64::NAN)).is_err());
        assert!(json_text(number(f64::INFINITY)).is_err());
    }

    #[test]
    fn p02_a_struct_that_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| {
            (0..depth).fold(number(1.0), |inner, _| Struct {
                fields: [(
                    "a".to_owned(),
                    Value {
                        kind: Some(Kind::StructValue(inner)),
                    },
                )]
                .into(),
            })
        };
        assert!(json_text(nested(100)).is_ok());
        assert!(json_text(nested(200)).is_err());
    }
}
