//! The configuration changes while the daemon runs.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::world::{QUICK, RESTART, World, daemon::Daemon, wait::until};

/// Another service, which the test's own tools stand for.
fn other(world: &World) -> String {
    format!(
        "  - name: aaa
    target:
      command: {{current: [echo, one], previous: [echo, zero], roll_back: ['true']}}
    probes:
      open: {{tcp: 127.0.0.1:{}, every: 500ms, timeout: 500ms}}
",
        world.service.number
    )
}

/// Writes it as deploy tools do: beside, then renamed.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("renamed");
}

fn names(world: &World) -> Vec<String> {
    let status = world.cli.json(&["status"]);
    let services = status["services"].as_array().expect("a list");
    services.iter().map(|service| service["name"].as_str().expect("a name").to_owned()).collect()
}

fn trouble(world: &World) -> Option<String> {
    let status = world.cli.json(&["status"]);
    status["daemon"]["configuration"]["why"].as_str().map(str::to_owned)
}

fn reloads(world: &World, outcome: &str) -> String {
    let metrics = world.api("/metrics").body;
    let name = format!("backstop_config_reloads_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("it is there from the start").to_owned()
}

#[test]
fn a_changed_file_is_put_in_force_and_what_did_not_change_goes_on() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    let text = fs::read_to_string(&world.cli.configuration).expect("it was written");
    replace(&world.cli.configuration, &text.replace("services:\n", &format!("services:\n{}", other(&world))));
    until("the other service is watched, too", || names(&world) == ["aaa", "api"]);
    daemon.must_run();
    assert_eq!((reloads(&world, "applied"), reloads(&world, "refused")), ("1".to_owned(), "0".to_owned()));
    assert_eq!(trouble(&world), None);
    let deploys = world.cli.json(&["deploys", "api"]);
    let numbers = deploys["services"][0]["deploys"].as_array().map(Vec::len);
    assert_eq!(numbers, Some(2), "nothing was taken for a deploy: {deploys:#}");
    // The service stands in another place by now, and is rolled back as ever.
    world.break_release("v2");
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
    // And back again: the other one is gone from what is shown, and the numbers of what stayed go on.
    replace(&world.cli.configuration, &text);
    daemon.signal(Signal::HUP);
    until("the other service is gone", || names(&world) == ["api"]);
    assert_eq!(reloads(&world, "applied"), "2");
    assert!(
        world
            .api("/metrics")
            .body
            .contains("backstop_rollbacks_total{service=\"api\",plan=\"quick\",outcome=\"verified\"} 1")
    );
}

#[test]
fn what_cannot_be_used_is_told_and_the_one_in_force_is_kept() {
    let world = World::new(&[("v1", json!({}))]);
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    let path = world.cli.configuration.clone();
    // The command line finds the socket by a file that stays.
    let aside = world.path("kept.yaml");
    fs::copy(&path, &aside).expect("copied");
    let text = fs::read_to_string(&path).expect("it was written");
    let cli = crate::world::daemon::Cli { configuration: aside };
    let shown = |cli: &crate::world::daemon::Cli| -> Option<String> {
        let status: Value = cli.json(&["status"]);
        status["daemon"]["configuration"]["why"].as_str().map(str::to_owned)
    };
    let wrong: [(&str, &dyn Fn(), &str); 5] = [
        ("a mistake", &|| replace(&path, &text.replace("down_after: 3", "down_aftr: 3")), "down_aftr"),
        ("an empty file", &|| replace(&path, ""), "empty"),
        ("another store", &|| replace(&path, &text.replace("state/backstop.db", "other.db")), "store.path"),
        ("no file", &|| fs::remove_file(&path).expect("it was there"), "cannot read"),
        ("a directory", &|| fs::create_dir(&path).expect("made"), "a directory"),
    ];
    for (number, (what, make, expected)) in wrong.iter().enumerate() {
        make();
        daemon.signal(Signal::HUP);
        until(what, || shown(&cli).is_some_and(|why| why.contains(expected)));
        until(what, || reloads(&world, "refused") == (number + 1).to_string());
        daemon.must_run();
        assert_eq!(world.api("/readyz").status(), 200, "{what}: the old one is watched on");
        assert!(daemon.said().contains(expected), "{what}: {}", daemon.said());
        let status = cli.text(&["status"]);
        assert!(status.contains("the configuration on disk is not the one in force"), "{status}");
        assert!(status.contains(&format!("{}:", path.display())) && status.contains("! to mend it: "), "{status}");
        if *what == "a mistake" {
            let line = text.lines().position(|line| line.contains("down_after")).expect("it is there") + 1;
            for part in [
                format!("{}:{line}:", path.display()),
                "did you mean `down_after`?".to_owned(),
                format!("`backstop check {}` shows it", path.display()),
            ] {
                assert!(status.contains(&part), "{part}: {status}");
            }
        }
    }
    assert!(daemon.said().contains("did you mean") || daemon.said().contains("down_after"), "how to mend it is told");
    fs::remove_dir(&path).expect("it is empty");
    replace(&path, &text);
    until("the old text is the one in force", || shown(&cli).is_none());
    assert_eq!(reloads(&world, "applied"), "0", "nothing had to be done for it");
}

#[test]
fn a_swapped_symlink_is_noticed() {
    let world = World::new(&[("v1", json!({}))]);
    world.configure_service(QUICK);
    let path = world.cli.configuration.clone();
    let text = fs::read_to_string(&path).expect("it was written");
    // As the mounted volume of a ConfigMap: file → ..data/file, ..data → a directory for each version.
    for (version, text) in
        [("..1", text.clone()), ("..2", text.replace("services:\n", &format!("services:\n{}", other(&world))))]
    {
        fs::create_dir(world.path(version)).expect("made");
        fs::write(world.path(version).join("backstop.yaml"), text).expect("written");
    }
    fs::remove_file(&path).expect("it was there");
    symlink("..1", world.path("..data")).expect("linked");
    symlink("..data/backstop.yaml", &path).expect("linked");
    let mut daemon: Daemon = world.watch();
    assert_eq!(names(&world), ["api"]);
    symlink("..2", world.path("..data_tmp")).expect("linked");
    fs::rename(world.path("..data_tmp"), world.path("..data")).expect("swapped");
    until("the second version is in force", || names(&world) == ["aaa", "api"]);
    daemon.must_run();
}

#[test]
fn a_rollback_under_way_is_waited_for() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.write_restart(&RESTART.replace("\"$service\" \"$port\"", "sleep 2\n\"$service\" \"$port\""));
    world.break_release("v2");
    until("the restart command runs", || world.restarts() == ["begin v1"]);
    let text = fs::read_to_string(&world.cli.configuration).expect("it was written");
    replace(&world.cli.configuration, &text.replace("down_after: 3", "down_after: 4"));
    daemon.signal(Signal::HUP);
    until("the reload waits", || {
        trouble(&world).is_some_and(|why| why.contains("a rollback is under way, of api (api-1)"))
    });
    world.wait_for_outcome("api-1", "verified");
    until("it is in force", || trouble(&world).is_none());
    assert_eq!((reloads(&world, "applied"), reloads(&world, "refused")), ("1".to_owned(), "0".to_owned()));
    assert_eq!(world.restarts().iter().filter(|line| *line == "end v1").count(), 1);
}
