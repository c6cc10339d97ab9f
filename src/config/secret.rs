//! References to secrets: `${env:NAME}` and `${file:/path}`.

use std::{io::Read, path::Path};

use super::limits::SECRET_FILE_LIMIT_BYTES;

/// Where references are looked up.
pub trait Secrets {
    /// The environment variable called `name`.
    fn environment(&self, name: &str) -> Option<std::ffi::OsString>;
    /// At most `limit` bytes and one more of the file at `path`.
    fn file(&self, path: &Path, limit: usize) -> std::io::Result<Vec<u8>>;
}

/// The process's own environment and files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSecrets;

impl Secrets for SystemSecrets {
    fn environment(&self, name: &str) -> Option<std::ffi::OsString> {
        std::env::var_os(name)
    }

    fn file(&self, path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
        // A pipe or a terminal would be waited for without end, and a device has none.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it stands.
    Plain(&'a str),
    /// `${env:NAME}`.
    Environment(&'a str),
    /// `${file:/path}`.
    File(&'a str),
}

/// A mistake in or behind a reference; never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unresolved {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn unresolved(message: String, help: &str) -> Unresolved {
    Unresolved { message, help: help.to_owned() }
}

/// Whether `text` has anything to resolve or unescape.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("${")
}

/// Cuts a text into pieces. `$${` stands for a plain `${`.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Unresolved> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            pieces.push(Piece::Plain(&rest[..start - 1]));
            pieces.push(Piece::Plain("${"));
            rest = &rest[start + 2..];
            continue;
        }
        pieces.push(Piece::Plain(&rest[..start]));
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or_else(|| {
            unresolved("has a reference that is not closed".to_owned(), "close it, as in `${env:NAME}`")
        })?;
        let (reference, after) = (&inner[..end], &inner[end + 1..]);
        pieces.push(match reference.split_once(':') {
            Some(("env", name)) => {
                super::value::environment_name(name).map_err(|wrong| {
                    unresolved(format!("has a reference whose name {}", wrong.message), &wrong.help)
                })?;
                Piece::Environment(name)
            }
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => Piece::File(path),
            Some(("file", _)) => {
                return Err(unresolved(
                    "has a reference to a file without its whole path".to_owned(),
                    "write the path from the root, as in `${file:/etc/backstop/token}`",
                ));
            }
            _ => {
                return Err(unresolved(
                    "has a reference of an unknown kind".to_owned(),
                    "write `${env:NAME}` or `${file:/path}`, or `$${` for a plain `${`",
                ));
            }
        });
        rest = after;
    }
    pieces.push(Piece::Plain(rest));
    Ok(pieces)
}

/// Puts the values in. A file's trailing line break is left out.
pub(crate) fn resolve(pieces: &[Piece<'_>], secrets: &dyn Secrets) -> Result<String, Vec<Unresolved>> {
    let mut text = String::new();
    let mut missing = Vec::new();
    for piece in pieces {
        match look_up(piece, secrets) {
            Ok(value) => text.push_str(&value),
            Err(unresolved) => missing.push(unresolved),
        }
    }
    if missing.is_empty() { Ok(text) } else { Err(missing) }
}

fn look_up(piece: &Piece<'_>, secrets: &dyn Secrets) -> Result<String, Unresolved> {
    match piece {
        Piece::Plain(text) => Ok((*text).to_owned()),
        Piece::Environment(name) => {
            let help = "set it, or check with `--no-secrets` where it is not at hand";
            let value = secrets
                .environment(name)
                .ok_or_else(|| unresolved(format!("names the environment variable {name}, which is not set"), help))?;
            let value = value.into_string().map_err(|_| {
                unresolved(format!("names the environment variable {name}, which is not UTF-8"), "set it to a text")
            })?;
            if value.is_empty() {
                return Err(unresolved(format!("names the environment variable {name}, which is empty"), help));
            }
            Ok(value)
        }
        Piece::File(path) => {
            let help = "check the path and who may read it, or check with `--no-secrets` where it is not at hand";
            let bytes = secrets
                .file(Path::new(path), SECRET_FILE_LIMIT_BYTES)
                .map_err(|error| unresolved(format!("names the file {path}, which cannot be read: {error}"), help))?;
            if bytes.len() > SECRET_FILE_LIMIT_BYTES {
                let message =
                    format!("names the file {path}, which is larger than {} KiB", SECRET_FILE_LIMIT_BYTES / 1024);
                return Err(unresolved(message, "name the file that holds only the value"));
            }
            let text = String::from_utf8(bytes).map_err(|_| {
                unresolved(format!("names the file {path}, which is not UTF-8"), "name a file that holds a text")
            })?;
            let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            if text.is_empty() {
                return Err(unresolved(format!("names the file {path}, which is empty"), help));
            }
            Ok(text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_its_references() {
        assert_eq!(
            pieces("a${env:B}c${file:/d}"),
            Ok(vec![
                Piece::Plain("a"),
                Piece::Environment("B"),
                Piece::Plain("c"),
                Piece::File("/d"),
                Piece::Plain("")
            ])
        );
        assert_eq!(pieces("$${x}"), Ok(vec![Piece::Plain(""), Piece::Plain("${"), Piece::Plain("x}")]));
        for text in ["${", "${env:}", "${env:a b}", "${file:relative}", "${vault:x}", "${HOME}"] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }
}
