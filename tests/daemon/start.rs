//! How the daemon starts, how it refuses to, and how it ends.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use crate::world::{QUICK, RESTART, World, daemon::backstop, http, wait::until};

fn world() -> World {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    world
}

/// What a daemon that must not start says, and its exit code.
fn refuses(world: &World) -> (i32, String) {
    let mut daemon = world.start();
    let code = daemon.wait().code().expect("it ends by itself");
    let said = daemon.said();
    assert!(!said.contains("panicked"), "{said}");
    (code, said)
}

fn is_bound(world: &World) -> bool {
    http::get(world.api_port(), "/healthz").is_ok() || world.path("backstop.sock").exists()
}

#[test]
fn a_wrong_configuration_ends_it_before_anything_is_bound() {
    let world = world();
    let text = fs::read_to_string(&world.cli.configuration).expect("it was written");
    let wrong = text.replace("down_after: 3", "down_aftr: 3").replace("settle: 8s", "settle: soon");
    fs::write(&world.cli.configuration, wrong).expect("written");
    let (code, said) = refuses(&world);
    assert_eq!(code, 78, "{said}");
    for expected in ["down_aftr", "down_after", "settle", "backstop.yaml:"] {
        assert!(said.contains(expected), "every mistake, where it is, and how to mend it; {expected}: {said}");
    }
    assert!(!is_bound(&world));
    assert!(!world.path("state/backstop.db").exists(), "nothing was begun");
}

#[test]
fn a_missing_secret_is_named() {
    let world = world();
    let output = backstop(&world.cli.configuration).arg("run").env_remove("WEBHOOK_SECRET").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("WEBHOOK_SECRET"), "{said}");
    assert!(!is_bound(&world));
}

#[test]
fn a_missing_store_directory_is_named() {
    let world = world();
    fs::remove_dir(world.path("state")).expect("it is empty");
    let (code, said) = refuses(&world);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&world.path("state").display().to_string()), "{said}");
    assert!(!is_bound(&world));
}

/// The log book of rollbacks is people's: a slip in it is no reason to watch nothing.
#[test]
fn a_history_that_nothing_can_be_added_to_is_told_and_does_not_hold_a_rollback_up() {
    let world = world();
    let history = world.path("state/rollback-history.json");
    let half = "{\"rollbacks\": [\n  {\"date\": ";
    fs::write(&history, half).expect("written");
    let mut daemon = world.watch();
    let expected = format!("failed to understand the history {}: ", history.display());
    until("it is told", || {
        let said = daemon.said();
        let is_told = said.contains(&expected) && said.contains("no rollback can be put on record");
        is_told && said.contains("line 2") && said.contains("mend it or move it away")
    });
    until("it is counted", || world.api("/metrics").body.contains("\nbackstop_history_writable 0\n"));
    let warned = world.cli.run(&["check", &world.cli.configuration.display().to_string()]);
    assert!(warned.status.success());
    let warned = String::from_utf8_lossy(&warned.stderr).into_owned();
    assert!(warned.contains("warning: history.file: failed to understand the history"), "{warned}");

    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.break_release("v2");
    until("it is rolled back", || world.running().as_deref() == Some("v1"));
    until("the plan has ended", || world.incident("api-1")["plans"][0]["outcome"].is_string());
    let recorded = world.incident("api-1")["plans"][0].clone();
    assert!(recorded.to_string().contains("mend it or move it away"), "{recorded:#}");
    assert_eq!(fs::read_to_string(&history).expect("it is there"), half, "it is not written over");
    daemon.must_run();

    fs::write(&history, "{\"rollbacks\": []}").expect("mended");
    until("what waited is on record", || fs::read_to_string(&history).is_ok_and(|text| text.contains("\"v1\"")));
    until("it is counted", || world.api("/metrics").body.contains("\nbackstop_history_writable 1\n"));
    assert!(daemon.terminate().success());

    fs::remove_file(&history).expect("it was written");
    fs::create_dir(&history).expect("a directory");
    let mut daemon = world.watch();
    until("it is told", || daemon.said().contains(&history.display().to_string()));
    daemon.must_run();
}

#[test]
fn a_program_that_is_not_there_is_told_at_the_start() {
    let world = world();
    fs::rename(world.path("restart"), world.path("elsewhere")).expect("moved");
    let mut daemon = world.watch();
    daemon.must_run();
    let said = daemon.said();
    assert!(said.contains("warning: services(api).target.releases.restart: the program"), "{said}");
    assert!(said.contains("restart is not there"), "{said}");
}

#[test]
fn a_store_that_is_none_is_left_as_it_is() {
    let world = world();
    let store = world.path("state/backstop.db");
    fs::write(&store, "these are some words and no database at all\n".repeat(100)).expect("written");
    let (code, said) = refuses(&world);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("backstop.db"), "{said}");
    assert!(fs::read_to_string(&store).expect("it is still there").starts_with("these are some words"));
}

#[test]
fn one_store_has_one_daemon() {
    let world = world();
    let mut first = world.watch();
    let (code, said) = refuses(&world);
    assert_eq!(code, 1, "{said}");
    let pid = first.pid().to_string();
    assert!(said.contains("backstop.db") && said.contains(&pid), "it names the store and who has it: {said}");
    first.must_run();
    assert_eq!(http::get(world.api_port(), "/healthz").expect("the first one serves on").status(), 200);
    assert!(world.cli.text(&["status"]).contains("api"));
}

#[test]
fn a_taken_address_is_named() {
    let world = world();
    let _other = std::net::TcpListener::bind(("127.0.0.1", world.api_port())).expect("the port is ours");
    let (code, said) = refuses(&world);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&world.api_port().to_string()) && said.contains("server.listen"), "{said}");
}

#[test]
fn the_socket_is_its_owners_and_sigterm_ends_it_in_order() {
    let world = world();
    let mut daemon = world.watch();
    let socket = world.path("backstop.sock");
    assert_eq!(fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);
    // Without tokens TCP only reads.
    assert_eq!(world.api("/api/v1/services").status(), 200);
    assert!(daemon.terminate().success());
    assert!(!daemon.said().contains("panicked"));
    assert!(http::get(world.api_port(), "/healthz").is_err());
    let (code, said) = world.cli.refused(&["status"]);
    assert_eq!(code, 1);
    assert!(said.contains("backstop.sock"), "{said}");
    // What a killed one leaves behind is no obstacle.
    let mut daemon = world.watch();
    daemon.kill();
    assert!(socket.exists());
    world.watch();
}

#[test]
fn sigterm_while_a_restart_command_runs_ends_it_and_the_next_start_goes_on() {
    let world = world();
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.write_restart(&RESTART.replace("\"$service\" \"$port\"", "sleep 2\n\"$service\" \"$port\""));
    world.break_release("v2");
    until("the restart command runs", || world.restarts() == ["begin v1"]);
    assert!(daemon.terminate().success());
    let _daemon = world.watch();
    world.wait_for_outcome("api-1", "verified");
    world.receiver.wait_for("incident.resolved");
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.restarts().iter().filter(|line| *line == "end v1").count(), 1);
}
