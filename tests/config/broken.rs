//! Broken files: each mistake told, at its place, all at once.

use std::collections::BTreeSet;

use backstop::config;

use crate::support::{in_tree, schema_takes, tables};

/// Broken files that the JSON Schema cannot refuse: what is wrong with them are names, circles, bounds of values and
/// what stands elsewhere, or they are no valid YAML in a way that a lenient reader lets pass.
const BEYOND_THE_SCHEMA: &[&str] = &[];

#[test]
fn every_mistake_is_told_at_its_place() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(in_tree("tests/config/broken")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let bytes = std::fs::read(&path).expect("a file");
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        let checked = config::check_bytes(&format!("{name}.yaml"), bytes, Some(&tables()));
        assert!(checked.config.is_none() && checked.diagnostics.has_errors(), "{name} passes");
        settings.bind(|| insta::assert_snapshot!(name.as_str(), checked.diagnostics.render(false)));
        assert_eq!(schema_takes(&text), BEYOND_THE_SCHEMA.contains(&name.as_str()), "the JSON Schema on {name}");
        names.insert(name);
    }
    assert!(names.len() >= 30, "only {} files", names.len());
    for name in BEYOND_THE_SCHEMA {
        assert!(names.contains(*name), "{name} is in the table and not in the folder");
    }
}
