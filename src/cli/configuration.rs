//! What the command line needs of the configuration.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Exit, Failure, arguments::CONFIGURATION};
use crate::config::{self, DEFAULT_SOCKET, Paths, Salvaged};

/// The socket that the configuration names, whatever else is wrong with it. A file that is no configuration at all does
/// not lock anybody out, since the daemon goes on with the one that it has in force: then it is the socket that its text
/// names in so many words, and for the usual file the usual socket, with a warning. Which daemon another file means that
/// names none is not guessed: somebody is about to act on it.
pub(super) fn socket(config: &Path) -> Result<PathBuf, Failure> {
    const OTHERWISE: &str = "use --socket, or --server URL";
    let broken = match config::paths(config) {
        Ok((paths, diagnostics)) => return paths.socket.ok_or_else(|| told(&diagnostics).with_hint(hint(OTHERWISE))),
        Err(broken) => broken,
    };
    let Some((socket, why)) = meant(config, config::salvaged_socket(config)) else {
        let otherwise = format!("use --socket (by default it is {DEFAULT_SOCKET}), or --server URL");
        return Err(told(&broken).with_hint(hint(&otherwise)));
    };
    // Beside the data, not in it; if standard error is closed, nobody wanted to be warned.
    let _closed = writeln!(
        anstream::stderr(),
        "{}\nbackstop: the configuration cannot be used; asking the daemon at {}, {why}",
        broken.render(true),
        socket.display()
    );
    Ok(socket)
}

/// The socket that a broken file means, if that can be known, and why it is that one.
fn meant(config: &Path, salvaged: Salvaged) -> Option<(PathBuf, &'static str)> {
    match salvaged {
        Salvaged::Named(socket) => Some((socket, "which the file's text names")),
        Salvaged::Nothing if config == Path::new(CONFIGURATION) => {
            Some((PathBuf::from(DEFAULT_SOCKET), "the usual one"))
        }
        Salvaged::Nothing | Salvaged::Unclear => None,
    }
}

/// The history file that the configuration names, whatever else is wrong with it.
pub(super) fn history(config: &Path) -> Result<PathBuf, Failure> {
    named(config, |paths| paths.history, "use --file")
}

/// The store that the configuration names, whatever else is wrong with it.
pub(super) fn store(config: &Path) -> Result<PathBuf, Failure> {
    named(config, |paths| paths.store, "use --store")
}

fn named(config: &Path, which: impl Fn(Paths) -> Option<PathBuf>, otherwise: &str) -> Result<PathBuf, Failure> {
    let (paths, diagnostics) = config::paths(config).map_err(|found| told(&found).with_hint(hint(otherwise)))?;
    which(paths).ok_or_else(|| told(&diagnostics).with_hint(hint(otherwise)))
}

fn hint(otherwise: &str) -> String {
    format!("name the configuration with --config or BACKSTOP_CONFIG, or {otherwise}")
}

/// A configuration with mistakes: the diagnostics are the message.
pub(super) fn told(diagnostics: &config::Diagnostics) -> Failure {
    // If standard error is closed, the exit code still tells it.
    let _closed = writeln!(anstream::stderr(), "{}", diagnostics.render(true));
    Failure::told(Exit::CONFIGURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_asked() {
        let named = Salvaged::Named("/a/b.sock".into());
        for (config, salvaged, expected) in [
            (CONFIGURATION, Salvaged::Nothing, Some(DEFAULT_SOCKET)),
            (CONFIGURATION, named.clone(), Some("/a/b.sock")),
            (CONFIGURATION, Salvaged::Unclear, None),
            ("/srv/other.yaml", Salvaged::Nothing, None),
            ("/srv/other.yaml", named, Some("/a/b.sock")),
            ("/srv/other.yaml", Salvaged::Unclear, None),
        ] {
            let socket = meant(Path::new(config), salvaged.clone()).map(|(socket, _)| socket);
            assert_eq!(socket.as_deref(), expected.map(Path::new), "{config}: {salvaged:?}");
        }
    }
}
