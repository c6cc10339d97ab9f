//! Writing to the terminal, or to whatever stands in its place.

use std::io::{self, Write as _};

use serde::Serialize;

use super::{Failure, render::Layout};

/// Writes data to standard output; colour is dropped where that is no terminal. A reader that has gone away (`| head`)
/// has what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_while_read(text).map(|_gone| ())
}

/// The same; tells whether anybody still reads.
pub(super) fn print_while_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("write to standard output: {error}"))),
        Ok(()) => Ok(true),
    }
}

/// Writes a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::failed(format!("write JSON: {error}")))?;
    text.push('\n');
    print(&text)
}

/// Tells a failure on standard error. If even that is closed, the exit code still tells it.
pub(super) fn tell(failure: &Failure) {
    let _closed = write!(anstream::stderr(), "{failure}");
}

/// Width and colour for standard output.
pub(crate) fn layout() -> Layout {
    let columns = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    Layout::new(columns, true)
}
