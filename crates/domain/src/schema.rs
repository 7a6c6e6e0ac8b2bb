//! JSON Schemas of event types, and the sample event types.
//!
//! A schema is compiled once and fetches nothing: references must stay within it. Patterns run on a regular-expression
//! engine with linear time.

mod compatibility;
mod cost;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

pub use self::compatibility::breaking_changes;

/// The maximum size of a schema.
pub const SCHEMA_BYTES_MAX: usize = 65_536;
/// The maximum number of reported violations.
const VIOLATIONS_MAX: usize = 20;
/// The maximum nesting depth of a schema.
const DEPTH_MAX: usize = 64;

/// Why a text is not a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Too large.
    #[error("must be at most {SCHEMA_BYTES_MAX} bytes; it has {0}")]
    TooLarge(usize),
    /// Not JSON.
    #[error("must be JSON: {0}")]
    NotJson(String),
    /// Nested too deep.
    #[error("must be nested at most {DEPTH_MAX} levels deep")]
    TooDeep,
    /// A reference that leaves the schema.
    #[error("the reference `{0}` leaves the schema; only references that begin with `#` are supported")]
    RemoteReference(String),
    /// Alternatives that nest too deep or refer to themselves.
    #[error(
        "could take too long to check: use fewer alternatives (`anyOf`, `oneOf`, `$ref`) that nest or refer to themselves"
    )]
    TooComplex,
    /// Not a JSON Schema, or one that cannot be compiled.
    #[error("is not a valid JSON Schema: {0}")]
    NotSchema(String),
}

impl SchemaError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "SCHEMA_TOO_LARGE",
            Self::NotJson(_) => "SCHEMA_NOT_JSON",
            Self::TooDeep => "SCHEMA_TOO_DEEP",
            Self::RemoteReference(_) => "SCHEMA_REMOTE_REFERENCE",
            Self::TooComplex => "SCHEMA_TOO_COMPLEX",
            Self::NotSchema(_) => "SCHEMA_INVALID",
        }
    }
}

/// A place where a payload does not fit, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaViolation {
    /// JSON pointer (RFC 6901) of the invalid value; empty for the whole payload.
    pub pointer: String,
    /// The violation.
    pub message: String,
}

/// A compiled schema.
#[derive(Debug)]
pub struct EventSchema {
    validator: Validator,
}

impl EventSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When the text is not a schema, or breaks one of our rules.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLarge(text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        check_references(&schema, DEPTH_MAX)?;
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| SchemaError::NotSchema(shortened(&error.to_string())))?;
        if cost::is_bounded(&schema) {
            Ok(Self { validator })
        } else {
            Err(SchemaError::TooComplex)
        }
    }

    /// Checks a payload, which is JSON.
    ///
    /// # Errors
    /// With each violation, up to 20.
    pub fn validate(&self, payload: &[u8]) -> Result<(), Vec<SchemaViolation>> {
        let payload: Value = serde_json::from_slice(payload).map_err(|error| {
            // Well-formed, but beyond what a schema can validate: a number past the range of a double.
            vec![SchemaViolation {
                pointer: String::new(),
                message: error.to_string(),
            }]
        })?;
        if self.validator.is_valid(&payload) {
            return Ok(());
        }
        let violations = self
            .validator
            .iter_errors(&payload)
            .take(VIOLATIONS_MAX)
            .map(|error| SchemaViolation {
                pointer: error.instance_path().to_string(),
                message: shortened(&error.to_string()),
            });
        Err(violations.collect())
    }
}

/// References must stay within the schema.
fn check_references(schema: &Value, depth_left: usize) -> Result<(), SchemaError> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(SchemaError::TooDeep);
    };
    match schema {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if let ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) = (name.as_str(), value)
                && !target.starts_with('#')
            {
                return Err(SchemaError::RemoteReference(shortened(target)));
            }
            check_references(value, depth_left)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_references(item, depth_left)),
        _ => Ok(()),
    }
}

/// Messages repeat parts of the input, truncated.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// A sample event type.
#[derive(Clone, Copy, Debug)]
pub struct SeededEventType {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub description: &'static str,
    /// Its JSON Schema.
    pub json_schema: &'static str,
    /// An example payload.
    pub example: &'static str,
}

/// The sample event types of a fresh installation.
pub const SEEDED_EVENT_TYPES: [SeededEventType; 2] = [
    SeededEventType {
        name: "clocking",
        description: "A clocking was created, updated or deleted; the payload's action says which.",
        json_schema: r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["action", "clocking"],
  "properties": {
    "action": { "enum": ["created", "updated", "deleted"] },
    "clocking": {
      "type": "object",
      "required": ["id"],
      "properties": {
        "id": { "type": "string", "minLength": 1 },
        "driverId": { "type": "string" },
        "clockingTimeStamp": { "type": "string" },
        "isClockIn": { "type": "boolean" }
      }
    }
  }
}"#,
        example: r#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}"#,
    },
    SeededEventType {
        name: "checksheet",
        description: "A checksheet was created, updated or deleted; the payload's action says which.",
        json_schema: r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["action", "checksheet"],
  "properties": {
    "action": { "enum": ["created", "updated", "deleted"] },
    "checksheet": {
      "type": "object",
      "required": ["id"],
      "properties": {
        "id": { "type": "string", "minLength": 1 }
      }
    }
  }
}"#,
        example: r#"{"action":"created","checksheet":{"id":"CHECKSHEET-ID-123"}}"#,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeded_examples_fit_their_schemas() {
        for seed in &SEEDED_EVENT_TYPES {
            let schema = EventSchema::compile(seed.json_schema).unwrap();
            assert_eq!(schema.validate(seed.example.as_bytes()), Ok(()), "{}", seed.name);
        }
        assert_eq!(SEEDED_EVENT_TYPES[0].example.len(), 142);
    }

    #[test]
    fn each_violation_comes_with_its_pointer() {
        let schema = EventSchema::compile(SEEDED_EVENT_TYPES[0].json_schema).unwrap();
        let violations = schema
            .validate(br#"{"action":"eaten","clocking":{"id":7}}"#)
            .unwrap_err();
        let mut pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/action", "/clocking/id"]);
    }

    #[test]
    fn p08_schemas_that_are_refused() {
        let refused = |text: &str| EventSchema::compile(text).unwrap_err();
        assert!(matches!(
            refused(r#"{"$ref":"http://127.0.0.1/schema"}"#),
            SchemaError::RemoteReference(_)
        ));
        assert!(matches!(
            refused(r#"{"properties":{"a":{"$ref":"other.json#/x"}}}"#),
            SchemaError::RemoteReference(_)
        ));
        assert!(matches!(
            refused(r#"{"$ref":"file:///etc/passwd"}"#),
            SchemaError::RemoteReference(_)
        ));
        assert!(matches!(
            refused(&format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20))),
            SchemaError::TooLarge(_)
        ));
        assert!(matches!(refused("{"), SchemaError::NotJson(_)));
        assert!(matches!(refused(r#"{"type":"nonsense"}"#), SchemaError::NotSchema(_)));
        assert!(matches!(
            refused(r##"{"$ref":"#/missing"}"##),
            SchemaError::NotSchema(_)
        ));
        let deep = format!("{}true{}", r#"{"not":"#.repeat(100), "}".repeat(100));
        assert_eq!(refused(&deep), SchemaError::TooDeep);
    }

    #[test]
    fn p08_a_pattern_that_would_backtrack_endlessly_ends() {
        let schema = EventSchema::compile(r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#).unwrap();
        let payload = format!(r#"{{"a":"{}!"}}"#, "a".repeat(50_000));
        assert!(schema.validate(payload.as_bytes()).is_err());
        assert!(
            EventSchema::compile(r#"{"pattern":"(a)\\1"}"#).is_err(),
            "back references are not linear"
        );
    }

    #[test]
    fn p08_alternatives_that_multiply_are_refused() {
        let twice = |n: usize| {
            format!(
                r##""d{n}":{{"anyOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}},"##,
                n + 1
            )
        };
        let doubling: String = (0..24).map(twice).collect();
        let doubling = format!(r##"{{"$defs":{{{doubling}"d24":{{"type":"string"}}}},"$ref":"#/$defs/d0"}}"##);
        let back = r##"{"anyOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}"##;
        let anchored = r##"{"$anchor":"x","oneOf":[{"items":{"$ref":"#x"}},{"items":{"$ref":"#x"}}]}"##;
        let itself = r##"{"allOf":[{"$ref":"#"}]}"##;
        let unevaluated = format!("{}{{}}{}", r#"{"unevaluatedProperties":"#.repeat(12), "}".repeat(12));
        for schema in [&doubling, back, anchored, itself, &unevaluated] {
            assert_eq!(
                EventSchema::compile(schema).unwrap_err(),
                SchemaError::TooComplex,
                "{schema}"
            );
        }
    }

    #[test]
    fn p08_ordinary_schemas_are_not_too_complex() {
        let properties: String = (0..200)
            .map(|n| format!(r#""p{n}":{{"type":"string","minLength":1}},"#))
            .collect();
        let wide = format!(r#"{{"properties":{{{properties}"last":{{"items":{{"type":"integer"}}}}}}}}"#);
        let tree = concat!(
            r##"{"$defs":{"node":{"properties":{"children":{"items":{"$ref":"#/$defs/node"}},"##,
            r##""next":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/node"}]}}}},"$ref":"#/$defs/node"}"##,
        );
        let variant = |n: usize| format!(r#"{{"required":["v{n}"],"properties":{{"v{n}":{{"type":"object"}}}}}}"#);
        let variants = format!(
            r#"{{"oneOf":[{}]}}"#,
            (0..40).map(variant).collect::<Vec<_>>().join(",")
        );
        let nested = format!("{}true{}", r#"{"items":"#.repeat(60), "}".repeat(60));
        for schema in [&wide, tree, &variants, &nested] {
            assert!(EventSchema::compile(schema).is_ok(), "{schema}");
        }
        let deep = format!("{}null{}", r#"{"next":"#.repeat(127), "}".repeat(127));
        assert_eq!(EventSchema::compile(tree).unwrap().validate(deep.as_bytes()), Ok(()));
    }

    #[test]
    fn p08_recursion_within_the_schema_is_bounded_by_the_payload() {
        let schema =
            EventSchema::compile(r##"{"properties":{"a":{"$ref":"#"}},"additionalProperties":false}"##).unwrap();
        assert_eq!(schema.validate(br#"{"a":{"a":{"a":{}}}}"#), Ok(()));
        assert!(schema.validate(br#"{"a":{"a":{"b":{}}}}"#).is_err());
    }
}
