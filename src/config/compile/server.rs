//! Server, evidence, self-check, and the files that must not be the same.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};

use super::{super::value, Node, Sink, View, duration, path, unique, visible};
use crate::config::{
    form::{Evidence, HostPort, Role, Server, Token},
    node::State,
};

/// A token shorter than this can be guessed over the network.
const TOKEN_LEAST_BYTES: usize = 16;

pub(super) fn server(view: &View<'_>, sink: &mut Sink) -> Server {
    let listen = view.parsed("listen", value::socket_address);
    let address = listen.as_ref().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |listen| listen.value);
    let external_url = view.text("external_url").map_or_else(|| format!("http://{address}"), |url| url.value);
    let tokens = tokens(view, sink);
    if let Some(listen) = listen.filter(|listen| !listen.value.ip().is_loopback() && view.list("tokens").is_empty()) {
        sink.warn(
            &listen.span,
            format!("{}: anybody who reaches this address can read everything", view.path_of("listen")),
            "add `tokens`, or listen on 127.0.0.1",
        );
    }
    Server {
        listen: address,
        socket: path(view, "socket"),
        external_url: external_url.trim_end_matches('/').to_owned(),
        tokens,
    }
}

fn tokens(view: &View<'_>, sink: &mut Sink) -> Vec<Token> {
    let nodes = view.list("tokens");
    let list = view.path_of("tokens");
    unique(nodes.iter().filter_map(|node| node.get("name")).map(|name| (name, list.clone())), "token", sink);
    let mut tokens: Vec<Token> = Vec::new();
    for node in nodes {
        let name = node.get("name").map_or("", visible);
        let token = View::of(node, view.shape("tokens"), &node.span, format!("{list}({name})"));
        let (Some(name), Some(role), Some(text)) = (token.text("name"), token.text("role"), token.text("token")) else {
            continue;
        };
        let role = match role.value.as_str() {
            "operator" => Role::Operator,
            "reporter" => Role::Reporter,
            _ => Role::Viewer,
        };
        if token.usable("token").is_some_and(|node| node.state == State::Fine) {
            let path = token.path_of("token");
            if text.value.len() < TOKEN_LEAST_BYTES {
                let help = format!("use at least {TOKEN_LEAST_BYTES} random characters");
                sink.warn(&text.span, format!("{path}: this token is short enough to be guessed"), help);
            }
            if !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let help = "use letters, digits and punctuation alone";
                sink.error(&text.span, format!("{path}: this token has characters that no header can carry"), help);
            }
            if tokens.iter().any(|other| other.token.expose_secret() == text.value) {
                let message = format!("{path}: another name has the same token, so nobody knows who acted");
                sink.error(&text.span, message, "give each its own");
            }
        }
        tokens.push(Token { name: name.value, role, token: SecretString::from(text.value) });
    }
    tokens
}

pub(super) fn evidence(view: &View<'_>) -> Evidence {
    Evidence { directory: path(view, "directory"), keep: duration(view, "keep") }
}

pub(super) fn self_check(view: &View<'_>) -> Vec<HostPort> {
    view.list("tcp").iter().filter_map(Node::text).filter_map(|text| value::host_port(text).ok()).collect()
}

/// Two things in one file would overwrite each other.
pub(super) fn paths(view: &View<'_>, sink: &mut Sink) {
    let all = [("server", "socket"), ("store", "path"), ("history", "file"), ("evidence", "directory")];
    for (place, (section, key)) in all.iter().enumerate() {
        let object = view.object(section);
        let Some(path) = object.text(key) else { continue };
        for (other_section, other_key) in &all[..place] {
            let other = view.object(other_section);
            let Some(other_path) = other.text(other_key) else { continue };
            let same = std::path::Path::new(&path.value) == std::path::Path::new(&other_path.value);
            if same && (path.written || other_path.written) {
                let at = if path.written { &path.span } else { &other_path.span };
                let message = format!("{} and {} are the same path", object.path_of(key), other.path_of(other_key));
                sink.error(at, message, "give each its own");
            }
        }
    }
}
