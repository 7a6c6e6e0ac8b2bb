use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::EventSchema;

fn changes(old: &Value, new: &Value) -> Vec<String> {
    let changes = breaking_changes(Some(&old.to_string()), Some(&new.to_string()));
    changes
        .into_iter()
        .map(|change| format!("{}: {}", change.pointer, change.message))
        .collect()
}

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["id", "total"],
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "total": {"type": "number", "minimum": 0},
            "state": {"enum": ["open", "paid"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer"}}}},
    })
}

#[test]
fn a_schema_that_is_as_strict_or_stricter_passes() {
    let with = |pointer: &str, value: Value| {
        let mut schema = order();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        schema.pointer_mut(parent).unwrap()[name] = value;
        schema
    };
    for new in [
        order(),
        with("/description", json!("an order")),
        with("/required", json!(["id", "total", "state"])),
        with("/properties/note", json!({"type": "string"})),
        with("/properties/total", json!({"type": "integer", "exclusiveMinimum": 0})),
        with("/properties/state", json!({"const": "open"})),
        with(
            "/properties/id",
            json!({"allOf": [{"type": "string"}, {"minLength": 5}]}),
        ),
        with(
            "/properties/id",
            json!({"anyOf": [{"type": "string", "minLength": 1}, {"const": "x"}], "minLength": 1}),
        ),
        with(
            "/properties/lines/items",
            json!({"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}),
        ),
        with("/additionalProperties", json!(false)),
    ] {
        assert_eq!(changes(&order(), &new), [""; 0], "{new}");
    }
}

#[test]
fn payloads_that_receivers_never_saw_are_reported() {
    for (pointer, value, told) in [
        (
            "/required",
            json!(["id"]),
            ": the member \"total\" is no longer required",
        ),
        (
            "/properties/total/type",
            json!(["number", "null"]),
            "/total: may have another type than \"number\"",
        ),
        (
            "/properties/total/minimum",
            json!(-1),
            "/total: no longer needs `minimum` 0",
        ),
        (
            "/properties/state",
            json!({"enum": ["open", "paid", "void"]}),
            "/state: may have other values than [\"open\",\"paid\"]",
        ),
        (
            "/properties/id/minLength",
            json!(0),
            "/id: no longer needs `minLength` 1",
        ),
        (
            "/$defs/line/properties/count/type",
            json!("string"),
            "/lines/*/count: may have another type than \"integer\"",
        ),
    ] {
        let mut new = order();
        *new.pointer_mut(pointer).unwrap() = value;
        assert_eq!(changes(&order(), &new), [told], "{new}");
    }
}

#[test]
fn a_closed_schema_that_opens_is_told() {
    let closed = json!({"properties": {"a": {"type": "string"}}, "additionalProperties": false});
    let opened = json!({"properties": {"a": {"type": "string"}}});
    assert_eq!(
        changes(&closed, &opened),
        [": allows members in addition to the listed ones"]
    );
    let more = json!({"properties": {"a": {"type": "string"}, "b": {}}, "additionalProperties": false});
    assert_eq!(changes(&closed, &more), ["/b: was not allowed, and is now"]);
    assert_eq!(changes(&opened, &closed), [""; 0]);
}

#[test]
fn no_schema_admits_everything() {
    assert_eq!(breaking_changes(None, Some("{\"type\":\"object\"}")), []);
    assert_eq!(breaking_changes(Some("{\"type\":\"object\"}"), None).len(), 1);
    assert_eq!(breaking_changes(None, None), []);
}

#[test]
fn references_in_circles_end() {
    let list = |kind: &str| json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": kind, "properties": {"next": {"$ref": "#/$defs/node"}}}}});
    let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    assert!(!changes(&list("object"), &list("array")).is_empty());
    // Any message will do.
    let _ = changes(&list("object"), &list("object"));
    let _ = changes(&circle, &circle);
    let _ = changes(&order(), &circle);
}

/// References begin at the root: elsewhere they would not compile.
fn schemas() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => schemas_without_references(),
        1 => schemas_without_references().prop_map(|a| json!({"$ref": "#/$defs/x", "$defs": {"x": a}})),
    ]
}

fn schemas_without_references() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({})),
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer"})),
        Just(json!({"type": ["number", "null"]})),
        (0..3_u8).prop_map(|n| json!({"type": "string", "minLength": n})),
        (0..3_u8).prop_map(|n| json!({"minimum": n})),
        (0..3_u8).prop_map(|n| json!({"exclusiveMaximum": n})),
        Just(json!({"enum": ["a", 1]})),
        Just(json!({"enum": ["a", "b", 2]})),
        Just(json!({"const": 1})),
        Just(json!({"multipleOf": 2})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), any::<bool>(), any::<bool>()).prop_map(|(a, b, required, closed)| {
                let required = if required { json!(["a"]) } else { json!([]) };
                json!({"type": "object", "properties": {"a": a, "b": b}, "required": required, "additionalProperties": !closed})
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, more)| json!({"properties": {"a": a}, "additionalProperties": more})),
            inner.clone().prop_map(|items| json!({"type": "array", "items": items, "minItems": 1})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"anyOf": [a, b]})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"oneOf": [a, b]})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"allOf": [a, b]})),
            (inner.clone(), inner).prop_map(|(a, b)| json!({"allOf": [a], "anyOf": [b, {"type": "string"}]})),
        ]
    })
}

fn payloads() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("b")),
        Just(json!("abc")),
        (-1..4_i8).prop_map(|n| json!(n)),
        Just(json!(0.5)),
        Just(json!(true)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The property that must always hold: no accepted schema allows a payload that the old one rejected.
    #[test]
    fn an_accepted_schema_breaks_no_receiver(old in schemas(), new in schemas(), payloads in proptest::collection::vec(payloads(), 20)) {
        if changes(&old, &new).is_empty() {
            let old_schema = EventSchema::compile(&old.to_string()).unwrap();
            let new_schema = EventSchema::compile(&new.to_string()).unwrap();
            for payload in payloads {
                let text = payload.to_string();
                if new_schema.validate(text.as_bytes()).is_ok() {
                    prop_assert!(old_schema.validate(text.as_bytes()).is_ok(), "{old} -> {new}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_schema_is_as_strict_as_itself(schema in schemas()) {
        // `oneOf` and similar keywords are compared literally, unless they contain references.
        if !contains_reference(&schema) {
            prop_assert_eq!(changes(&schema, &schema), [""; 0]);
        }
    }
}
