//! Mappings with known keys.

use super::{Decoder, did_you_mean, sample, shown_key};
use crate::config::{
    later,
    node::{Key, Node, Span, State, Value},
    shape::{Field, Object, OneOf, Shape},
    suggest,
};

impl Decoder<'_> {
    pub(super) fn object(&mut self, node: &mut Node, object: &'static Object, anchor: &Span, later: bool) {
        if !matches!(node.value, Value::Map(_)) {
            let help = match node.value {
                Value::Null => "write its keys below it, or leave the key out".to_owned(),
                _ => sample(node, Shape::Object(object)),
            };
            if Shape::Object(object).holds_secret() {
                self.hide_all(node);
            }
            return self.unfit(node, &format!("a mapping ({})", listed(object)), &help);
        }
        let Value::Map(entries) = &mut node.value else { return };
        let mut entries = std::mem::take(entries);
        self.repeated_keys(&mut entries);
        let mut meant = Vec::new();
        for (key, value) in &mut entries {
            if let Some(field) = object.field(&key.name) {
                self.field(key, value, object, field, later);
                continue;
            }
            let known = self.unknown_key(key, object);
            if known.is_none_or(|field| field.shape.holds_secret()) {
                self.hide_all(value);
            }
            meant.extend(known.map(|field| field.name));
        }
        let written = |name: &str| entries.iter().any(|(key, _)| key.name == name) || meant.contains(&name);
        for field in object.fields.iter().filter(|field| field.required && !written(field.name)) {
            node.state = State::Wrong;
            self.sink.error(
                anchor,
                format!("{}: `{}` is missing", self.trail, field.name),
                format!("write `{}`: {}", field.name, lower_first(field.about)),
            );
        }
        let spans: Vec<(&str, &Span)> = entries.iter().map(|(key, _)| (key.name.as_str(), &key.span)).collect();
        if !self.one_of(object, &spans, &written, anchor) {
            node.state = State::Wrong;
        }
        node.value = Value::Map(entries);
    }

    fn field(&mut self, key: &Key, value: &mut Node, object: &Object, field: &'static Field, later: bool) {
        self.trail.push(field.name);
        let comes_later = later::find(object.name, field.name)
            .filter(|row| !later && !is_default(value, field.shape, field.default) && is_among(value, row.values));
        if let Some(row) = comes_later {
            let message = format!("{}: not in this version yet: {}", self.trail, row.what);
            self.sink.error(&key.span, message, row.meanwhile);
        }
        self.node(value, field.shape, &key.span, later || comes_later.is_some());
        if comes_later.is_some() {
            value.state = State::Wrong;
        }
        self.trail.pop();
    }

    /// Tells of an unknown key; hands back the known one that was meant.
    fn unknown_key(&mut self, key: &Key, object: &'static Object) -> Option<&'static Field> {
        if key.name == "<<" {
            let help = "write the keys out, or let an alias stand for the whole value";
            self.sink.error(&key.span, format!("{}: merging keys with `<<` is not done here", self.trail), help);
            return None;
        }
        let names = object.fields.iter().map(|field| field.name);
        if self.sink.is_full() {
            // It will only be counted; looking for what was meant would cost more than everything else.
            self.sink.leave_out();
            return None;
        }
        self.hide_odd_key(key);
        let message = format!("{}: unknown key `{}`", self.trail, shown_key(&key.name));
        self.sink.error(&key.span, message, did_you_mean(&key.name, names.clone()));
        suggest::nearest(&key.name, names).and_then(|name| object.field(name))
    }

    /// Holds the keys that exclude each other; whether they are as they should be.
    fn one_of(
        &mut self,
        object: &'static Object,
        spans: &[(&str, &Span)],
        written: &dyn Fn(&str) -> bool,
        anchor: &Span,
    ) -> bool {
        let (keys, needed) = match object.one_of {
            OneOf::Nothing => return true,
            OneOf::Exactly(keys) => (keys, true),
            OneOf::AtMost(keys) => (keys, false),
        };
        let mut chosen = spans.iter().filter(|(name, _)| keys.contains(name));
        let first = chosen.next();
        let list = keys.join(", ");
        if let (Some((first, _)), Some((second, span))) = (first, chosen.next()) {
            let message = format!("{}: `{second}` stands beside `{first}`, and they exclude each other", self.trail);
            self.sink.error(span, message, format!("keep one of: {list}"));
            return false;
        }
        if needed && first.is_none() && !keys.iter().any(|key| written(key)) {
            let message = format!("{}: a {} needs one of: {list}", self.trail, object.name.replace('_', " "));
            self.sink.error(anchor, message, format!("write one of them; {}", lower_first(object.about)));
            return false;
        }
        true
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    let text: String =
        characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect());
    text.trim_end_matches('.').to_owned()
}

fn listed(object: &Object) -> String {
    const LISTED: usize = 5;
    let names: Vec<&str> = object.fields.iter().map(|field| field.name).take(LISTED).collect();
    let more = if object.fields.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

fn is_among(node: &Node, values: &[&str]) -> bool {
    values.is_empty() || node.text().is_some_and(|text| values.contains(&text))
}

/// Whether a value is its key's default, spelled out in whole or in part.
pub(crate) fn is_default(node: &Node, shape: Shape, default: Option<&str>) -> bool {
    let Some(default) = default else { return false };
    match (&node.value, shape) {
        (Value::Map(entries), Shape::Object(object)) => entries.iter().all(|(key, value)| {
            object.field(&key.name).is_some_and(|field| is_default(value, field.shape, field.default))
        }),
        (Value::Map(entries), _) => entries.is_empty() && default == "{}",
        (Value::List(items), _) => {
            let words: Vec<&str> =
                default.trim_matches(['[', ']']).split(", ").filter(|word| !word.is_empty()).collect();
            items.len() == words.len() && items.iter().zip(words).all(|(item, word)| item.text() == Some(word))
        }
        (Value::Text(text), _) => text == default,
        (Value::Whole(number), _) => number.to_string() == default,
        (Value::Flag(flag), _) => flag.to_string() == default,
        (Value::Null | Value::Real(_) | Value::Secret(_), _) => false,
    }
}
