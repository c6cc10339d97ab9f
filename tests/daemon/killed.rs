//! kill -9 at every step of a rollback: it goes on, nothing is done twice, nothing is lost.

use std::{collections::BTreeSet, fs, time::Instant};

use serde_json::{Value, json};

use crate::world::{
    QUICK, RESTART, World,
    daemon::Daemon,
    times,
    wait::{eventually, until},
};

/// A world in which v2 broke over a trusted v1 and a rollback is about to begin; `restart` is the restart command.
fn about_to_roll_back(restart: &str) -> (World, Daemon) {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.write_restart(restart);
    world.break_release("v2");
    (world, daemon)
}

/// The restart command, but slow: the old process is gone at once, the new one comes a while later.
fn slow_restart(seconds: u32) -> String {
    RESTART.replace("\"$service\" \"$port\"", &format!("sleep {seconds}\n\"$service\" \"$port\""))
}

/// Everything that must hold of a rollback in the end, however often the daemon was killed.
fn went_on(world: &World, interrupted: usize) {
    let incident = world.wait_for_outcome("api-1", "verified");
    world.receiver.wait_for("incident.resolved");
    until("nothing waits to be told", || world.api("/metrics").body.contains("backstop_outbox_depth 0"));
    assert_eq!(world.live(), "v1");
    assert_eq!(world.running().as_deref(), Some("v1"));
    let restarts = world.restarts();
    let count = |word: &str| restarts.iter().filter(|line| line.as_str() == word).count();
    assert_eq!(count("end v1"), 1, "the restart came to its end exactly once: {restarts:?}");
    assert!(count("begin v1") <= 1 + interrupted, "an attempt that was not cut short is not repeated: {restarts:?}");
    let plans = incident["plans"].as_array().expect("plans");
    assert_eq!(plans.len(), 1, "one plan: {incident:#}");
    let steps = plans[0]["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["status"] == "done"), "{steps:#?}");
    let timeline = incident["timeline"].to_string();
    assert!(!timeline.contains("no answer came back"), "what was cut short is found out, not waited for: {timeline}");
    assert_eq!(world.history().len(), 1, "put on record once");
    // Nothing lost: each kind was told. Nothing told as two things: what came twice has the same identity.
    let told = world.receiver.told_of("api-1");
    for kind in ["incident.opened", "rollback.started", "rollback.completed", "incident.resolved"] {
        let ids: BTreeSet<&str> = told.iter().filter(|one| one.kind == kind).map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), 1, "{kind}: {ids:?}");
    }
    // Nothing waits for evidence to be written, the pages neither.
    until("the evidence tells the end", || {
        let kept = fs::read_to_string(world.path("state/evidence/api-1/incident.json")).expect("evidence");
        let kept: Value = serde_json::from_str(&kept).expect("JSON");
        kept["resolved_at"].is_string()
    });
}

/// What the journal has of the plan, in words.
fn found_by_the_next_start(world: &World) -> String {
    let incident = world.cli.json(&["incident", "show", "api-1"]);
    let Some(steps) = incident["plans"][0]["steps"].as_array() else { return "no plan yet".to_owned() };
    match steps.iter().position(|step| step["status"] == "running") {
        Some(running) => format!("step {} was running", running + 1),
        None => format!("{} steps were done", steps.iter().filter(|step| step["status"] == "done").count()),
    }
}

/// Kills the daemon once `step` (counted from 1) is under way, and starts it again.
fn kill_at(step: usize) {
    let (world, mut daemon) = about_to_roll_back(&slow_restart(1));
    eventually(&format!("step {step} is under way"), || {
        let log = daemon.said();
        // The daemon's own log is the quickest witness: what it appends is being made durable just then. Where it was killed
        // a moment before that or a step later, it goes on all the same; the journal tells which it was.
        log.contains(&format!("step: {}, event: Started", step - 1)).then_some(())
    });
    daemon.kill();
    let found = found_by_the_next_start(&world);
    let killed = Instant::now();
    let _daemon = world.watch();
    went_on(&world, 1);
    times::note(&format!("kill -9 as step {step} of 7 began ({found}): start again to resolved"), killed.elapsed());
}

#[test]
fn in_the_step_that_looks_for_the_older_release() {
    kill_at(1);
}

#[test]
fn in_the_step_that_switches_and_restarts() {
    kill_at(2);
}

#[test]
fn in_the_step_that_waits_for_the_rollout() {
    kill_at(3);
}

#[test]
fn in_the_step_that_checks_health() {
    kill_at(4);
}

#[test]
fn in_the_step_that_checks_the_version() {
    kill_at(5);
}

#[test]
fn in_the_step_that_verifies() {
    kill_at(6);
}

#[test]
fn in_the_step_that_puts_it_on_record() {
    kill_at(7);
}

#[test]
fn while_the_restart_command_runs() {
    let (world, mut daemon) = about_to_roll_back(&slow_restart(3));
    until("the restart command runs", || world.restarts() == ["begin v1"]);
    daemon.kill();
    // Started again at once, while what the killed one left behind may still be ending.
    let _daemon = world.watch();
    went_on(&world, 1);
    let restarts = world.restarts();
    assert_eq!(restarts, ["begin v1", "begin v1", "end v1"], "cut short with the daemon, and done once more");
}

#[test]
fn before_the_incident_is_told() {
    let (world, mut daemon) = {
        let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
        world.configure_service(QUICK);
        let daemon = world.watch();
        world.wait_until_good("v1");
        world.deploy("v2");
        world.wait_until_settled("v2");
        (world, daemon)
    };
    world.receiver.set_down(true);
    world.break_release("v2");
    let tried = eventually("a page was tried", || world.receiver.refused().into_iter().next());
    daemon.kill();
    world.receiver.set_down(false);
    let _daemon = world.watch();
    let opened = world.receiver.wait_for("incident.opened");
    assert_eq!(opened.id, tried, "the same identity on the other side of a kill");
    went_on(&world, 1);
}

#[test]
fn again_and_again() {
    let (world, mut daemon) = about_to_roll_back(&slow_restart(1));
    for round in 1..=4 {
        let before = daemon.said().matches("event: Started").count();
        until("something begins", || {
            daemon.said().matches("event: Started").count() > before
                || !world.receiver.of("incident.resolved").is_empty()
        });
        daemon.kill();
        daemon = world.watch();
        assert!(world.restarts().iter().filter(|line| line.starts_with("begin")).count() <= round + 1);
    }
    went_on(&world, 4);
}
