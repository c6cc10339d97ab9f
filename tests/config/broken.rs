//! Broken files: each mistake told, at its place, all at once.

use std::collections::BTreeSet;

use backstop::config;

use crate::support::{in_tree, schema_takes, tables};

/// Broken files that the JSON Schema cannot refuse: what is wrong with them is a name that
/// something else gives, a value held against another, nesting, a reference, or a part that comes later. (The bounds of
/// durations and shares are beyond it too, but those files have other mistakes beside.)
const BEYOND_THE_SCHEMA: &[&str] = &[
    "circles",
    "condition_too_deep",
    "dangling_channels",
    "dangling_conditions",
    "duplicate_names",
    "later_parts",
    "same_paths",
    "secrets_missing",
    "timeouts",
    "tree_too_deep",
    "webhook_secrets",
    "windows",
];

#[test]
fn every_mistake_is_told_at_its_place() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut names = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for entry in std::fs::read_dir(in_tree("tests/config/broken")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let bytes = std::fs::read(&path).expect("a file");
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        let checked = config::check_bytes(&format!("{name}.yaml"), bytes, Some(&tables()));
        assert!(checked.config.is_none() && checked.diagnostics.has_errors(), "{name} passes");
        for diagnostic in &checked.diagnostics.list {
            assert!(!diagnostic.help.is_empty(), "nothing helps with: {diagnostic}");
        }
        settings.bind(|| insta::assert_snapshot!(name.as_str(), checked.diagnostics.render(false)));
        if schema_takes(&text) {
            taken.insert(name.clone());
        }
        names.insert(name);
    }
    assert!(names.len() >= 30, "only {} files", names.len());
    assert_eq!(taken, BEYOND_THE_SCHEMA.iter().map(|name| (*name).to_owned()).collect(), "what the JSON Schema takes");
}
