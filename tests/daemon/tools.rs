//! The target's own commands, when they hang, fail, fork, or print without end.

use std::{fs, time::Duration};

use serde_json::json;

use crate::world::{
    QUICK, RESTART, World,
    daemon::Daemon,
    wait::{all_along, until},
};

/// A deadline for commands that hang, compressed.
const SHORT: &str = "rollout_timeout: 2s";
/// A deadline for commands that do much, on a machine that does much else besides.
const LONG: &str = "rollout_timeout: 100s";

/// A world in which v2 breaks over a trusted v1, and Backstop's restarts run `restart`.
fn broken_with(restart: &str, deadline: &str) -> (World, Daemon) {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    let target = world.releases_target().replace("rollout_timeout: 15s", deadline);
    world.configure("", &world.service_yaml(&target, QUICK));
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.write_restart(restart);
    world.break_release("v2");
    (world, daemon)
}

fn begun(world: &World) -> usize {
    world.restarts().iter().filter(|line| line.starts_with("begin")).count()
}

#[test]
fn a_restart_that_fails_once_is_tried_again() {
    let (world, _daemon) = broken_with(
        &format!(
            "if [ ! -e \"$home/failed\" ]; then touch \"$home/failed\"; echo 'no such unit' >&2; exit 4; fi\n{RESTART}"
        ),
        LONG,
    );
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
    let steps: Vec<String> =
        world.receiver.of("rollback.step").iter().map(|step| step.text("summary").to_owned()).collect();
    assert!(steps.iter().any(|step| step.contains("no such unit")), "it is told what it said: {steps:#?}");
}

#[test]
fn a_restart_that_fails_is_undone_and_told() {
    // It cannot start v1; v2 it can.
    let (world, mut daemon) = broken_with(
        &format!(
            "if [ \"${{BACKSTOP_VERSION_TO-}}\" = v1 ]; then echo \"begin v1\" >>\"$home/restarts\"; exit 4; fi\n{RESTART}"
        ),
        LONG,
    );
    let failed = world.receiver.wait_for("rollback.failed");
    assert_eq!(failed.text("finding"), "rollback_failed");
    assert_eq!(failed.text("severity"), "S1");
    assert_eq!(failed.text("action"), "All hands. Manual intervention.");
    assert!(failed.data["details"].to_string().contains("undone: v2 is live"), "{failed:?}");
    world.wait_for_outcome("api-1", "failed");
    assert_eq!(world.restarts(), ["begin v1", "begin v1", "begin v2", "end v2"], "twice, and taken back");
    assert_eq!(world.live(), "v2");
    // No second hop, whatever goes on.
    all_along(Duration::from_secs(4), || {
        daemon.must_run();
        assert_eq!(world.receiver.of("rollback.started").len(), 1);
    });
    until("it is on record", || world.history().len() == 1);
    assert_eq!(world.history()[0]["outcome"], "failed");
    // Whoever mends the tool tries again, and needs no override: what failed was undone.
    world.write_restart(RESTART);
    let said = world.cli.text(&["rollback", "api"]);
    assert!(said.starts_with("api: rolling back from v2 to v1"), "{said}");
    world.receiver.wait_for("incident.resolved");
    // The page may be quicker than the view.
    until("the second rollback is verified", || world.incident("api-1")["plans"][1]["outcome"] == "verified");
    assert_eq!(world.live(), "v1");
}

#[test]
fn a_restart_that_hangs_runs_into_its_deadline_and_is_told() {
    let (world, mut daemon) = broken_with(
        "echo \"begin ${BACKSTOP_VERSION_TO-}\" >>\"$home/restarts\"\ntrap '' TERM\nsleep 1000 &\necho $! >>\"$home/left\"\nwait\nsleep 1000\n",
        SHORT,
    );
    let failed = world.receiver.wait_for("rollback.failed");
    assert_eq!(failed.text("finding"), "step_stuck", "the undo hangs too: {failed:?}");
    assert!(
        failed.text("summary").contains("ran into its deadline"),
        "in words that tell what to look for: {failed:?}"
    );
    assert_eq!(failed.text("severity"), "S1");
    world.wait_for_outcome("api-1", "stuck");
    assert_eq!(begun(&world), 4, "two attempts, and two at the undo: {:?}", world.restarts());
    daemon.must_run();
    assert_eq!(world.api("/healthz").status(), 200);
    // Nothing that hangs is left behind.
    let left = fs::read_to_string(world.path("left")).expect("each wrote down what it left");
    for process in left.lines() {
        until(&format!("{process} is ended"), || {
            !fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default().contains("sleep")
        });
    }
    assert!(daemon.terminate().success());
}

#[test]
fn a_restart_that_leaves_the_service_on_its_own_output_is_no_obstacle() {
    // As a naive script does: the service inherits the output of the command that started it.
    let (world, mut daemon) =
        broken_with(&RESTART.replace("</dev/null >>\"$home/service.log\" 2>&1 &", "& echo it is on its way;"), LONG);
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
    assert!(daemon.terminate().success());
    assert_eq!(world.running().as_deref(), Some("v1"), "it outlives the daemon");
}

#[test]
fn a_restart_that_prints_a_gigabyte_is_read_and_discarded() {
    let (world, mut daemon) = broken_with(&format!("head -c 1000000000 /dev/zero\n{RESTART}"), LONG);
    let world_ended = world.wait_for_outcome("api-1", "verified");
    assert_eq!(world_ended["plans"][0]["outcome"], "verified");
    daemon.must_run();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kibibytes < 256 * 1024, "{kibibytes} KiB");
}

/// The user's own tools, around the same releases.
fn command_target(world: &World, current: &str) -> String {
    let home = world.path("");
    let home = home.display();
    format!(
        "command: {{current: [sh, -c, '{current}'], previous: [ls, {home}/releases], \
         roll_back: [sh, {home}/roll-back], rollout_timeout: 3s}}"
    )
}

fn with_tools(current: &str) -> World {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    let home = world.path("");
    let home = home.display();
    let script = format!("ln -sfn {home}/releases/$BACKSTOP_VERSION_TO {home}/current\nexec {home}/restart\n");
    fs::write(world.path("roll-back"), script).expect("written");
    let target = command_target(&world, &current.replace("$home", &home.to_string()));
    world.configure("", &world.service_yaml(&target, QUICK));
    world
}

#[test]
fn the_users_own_tools_roll_back() {
    let world = with_tools("basename \"$(readlink $home/current)\"");
    let _daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.break_release("v2");
    world.receiver.wait_for("incident.resolved");
    world.wait_for_outcome("api-1", "verified");
    assert_eq!((world.live().as_str(), world.running().as_deref()), ("v1", Some("v1")));
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
}

#[test]
fn a_target_that_cannot_be_looked_at_holds_the_rollback_and_is_told() {
    let world = with_tools("if [ -e $home/hang ]; then sleep 1000; fi; basename \"$(readlink $home/current)\"");
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    fs::write(world.path("hang"), "").expect("written");
    until("the target cannot be seen any more", || {
        let explained = world.cli.json(&["explain", "api"]);
        let gates = explained["gates"].as_array().cloned().unwrap_or_default();
        gates.iter().any(|gate| gate["gate"] == "accused" && gate["answer"] == "unknown")
    });
    world.break_release("v2");
    let opened = world.receiver.wait_for("incident.opened");
    assert_eq!(opened.text("severity"), "S1", "people are told all the same");
    let refused = world.receiver.wait_for_of("rollback.refused", "api-1");
    assert!(refused.data["details"].to_string().contains("could not be looked at"), "{refused:?}");
    daemon.must_run();
    assert_eq!(world.restarts(), Vec::<String>::new());
    // After a refusal was told it acts only by approval.
    fs::remove_file(world.path("hang")).expect("it was there");
    world.receiver.wait_for("approval.requested");
    assert_eq!(world.restarts(), Vec::<String>::new());
    world.cli.text(&["incident", "approve", "api-1", "--approval", "1"]);
    world.wait_for_outcome("api-1", "verified");
}
