//! The YAML as a tree of nodes that know where they stand.

use std::{fmt, ops::Range};

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Bytes of the source.
pub(crate) type Span = Range<usize>;

/// One value and where it stands.
pub(crate) struct Node {
    /// Where it stands; of a list or mapping, where it begins.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) value: Value,
    /// Whether it can be used.
    pub(crate) state: State,
}

/// Whether a node can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// As far as known.
    Fine,
    /// It holds a reference that was not resolved, on purpose.
    Unresolved,
    /// A diagnostic was made about it.
    Wrong,
}

/// What a node is.
pub(crate) enum Value {
    /// Nothing: `null`, `~`, or a key without a value.
    Null,
    /// true or false.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// Another number.
    Real(f64),
    /// A text as written.
    Text(String),
    /// A text that references were put into; never shown.
    Secret(SecretString),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, repeated keys included.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The key.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) span: Span,
}

impl Node {
    /// The text, resolved where it was a reference.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Secret(text) => Some(text.expose_secret()),
            _ => None,
        }
    }

    /// The text, if it is usable and no reference in it was left alone.
    pub(crate) fn known_text(&self) -> Option<&str> {
        self.text().filter(|_| self.state == State::Fine)
    }

    /// The entries of a mapping.
    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The first value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(entry, _)| entry.name == key).map(|(_, node)| node)
    }

    /// What it is, in words that follow "found".
    pub(crate) fn described(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Flag(_) => "true or false",
            Value::Whole(_) | Value::Real(_) => "a number",
            Value::Text(_) | Value::Secret(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {:?}", self.described(), self.span)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { span: span_of(&spanned.defined), value: spanned.value, state: State::Fine })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let name = match spanned.value {
            Value::Text(text) => text,
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Null => "null".to_owned(),
            Value::Secret(_) | Value::List(_) | Value::Map(_) => {
                return Err(D::Error::custom("a key is a list or a mapping, and must be a text"));
            }
        };
        Ok(Self { name, span: span_of(&spanned.defined) })
    }
}

/// The bytes of a location; empty where the parser does not know them.
pub(crate) fn span_of(location: &Location) -> Span {
    let place = |number: u64| usize::try_from(number).unwrap_or(0);
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(offset), Some(length)) => place(offset)..place(offset + length),
        _ => 0..0,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Whole(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(i128::try_from(number).map_or(Value::Real(f64::INFINITY), Value::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Real(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
