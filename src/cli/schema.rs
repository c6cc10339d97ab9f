//! `backstop schema`: the configuration's JSON Schema, for editors and for checks in other tools.

use std::io::{self, Write};

/// Writes the JSON Schema, indented, with a line break at its end.
pub fn run(out: &mut dyn Write) -> io::Result<()> {
    let schema = crate::config::schema();
    writeln!(out, "{schema:#}")
}
