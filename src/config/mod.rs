//! The configuration: YAML, read into spanned nodes, held against one table of shapes with every mistake collected,
//! compiled into the validated form that the rest of the program works with.
//!
//! | module | step |
//! |---|---|
//! | `reader`, `node`, `source` | from a file to a tree of nodes that know where they stand |
//! | `shape`, `value`, `later` | what the file may look like, and what this version cannot do yet |
//! | `decode`, `secret` | the tree against the table; references resolved |
//! | `compile` | cross checks, and the form |
//! | `salvage` | what can be told of a file that is no YAML |
//! | `here` | what the form names, looked for on this machine |
//! | `schema` | the table as JSON Schema |

mod compile;
mod decode;
mod diagnostic;
mod difference;
pub mod form;
pub(crate) mod here;
mod later;
pub mod limits;
mod node;
mod reader;
mod salvage;
mod schema;
mod secret;
mod shape;
mod sink;
mod source;
mod suggest;
mod value;

use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Diagnostics, Gravity, Place};
pub use difference::{Difference, difference};
use form::Config;
pub use salvage::Salvaged;
pub use schema::schema;
pub use secret::{Secrets, SystemSecrets};
pub(crate) use suggest::nearest;

use crate::{
    core::{name::ServiceName, time::WallTime},
    runtime::clock::Clock,
};

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// The configuration, if nothing is wrong with it. Where references were left alone, their values stand in it as
    /// written: good for counting, not for running.
    pub config: Option<Config>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// A duration as the configuration spells it; what is wrong with it, and how to mend that.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    value::duration(text).map_err(|wrong| format!("this {}: {}", wrong.message, wrong.help))
}

/// Reads, checks and compiles the file at `path` for running. The warnings come beside the configuration.
pub fn load(path: &Path, secrets: &dyn Secrets) -> Result<(Config, Vec<Diagnostic>), Diagnostics> {
    let checked = check(path, Some(secrets));
    match checked.config {
        Some(config) => Ok((config, checked.diagnostics.list)),
        None => Err(checked.diagnostics),
    }
}

/// Reads the bytes of the file at `path`, for [`check_bytes`].
///
/// # Errors
/// One diagnostic: it is not there, may not be read, or is no file.
pub fn read(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    reader::read_file(path)
}

/// Checks the file at `path`; without `secrets`, references are left alone.
pub fn check(path: &Path, secrets: Option<&dyn Secrets>) -> Checked {
    check_file(path, secrets, false)
}

/// The same on the machine on which it is to be used: programs that are not there, and a history that nothing can be
/// added to, are warned of.
pub fn check_here(path: &Path, secrets: &dyn Secrets) -> Checked {
    check_file(path, Some(secrets), true)
}

fn check_file(path: &Path, secrets: Option<&dyn Secrets>, here: bool) -> Checked {
    match reader::read_file(path) {
        Ok(bytes) => {
            let now = Clock::new().now().wall;
            checked(&path.display().to_string(), bytes, secrets, Some(now), here)
        }
        Err(diagnostics) => Checked { config: None, diagnostics },
    }
}

/// Checks `bytes` as if they were in a file called `name`.
pub fn check_bytes(name: &str, bytes: Vec<u8>, secrets: Option<&dyn Secrets>) -> Checked {
    checked(name, bytes, secrets, None, false)
}

/// The same at a certain time: what is over by then is warned of.
pub fn check_bytes_at(name: &str, bytes: Vec<u8>, secrets: Option<&dyn Secrets>, now: Option<WallTime>) -> Checked {
    checked(name, bytes, secrets, now, false)
}

/// The same for being used on this machine, as [`check_here`].
pub fn check_bytes_here(name: &str, bytes: Vec<u8>, secrets: &dyn Secrets) -> Checked {
    checked(name, bytes, Some(secrets), None, true)
}

fn checked(name: &str, bytes: Vec<u8>, secrets: Option<&dyn Secrets>, now: Option<WallTime>, here: bool) -> Checked {
    let (config, sink) = match compiled(name, bytes, secrets, now, here) {
        Ok(compiled) => compiled,
        Err(diagnostics) => return Checked { config: None, diagnostics },
    };
    let config = config.filter(|_| !sink.has_errors());
    Checked { config, diagnostics: sink.finish() }
}

/// A compiled configuration, good or not, and what is wrong with it.
fn compiled(
    name: &str,
    bytes: Vec<u8>,
    secrets: Option<&dyn Secrets>,
    now: Option<WallTime>,
    here: bool,
) -> Result<(Option<Config>, sink::Sink), Diagnostics> {
    let source = reader::source(name, bytes)?;
    let mut root = reader::parse(&source)?;
    let mut sink = sink::Sink::new(source, now).looking_here(here);
    decode::decode(&mut root, secrets, &mut sink);
    let config = match root.value {
        node::Value::Map(_) => Some(compile::compile(&root, &mut sink)),
        _ => None,
    };
    Ok((config, sink))
}

/// Where whoever speaks to a daemon finds it and its files. [`None`] where what is written cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The command line's way in.
    pub socket: Option<PathBuf>,
    /// The store's file.
    pub store: Option<PathBuf>,
    /// The history file.
    pub history: Option<PathBuf>,
}

/// Where the daemon's socket is if no configuration says otherwise.
pub const DEFAULT_SOCKET: &str = shape::DEFAULT_SOCKET;

/// What the file at `path` says of the daemon's socket, though [`paths`] could make nothing of it. One that is not there
/// says nothing; one that cannot be read, or not to its end, may name any.
pub fn salvaged_socket(path: &Path) -> Salvaged {
    if std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Salvaged::Nothing;
    }
    match reader::read_file(path) {
        Ok(bytes) if bytes.len() <= limits::FILE_LIMIT_BYTES => salvage::socket(&String::from_utf8_lossy(&bytes)),
        Ok(_) | Err(_) => Salvaged::Unclear,
    }
}

/// The paths of the file at `path`, whatever else is wrong with it: a daemon may run that has read a better one. Secrets
/// are not resolved: whoever only looks need not be able to read them. Beside them all that is wrong.
///
/// # Errors
/// If it cannot be read, or is no configuration at all.
pub fn paths(path: &Path) -> Result<(Paths, Diagnostics), Diagnostics> {
    let (config, sink) = compiled(&path.display().to_string(), reader::read_file(path)?, None, None, false)?;
    let diagnostics = sink.finish();
    let Some(config) = config else { return Err(diagnostics) };
    let some = |path: PathBuf| Some(path).filter(|path| !path.as_os_str().is_empty());
    let paths = Paths { socket: some(config.server.socket), store: some(config.store), history: some(config.history) };
    Ok((paths, diagnostics))
}

/// The services that the file at `path` names, whatever else is wrong with it. Secrets are not resolved.
///
/// # Errors
/// If it cannot be read, or is no configuration at all.
pub fn services(path: &Path) -> Result<Vec<ServiceName>, Diagnostics> {
    let (config, sink) = compiled(&path.display().to_string(), reader::read_file(path)?, None, None, false)?;
    let Some(config) = config else { return Err(sink.finish()) };
    Ok(config.services.into_iter().map(|service| service.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_not_there_says_nothing_unread() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        let named = Salvaged::Named("/a/b.sock".into());
        std::fs::write(at("broken"), "server: {socket: /a/b.sock}\nservices: ]").expect("written");
        std::fs::write(at("silent"), "services: ]").expect("written");
        let long = format!("server: {{socket: /a/b.sock}}\n{}", "#".repeat(limits::FILE_LIMIT_BYTES));
        std::fs::write(at("long"), long).expect("written");
        std::os::unix::fs::symlink("circle", at("circle")).expect("linked");
        std::os::unix::fs::symlink("nowhere", at("dangling")).expect("linked");
        for (path, expected) in [
            (at("none"), Salvaged::Nothing),
            (at("none/below"), Salvaged::Nothing),
            (at("dangling"), Salvaged::Nothing),
            (at("silent"), Salvaged::Nothing),
            (at("broken"), named),
            (at("long"), Salvaged::Unclear),
            (at("broken/below"), Salvaged::Unclear),
            (at("circle"), Salvaged::Unclear),
            (at(""), Salvaged::Unclear),
            // There, and not to be read by anybody: nothing is at its start, a process's address 0.
            ("/proc/self/mem".into(), Salvaged::Unclear),
        ] {
            assert_eq!(salvaged_socket(&path), expected, "{}", path.display());
        }
    }
}
