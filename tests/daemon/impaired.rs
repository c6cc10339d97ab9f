//! Faults of the watchdog's own surroundings: they are told, and never taken for the service's.

use std::time::Duration;

use serde_json::json;

use crate::world::{
    QUICK, World,
    prometheus::Prometheus,
    traffic::Traffic,
    wait::{all_along, until},
};

#[test]
fn a_prometheus_that_dies_is_a_lost_signal_and_no_reason_to_roll_back() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({"errors_per_mille": 300}))]);
    let _traffic = Traffic::start(world.service.number, 50);
    let mut prometheus = Prometheus::start(&world.path(""), world.service.number);
    world.configure_service(&format!(
        "    requests: {{prometheus: {{url: \"http://127.0.0.1:{}\", total: 'http_requests_total{{app=\"api\"}}', \
         errors: 'http_requests_total{{app=\"api\",code=~\"5..\"}}'}}, every: 500ms, timeout: 400ms}}
    thresholds:
      down_for: 1500ms
      roll_back_above: {{error_rate: 5%, over: 5s}}
      consider_above: {{error_rate: 1%, over: 5s, for: 5s}}
      slow_above: {{latency_p99: 2x, over: 5s, for: 5s}}
      min_requests: 50
      widen_to: 10s
    gates: {{known_good_after: 3s, settle: 8s}}
    verify: {{healthy_for: 2s, timeout: 40s}}
",
        prometheus.port.number
    ));
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    prometheus.kill();
    let lost = world.receiver.wait_for("signal.lost");
    assert_eq!(lost.text("finding"), "signal_lost");
    assert!(lost.text("summary").contains("requests"), "{lost:?}");
    assert_eq!(lost.text("severity"), "S2");
    // A bad release comes while the watch is blind: nothing is known of it, so nothing is done.
    world.deploy("v2");
    all_along(Duration::from_secs(6), || {
        daemon.must_run();
        assert_eq!(world.receiver.of("incident.opened").len(), 0);
        assert_eq!(world.restarts(), Vec::<String>::new());
    });
    let services = world.cli.json(&["status"]);
    let service = &services["services"][0];
    assert_eq!(service["verdict"], "monitor", "missing data is no health either: {service:#}");
    assert_eq!(service["lost"], json!(["requests"]));
    assert_eq!(world.receiver.of("signal.lost").len(), 1, "told once");
    assert!(world.api("/metrics").body.contains("probe=\"requests\",outcome=\"missed\""));
    // It is seen again, and so is what is wrong.
    prometheus.start_again();
    world.receiver.wait_for("signal.restored");
    world.receiver.wait_for("incident.opened");
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
}

#[test]
fn a_receiver_that_is_down_hears_of_everything_later_under_the_same_identity() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let _daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.receiver.set_down(true);
    world.break_release("v2");
    // The rollback does not wait for anybody to be told of it.
    world.wait_for_outcome("api-1", "verified");
    let metrics = world.api("/metrics").body;
    assert!(!metrics.contains("backstop_outbox_depth 0"), "what is not told waits");
    assert!(metrics.contains("backstop_deliveries_total{channel=\"audit\""), "{metrics}");
    let refused = world.receiver.refused();
    assert!(!refused.is_empty());
    assert_eq!(world.receiver.told_of("api-1").len(), 0);
    world.receiver.set_down(false);
    until("nothing waits any more", || world.api("/metrics").body.contains("backstop_outbox_depth 0"));
    let told = world.receiver.told_of("api-1");
    for kind in ["incident.opened", "rollback.started", "rollback.completed", "incident.resolved"] {
        assert_eq!(told.iter().filter(|one| one.kind == kind).count(), 1, "{kind}: {:?}", world.receiver.kinds());
    }
    for id in refused {
        assert!(told.iter().any(|one| one.id == id), "{id} was tried, and came later");
    }
}

#[test]
fn a_failing_self_check_holds_everything_and_is_told() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    let witness = crate::world::port::Port::reserve();
    let listener = std::net::TcpListener::bind(("127.0.0.1", witness.number)).expect("the port is ours");
    world.configure(
        &format!("self_check: {{tcp: [\"127.0.0.1:{}\"]}}", witness.number),
        &world.service_yaml(&world.releases_target(), QUICK),
    );
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    // Is it us? By now it seems so.
    drop(listener);
    until("the watchdog sees that it is ill", || !world.cli.json(&["status"])["daemon"]["observer_impaired"].is_null());
    world.break_release("v2");
    let samples = |outcome: &str| {
        let metrics = world.api("/metrics").body;
        let line = metrics.lines().find(|line| {
            line.starts_with("backstop_probe_samples_total{service=\"api\",probe=\"ready\"") && line.contains(outcome)
        });
        let count = line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("no samples {outcome}: {metrics}"))
    };
    let (failed, missed) = (samples("failed"), samples("missed"));
    let told = world.receiver.wait_for("signal.lost");
    assert_eq!(told.text("finding"), "observer_impaired");
    until("samples are counted as missed", || samples("missed") > missed + 3);
    assert_eq!(samples("failed"), failed, "as the core takes them, the metrics count them");
    daemon.must_run();
    assert_eq!(world.receiver.of("incident.opened").len(), 0, "what it sees meanwhile is no evidence");
    assert_eq!(world.restarts(), Vec::<String>::new());
    // It is well again, and sees.
    let _listener = std::net::TcpListener::bind(("127.0.0.1", witness.number)).expect("the port is ours");
    world.receiver.wait_for("signal.restored");
    world.receiver.wait_for("incident.opened");
}
