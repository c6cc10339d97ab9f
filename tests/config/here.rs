//! What a configuration names is looked for on the machine on which it is to be used, and only there.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use backstop::config::{self, Gravity};

use crate::support::tables;

fn file(at: &Path, history: &str) -> std::path::PathBuf {
    let text = format!(
        "history: {{file: {0}/{history}}}
services:
  - name: shop
    target: {{releases: {{directory: {0}/releases, current: {0}/current, restart: [{0}/restart, now]}}}}
    probes: {{ready: {{tcp: \"127.0.0.1:1\"}}}}
  - name: api
    target:
      command:
        current: [sh, -c, \"echo v1\"]
        previous: [no-such-tool-of-anybody]
        roll_back: [{0}/text]
        stop: [\"${{env:TOKEN}}\"]
        start: ['true']
    probes:
      ready: {{command: {{run: [check], environment: {{PATH: {0}/bin}}}}}}
      beside: {{command: {{run: [./check], directory: {0}/bin}}}}
      nowhere: {{command: {{run: [./check], directory: {0}}}}}
",
        at.display()
    );
    let path = at.join("backstop.yaml");
    fs::write(&path, text).expect("written");
    path
}

fn tool(path: &Path, mode: u32) {
    fs::write(path, "#!/bin/sh\n").expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
}

#[test]
fn programs_that_are_not_here_are_warned_of_where_they_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::create_dir(at.join("bin")).expect("made");
    tool(&at.join("bin/check"), 0o755);
    tool(&at.join("text"), 0o644);
    let path = file(at, "history.json");
    let checked = config::check_here(&path, &tables());
    assert!(checked.config.is_some(), "a warning refuses nothing: {}", checked.diagnostics);
    let at = at.display();
    let found: Vec<_> = checked
        .diagnostics
        .list
        .iter()
        .filter(|found| found.message.contains("the program"))
        .map(|found| {
            assert_eq!(found.gravity, Gravity::Warning);
            (found.place.as_ref().expect("a place").line, found.message.clone())
        })
        .collect();
    let expected = [
        (4, format!("services(shop).target.releases.restart: the program {at}/restart is not there")),
        (
            10,
            "services(api).target.command.previous: the program no-such-tool-of-anybody is in none of the directories of \
             PATH"
                .to_owned(),
        ),
        (
            11,
            format!("services(api).target.command.roll_back: the program {at}/text may not be executed by this user"),
        ),
        (17, "services(api).probes.nowhere.command.run: the program ./check is not there".to_owned()),
    ];
    assert_eq!(found, expected);

    // Elsewhere nothing of it is a mistake.
    let elsewhere = config::check(&path, Some(&tables()));
    assert!(!elsewhere.diagnostics.render(false).contains("the program"), "{}", elsewhere.diagnostics);
}

#[test]
fn places_that_are_not_here_are_warned_of_with_how_to_mend_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    let path = folder.path().join("backstop.yaml");
    let text = format!(
        "server: {{socket: {at}/run/b.sock}}
store: {{path: {at}/lib/b.db}}
history: {{file: {at}/history.json}}
services:
  - name: shop
    target: {{releases: {{directory: {at}/shop/releases, current: {at}/shop/current, restart: ['true']}}}}
    probes: {{ready: {{tcp: \"127.0.0.1:1\"}}}}
"
    );
    fs::write(&path, text).expect("written");
    let found = || {
        let checked = config::check_here(&path, &tables());
        assert!(checked.config.is_some(), "a warning refuses nothing: {}", checked.diagnostics);
        let places = checked.diagnostics.list.into_iter().filter(|found| found.message.contains('/'));
        places
            .map(|found| {
                assert_eq!(found.gravity, Gravity::Warning);
                assert!(!found.help.is_empty(), "how to mend it");
                (found.place.expect("a place").line, found.message.replace(&at.to_string(), ""))
            })
            .collect::<Vec<_>>()
    };
    let starts = "is not there, so the daemon does not start";
    let current = "services(shop).target.releases.current";
    assert_eq!(
        found(),
        [
            (1, format!("server.socket: the directory /run {starts}")),
            (2, format!("store.path: the directory /lib {starts}")),
            (6, "services(shop).target.releases.directory: the directory /shop/releases is not there".to_owned()),
            (6, format!("{current}: the symlink /shop/current is not there")),
            (6, format!("{current}: the directory /shop is not there, so the symlink could not be replaced")),
        ]
    );
    for place in ["run", "lib", "shop/releases"] {
        fs::create_dir_all(folder.path().join(place)).expect("made");
    }
    let link = folder.path().join("shop/current");
    std::os::unix::fs::symlink("releases/v1", &link).expect("linked");
    let dangling = "leads to releases/v1, which is not there";
    assert_eq!(found(), [(6, format!("{current}: the symlink /shop/current {dangling}"))]);
    fs::create_dir(folder.path().join("shop/releases/v1")).expect("made");
    assert_eq!(found(), []);
}

#[test]
fn a_history_that_nothing_can_be_added_to_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("damaged.json"), "{\"rollbacks\": [").expect("written");
    fs::write(folder.path().join("sound.json"), "{\"rollbacks\": []}").expect("written");
    fs::create_dir(folder.path().join("folder")).expect("made");
    for (name, expected) in [
        ("damaged.json", Some("line 1")),
        ("none/history.json", Some("its directory must be there")),
        ("folder", Some("history")),
        ("sound.json", None),
        ("none-yet.json", None),
    ] {
        let checked = config::check_here(&file(folder.path(), name), &tables());
        let said = checked.diagnostics.list.iter().find(|found| found.message.starts_with("history.file: failed to"));
        match (said, expected) {
            (None, None) => {}
            (Some(said), Some(expected)) => {
                assert_eq!(said.gravity, Gravity::Warning);
                assert!(said.message.contains(expected), "{name}: {said}");
                assert_eq!(said.place.as_ref().map(|place| place.line), Some(1), "{said}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 4, "looking makes nothing");
}

#[test]
fn the_paths_of_a_file_with_other_mistakes_are_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backstop.yaml");
    let paths = |text: &str| {
        fs::write(&path, text).expect("written");
        config::paths(&path)
    };
    let (found, mistakes) = paths(
        "server: {socket: /a/b.sock, listn: 1}\nstore: {path: /a/b.db}\nhistory: {file: relative}\nservices: [{name: 7}]\n",
    )
    .expect("it is YAML");
    assert_eq!(found.socket.as_deref(), Some(Path::new("/a/b.sock")));
    assert_eq!(found.store.as_deref(), Some(Path::new("/a/b.db")));
    assert_eq!(found.history, None, "what is wrong itself is not guessed");
    assert!(mistakes.has_errors());
    let (found, _) = paths("mode: atc\n").expect("it is YAML");
    assert_eq!(found.socket.as_deref(), Some(Path::new("/run/backstop/backstop.sock")), "defaults hold");
    for text in ["", "[1, 2]", "a: [", "- - }"] {
        assert!(paths(text).is_err(), "{text:?}");
    }
    assert!(config::paths(&folder.path().join("none")).is_err());
}
