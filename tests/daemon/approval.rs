//! Where a human is asked: approve, deny, the wrong number, and a gate that refuses.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{
    QUICK, World,
    daemon::Daemon,
    port::Port,
    wait::{all_along, eventually, until},
};

/// A key feature that only v1 has: broken, the tree says consider.
fn with_feature(world: &World) -> String {
    let port = world.service.number;
    format!(
        "    features:
      smoke: {{http: {{url: http://127.0.0.1:{port}/health, body: v1}}, every: 500ms, timeout: 500ms}}
{QUICK}"
    )
}

/// A world in which v2 was deployed over a trusted v1 and waits for an approval, and the daemon that asked.
fn asked(top: &str) -> (World, Daemon, Value) {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure(top, &world.service_yaml(&world.releases_target(), &with_feature(&world)));
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    let asked = world.receiver.wait_for("approval.requested");
    assert_eq!(asked.text("finding"), "approval_requested");
    assert_eq!((asked.text("version_from"), asked.text("version_to")), ("v2", "v1"));
    let details = asked.data["details"].to_string();
    assert!(details.contains("backstop incident approve api-1 --approval 1"), "the page says how: {details}");
    let incident = eventually("the incident shows the approval", || {
        Some(world.incident("api-1")).filter(|incident| incident["approval"]["state"] == "open")
    });
    (world, daemon, incident)
}

#[test]
fn a_human_approves_and_it_is_rolled_back_once() {
    let (world, _daemon, incident) = asked("");
    assert_eq!(incident["verdict"], "consider");
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing happens before");
    // Another number than the one that is open is for another situation.
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1", "--approval", "7"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("approval 7") && said.contains("approval 1"), "{said}");
    assert_eq!(world.restarts(), Vec::<String>::new());

    world.cli.text(&["incident", "approve", "api-1", "--approval", "1"]);
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1", "--approval", "1"]);
    assert_eq!(code, 1, "single use: {said}");
    world.receiver.wait_for("incident.resolved");
    let incident = world.wait_for_outcome("api-1", "verified");
    assert!(incident["plans"][0]["approved_by"].is_string(), "who approved is kept: {incident:#}");
    assert_eq!(incident["approval"]["state"], "approved");
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.history().len(), 1);
}

#[test]
fn a_human_denies_and_it_holds() {
    let (world, mut daemon, _) = asked("");
    world.cli.text(&["incident", "deny", "api-1", "--approval", "1", "--reason", "a fix is on its way"]);
    until("the denial is kept", || world.incident("api-1")["approval"]["state"] == "denied");
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("denied"), "{said}");
    all_along(Duration::from_secs(4), || {
        daemon.must_run();
        assert_eq!(world.receiver.of("approval.requested").len(), 1, "who said no is not asked again for the same");
        assert_eq!(world.receiver.of("rollback.started").len(), 0);
    });
    // It survives a restart of the daemon.
    daemon.kill();
    let mut daemon = world.watch();
    all_along(Duration::from_secs(4), || {
        daemon.must_run();
        assert_eq!(world.receiver.of("approval.requested").len(), 1);
        assert_eq!(world.receiver.of("rollback.started").len(), 0);
    });
    // Should it get worse, it is asked again, at the gravest.
    world.break_release("v2");
    let again = eventually("another question", || world.receiver.of("approval.requested").into_iter().nth(1));
    assert_eq!(again.text("severity"), "S1");
    assert_eq!(world.live(), "v2");
    world.cli.text(&["incident", "approve", "api-1", "--approval", "2"]);
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.live(), "v1");
}

#[test]
fn an_approval_that_a_gate_holds_is_refused_with_its_own_exit_code() {
    let witness = Port::reserve();
    let listener = std::net::TcpListener::bind(("127.0.0.1", witness.number)).expect("the port is ours");
    let (world, _daemon, _) = asked(&format!("self_check: {{tcp: [\"127.0.0.1:{}\"]}}", witness.number));
    drop(listener);
    until("the watchdog sees that it is ill", || !world.cli.json(&["status"])["daemon"]["observer_impaired"].is_null());
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1", "--approval", "1"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("self_check"), "it names the gate: {said}");
    assert_eq!(world.restarts(), Vec::<String>::new());
    // It was refused, not used up.
    let _listener = std::net::TcpListener::bind(("127.0.0.1", witness.number)).expect("the port is ours");
    until("it is well again", || world.cli.json(&["status"])["daemon"]["observer_impaired"].is_null());
    world.cli.text(&["incident", "approve", "api-1", "--approval", "1"]);
    world.wait_for_outcome("api-1", "verified");
}

#[test]
fn an_approval_whose_older_release_was_marked_bad_meanwhile_is_void() {
    let (world, _daemon, _) = asked("");
    world.cli.text(&["deploys", "mark", "api", "v1", "bad"]);
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1", "--approval", "1"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("void"), "{said}");
    assert_eq!(world.restarts(), Vec::<String>::new());
    assert_eq!(world.live(), "v2");
}

#[test]
fn a_new_deploy_voids_the_question() {
    let (world, _daemon, _) = asked("");
    world.deploy("v1");
    until("the approval is void", || world.incident("api-1")["approval"]["state"] == "void");
    let (code, said) = world.cli.refused(&["incident", "approve", "api-1", "--approval", "1"]);
    assert_eq!(code, 1, "{said}");
    world.receiver.wait_for("incident.resolved");
    assert_eq!(world.restarts(), Vec::<String>::new());
}

#[test]
fn mode_ask_asks_even_when_it_is_down() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(&format!("    mode: ask\n{QUICK}"));
    let _daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.break_release("v2");
    let asked = world.receiver.wait_for("approval.requested");
    assert_eq!(asked.text("severity"), "S1");
    assert_eq!(world.restarts(), Vec::<String>::new());
    world.cli.text(&["incident", "approve", "api-1", "--approval", "1"]);
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.live(), "v1");
}

#[test]
fn mode_observe_tells_and_does_nothing() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(&format!("    mode: observe\n{QUICK}"));
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.break_release("v2");
    let opened = world.receiver.wait_for("incident.opened");
    assert!(opened.text("action").contains("v1"), "it says what it would do: {opened:?}");
    all_along(Duration::from_secs(4), || daemon.must_run());
    assert_eq!(world.restarts(), Vec::<String>::new());
    assert_eq!(world.receiver.of("rollback.started").len(), 0);
    world.heal_release("v2");
    world.receiver.wait_for("incident.resolved");
}
