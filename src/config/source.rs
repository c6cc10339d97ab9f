//! The file's text, and where in it something stands. What is shown of it never holds a secret.

use std::{
    ops::Range,
    sync::{Arc, LazyLock},
};

use regex::Regex;

use super::{diagnostic::Place, limits::EXCERPT_LIMIT_BYTES, node::Span};

/// Keys whose values are secrets wherever they stand. Decided by name, so that it also holds for files that are not
/// even YAML.
static SECRET_VALUE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)["']?\b(?:[a-z_-]*token|[a-z_-]*secret|[a-z_-]*password|routing_key|authorization|[a-z_-]*api[_-]?key)\b["']?\s*:\s*(?P<value>"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}\]#][^,}\]\n]*)"#,
    )
    .expect("a constant pattern")
});
/// What stands before the `@` of a URL, and the paths and queries of webhooks' own URLs.
static USER_INFORMATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"://(?P<value>[^/"'@\n]+)@"#).expect("a constant pattern"));
/// URLs that are secrets beyond their host: those of channels and of the heartbeat.
static SECRET_URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?:webhook|slack|heartbeat)["']?\s*:\s*\{[^}]*?url["']?\s*:\s*["']?[a-z]+://[^/\s"',}]+/(?P<value>[^\s"',}]+)"#)
        .expect("a constant pattern")
});

/// The file's text.
#[derive(Debug)]
pub(crate) struct Source {
    name: Arc<str>,
    text: String,
    /// The same length, with secrets overwritten.
    shown: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// A file called `name`.
    pub(crate) fn new(name: &str, text: String) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1));
        let shown = masked(&text);
        Self { name: name.into(), text, shown, line_starts }
    }

    /// As it was named.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Overwrites a span in what is shown.
    pub(crate) fn hide(&mut self, span: &Span) {
        overwrite(&mut self.shown, span.clone());
    }

    /// The number of the line, from 1, on which byte `offset` stands.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Where a line and column, both from 1 and in characters, stand in bytes.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(place, _)| place)
    }

    /// The place of a span in a file that is not YAML.
    pub(crate) fn place_in_noise(&self, span: &Span) -> Place {
        let place = self.place(span);
        Place { excerpt: language_only(&place.excerpt), ..place }
    }

    /// The place of a span: its first line, cropped around it.
    pub(crate) fn place(&self, span: &Span) -> Place {
        let text = &self.shown;
        let start = floor(text, span.start.min(text.len()));
        let line = self.line(start);
        let line_start = self.line_starts[line - 1];
        let line_end = self.line_starts.get(line).map_or(text.len(), |next| next - 1);
        let line_end = line_end.max(line_start);
        let line_text = text[line_start..line_end].trim_end_matches('\r');
        let line_end = line_start + line_text.len();
        let start = start.min(line_end);
        let end = floor(text, span.end.clamp(start, line_end)).max(start);
        let crop_start = if line_text.len() <= EXCERPT_LIMIT_BYTES {
            line_start
        } else {
            floor(text, start.saturating_sub(EXCERPT_LIMIT_BYTES / 2)).max(line_start)
        };
        let crop_end = floor(text, line_end.min(crop_start + EXCERPT_LIMIT_BYTES)).max(crop_start);
        let excerpt = text[crop_start..crop_end].to_owned();
        let marked_start = (start - crop_start).min(excerpt.len());
        let mut marked_end = (end.min(crop_end).max(start) - crop_start).clamp(marked_start, excerpt.len());
        if marked_end == marked_start {
            marked_end =
                excerpt[marked_start..].chars().next().map_or(marked_start, |next| marked_start + next.len_utf8());
        }
        Place { line, column: text[line_start..start].chars().count() + 1, excerpt, marked: marked_start..marked_end }
    }
}

/// Overwrites every word that is not of the configuration's own language: what is not YAML may hold a secret anywhere.
fn language_only(text: &str) -> String {
    static WORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\$\{(?:env|file):[^}\s]*\}|[\p{Alphabetic}\p{Number}_]+").expect("a constant pattern")
    });
    let known = super::shape::words();
    let shown = WORD.replace_all(text, |found: &regex::Captures<'_>| {
        let word = &found[0];
        if known.contains(word) || word.starts_with('$') { word.to_owned() } else { "*".repeat(word.len()) }
    });
    shown.into_owned()
}

/// The nearest character boundary at or before `place`.
fn floor(text: &str, mut place: usize) -> usize {
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

fn masked(text: &str) -> String {
    let mut shown = text.to_owned();
    for pattern in [&SECRET_VALUE, &USER_INFORMATION, &SECRET_URL] {
        let found: Vec<Range<usize>> = pattern
            .captures_iter(text)
            .filter_map(|captures| captures.name("value"))
            .map(|value| value.range())
            .collect();
        for range in found {
            overwrite(&mut shown, range);
        }
    }
    shown
}

/// Overwrites with stars, except what are references: those are worth reading, and are no secrets.
fn overwrite(shown: &mut String, range: Range<usize>) {
    let Some(value) = shown.get(range.clone()) else { return };
    if value.is_empty() {
        return;
    }
    let inner = value.trim().trim_matches(['"', '\'']);
    if inner.starts_with("${") && inner.ends_with('}') && !inner[2..].contains("${") {
        return;
    }
    let hidden: String = value
        .bytes()
        .map(|byte| match byte {
            b'\n' | b'\r' | b'"' | b'\'' | b' ' => char::from(byte),
            _ => '*',
        })
        .collect();
    shown.replace_range(range, &hidden);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_and_references_are_not() {
        let cases = [
            ("token: hunter2", "token: *******"),
            ("{name: a, token: \"hunter2\", role: viewer}", "{name: a, token: \"*******\", role: viewer}"),
            ("token: \"${env:TOKEN}\"", "token: \"${env:TOKEN}\""),
            ("secret: 'x${env:TOKEN}'", "secret: '*************'"),
            ("url: http://user:word@a.example/", "url: http://*********@a.example/"),
            ("bearer_token: abc", "bearer_token: ***"),
            ("Authorization: Bearer abc", "Authorization: ****** ***"),
            (
                "heartbeat: {url: https://a.example/ping/17, every: 60s}",
                "heartbeat: {url: https://a.example/*******, every: 60s}",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn a_place_is_line_and_column_and_bounded() {
        let source = Source::new("x", "a: 1\r\nbé: two\n".to_owned());
        let place = source.place(&(11..14));
        assert_eq!((place.line, place.column), (2, 5));
        assert_eq!(&place.excerpt[place.marked], "two");
        let long = Source::new("x", format!("{}x", "é".repeat(5_000)));
        let place = long.place(&(10_000..10_001));
        assert!(place.excerpt.len() <= EXCERPT_LIMIT_BYTES && &place.excerpt[place.marked] == "x");
        let empty = Source::new("x", String::new()).place(&(5..9));
        assert_eq!((empty.line, empty.column, empty.marked), (1, 1, 0..0));
    }
}
