//! Channels, heartbeat, severities and the escalation table.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{
    super::decode::{did_you_mean, shown, shown_key},
    Node, Sink, View, duration, secret, visible,
};
use crate::{
    config::{
        form::{Channel, ChannelKind, Heartbeat},
        node::State,
    },
    core::{
        name::ChannelName,
        policy::{Escalation, Finding, Severity, SeverityPolicy},
    },
    notify::check_secret,
};

/// The channels that this version has, and the names of all that are written.
pub(super) fn channels<'a>(view: &View<'a>, sink: &mut Sink) -> (Vec<Channel>, Vec<&'a str>) {
    let mut channels = Vec::new();
    let mut names = Vec::new();
    for (key, node) in view.map("channels") {
        names.push(key.name.as_str());
        let channel = View::of(
            node,
            view.shape("channels"),
            &key.span,
            view.path_of(&format!("channels.{}", shown_key(&key.name))),
        );
        if let Some(webhook) = channel.section("webhook") {
            let url = secret(&webhook, "url").unwrap_or_else(|| SecretString::from(""));
            let secret = secret(&webhook, "secret");
            if let Some(node) = webhook.usable("secret").filter(|node| node.state == State::Fine) {
                check(&webhook, node, secret.as_ref(), sink);
            }
            let kind = ChannelKind::Webhook { url, secret };
            channels.push(Channel { name: ChannelName::from(key.name.as_str()), kind });
        }
    }
    if names.is_empty() {
        let span = view.key_span("channels");
        sink.warn(
            &span,
            "notify.channels: there is no channel, so nobody is told of anything",
            "add one, as in `audit: {webhook: {url: …}}`",
        );
    }
    (channels, names)
}

/// A key of fewer bytes may be guessed by whoever has one signed page: 128 bits cannot be.
const KEY_LEAST_BYTES: usize = 16;

fn check(webhook: &View<'_>, node: &Node, secret: Option<&SecretString>, sink: &mut Sink) {
    let path = webhook.path_of("secret");
    match secret.map(check_secret) {
        Some(Err(error)) => sink.error(
            &node.span,
            format!("{path}: {error}"),
            "write `whsec_` and the base64 of 24 to 64 random bytes, or any other text",
        ),
        Some(Ok(length)) if length < KEY_LEAST_BYTES => sink.warn(
            &node.span,
            format!("{path}: the key is so short ({length} bytes) that it can be guessed from one signed page"),
            "write `whsec_` and the base64 of 24 to 64 random bytes, and give the receiver the same",
        ),
        Some(Ok(_)) | None => {}
    }
}

pub(super) fn heartbeat(view: &View<'_>) -> Option<Heartbeat> {
    let heartbeat = view.section("heartbeat")?;
    Some(Heartbeat { url: secret(&heartbeat, "url")?, every: duration(&heartbeat, "every") })
}

pub(super) fn escalation(root: &View<'_>, channels: &[&str], sink: &mut Sink) -> Escalation {
    let severities = root.object("severities");
    let mut by_severity = BTreeMap::new();
    let mut told: Vec<String> = Vec::new();
    for severity in Severity::ALL {
        let view = severities.object(severity.as_str());
        let policy = severity_policy(&view, channels, sink);
        told.extend(policy.notify.iter().map(|name| name.as_str().to_owned()));
        by_severity.insert(severity, policy);
    }
    unheard_channels(&root.object("notify"), &told, sink);
    let table = root.object("escalation");
    let mut findings = BTreeMap::new();
    for finding in Finding::ALL {
        let view = table.object(finding.as_str());
        let severity =
            view.text("severity").and_then(|name| severity_of(&name.value)).unwrap_or(finding.default_severity());
        let action = view.text("action").map_or_else(|| finding.default_action().to_owned(), |action| action.value);
        findings.insert(*finding, (severity, action));
    }
    let took_too_long = table.object(Finding::RollbackTookTooLong.as_str());
    Escalation { severities: by_severity, findings, rollback_too_long_over: duration(&took_too_long, "over") }
}

fn severity_of(name: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.as_str() == name)
}

fn severity_policy(view: &View<'_>, channels: &[&str], sink: &mut Sink) -> SeverityPolicy {
    let notify = match view.written("notify") {
        Some(_) => named_channels(view, channels, sink),
        None => channels.iter().map(|name| ChannelName::from(*name)).collect(),
    };
    let repeat = view.duration("repeat");
    let acknowledge_expires = view.duration("acknowledge_expires");
    if view.written("repeat").is_none() && repeat.is_none() {
        for key in ["until", "acknowledge_expires"] {
            if view.written(key).is_some() {
                let message = format!("{}: has no effect, since nothing repeats", view.path_of(key));
                sink.error(&view.key_span(key), message, "add `repeat`, or leave it out");
            }
        }
    }
    if repeat.is_some() {
        // Spelling the defaults out refuses nothing, but nobody may rely on a silence that does not come.
        for key in ["until", "acknowledge_expires"] {
            if view.usable(key).is_some() {
                let message = format!("{}: not in this version yet: acknowledging", view.path_of(key));
                sink.warn(&view.key_span(key), message, "leave it out; pages repeat until the incident is over");
            }
        }
    }
    SeverityPolicy {
        notify,
        repeat: repeat.map(|repeat| repeat.value),
        acknowledge_expires: acknowledge_expires.map(|expires| expires.value),
    }
}

fn named_channels(view: &View<'_>, channels: &[&str], sink: &mut Sink) -> Vec<ChannelName> {
    let path = view.path_of("notify");
    let mut named: Vec<ChannelName> = Vec::new();
    let mut check = |node: &Node, sink: &mut Sink| {
        let Some(name) = node.known_text() else { return };
        if !channels.contains(&name) {
            let help = if channels.is_empty() {
                "there are none; add it to notify.channels".to_owned()
            } else {
                did_you_mean(visible(node), channels.iter().copied())
            };
            sink.error(&node.span, format!("{path}: there is no channel called `{}`", shown(visible(node))), help);
        } else if named.iter().any(|other| other.as_str() == name) {
            sink.error(&node.span, format!("{path}: `{}` is named twice", visible(node)), "leave one of the two out");
        } else {
            named.push(ChannelName::from(name));
        }
    };
    for node in view.list("notify") {
        check(node, sink);
    }
    named
}

fn unheard_channels(notify: &View<'_>, told: &[String], sink: &mut Sink) {
    for (key, _) in notify.map("channels") {
        if !told.contains(&key.name) {
            let message = format!("notify.channels.{}: no severity notifies it", shown_key(&key.name));
            sink.warn(&key.span, message, "name it in `severities`, or leave it out");
        }
    }
}
