//! What is no fault: ordinary restarts and deploys, under the defaults that ship.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{
    World,
    wait::{all_along, until},
};

/// A restart that takes so long, as a service with a big cache does.
const STARTS_AFTER_MILLIS: u64 = 8_000;

fn slow_to_start() -> Value {
    json!({"starts_after_millis": STARTS_AFTER_MILLIS})
}

/// The probe and the gates as they are when nobody writes anything but a name, a target and a URL.
fn with_defaults(world: &World) {
    let port = world.service.number;
    let target = world.releases_target();
    world.configure(
        "",
        &format!(
            "  - name: api
    target: {{{target}}}
    probes:
      ready: {{http: http://127.0.0.1:{port}/health/ready}}
"
        ),
    );
}

fn nothing_was_told(world: &World) {
    for event in world.receiver.all() {
        assert_eq!(event.text("finding"), "nothing_to_go_back_to", "{event:?}");
    }
    assert_eq!(world.cli.json(&["incident", "list"])["incidents"], json!([]));
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing was rolled back");
}

#[test]
fn a_deploy_whose_restart_takes_eight_seconds_is_no_news() {
    let world = World::new(&[("v1", slow_to_start()), ("v2", slow_to_start())]);
    with_defaults(&world);
    let mut daemon = world.watch();
    until("v1 is seen healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    world.deploy("v2");
    let down = std::time::Instant::now();
    until("v2 answers", || {
        daemon.must_run();
        world.running().as_deref() == Some("v2")
    });
    assert!(down.elapsed() >= Duration::from_millis(STARTS_AFTER_MILLIS), "it was away that long");
    all_along(Duration::from_secs(5), || daemon.must_run());
    until("the watch sees v2 healthy", || {
        let services = world.cli.json(&["status"]);
        let service = &services["services"][0];
        service["verdict"] == "healthy" && service["release"]["version"] == "v2"
    });
    nothing_was_told(&world);
}

#[test]
fn an_announced_restart_that_takes_eight_seconds_is_no_news() {
    let world = World::new(&[("v1", slow_to_start())]);
    with_defaults(&world);
    let mut daemon = world.watch();
    until("v1 is seen healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    world.cli.text(&["deploys", "report", "api", "v1"]);
    world.restart();
    until("it is seen to be away", || {
        world.api("/metrics").body.lines().any(|line| {
            line.starts_with("backstop_probe_samples_total{service=\"api\",probe=\"ready\",outcome=\"failed\"}")
                && !line.ends_with(" 0")
        })
    });
    until("it answers again", || world.running().is_some());
    all_along(Duration::from_secs(5), || daemon.must_run());
    until("the watch sees it healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    nothing_was_told(&world);
}

#[test]
fn an_unannounced_restart_of_eight_seconds_is_told_and_nothing_is_rolled_back() {
    let world = World::new(&[("v1", slow_to_start())]);
    with_defaults(&world);
    let _daemon = world.watch();
    until("v1 is seen healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    world.restart();
    until("it answers again", || world.running().is_some());
    until("the watch sees it healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    assert_eq!(world.live(), "v1");
    assert_eq!(world.restarts(), Vec::<String>::new());
    assert!(world.history().is_empty());
}
