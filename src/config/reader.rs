//! From a file to a tree of nodes, with one clear diagnostic for whatever is not YAML.

use std::{io::Read, path::Path, sync::Arc};

use serde_saphyr::{
    Error,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Gravity},
    limits::{ALIAS_EVENTS_LIMIT, FILE_LIMIT_BYTES, NESTING_LIMIT, NODES_LIMIT},
    node::{Node, Value, span_of},
    source::Source,
};

/// Reads the bytes of a file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    let name: Arc<str> = path.display().to_string().into();
    let whole = |message: String, help: &str| about_file(&name, message, help);
    let metadata = std::fs::metadata(path).map_err(|error| {
        whole(format!("cannot read the configuration: {error}"), "check the path, and who may read it")
    })?;
    if metadata.is_dir() {
        return Err(whole("this is a directory, and a file is wanted".to_owned(), "name the file in it"));
    }
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(FILE_LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            Err(whole(format!("cannot read the configuration: {error}"), "check the path, and who may read it"))
        }
    }
}

fn about_file(name: &Arc<str>, message: String, help: &str) -> Diagnostics {
    let (file, help) = (Arc::clone(name), help.to_owned());
    Diagnostics::one(Diagnostic { gravity: Gravity::Error, file, place: None, message, help })
}

/// Checks that `bytes` can be a configuration at all.
pub(crate) fn source(name: &str, bytes: Vec<u8>) -> Result<Source, Diagnostics> {
    let name: Arc<str> = name.into();
    if bytes.len() > FILE_LIMIT_BYTES {
        let message = format!("the file is larger than {} MiB", FILE_LIMIT_BYTES / (1024 * 1024));
        return Err(about_file(
            &name,
            message,
            "check that this is the configuration; split it between several daemons if it is",
        ));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].split(|byte| *byte == b'\n').count();
            let message = format!("the file is not UTF-8: byte {at}, on line {line}, begins no character");
            return Err(about_file(&name, message, "save it as UTF-8"));
        }
    };
    Ok(Source::new(&name, text))
}

/// Parses the YAML.
pub(crate) fn parse(source: &Source) -> Result<Node, Diagnostics> {
    let text = source.text();
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: NESTING_LIMIT,
            flow_nesting_limit: NESTING_LIMIT,
            max_nodes: NODES_LIMIT,
            max_events: 2 * NODES_LIMIT,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIAS_EVENTS_LIMIT },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A merged key would stand at two places; anchors do the same without that.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(node) if matches!(node.value, Value::Null) => Err(empty(source)),
        Ok(node) => Ok(node),
        Err(_) if text.trim().is_empty() => Err(empty(source)),
        Err(error) => Err(syntax(source, &error)),
    }
}

fn empty(source: &Source) -> Diagnostics {
    about_file(
        source.name(),
        "the file is empty".to_owned(),
        "write at least one service; `backstop schema` describes all keys",
    )
}

fn syntax(source: &Source, error: &Error) -> Diagnostics {
    let bare = original(error);
    let place = error.location().or_else(|| bare.location()).map(|location| {
        let span = span_of(&location);
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // The scanner knows lines and columns alone.
        let start =
            if span == (0..0) { source.offset(number(location.line()), number(location.column())) } else { span.start };
        source.place_in_noise(&(start..span.end.max(start)))
    });
    let words = first_line(&bare.to_string());
    let (message, help) = match bare {
        Error::MultipleDocuments { .. } => {
            ("the file has more than one document".to_owned(), "keep one, without `---` between its parts")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => too_much(),
        _ if words.contains("recursion limit") => too_much(),
        Error::UnknownAnchor { .. } => (
            "this alias names no anchor before it".to_owned(),
            "put a `&name` before the value that is meant, or quote the text",
        ),
        _ => (
            format!("this is not valid YAML: {words}"),
            "check indentation, colons, quotes and brackets here and just before",
        ),
    };
    let (file, help) = (Arc::clone(source.name()), help.to_owned());
    Diagnostics::one(Diagnostic { gravity: Gravity::Error, file, place, message, help })
}

fn too_much() -> (String, &'static str) {
    (
        "the file is nested too deep, or its aliases expand to too much".to_owned(),
        "write the parts out instead of nesting lists, anchors and aliases",
    )
}

/// The error itself, without what the parser wraps around it.
fn original(mut error: &Error) -> &Error {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

/// The parser's own words, without its repetition of the place. Its messages name characters, never values.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    super::decode::shown(line.trim_start_matches("error: "))
}
