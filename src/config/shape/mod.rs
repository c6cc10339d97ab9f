//! What a configuration may look like: one table, from which both the decoder and the JSON Schema are derived.
//!
//! It describes the whole design, parts of later versions included; [`super::later`] lists those.

mod condition;
mod database;
mod gate;
mod notify;
mod probe;
mod request;
mod server;
mod service;
mod target;
mod threshold;
mod tree;

use std::{collections::BTreeSet, time::Duration};

pub(crate) use condition::{QUANTILES, quantile_of};
pub(crate) use server::{DEFAULT_SOCKET, ROOT};

/// What a value may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// One value.
    Scalar(Scalar),
    /// A mapping with known keys.
    Object(&'static Object),
    /// A mapping whose keys are chosen by the user.
    Map(&'static Entries),
    /// A sequence.
    List(&'static Items),
    /// One of several, told apart by whether it is a text, a number, a list or a mapping.
    Either(&'static [Shape]),
}

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Object {
    /// What it is called in messages and in the JSON Schema; unique.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) fields: &'static [Field],
    /// Keys of which one must be written.
    pub(crate) one_of: OneOf,
}

/// Keys that exclude each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OneOf {
    /// None do.
    Nothing,
    /// Exactly one of these is written.
    Exactly(&'static [&'static str]),
    /// At most one of these is written.
    AtMost(&'static [&'static str]),
}

/// A known key.
#[derive(Debug)]
pub(crate) struct Field {
    /// The key.
    pub(crate) name: &'static str,
    /// What its value may look like.
    pub(crate) shape: Shape,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Whether it must be written.
    pub(crate) required: bool,
    /// What holds where it is not written, as YAML flow text.
    pub(crate) default: Option<&'static str>,
}

/// A mapping whose keys are chosen by the user.
#[derive(Debug)]
pub(crate) struct Entries {
    /// What the keys are.
    pub(crate) key: Scalar,
    /// What the values are.
    pub(crate) value: Shape,
    /// Fewest entries.
    pub(crate) at_least: usize,
    /// Most entries.
    pub(crate) at_most: usize,
}

/// A sequence.
#[derive(Debug)]
pub(crate) struct Items {
    /// What the items are.
    pub(crate) item: Shape,
    /// Fewest items.
    pub(crate) at_least: usize,
    /// Most items.
    pub(crate) at_most: usize,
    /// Whether this is a command line, which is often written as one text by mistake.
    pub(crate) command_line: bool,
}

/// One value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar {
    /// true or false.
    Flag,
    /// A whole number within bounds.
    Whole(u32, u32),
    /// A duration within bounds.
    Duration(Duration, Duration),
    /// A share between bounds, both excluded, in percent.
    Percent(f64, f64),
    /// A factor or a duration.
    LatencyAbove,
    /// An absolute http or https URL.
    Url,
    /// The same, and secret beyond its host.
    SecretUrl,
    /// A URL with one of these schemes.
    OtherUrl(&'static [&'static str], &'static str),
    /// A host and a port.
    HostPort,
    /// An address to listen on.
    SocketAddress,
    /// A regular expression.
    Regex,
    /// A JSON pointer.
    Pointer,
    /// The path of a file or directory, from the root.
    Path,
    /// A path that may also be relative to a working directory.
    RelativePath,
    /// A name that the user gives or refers to.
    Name,
    /// The name of an environment variable.
    EnvironmentName,
    /// The name of an HTTP header.
    HeaderName,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text, not empty.
    Text,
    /// One word of a command line; may be empty.
    Word,
    /// A text that is never shown.
    Secret,
    /// A selector of raw Prometheus series.
    Selector,
    /// A time of day, as in 22:00.
    TimeOfDay,
    /// A moment, as in 2026-01-07T10:30:00Z.
    Moment,
}

/// A key that need not be written.
pub(crate) const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, about, required: false, default: None }
}

/// A key that must be written.
pub(crate) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, about, required: true, default: None }
}

/// A key with a default.
pub(crate) const fn default(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Field {
    Field { name, shape, about, required: false, default: Some(default) }
}

/// A duration between two bounds in milliseconds.
pub(crate) const fn duration(least_millis: u64, most_millis: u64) -> Shape {
    Shape::Scalar(Scalar::Duration(Duration::from_millis(least_millis), Duration::from_millis(most_millis)))
}

/// Shortest interval, in milliseconds: less would be load, not watching.
pub(crate) const SHORTEST: u64 = 100;
/// Milliseconds of a second, a minute, an hour and a day.
pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) const FLAG: Shape = Shape::Scalar(Scalar::Flag);
pub(crate) const URL: Shape = Shape::Scalar(Scalar::Url);
pub(crate) const SECRET_URL: Shape = Shape::Scalar(Scalar::SecretUrl);
pub(crate) const HOST_PORT: Shape = Shape::Scalar(Scalar::HostPort);
pub(crate) const PATH: Shape = Shape::Scalar(Scalar::Path);
pub(crate) const NAME: Shape = Shape::Scalar(Scalar::Name);
pub(crate) const TEXT: Shape = Shape::Scalar(Scalar::Text);
pub(crate) const SECRET: Shape = Shape::Scalar(Scalar::Secret);

/// A program and its arguments.
pub(crate) const COMMAND_LINE: Shape = Shape::List(&Items {
    item: Shape::Scalar(Scalar::Word),
    at_least: 1,
    at_most: super::limits::COMMAND_WORDS_LIMIT,
    command_line: true,
});

/// A short list.
pub(crate) const fn items(item: Shape, at_least: usize) -> Items {
    Items { item, at_least, at_most: super::limits::SMALL_LIST_LIMIT, command_line: false }
}

/// A short mapping from names.
pub(crate) const fn entries(value: Shape) -> Entries {
    Entries { key: Scalar::Name, value, at_least: 0, at_most: super::limits::SMALL_LIST_LIMIT }
}

/// An object without keys that exclude each other.
pub(crate) const fn object(name: &'static str, about: &'static str, fields: &'static [Field]) -> Object {
    Object { name, about, fields, one_of: OneOf::Nothing }
}

/// An object of which exactly one of `keys` is written.
pub(crate) const fn choice(
    name: &'static str,
    about: &'static str,
    keys: &'static [&'static str],
    fields: &'static [Field],
) -> Object {
    Object { name, about, fields, one_of: OneOf::Exactly(keys) }
}

impl Shape {
    /// Whether a secret may be somewhere in such a value.
    pub(crate) fn holds_secret(self) -> bool {
        fn visit(shape: Shape, seen: &mut Vec<&'static str>) -> bool {
            match shape {
                Shape::Scalar(scalar) => {
                    matches!(scalar, Scalar::Secret | Scalar::SecretUrl | Scalar::Url | Scalar::OtherUrl(..))
                }
                Shape::Object(object) if seen.contains(&object.name) => false,
                Shape::Object(object) => {
                    seen.push(object.name);
                    object.fields.iter().any(|field| visit(field.shape, seen))
                }
                Shape::Map(entries) => visit(entries.value, seen),
                Shape::List(items) => visit(items.item, seen),
                Shape::Either(shapes) => shapes.iter().any(|shape| visit(*shape, seen)),
            }
        }
        visit(self, &mut Vec::new())
    }
}

impl Object {
    /// The field called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// The words of the configuration's language: every key, and every word that a value may be.
pub(crate) fn words() -> BTreeSet<&'static str> {
    fn of(shape: Shape) -> &'static [&'static str] {
        match shape {
            Shape::Scalar(Scalar::Choice(words)) => words,
            Shape::List(items) => of(items.item),
            _ => &[],
        }
    }
    let fields = || objects().into_iter().flat_map(|object| object.fields);
    fields().map(|field| field.name).chain(fields().flat_map(|field| of(field.shape)).copied()).collect()
}

/// Every object that the root leads to, itself first.
pub(crate) fn objects() -> Vec<&'static Object> {
    fn visit(shape: Shape, found: &mut Vec<&'static Object>) {
        match shape {
            Shape::Scalar(_) => {}
            Shape::Object(object) => {
                if !found.iter().any(|known| std::ptr::eq(*known, object)) {
                    found.push(object);
                    for field in object.fields {
                        visit(field.shape, found);
                    }
                }
            }
            Shape::Map(entries) => visit(entries.value, found),
            Shape::List(items) => visit(items.item, found),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| visit(*shape, found)),
        }
    }
    let mut found = Vec::new();
    visit(Shape::Object(&ROOT), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::Finding;

    #[test]
    fn names_of_objects_and_keys_are_unique() {
        let objects = objects();
        let names: BTreeSet<&str> = objects.iter().map(|object| object.name).collect();
        assert_eq!(names.len(), objects.len());
        for object in objects {
            let keys: BTreeSet<&str> = object.fields.iter().map(|field| field.name).collect();
            assert_eq!(keys.len(), object.fields.len(), "{}", object.name);
            if let OneOf::Exactly(exclusive) | OneOf::AtMost(exclusive) = object.one_of {
                assert!(exclusive.iter().all(|key| keys.contains(key)), "{}", object.name);
            }
        }
    }

    #[test]
    fn the_escalation_table_is_the_cores() {
        let objects = objects();
        let table = objects.iter().find(|object| object.name == "escalation").expect("it is there");
        assert_eq!(table.fields.len(), Finding::ALL.len());
        for finding in Finding::ALL {
            let Some(Shape::Object(object)) = table.field(finding.as_str()).map(|field| field.shape) else {
                panic!("{finding} is missing");
            };
            let default = |key: &str| object.field(key).and_then(|field| field.default);
            assert_eq!(default("severity"), Some(finding.default_severity().as_str()));
            assert_eq!(default("action"), Some(finding.default_action()));
        }
    }
}
