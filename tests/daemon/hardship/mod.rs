//! Bad input and bad surroundings, each made to happen to the real daemon: it lives, says what is wrong, and acts only
//! when it may.

mod certificate;
mod clients;
mod clock;
mod resources;
mod series;
mod stopped;
mod unread;

use std::{fs, time::Duration};

use serde_json::json;

use crate::world::{World, daemon::Daemon, wait::all_along};

fn releases() -> World {
    World::new(&[("v1", json!({})), ("v2", json!({}))])
}

/// A daemon that watches v2, which could be rolled back to v1 at any time.
fn watched(world: &World, rest: &str) -> Daemon {
    world.configure_service(rest);
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    daemon
}

/// For a while no incident is opened and nothing is done, and the daemon lives.
#[track_caller]
fn nothing_is_done(world: &World, daemon: &mut Daemon, time: Duration) {
    all_along(time, || {
        daemon.must_run();
        assert_eq!(world.receiver.of("incident.opened").len(), 0, "{:?}", world.receiver.kinds());
        assert_eq!(world.restarts(), Vec::<String>::new());
    });
}

/// It sees and acts as ever: a broken release is rolled back.
#[track_caller]
fn acts_as_ever(world: &World) {
    world.break_release("v2");
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
}

/// Samples of a probe so far, by outcome.
fn samples(world: &World, probe: &str, outcome: &str) -> u64 {
    let name = format!("backstop_probe_samples_total{{service=\"api\",probe=\"{probe}\",outcome=\"{outcome}\"}} ");
    let metrics = world.api_by_socket("/metrics").body;
    let value =
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}: {metrics}"));
    value.parse().expect("a number")
}

/// The most memory that the daemon ever had, in MiB.
fn peak_memory_mebibytes(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
