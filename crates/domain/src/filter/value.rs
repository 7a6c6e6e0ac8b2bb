//! JSON as CEL values. An integer that fits is an integer; every other number is a double.

use std::{collections::BTreeMap, sync::Arc};

use cel::{
    Value,
    objects::{Key, Map},
};

/// The publisher's attributes, a map of strings.
pub(super) fn of_attributes(attributes: &BTreeMap<String, String>) -> Value {
    let pairs = attributes.iter();
    map(pairs.map(|(key, text)| (key.clone(), Value::String(Arc::new(text.clone())))))
}

/// A payload.
pub(super) fn of_json(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).map(convert)
}

/// Payloads nest less than 128 levels deep.
fn convert(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.into_iter().map(convert).collect())),
        serde_json::Value::Object(members) => map(members.into_iter().map(|(key, member)| (key, convert(member)))),
    }
}

fn map(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    let pairs = pairs.map(|(key, value)| (Key::String(Arc::new(key)), value));
    Value::Map(Map {
        map: Arc::new(pairs.collect()),
    })
}
