//! From the decoded tree to the form, with the checks that look at more than one value.
//!
//! A value that a diagnostic already told of is replaced by a harmless one: the form is thrown away then, and going on
//! finds the other mistakes.

mod condition;
mod expression;
mod gate;
mod limit;
mod neighbour;
mod notify;
mod ordering;
mod server;
mod service;
mod signal;
mod target;
mod tree;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;

use super::{
    decode::{At, View, shown, visible},
    form::{CommandLine, Config},
    here,
    node::{Node, Span, Value},
    shape::ROOT,
    sink::Sink,
    value,
};
use crate::{
    core::policy::Policy,
    record::{atomic, history::History},
};

/// Compiles a decoded tree.
pub(crate) fn compile(root: &Node, sink: &mut Sink) -> Config {
    let view = View::root(root, &ROOT);
    let server = server::server(&view.object("server"), sink);
    let store = path(&view.object("store"), "path");
    let history = path(&view.object("history"), "file");
    history_is_fit(&view.object("history"), sink);
    directory_is_here(&view.object("store"), "path", "so the daemon does not start", sink);
    directory_is_here(&view.object("server"), "socket", "so the daemon does not start", sink);
    let evidence = server::evidence(&view.object("evidence"));
    server::paths(&view, sink);
    let self_check = server::self_check(&view.object("self_check"));
    let (channels, channel_names) = notify::channels(&view.object("notify"), sink);
    let heartbeat = notify::heartbeat(&view.object("notify"));
    let escalation = notify::escalation(&view, &channel_names, sink);
    let (services, policies) = service::services(&view, sink);
    let names = channels.iter().map(|channel| channel.name.clone()).collect();
    let (keep, checks_itself) = (evidence.keep, !self_check.is_empty());
    let policy = Arc::new(Policy { services: policies, channels: names, escalation, keep, checks_itself });
    Config { server, store, history, evidence, self_check, channels, heartbeat, services, policy }
}

/// A path, or an empty one.
fn path(view: &View<'_>, key: &str) -> PathBuf {
    view.text(key).map(|path| PathBuf::from(path.value)).unwrap_or_default()
}

/// A duration, or none at all.
fn duration(view: &View<'_>, key: &str) -> Duration {
    view.duration(key).map(|duration| duration.value).unwrap_or_default()
}

/// A secret, if it is written.
fn secret(view: &View<'_>, key: &str) -> Option<SecretString> {
    view.text(key).map(|text| SecretString::from(text.value))
}

/// A command line, if it is written.
fn command_line(view: &View<'_>, key: &str) -> Option<CommandLine> {
    view.usable(key)?;
    Some(CommandLine(view.list(key).iter().filter_map(Node::text).map(str::to_owned).collect()))
}

/// Warns of a program that is not on this machine, where that is to be told.
fn program_is_here(view: &View<'_>, key: &str, directory: Option<&Path>, path: Option<&OsStr>, sink: &mut Sink) {
    let first = view.usable(key).and_then(|_| view.list(key).first()).filter(|_| sink.looks_here());
    // What came out of a reference is not shown.
    let Some(node) = first.filter(|node| matches!(node.value, Value::Text(_))) else { return };
    let Some(name) = node.known_text() else { return };
    if let Some(why) = here::program(name, directory, path) {
        let message = format!("{}: the program {}", view.path_of(key), shown(&why));
        sink.warn(&node.span, message, "install it, or mend the path; whatever runs it fails until then");
    }
}

/// Warns of a history that nothing can be added to, where that is to be told.
fn history_is_fit(view: &View<'_>, sink: &mut Sink) {
    let Some(file) = view.text("file").filter(|_| sink.looks_here()) else { return };
    if let Err(error) = History::new(&file.value).looks_fit() {
        let default = if file.written { "" } else { ", by default" };
        let message = format!("{}{default}: failed to {error}", view.path_of("file"));
        sink.warn(
            &file.span,
            message,
            "the daemon starts all the same: until it is mended no rollback can be put on record",
        );
    }
}

/// Warns where the directory that a file is to be in is not here or cannot be written to, where that is to be told.
fn directory_is_here(view: &View<'_>, key: &str, consequence: &str, sink: &mut Sink) {
    let Some(file) = view.text(key).filter(|file| sink.looks_here() && file.shows()) else { return };
    let directory = atomic::parent(Path::new(&file.value));
    if let Some(why) = here::directory(directory, here::Want::Write) {
        let default = if file.written { "" } else { ", by default" };
        let message = format!("{}{default}: {why}, {consequence}", view.path_of(key));
        let directory = directory.display();
        let help = format!(
            "`mkdir -p {directory}`, and let the daemon's user write to it; the unit for systemd makes its own"
        );
        sink.warn(&file.span, message, help);
    }
}

/// A duration in words for a diagnostic.
fn shown_duration(duration: &At<Duration>) -> String {
    duration.shown(|duration| value::shown_duration(*duration))
}

/// Tells of names given twice, in a list where names are values.
fn unique<'a>(names: impl Iterator<Item = (&'a Node, String)>, what: &str, sink: &mut Sink) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (node, path) in names {
        let Some(text) = node.known_text() else { continue };
        if let Some(first) = seen.get(text) {
            let line = sink.source().line(first.start);
            let message = format!("{path}: there already is a {what} called `{}`", visible(node));
            sink.error(&node.span, message, format!("the first is on line {line}; give each its own name"));
        } else {
            seen.insert(text, node.span.clone());
        }
    }
}
