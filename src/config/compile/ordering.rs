//! The order in which own conditions are made: each after those that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sink, condition::BUILT_IN};
use crate::config::{
    decode::{shown, shown_key},
    limits::EXPRESSION_DEPTH_LIMIT,
    node::{Key, Node, Value},
};

/// What a condition is made of, as far as ordering is concerned.
pub(super) struct Body<'a> {
    /// Nodes that name other conditions.
    pub(super) names: Vec<&'a Node>,
    /// `any`, `all`, `not` and facts in it.
    pub(super) parts: usize,
    /// How deep they nest.
    pub(super) depth: usize,
}

/// Looks through a condition, no deeper than [`EXPRESSION_DEPTH_LIMIT`] and one more.
pub(super) fn body(node: &Node) -> Body<'_> {
    let mut body = Body { names: Vec::new(), parts: 0, depth: 0 };
    let mut pending = vec![(node, 1)];
    while let Some((node, depth)) = pending.pop() {
        body.depth = body.depth.max(depth);
        body.parts += 1;
        if depth > EXPRESSION_DEPTH_LIMIT {
            continue;
        }
        match &node.value {
            Value::Text(_) | Value::Secret(_) => body.names.push(node),
            Value::Map(entries) => {
                for (key, value) in entries {
                    match key.name.as_str() {
                        "any" | "all" => pending.extend(value.items().iter().map(|item| (item, depth + 1))),
                        "not" => pending.push((value, depth + 1)),
                        "condition" => body.names.push(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    body
}

/// The conditions that can be made, each after those that it names. Those in a circle are told of and left out,
/// together with whatever names them.
pub(super) fn order<'a>(entries: &'a [(Key, Node)], path: &str, sink: &mut Sink) -> Vec<(&'a Key, &'a Node)> {
    let mut waiting: BTreeMap<&str, (&Key, &Node, BTreeSet<&str>)> = BTreeMap::new();
    for (key, node) in entries {
        let own = |name: &&str| entries.iter().any(|(key, _)| key.name == *name) && !BUILT_IN.contains(name);
        let needs = body(node).names.into_iter().filter_map(Node::text).filter(own).collect();
        waiting.insert(&key.name, (key, node, needs));
    }
    let mut ordered = Vec::new();
    loop {
        let ready: Vec<&str> =
            waiting.iter().filter(|(_, (.., needs))| needs.is_empty()).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            break;
        }
        for name in ready {
            let (key, node, _) = waiting.remove(name).expect("it was just found");
            ordered.push((key, node));
            for (.., needs) in waiting.values_mut() {
                needs.remove(name);
            }
        }
    }
    circles(&waiting, path, sink);
    ordered
}

fn circles(waiting: &BTreeMap<&str, (&Key, &Node, BTreeSet<&str>)>, path: &str, sink: &mut Sink) {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in waiting.keys() {
        // Everything that waits names something that waits, so that following the first name ends in a circle.
        let mut way: Vec<&str> = vec![start];
        let circle = loop {
            let last = way.last().expect("it is never empty");
            let next = *waiting[last].2.iter().next().expect("it waits for something");
            if let Some(place) = way.iter().position(|name| *name == next) {
                break way.split_off(place);
            }
            way.push(next);
        };
        if circle.iter().any(|name| told.contains(name)) {
            continue;
        }
        told.extend(&circle);
        let (key, ..) = waiting[circle[0]];
        let names: Vec<String> = circle.iter().chain([&circle[0]]).map(|name| shown(name)).collect();
        let message = format!("{path}.{}: this condition rests on itself: {}", shown_key(&key.name), names.join(" → "));
        sink.error(&key.span, message, "let one of them stop naming the other");
    }
}
