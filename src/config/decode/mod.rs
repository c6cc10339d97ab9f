//! Holds a tree of nodes against the table of shapes, resolves references, and tells every mistake.

mod object;
mod scalar;
mod trail;
mod view;

use trail::Trail;
pub(crate) use view::{At, View, visible};

use super::{
    node::{Node, Span, State, Value},
    secret::Secrets,
    shape::{Entries, Items, ROOT, Shape},
    sink::Sink,
    suggest,
};

/// Holds `root` against the shape of a whole configuration. Without `secrets`, references stay as they are.
pub(crate) fn decode(root: &mut Node, secrets: Option<&dyn Secrets>, sink: &mut Sink) {
    let mut decoder = Decoder { sink, secrets, trail: Trail::default() };
    let anchor = root.span.clone();
    decoder.object(root, &ROOT, &anchor, false);
}

struct Decoder<'a> {
    sink: &'a mut Sink,
    secrets: Option<&'a dyn Secrets>,
    trail: Trail,
}

impl Decoder<'_> {
    /// Holds a node against a shape. `anchor` is where to point when something is missing in it; `later` says that it
    /// belongs to a part that this version does not have, and whose references are left alone.
    fn node(&mut self, node: &mut Node, shape: Shape, anchor: &Span, later: bool) {
        match shape {
            Shape::Scalar(scalar) => self.scalar(node, scalar, later),
            Shape::Object(object) => self.object(node, object, anchor, later),
            Shape::Map(entries) => self.map(node, entries, anchor, later),
            Shape::List(items) => self.list(node, items, anchor, later),
            Shape::Either(shapes) => {
                if let Some(shape) = shapes.iter().find(|shape| fits(**shape, node)) {
                    self.node(node, *shape, anchor, later);
                } else {
                    self.unfit(node, &described(shape), &sample(node, shape));
                }
            }
        }
    }

    /// Tells that a node is of another kind than wanted.
    fn unfit(&mut self, node: &mut Node, wanted: &str, help: &str) {
        node.state = State::Wrong;
        let help = match (help, &node.value) {
            ("", Value::Null) => "write a value, or leave the key out",
            (help, _) => help,
        };
        let message = format!("{}: expected {wanted}, found {}", self.trail, node.described());
        self.sink.error(&node.span, message, help);
    }

    fn map(&mut self, node: &mut Node, shape: &'static Entries, anchor: &Span, later: bool) {
        if !matches!(node.value, Value::Map(_)) {
            if shape.value.holds_secret() {
                self.hide_all(node);
            }
            let help = sample(node, Shape::Map(shape));
            return self.unfit(node, "a mapping with a name for each entry", &help);
        }
        let Value::Map(entries) = &mut node.value else { return };
        let count = entries.len();
        let mut entries = std::mem::take(entries);
        if count < shape.at_least {
            node.state = State::Wrong;
            self.sink.error(anchor, format!("{}: is empty", self.trail), format!("write at least {}", shape.at_least));
        }
        if count > shape.at_most {
            node.state = State::Wrong;
            let (key, _) = &entries[shape.at_most];
            self.sink.error(
                &key.span,
                format!("{}: more than {} entries", self.trail, shape.at_most),
                "leave some out",
            );
            entries.truncate(shape.at_most);
        }
        self.repeated_keys(&mut entries);
        for (key, value) in &mut entries {
            self.trail.push(&shown_key(&key.name));
            if let Err(wrong) = scalar::check_text(shape.key, &key.name) {
                let odd = self.hide_odd_key(key);
                let help = if odd { "write it without blanks and punctuation".to_owned() } else { wrong.help };
                self.sink.error(&key.span, format!("{}: this key {}", self.trail, wrong.message), help);
            }
            self.node(value, shape.value, &key.span, later);
            self.trail.pop();
        }
        node.value = Value::Map(entries);
    }

    fn list(&mut self, node: &mut Node, shape: &'static Items, anchor: &Span, later: bool) {
        if !matches!(node.value, Value::List(_)) {
            return self.no_list(node, shape);
        }
        let Value::List(items) = &mut node.value else { return };
        let mut items = std::mem::take(items);
        if items.len() < shape.at_least {
            node.state = State::Wrong;
            let at = if node.span.is_empty() { anchor } else { &node.span };
            self.sink.error(at, format!("{}: is empty", self.trail), format!("write at least {} item", shape.at_least));
        }
        if items.len() > shape.at_most {
            node.state = State::Wrong;
            let span = items[shape.at_most].span.clone();
            self.sink.error(&span, format!("{}: more than {} items", self.trail, shape.at_most), "leave some out");
            items.truncate(shape.at_most);
        }
        for (place, item) in items.iter_mut().enumerate() {
            self.trail.push_item(place, item.get("name").and_then(Node::text));
            let anchor = item.span.clone();
            self.node(item, shape.item, &anchor, later);
            self.trail.pop();
        }
        if shape.command_line && items.first().and_then(Node::text).is_some_and(str::is_empty) {
            node.state = State::Wrong;
            self.sink.error(&items[0].span, format!("{}: the program's name is empty", self.trail), "name the program");
        }
        if items.iter().any(|item| item.state == State::Wrong) {
            node.state = State::Wrong;
        }
        node.value = Value::List(items);
    }

    /// Tells that a list was wanted, and how this value would be written as one.
    fn no_list(&mut self, node: &mut Node, shape: &'static Items) {
        let help = match &node.value {
            Value::Text(text) if shape.command_line && !super::secret::has_reference(text) => {
                let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
                format!(
                    "no shell is used; write the program and its arguments as a list: [{}]",
                    shown(&words.join(", "))
                )
            }
            _ if shape.command_line => {
                "no shell is used; write the program and its arguments as a list: [program, argument]".to_owned()
            }
            _ => sample(node, Shape::List(shape)),
        };
        self.unfit(node, if shape.command_line { "a list of words to run" } else { "a list" }, &help);
    }

    /// Keeps a key from being shown that may be half a value; whether it is one.
    fn hide_odd_key(&mut self, key: &super::node::Key) -> bool {
        let odd = !key.name.chars().all(is_key_character);
        if odd {
            self.sink.hide(&key.span);
        }
        odd
    }

    /// Keeps every text below a node from being shown: where nothing is known of a value it may be a secret.
    fn hide_all(&mut self, node: &Node) {
        match &node.value {
            Value::Text(_) | Value::Secret(_) | Value::Whole(_) | Value::Real(_) => self.sink.hide(&node.span),
            Value::List(items) => items.iter().for_each(|item| self.hide_all(item)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.hide_all(value)),
            Value::Null | Value::Flag(_) => {}
        }
    }

    /// Tells of keys written twice; only the first stays.
    fn repeated_keys(&mut self, entries: &mut Vec<(super::node::Key, Node)>) {
        let mut seen = std::collections::BTreeMap::new();
        entries.retain(|(key, _)| {
            if let Some(first) = seen.get(&key.name) {
                let line = self.sink.source().line(*first);
                let message = format!("{}: `{}` is written twice", self.trail, shown_key(&key.name));
                self.sink.error(&key.span, message, format!("the first is on line {line}; leave one of the two out"));
                return false;
            }
            seen.insert(key.name.clone(), key.span.start);
            true
        });
    }
}

/// Whether a node is of the kind that a shape wants.
fn fits(shape: Shape, node: &Node) -> bool {
    match (shape, &node.value) {
        (Shape::Scalar(_), Value::Flag(_) | Value::Whole(_) | Value::Real(_) | Value::Text(_) | Value::Secret(_))
        | (Shape::Object(_) | Shape::Map(_), Value::Map(_))
        | (Shape::List(_), Value::List(_)) => true,
        (Shape::Either(shapes), _) => shapes.iter().any(|shape| fits(*shape, node)),
        _ => false,
    }
}

/// What a shape wants, in words that follow "expected".
fn described(shape: Shape) -> String {
    match shape {
        Shape::Scalar(scalar) => scalar::expected(scalar),
        Shape::Object(_) | Shape::Map(_) => "a mapping".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(|shape| described(*shape)).collect::<Vec<_>>().join(" or "),
    }
}

/// How a value of a shape is written instead of this one; empty where nothing is written.
fn sample(node: &Node, shape: Shape) -> String {
    match shape {
        _ if matches!(node.value, Value::Null) => String::new(),
        Shape::Scalar(scalar) => scalar::example(scalar),
        Shape::Object(object) => {
            let first = object.fields.iter().find(|field| field.required).or_else(|| object.fields.first());
            let key = first.map_or("key", |field| field.name);
            format!("write its keys below it, each with its value, as in `{key}: …`")
        }
        Shape::Map(_) => "write its entries below it, each with a name of its own, as in `name: …`".to_owned(),
        Shape::List(_) => "write a list, as in `[first, second]`".to_owned(),
        Shape::Either(shapes) => {
            let samples: Vec<String> = shapes.iter().map(|shape| sample(node, *shape)).collect();
            samples.join("; or ")
        }
    }
}

/// A text as a diagnostic repeats it: one line, not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        if kept.len() + character.len_utf8() > super::limits::SHOWN_LIMIT_BYTES {
            kept.push('…');
            break;
        }
        kept.push(if character.is_control() { '�' } else { character });
    }
    kept
}

/// A key as a diagnostic repeats it: up to the first character that no key has, since a slip of punctuation makes a key
/// of a value, which may be a secret.
pub(crate) fn shown_key(key: &str) -> String {
    match key.find(|character: char| !is_key_character(character)) {
        Some(end) => format!("{}…", shown(&key[..end])),
        None => shown(key),
    }
}

fn is_key_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}

/// Follows a message about an unknown word.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    suggest::help(word, known)
}
