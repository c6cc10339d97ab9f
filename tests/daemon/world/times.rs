//! How long things took: for people to read, not asserted.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

/// Appends a line to `target/tmp/times`.
pub(crate) fn note(what: &str, took: Duration) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("times");
    let mut file = File::options().create(true).append(true).open(path).expect("cargo made the directory");
    writeln!(file, "{:>8.2} s  {what}", took.as_secs_f64()).expect("written");
}
