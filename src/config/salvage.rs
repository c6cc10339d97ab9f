//! What can still be told of a file that cannot be read as YAML: where its daemon's socket is.
//!
//! A file that is broken on disk keeps the daemon on the configuration that it has in force, so whoever wants to speak to
//! that daemon needs its socket more than ever. The text is searched for the one key, and nothing is guessed: a file that
//! says it twice and differently, or in a form that is more than a plain path, says nothing.

use std::path::PathBuf;

use super::secret::has_reference;

/// What a text that is no YAML says of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salvaged {
    /// It names this one, and no other.
    Named(PathBuf),
    /// It names none.
    Nothing,
    /// It names several, or one in a form that only YAML could tell.
    Unclear,
}

/// What `text` says of the daemon's socket.
pub(super) fn socket(text: &str) -> Salvaged {
    let mut named = Salvaged::Nothing;
    for value in text.lines().flat_map(|line| values(uncommented(line))) {
        let Some(path) = value.map(PathBuf::from) else { return Salvaged::Unclear };
        match &named {
            Salvaged::Named(other) if *other != path => return Salvaged::Unclear,
            _ => named = Salvaged::Named(path),
        }
    }
    named
}

fn uncommented(line: &str) -> &str {
    let start = line
        .bytes()
        .enumerate()
        .position(|(place, byte)| byte == b'#' && (place == 0 || line.as_bytes()[place - 1].is_ascii_whitespace()));
    &line[..start.unwrap_or(line.len())]
}

/// Every value that the key has in this line; [`None`] for one that is no plain absolute path.
fn values(line: &str) -> impl Iterator<Item = Option<&str>> {
    line.match_indices("socket").filter_map(|(place, key)| {
        let before = line[..place].trim_end_matches(['"', '\'']).chars().next_back();
        let after = line[place + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        let is_key = before.is_none_or(|one| one.is_whitespace() || matches!(one, '{' | ',')) && after.starts_with(':');
        is_key.then(|| plain_path(after[1..].trim()))
    })
}

fn plain_path(value: &str) -> Option<&str> {
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split([',', '}']).next()?.trim_end(),
    };
    let is_plain = value.starts_with('/') && !has_reference(value) && !value.contains(['\\', ' ', '"', '\'']);
    is_plain.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_where_the_text_names_one_and_only_one() {
        let named = |path: &str| Salvaged::Named(PathBuf::from(path));
        for (text, expected) in [
            ("", Salvaged::Nothing),
            ("services: [\n", Salvaged::Nothing),
            ("# socket: /c\nserver: {listen: [\n", Salvaged::Nothing),
            ("docker_socket: /a\nsocket_mode: 7\nwebsocket: /b\n]", Salvaged::Nothing),
            ("server:\n\tsocket: /a/b.sock\n", named("/a/b.sock")),
            ("server:\n  socket: /a/b.sock   # the way in\nservices: [", named("/a/b.sock")),
            ("server: {listen: \"1:2\", socket: /a/b.sock, x: [\n", named("/a/b.sock")),
            ("server: {socket: /a/b.sock}\nservices: ]", named("/a/b.sock")),
            ("{\"server\": {\"socket\": \"/a/b.sock\"}, ]", named("/a/b.sock")),
            ("server: {'socket' : '/a/b.sock'}\n}", named("/a/b.sock")),
            ("a: {socket: /a}\nb: {socket: /a}\n]", named("/a")),
            ("a: {socket: /a}\nb: {socket: /b}\n]", Salvaged::Unclear),
            ("server: {socket: relative}\n]", Salvaged::Unclear),
            ("server: {socket: \"${env:SOCKET}\"}\n]", Salvaged::Unclear),
            ("server: {socket: /run/${env:NAME}}\n]", Salvaged::Unclear),
            ("server: {socket:\n]", Salvaged::Unclear),
            ("server: {socket: \"/a\\tb\"}\n]", Salvaged::Unclear),
        ] {
            assert_eq!(socket(text), expected, "{text:?}");
        }
    }
}
