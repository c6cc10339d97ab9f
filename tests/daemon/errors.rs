//! Error rates, counted by a real Prometheus and on the service's own page.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{
    World,
    prometheus::Prometheus,
    times,
    traffic::Traffic,
    wait::{all_along, eventually, until},
};

/// Requests a second. What a window of the thresholds here holds is evidence enough for 12%, and for 0.8% of nothing.
const REQUESTS_A_SECOND: u32 = 80;

/// Compressed: what the defaults do in a minute happens in ten seconds.
const COMPRESSED: &str = "
    thresholds:
      down_after: 3
      confirm_every: 200ms
      down_for: 1500ms
      roll_back_above: {error_rate: 5%, over: 10s}
      consider_above: {error_rate: 1%, over: 10s, for: 10s}
      slow_above: {latency_p99: 2x, over: 10s, for: 10s}
      min_requests: 50
      widen_to: 20s
    gates: {known_good_after: 3s, settle: 8s}
    verify: {healthy_for: 2s, timeout: 60s}
";

const SERIES: &str =
    "total: 'http_requests_total{app=\"api\"}', errors: 'http_requests_total{app=\"api\",code=~\"5..\"}'";

fn by_prometheus(prometheus: &Prometheus) -> String {
    format!(
        "    requests: {{prometheus: {{url: \"http://127.0.0.1:{}\", {SERIES}}}, every: 1s, timeout: 900ms}}\n{COMPRESSED}",
        prometheus.port.number
    )
}

fn by_the_page(world: &World) -> String {
    format!(
        "    requests: {{metrics: {{url: \"http://127.0.0.1:{}/metrics\", {SERIES}}}, every: 1s, timeout: 900ms}}\n{COMPRESSED}",
        world.service.number
    )
}

/// Deploys v2 beside a watch that trusts v1, and shows that its 12% are found, undone and told.
fn twelve_percent_are_rolled_back(world: &World, source: &str) {
    world.wait_until_good("v1");
    let fault = Instant::now();
    world.deploy("v2");
    let opened = world.receiver.wait_for("incident.opened");
    let completed = world.receiver.wait_for("rollback.completed");
    times::note(&format!("12% errors by {source}: deploy to page"), opened.at - fault);
    times::note(&format!("12% errors by {source}: deploy to verified"), completed.at - fault);
    world.wait_for_outcome("api-1", "verified");
    world.receiver.wait_for("incident.resolved");
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
    assert_eq!(opened.text("verdict"), "roll_back");
    let questions = opened.data["path"]["questions"].as_array().expect("the path goes along").clone();
    let decided = questions.iter().find(|question| question["decided"] == true).expect("one question decided");
    assert_eq!(decided["when"], "error_rate_critical", "{decided:#}");
    assert!(decided["readings"].to_string().contains("errors"), "with its numbers: {decided:#}");
}

fn releases(errors_per_mille: u64) -> [(&'static str, Value); 2] {
    [("v1", json!({})), ("v2", json!({"errors_per_mille": errors_per_mille}))]
}

#[test]
fn twelve_percent_of_errors_by_a_real_prometheus() {
    let world = World::new(&releases(120));
    let _traffic = Traffic::start(world.service.number, REQUESTS_A_SECOND);
    let prometheus = Prometheus::start(&world.path(""), world.service.number);
    world.configure_service(&by_prometheus(&prometheus));
    let _daemon = world.watch();
    twelve_percent_are_rolled_back(&world, "Prometheus");
}

#[test]
fn twelve_percent_of_errors_by_the_exposition_page() {
    let world = World::new(&releases(120));
    let _traffic = Traffic::start(world.service.number, REQUESTS_A_SECOND);
    world.configure_service(&by_the_page(&world));
    let _daemon = world.watch();
    twelve_percent_are_rolled_back(&world, "the exposition page");
}

#[test]
fn less_than_one_percent_is_watched_and_soaks_but_is_not_rolled_back() {
    let world = World::new(&releases(8));
    let _traffic = Traffic::start(world.service.number, REQUESTS_A_SECOND);
    let prometheus = Prometheus::start(&world.path(""), world.service.number);
    world.configure_service(&by_prometheus(&prometheus));
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    // Its errors are seen, by evidence, and are too few.
    let seen = eventually("the errors are seen", || {
        let explained = world.cli.json(&["explain", "api"]);
        let questions = explained["path"]["questions"].as_array()?.clone();
        let asked = questions.into_iter().find(|question| question["when"] == "error_rate_critical")?;
        let errors = asked["readings"][0]["errors"].as_u64()?;
        // A few looks are needed for a no.
        let known = asked["answer"] != "unknown";
        (explained["release"]["version"] == "v2" && errors > 0 && known).then_some(asked)
    });
    assert_eq!(seen["answer"], "no", "{seen:#}");
    all_along(Duration::from_secs(12), || {
        daemon.must_run();
        assert_eq!(world.receiver.of("incident.opened").len(), 0);
    });
    assert_eq!(world.live(), "v2");
    assert_eq!(world.restarts(), Vec::<String>::new());
    assert!(world.history().is_empty());
}

#[test]
fn a_release_without_errors_becomes_known_good() {
    let world = World::new(&releases(0));
    let _traffic = Traffic::start(world.service.number, REQUESTS_A_SECOND);
    let prometheus = Prometheus::start(&world.path(""), world.service.number);
    world.configure_service(&by_prometheus(&prometheus));
    let _daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_good("v2");
    until("and it is live and healthy", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    assert_eq!(world.cli.json(&["incident", "list"])["incidents"], json!([]));
    assert_eq!(world.restarts(), Vec::<String>::new());
}
