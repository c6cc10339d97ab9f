//! The configuration: YAML, read into spanned nodes, held against one table of shapes with every mistake collected,
//! compiled into the validated form that the rest of the program works with.
//!
//! | module | step |
//! |---|---|
//! | `reader`, `node`, `source` | from a file to a tree of nodes that know where they stand |
//! | `shape`, `value`, `later` | what the file may look like, and what this version cannot do yet |
//! | `decode`, `secret` | the tree against the table; references resolved |
//! | `compile` | cross checks, and the form |
//! | `schema` | the table as JSON Schema |

mod compile;
mod decode;
mod diagnostic;
mod difference;
pub mod form;
mod later;
pub mod limits;
mod node;
mod reader;
mod schema;
mod secret;
mod shape;
mod sink;
mod source;
mod suggest;
mod value;

use std::path::Path;

pub use diagnostic::{Diagnostic, Diagnostics, Gravity, Place};
pub use difference::{Difference, difference};
use form::Config;
pub use schema::schema;
pub use secret::{Secrets, SystemSecrets};

use crate::{core::time::WallTime, runtime::clock::Clock};

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
    match reader::read_file(path) {
        Ok(bytes) => {
            let now = Clock::new().now().wall;
            check_bytes_at(&path.display().to_string(), bytes, secrets, Some(now))
        }
        Err(diagnostics) => Checked { config: None, diagnostics },
    }
}

/// Checks `bytes` as if they were in a file called `name`.
pub fn check_bytes(name: &str, bytes: Vec<u8>, secrets: Option<&dyn Secrets>) -> Checked {
    check_bytes_at(name, bytes, secrets, None)
}

/// The same at a certain time: what is over by then is warned of.
pub fn check_bytes_at(name: &str, bytes: Vec<u8>, secrets: Option<&dyn Secrets>, now: Option<WallTime>) -> Checked {
    let source = match reader::source(name, bytes) {
        Ok(source) => source,
        Err(diagnostics) => return Checked { config: None, diagnostics },
    };
    let mut root = match reader::parse(&source) {
        Ok(root) => root,
        Err(diagnostics) => return Checked { config: None, diagnostics },
    };
    let mut sink = sink::Sink::new(source, now);
    decode::decode(&mut root, secrets, &mut sink);
    let config = match root.value {
        node::Value::Map(_) => Some(compile::compile(&root, &mut sink)),
        _ => None,
    };
    let config = config.filter(|_| !sink.has_errors());
    Checked { config, diagnostics: sink.finish() }
}
