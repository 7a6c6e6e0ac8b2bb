//! Whether a schema allows payloads that the former one did not. Existing receivers expect the former schema.
//!
//! The comparison works by rules, keyword by keyword, and is conservative: a change that it cannot prove to be at least as
//! strict counts as breaking.

use serde_json::{Map, Number, Value};

use super::SchemaViolation;

/// References may form circles; realistic schemas are nested less deep.
const DEPTH_MAX: usize = 48;
/// Nested alternatives multiply; realistic schemas need a few hundred steps.
const STEPS_MAX: usize = 20_000;
/// The maximum number of reported changes.
const CHANGES_MAX: usize = 20;

/// Keywords that do not affect which payloads fit.
const ANNOTATIONS: [&str; 16] = [
    "$schema",
    "$id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "$vocabulary",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
];

/// Every place where payloads fit `new` that do not fit `old`, or may; both are schemas that compile. `None` allows
/// everything, for an old schema and for a new one.
pub fn breaking_changes(old: Option<&str>, new: Option<&str>) -> Vec<SchemaViolation> {
    let parse = |text: Option<&str>| {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or(Value::Bool(true))
    };
    let (old, new) = (parse(old), parse(new));
    let mut comparison = Comparison {
        old_root: &old,
        new_root: &new,
        changes: Vec::new(),
        steps: 0,
    };
    comparison.compare(&new, &old, "", DEPTH_MAX);
    let mut told: Vec<SchemaViolation> = Vec::new();
    for change in comparison.changes {
        if told.len() < CHANGES_MAX && !told.contains(&change) {
            told.push(change);
        }
    }
    told
}

struct Comparison<'a> {
    old_root: &'a Value,
    new_root: &'a Value,
    changes: Vec<SchemaViolation>,
    steps: usize,
}

/// A schema without constraints.
static ANYTHING: Value = Value::Bool(true);

impl<'a> Comparison<'a> {
    /// Records every way in which `new` is less strict than `old`.
    fn compare(&mut self, new: &'a Value, old: &'a Value, pointer: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return self.change(pointer, "is nested too deep to be compared");
        };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return self.change(pointer, "has too many alternatives to be compared");
        }
        let old = resolve(self.old_root, old);
        let news = self.conjuncts(new);
        if news.iter().any(|new| **new == Value::Bool(false)) {
            return;
        }
        let old = match old {
            Value::Bool(true) => return,
            Value::Object(old) => old,
            _ => return self.change(pointer, "was not allowed, and is now"),
        };
        let is_there = |new: &&Value| new.as_object() == Some(old);
        if news.iter().any(is_there) && !old.values().any(contains_reference) && !old.contains_key("$ref") {
            return;
        }
        // A constraint of every alternative is a constraint of the whole.
        if let Some(branches) = alternatives(&news) {
            let before = self.changes.len();
            self.compare_keywords(&news, old, pointer, depth);
            if self.changes.len() > before {
                let told = self.changes.split_off(before);
                for branch in branches {
                    self.compare(branch, resolve(self.old_root, &Value::Bool(true)), pointer, depth);
                    let mut together = news.clone();
                    together.extend(self.conjuncts(branch));
                    self.compare_keywords(&together, old, pointer, depth);
                }
                if self.changes.len() > before {
                    self.changes.truncate(before);
                    self.changes.extend(told);
                }
            }
            return;
        }
        self.compare_keywords(&news, old, pointer, depth);
    }

    fn compare_keywords(&mut self, news: &[&'a Value], old: &'a Map<String, Value>, pointer: &str, depth: usize) {
        for (keyword, limit) in old {
            let keyword = keyword.as_str();
            if ANNOTATIONS.contains(&keyword) || !could_matter(news, keyword) {
                continue;
            }
            match keyword {
                "$ref" | "properties" | "additionalProperties" | "patternProperties" | "items" | "allOf" | "anyOf" => {
                    self.compare_schemas(news, old, keyword, pointer, depth);
                }
                "required" => self.compare_required(news, limit, pointer),
                _ => {
                    if !news.iter().any(|new| is_as_strict(new, keyword, limit)) {
                        self.change(pointer, &lost(keyword, limit));
                    }
                }
            }
        }
    }

    fn compare_schemas(
        &mut self,
        news: &[&'a Value],
        old: &'a Map<String, Value>,
        keyword: &str,
        pointer: &str,
        depth: usize,
    ) {
        match keyword {
            "properties" => {
                for (name, old_member) in old["properties"].as_object().into_iter().flatten() {
                    let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                    self.compare_member(news, name, old_member, &at, depth);
                }
            }
            "additionalProperties" => self.compare_additional(news, old, pointer, depth),
            "patternProperties" => {
                let same = |new: &&Value| new.get("patternProperties") == old.get("patternProperties");
                if contains_reference(&old["patternProperties"]) || !news.iter().any(same) {
                    self.change(pointer, "`patternProperties` differ, which cannot be compared");
                }
            }
            "items" if old.contains_key("prefixItems") || news.iter().any(|new| new.get("prefixItems").is_some()) => {
                let same = |new: &&Value| ["items", "prefixItems"].iter().all(|key| new.get(key) == old.get(*key));
                if contains_reference(&old["items"]) || !news.iter().any(same) {
                    self.change(pointer, "`items` after `prefixItems` differ, which cannot be compared");
                }
            }
            "items" => {
                let new = news.iter().find_map(|new| new.get("items")).unwrap_or(&ANYTHING);
                self.compare(new, &old["items"], &format!("{pointer}/*"), depth);
            }
            "allOf" => {
                for part in old["allOf"].as_array().into_iter().flatten() {
                    self.compare_with(news, part, pointer, depth);
                }
            }
            // One constraint of the new schema is enough.
            _ => {
                let before = self.changes.len();
                let parts = old[keyword].as_array().into_iter().flatten();
                for part in parts {
                    let told = self.changes.len();
                    self.compare_with(news, part, pointer, depth);
                    if self.changes.len() == told {
                        self.changes.truncate(before);
                        return;
                    }
                }
                self.changes.truncate(before);
                self.change(pointer, &format!("may fit none of the former schemas of `{keyword}`"));
            }
        }
    }

    /// Compares the new schemas together with one old schema.
    fn compare_with(&mut self, news: &[&'a Value], old: &'a Value, pointer: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return self.change(pointer, "is nested too deep to be compared");
        };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return self.change(pointer, "has too many alternatives to be compared");
        }
        match resolve(self.old_root, old) {
            Value::Bool(true) => {}
            Value::Object(old) => {
                if let Some(branches) = alternatives(news) {
                    let before = self.changes.len();
                    for branch in branches {
                        let mut together = news.to_vec();
                        together.extend(self.conjuncts(branch));
                        self.compare_keywords(&together, old, pointer, depth);
                    }
                    if self.changes.len() == before {
                        return;
                    }
                    self.changes.truncate(before);
                }
                self.compare_keywords(news, old, pointer, depth);
            }
            _ => self.change(pointer, "was not allowed, and is now"),
        }
    }

    /// Compares the new schemas' constraints on a member with the old one's.
    fn compare_member(&mut self, news: &[&'a Value], name: &str, old: &'a Value, at: &str, depth: usize) {
        let listed = news.iter().find_map(|new| new.get("properties")?.get(name));
        let new = listed.or_else(|| {
            // Patterns may add constraints: then it is unknown whether the member is unlisted.
            let open = news.iter().any(|new| new.get("patternProperties").is_some());
            (!open)
                .then(|| news.iter().find_map(|new| new.get("additionalProperties")))
                .flatten()
        });
        self.compare(new.unwrap_or(&ANYTHING), old, at, depth);
    }

    /// Members that the old schema does not list.
    fn compare_additional(&mut self, news: &[&'a Value], old: &'a Map<String, Value>, pointer: &str, depth: usize) {
        let allowed = &old["additionalProperties"];
        if resolve(self.old_root, allowed) == &Value::Bool(true) {
            return;
        }
        if old.contains_key("patternProperties") {
            let same = |new: &&Value| {
                ["additionalProperties", "patternProperties", "properties"]
                    .iter()
                    .all(|key| new.get(key) == old.get(*key))
            };
            if !news.iter().any(same) {
                self.change(
                    pointer,
                    "`additionalProperties` with `patternProperties` differ, which cannot be compared",
                );
            }
            return;
        }
        let Some(new) = news.iter().find(|new| new.get("additionalProperties").is_some()) else {
            return self.change(pointer, "allows members in addition to the listed ones");
        };
        if new.get("patternProperties").is_some() {
            return self.change(pointer, "allows members through `patternProperties`");
        }
        let listed_before = |name: &str| old.get("properties").is_some_and(|listed| listed.get(name).is_some());
        for (name, member) in new.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if !listed_before(name) {
                let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                self.compare(member, allowed, &at, depth);
            }
        }
        self.compare(&new["additionalProperties"], allowed, &format!("{pointer}/*"), depth);
    }

    fn compare_required(&mut self, news: &[&Value], old: &Value, pointer: &str) {
        for name in old.as_array().into_iter().flatten() {
            let requires = |new: &&Value| {
                new.get("required")
                    .and_then(Value::as_array)
                    .is_some_and(|all| all.contains(name))
            };
            if !news.iter().any(requires) {
                self.change(pointer, &format!("the member {name} is no longer required"));
            }
        }
    }

    /// The new schema and all of its `allOf`, with references followed: all of their constraints apply.
    fn conjuncts(&self, schema: &'a Value) -> Vec<&'a Value> {
        let mut found: Vec<&'a Value> = Vec::new();
        let mut open = vec![schema];
        while let Some(schema) = open.pop() {
            // References in a circle add no constraint.
            if found.len() > DEPTH_MAX || found.iter().any(|known| std::ptr::eq(*known, schema)) {
                continue;
            }
            found.push(schema);
            open.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten());
            if schema.get("$ref").is_some() {
                open.push(resolve(self.new_root, schema));
            }
        }
        found
    }

    fn change(&mut self, pointer: &str, message: &str) {
        let change = SchemaViolation {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        // Listed twice if found twice, so that a caller can see whether there are more than before.
        self.changes.push(change);
    }
}

/// The target of a reference, if the schema is nothing but a reference; circles are cut off.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str);
        let Some(pointer) = target.and_then(|target| target.strip_prefix('#')) else {
            return schema;
        };
        match root.pointer(pointer) {
            Some(target) => schema = target,
            None => return schema,
        }
    }
    schema
}

fn contains_reference(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(contains_reference),
        Value::Array(items) => items.iter().any(contains_reference),
        _ => false,
    }
}

/// The alternatives of the first schema that has some.
fn alternatives<'a>(news: &[&'a Value]) -> Option<&'a Vec<Value>> {
    let of = |new: &&'a Value| new.get("anyOf").or_else(|| new.get("oneOf")).and_then(Value::as_array);
    news.iter().find_map(of)
}

/// Whether a keyword applies to values of a type that the new schemas allow.
fn could_matter(news: &[&Value], keyword: &str) -> bool {
    let concerns: &[&str] = match keyword {
        "minLength" | "maxLength" | "pattern" => &["string"],
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => &["number", "integer"],
        "properties"
        | "additionalProperties"
        | "patternProperties"
        | "required"
        | "minProperties"
        | "maxProperties"
        | "propertyNames"
        | "dependentRequired"
        | "dependentSchemas" => &["object"],
        "items" | "prefixItems" | "minItems" | "maxItems" | "uniqueItems" | "contains" => &["array"],
        _ => return true,
    };
    news.iter()
        .all(|new| types(new).is_none_or(|types| types.iter().any(|one| concerns.contains(one))))
}

/// The types that a schema names, or the types of its listed values.
fn types(schema: &Value) -> Option<Vec<&str>> {
    if let Some(types) = schema.get("type") {
        return Some(match types {
            Value::String(one) => vec![one.as_str()],
            many => many.as_array()?.iter().filter_map(Value::as_str).collect(),
        });
    }
    let type_of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Some(listed(schema)?.into_iter().map(type_of).collect())
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The values that a schema lists.
fn listed(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(values)) => Some(values.as_array()?.iter().collect()),
        (None, None) => None,
    }
}

/// Whether a new schema keeps a limit of the old one.
fn is_as_strict(new: &Value, keyword: &str, limit: &Value) -> bool {
    let number = |name: &str| new.get(name).and_then(Value::as_f64);
    let bound = limit.as_f64().unwrap_or(f64::NAN);
    match keyword {
        "type" => {
            let old: Vec<&str> = match limit {
                Value::String(one) => vec![one.as_str()],
                many => many
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect(),
            };
            let admitted = |one: &&str| old.contains(one) || *one == "integer" && old.contains(&"number");
            types(new).is_some_and(|types| types.iter().all(admitted))
        }
        "enum" => listed(new).is_some_and(|new| {
            let old = limit.as_array();
            new.iter().all(|value| old.is_some_and(|old| old.contains(value)))
        }),
        "const" => listed(new).is_some_and(|new| new.iter().all(|value| *value == limit)),
        "minimum" => {
            number("minimum").is_some_and(|new| new >= bound)
                || number("exclusiveMinimum").is_some_and(|new| new >= bound)
        }
        "maximum" => {
            number("maximum").is_some_and(|new| new <= bound)
                || number("exclusiveMaximum").is_some_and(|new| new <= bound)
        }
        "exclusiveMinimum" => {
            number("exclusiveMinimum").is_some_and(|new| new >= bound)
                || number("minimum").is_some_and(|new| new > bound)
        }
        "exclusiveMaximum" => {
            number("exclusiveMaximum").is_some_and(|new| new <= bound)
                || number("maximum").is_some_and(|new| new < bound)
        }
        "minLength" | "minItems" | "minProperties" => number(keyword).is_some_and(|new| new >= bound),
        "maxLength" | "maxItems" | "maxProperties" => number(keyword).is_some_and(|new| new <= bound),
        "multipleOf" => number("multipleOf").is_some_and(|new| (new / bound).fract() == 0.0),
        "uniqueItems" => limit == &Value::Bool(false) || new.get("uniqueItems") == Some(&Value::Bool(true)),
        // Equal text has equal meaning only if the schemas that it refers to are equal.
        _ => new.get(keyword) == Some(limit) && !contains_reference(limit),
    }
}

/// The message for a limit that the new schema does not keep.
fn lost(keyword: &str, limit: &Value) -> String {
    match keyword {
        "type" => format!("may have another type than {limit}"),
        "enum" | "const" => format!("may have other values than {limit}"),
        _ => {
            let text = limit.to_string();
            let shown: String = text.chars().take(60).collect();
            let dots = if shown.len() < text.len() { "..." } else { "" };
            format!("no longer needs `{keyword}` {shown}{dots}")
        }
    }
}

#[cfg(test)]
mod tests;
