//! The maximum work of a schema per payload.
//!
//! Nested or self-referring alternatives can double the work at every step, so that a schema of a few lines takes years to
//! check. The cost of a schema is therefore computed before it is used: the number of subschemas that can be applied along
//! one path from a payload's root to a leaf. This module bounds that number.

use std::collections::HashMap;

use serde_json::Value;

use crate::payload;

/// The maximum number of applied subschemas along one path. It bounds the time and the stack of a check.
const APPLICATIONS_MAX: u64 = 2_000;
/// The longest chain of schemas that apply to one value because of one another.
const CHAIN_MAX: usize = 100;

/// Keywords whose schemas apply to the same value.
const IN_PLACE: [&str; 9] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];
/// Keywords whose schemas apply to the values below; in the worst case all of them apply to each.
const BELOW: [&str; 8] = [
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];
/// Keywords of which one schema applies to each value below.
const ONE_BELOW: [&str; 2] = ["properties", "prefixItems"];
/// Keywords that contain a map of schemas.
const MAPS: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "dependencies"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

#[derive(Default)]
struct Node {
    in_place: Vec<usize>,
    below: Vec<usize>,
    one_below: Vec<Vec<usize>>,
    /// Unevaluated members are found by applying the other keywords once more.
    twice: bool,
}

#[derive(Default)]
struct Graph<'a> {
    indices: HashMap<*const Value, usize>,
    schemas: Vec<&'a Value>,
    nodes: Vec<Node>,
}

/// Whether checking any payload against the schema stays within the bound.
pub(super) fn is_bounded(schema: &Value) -> bool {
    let Some(graph) = Graph::of(schema) else { return false };
    // From the leaves of a payload up: the cost at a value depends on the costs one level below.
    let mut below = vec![0; graph.nodes.len()];
    for _ in 0..payload::DEPTH_LIMIT {
        let mut costs = vec![None; graph.nodes.len()];
        if graph.cost(0, 0, &below, &mut costs) > APPLICATIONS_MAX {
            return false;
        }
        for node in 0..graph.nodes.len() {
            graph.cost(node, 0, &below, &mut costs);
        }
        let level: Vec<u64> = costs.into_iter().map(Option::unwrap_or_default).collect();
        if level == below {
            return true;
        }
        below = level;
    }
    true
}

impl<'a> Graph<'a> {
    /// The reachable schemas; `None` if a reference cannot be followed.
    fn of(root: &'a Value) -> Option<Self> {
        let mut graph = Self::default();
        let mut anchors = HashMap::new();
        collect_anchors(root, &mut anchors);
        graph.index(root);
        let mut next = 0;
        while let Some(schema) = graph.schemas.get(next).copied() {
            let node = graph.node(schema, root, &anchors)?;
            graph.nodes.push(node);
            next += 1;
        }
        Some(graph)
    }

    fn index(&mut self, schema: &'a Value) -> usize {
        let fresh = self.schemas.len();
        let index = *self.indices.entry(std::ptr::from_ref(schema)).or_insert(fresh);
        if index == fresh {
            self.schemas.push(schema);
        }
        index
    }

    fn node(&mut self, schema: &'a Value, root: &'a Value, anchors: &HashMap<&str, &'a Value>) -> Option<Node> {
        let mut node = Node::default();
        let Some(members) = schema.as_object() else {
            return Some(node);
        };
        if !std::ptr::eq(schema, root) && members.get("$id").is_some_and(Value::is_string) {
            // References below would need another root.
            return None;
        }
        for (name, value) in members {
            let name = name.as_str();
            if IN_PLACE.contains(&name) {
                node.in_place
                    .extend(children(name, value).into_iter().map(|child| self.index(child)));
            } else if BELOW.contains(&name) {
                node.below
                    .extend(children(name, value).into_iter().map(|child| self.index(child)));
                node.twice |= name.starts_with("unevaluated");
            } else if ONE_BELOW.contains(&name) {
                node.one_below.push(
                    children(name, value)
                        .into_iter()
                        .map(|child| self.index(child))
                        .collect(),
                );
            } else if let (true, Some(target)) = (REFERENCES.contains(&name), value.as_str()) {
                let target = match target.strip_prefix('#')? {
                    pointer if pointer.is_empty() || pointer.starts_with('/') => root.pointer(pointer)?,
                    anchor => anchors.get(anchor)?,
                };
                node.in_place.push(self.index(target));
            }
        }
        Some(node)
    }

    /// The applications that begin with this schema, at one value and along one path below it.
    fn cost(&self, index: usize, chain: usize, below: &[u64], costs: &mut [Option<u64>]) -> u64 {
        if let Some(cost) = costs[index] {
            return cost;
        }
        // Marks the schema while it is visited: a schema that returns to itself at the same value would never end.
        costs[index] = Some(u64::MAX);
        if chain > CHAIN_MAX {
            return u64::MAX;
        }
        let node = &self.nodes[index];
        let in_place = node
            .in_place
            .iter()
            .map(|child| self.cost(*child, chain + 1, below, costs));
        let in_place = in_place.fold(0, u64::saturating_add);
        let all_below = node.below.iter().map(|child| below[*child]);
        let one_below = node
            .one_below
            .iter()
            .map(|children| children.iter().map(|child| below[*child]).max().unwrap_or(0));
        let once = all_below.chain(one_below).fold(in_place, u64::saturating_add);
        let cost = 1_u64.saturating_add(once.saturating_mul(1 + u64::from(node.twice)));
        costs[index] = Some(cost);
        cost
    }
}

/// The schemas in a keyword's value: a map of them, an array, or one.
fn children<'v>(keyword: &str, value: &'v Value) -> Vec<&'v Value> {
    match value {
        Value::Object(members) if MAPS.contains(&keyword) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => vec![value],
    }
}

fn collect_anchors<'a>(value: &'a Value, into: &mut HashMap<&'a str, &'a Value>) {
    match value {
        Value::Object(members) => {
            for keyword in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = members.get(keyword).and_then(Value::as_str) {
                    into.insert(name, value);
                }
            }
            members.values().for_each(|member| collect_anchors(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_anchors(item, into)),
        _ => {}
    }
}
