//! Reading a tree that was held against its shape: typed values, and the defaults of what is not written.

use std::time::Duration;

use super::{object::is_default, shown};
use crate::config::{
    node::{Key, Node, Span, State, Value},
    shape::{Object, Shape},
    value::{self, Wrong},
};

/// A mapping with known keys, or the defaults of one that is not written.
pub(crate) struct View<'a> {
    node: Option<&'a Node>,
    object: &'static Object,
    /// Where to point when the whole is meant.
    pub(crate) span: Span,
    /// Where it stands, in words.
    pub(crate) path: String,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands; of a default, where the mapping does that it belongs to.
    pub(crate) span: Span,
    /// Whether it is written.
    pub(crate) written: bool,
    /// Whether it came out of a reference, and is not to be shown.
    secret: bool,
}

impl<T> At<T> {
    /// Whether a diagnostic may show it.
    pub(crate) fn shows(&self) -> bool {
        !self.secret
    }

    /// The value in words for a diagnostic, unless it came out of a reference.
    pub(crate) fn shown(&self, show: impl Fn(&T) -> String) -> String {
        if self.secret { "a value behind a reference".to_owned() } else { shown(&show(&self.value)) }
    }
}

impl<'a> View<'a> {
    /// The whole configuration.
    pub(crate) fn root(node: &'a Node, object: &'static Object) -> Self {
        Self { node: Some(node), object, span: node.span.clone(), path: String::new() }
    }

    /// An entry or item, with the name or place by which it is called.
    pub(crate) fn of(node: &'a Node, shape: Shape, span: &Span, path: String) -> Self {
        let object = object_of(shape).expect("asked for the shape of a mapping");
        Self { node: Some(node), object, span: span.clone(), path }
    }

    /// Where a key stands, in words.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key's value as written, usable or not.
    pub(crate) fn written(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.object.field(key).is_some(), "{} has no {key}", self.object.name);
        self.node.and_then(|node| node.get(key))
    }

    /// Whether a key is written with another value than its default.
    pub(crate) fn differs(&self, key: &str) -> bool {
        let field = self.object.field(key).expect("the key is in the table of shapes");
        self.written(key).is_some_and(|node| !is_default(node, field.shape, field.default))
    }

    /// A key's value as written, unless it is wrong.
    pub(crate) fn usable(&self, key: &str) -> Option<&'a Node> {
        self.written(key).filter(|node| node.state != State::Wrong)
    }

    /// Where a key is written; where the whole is, if it is not.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        let entries = self.node.map_or(&[][..], Node::entries);
        entries
            .iter()
            .find(|(entry, _)| entry.name == key)
            .map_or_else(|| self.span.clone(), |(entry, _)| entry.span.clone())
    }

    /// The mapping below a key, or its defaults.
    pub(crate) fn object(&self, key: &str) -> Self {
        let object = object_of(self.shape(key)).expect("the key holds a mapping");
        let node = self.written(key).filter(|node| matches!(node.value, Value::Map(_)));
        Self { node, object, span: self.key_span(key), path: self.path_of(key) }
    }

    /// The mapping below a key, if it is written and usable.
    pub(crate) fn section(&self, key: &str) -> Option<Self> {
        self.usable(key).filter(|node| matches!(node.value, Value::Map(_))).map(|_| self.object(key))
    }

    /// The entries below a key.
    pub(crate) fn map(&self, key: &str) -> &'a [(Key, Node)] {
        self.written(key).map_or(&[], Node::entries)
    }

    /// The items below a key.
    pub(crate) fn list(&self, key: &str) -> &'a [Node] {
        self.written(key).map_or(&[], Node::items)
    }

    /// The shape of a key's value.
    pub(crate) fn shape(&self, key: &str) -> Shape {
        self.object.field(key).expect("the key is in the table of shapes").shape
    }

    /// A value parsed from text, or its default; [`None`] where neither is, or where a diagnostic told of it.
    pub(crate) fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<At<T>> {
        let field = self.object.field(key).expect("the key is in the table of shapes");
        match self.written(key) {
            Some(node) if node.state == State::Fine => {
                let secret = matches!(node.value, Value::Secret(_));
                let value = parse(node.text()?).ok()?;
                Some(At { value, span: node.span.clone(), written: true, secret })
            }
            Some(_) => None,
            None => {
                let default = field.default?;
                let value = parse(default.trim_matches('"')).expect("a default is valid; a test holds it");
                Some(At { value, span: self.span.clone(), written: false, secret: false })
            }
        }
    }

    pub(crate) fn duration(&self, key: &str) -> Option<At<Duration>> {
        self.parsed(key, value::duration)
    }

    pub(crate) fn percent(&self, key: &str) -> Option<At<f64>> {
        self.parsed(key, value::percent)
    }

    /// A text, resolved; an unresolved one stays as it is written, for a check without secrets.
    pub(crate) fn text(&self, key: &str) -> Option<At<String>> {
        if let Some(node) = self.written(key).filter(|node| node.state == State::Unresolved) {
            let value = node.text()?.to_owned();
            return Some(At { value, span: node.span.clone(), written: true, secret: true });
        }
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    pub(crate) fn whole(&self, key: &str) -> Option<At<u32>> {
        let field = self.object.field(key).expect("the key is in the table of shapes");
        let Some(node) = self.written(key) else {
            let value = field.default?.parse().expect("a default is valid; a test holds it");
            return Some(At { value, span: self.span.clone(), written: false, secret: false });
        };
        match node.value {
            Value::Whole(number) if node.state == State::Fine => {
                let value = u32::try_from(number).ok()?;
                Some(At { value, span: node.span.clone(), written: true, secret: false })
            }
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<At<bool>> {
        let field = self.object.field(key).expect("the key is in the table of shapes");
        match self.written(key) {
            Some(node) => match node.value {
                Value::Flag(value) => Some(At { value, span: node.span.clone(), written: true, secret: false }),
                _ => None,
            },
            None => {
                Some(At { value: field.default? == "true", span: self.span.clone(), written: false, secret: false })
            }
        }
    }
}

fn object_of(shape: Shape) -> Option<&'static Object> {
    match shape {
        Shape::Object(object) => Some(object),
        Shape::Either(shapes) => shapes.iter().find_map(|shape| object_of(*shape)),
        Shape::Map(entries) => object_of(entries.value),
        Shape::List(items) => object_of(items.item),
        Shape::Scalar(_) => None,
    }
}

/// A text as a diagnostic may show it: not if it came out of a reference.
pub(crate) fn visible(node: &Node) -> &str {
    match &node.value {
        Value::Text(text) => text,
        _ => "a value behind a reference",
    }
}
