//! What the tests share.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use backstop::config::{self, Checked, Secrets};

/// Secrets out of tables.
#[derive(Default)]
pub(crate) struct Tables {
    pub environment: BTreeMap<&'static str, OsString>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Secrets for Tables {
    fn environment(&self, name: &str) -> Option<OsString> {
        self.environment.get(name).cloned()
    }

    fn file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let bytes = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes.iter().copied().take(limit + 1).collect())
    }
}

/// Values that no diagnostic may show.
pub(crate) const TOKEN: &str = "t0ps3cret-value-of-token";
pub(crate) const BLANKS: &str = "s3cret with blanks";
pub(crate) const LINES: &str = "s3cret-first\ns3cret-second";

/// The secrets that the broken files name.
pub(crate) fn tables() -> Tables {
    let environment = [
        ("WEBHOOK_SECRET", "whsec_c2VjcmV0LXdlYmhvb2stb2YtdGVzdHM="),
        ("TOKEN", TOKEN),
        ("BLANKS", BLANKS),
        ("LINES", LINES),
    ];
    Tables {
        environment: environment.into_iter().map(|(name, value)| (name, value.into())).collect(),
        files: [(PathBuf::from("/big"), vec![b'x'; 70 * 1024])].into_iter().collect(),
    }
}

/// A path in the source tree.
pub(crate) fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Checks a text with the secrets of [`tables`].
pub(crate) fn check(text: &str) -> Checked {
    config::check_bytes("backstop.yaml", text.as_bytes().to_vec(), Some(&tables()))
}

/// The configuration of a text in which nothing is wrong.
pub(crate) fn good(text: &str) -> config::form::Config {
    let checked = check(text);
    checked.config.unwrap_or_else(|| panic!("{}", checked.diagnostics))
}

/// Whether the independent validator takes a text.
pub(crate) fn schema_takes(text: &str) -> bool {
    let Ok(instance) = serde_saphyr::from_str::<serde_json::Value>(text) else { return false };
    validator().is_valid(&instance)
}

/// An independent validator of our schema.
pub(crate) fn validator() -> &'static jsonschema::Validator {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::draft202012::options().build(&config::schema()).expect("our schema is a schema"));
    &VALIDATOR
}
