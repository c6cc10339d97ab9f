//! A release that answers 503, from the fault to the record.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::world::{QUICK, World, times, wait::until};

#[test]
fn a_release_that_breaks_is_rolled_back_and_everything_says_so() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    let first = world.receiver.all();
    assert_eq!(first.len(), 1, "a healthy deploy is no news: {first:?}");
    assert_eq!(first[0].text("finding"), "nothing_to_go_back_to", "when the watch first began, nothing had soaked");

    let fault = Instant::now();
    world.break_release("v2");
    let opened = world.receiver.wait_for("incident.opened");
    let resolved = world.receiver.wait_for("incident.resolved");
    times::note("503: fault to page", opened.at - fault);
    times::note("503: fault to rolled back", switched(&world) - fault);
    times::note("503: fault to verified", world.receiver.wait_for("rollback.completed").at - fault);
    times::note("503: fault to resolved", resolved.at - fault);

    // The service.
    assert_eq!(world.live(), "v1");
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);

    // The pages: each once, in their order, all of one incident.
    let told = world.receiver.told_of("api-1");
    let kinds: Vec<&str> = told.iter().map(|one| one.kind.as_str()).collect();
    let steps = ["rollback.step"; 5];
    let expected = [
        &["incident.opened", "rollback.started"][..],
        &steps,
        &["rollback.step", "rollback.completed"],
        &["incident.resolved"],
    ];
    assert_eq!(kinds, expected.concat());
    for event in &told {
        assert_eq!(event.text("service"), "api", "{event:?}");
        assert!(!event.text("summary").is_empty() && !event.text("action").is_empty(), "{event:?}");
    }
    assert_eq!(opened.text("severity"), "S1");
    assert_eq!(opened.text("verdict"), "roll_back");
    assert!(opened.text("summary").contains("503"), "{opened:?}");
    assert!(opened.data["path"]["questions"][0]["decided"] == true, "{opened:?}");
    let completed = world.receiver.wait_for("rollback.completed");
    assert_eq!((completed.text("version_from"), completed.text("version_to")), ("v2", "v1"));
    let steps: Vec<String> =
        world.receiver.of("rollback.step").iter().map(|step| step.text("summary").to_owned()).collect();
    assert!(steps.iter().all(|step| step.contains("done")) && steps.len() >= 6, "{steps:#?}");

    // The record.
    let history = world.history();
    assert_eq!(history.len(), 1);
    let record = &history[0];
    assert_eq!(record["version_from"], "v2");
    assert_eq!(record["version_to"], "v1");
    assert_eq!(record["outcome"], "verified");
    assert_eq!(record["duration_minutes"], 1);
    assert_eq!((&record["root_cause"], &record["post_mortem_link"]), (&json!(""), &json!("")));
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("503")), "{record}");
    assert!(record["date"].as_str().is_some_and(|date| date.len() == 20 && date.ends_with('Z')), "{record}");
    let evidence = fs::read_to_string(world.path("state/evidence/api-1/incident.json")).expect("evidence is kept");
    let evidence: Value = serde_json::from_str(&evidence).expect("JSON");
    assert_eq!(evidence["id"], "api-1");
    assert!(evidence["resolved_at"].is_string(), "the evidence is of the end too: {evidence:#}");

    the_command_line_says_so(&world);
    the_metrics_say_so(&world);
    daemon.must_run();
    assert!(daemon.terminate().success(), "SIGTERM ends it in order");
    // What was done can be looked up while the daemon is down.
    assert_eq!(world.cli.json(&["history"])["rollbacks"][0]["version_from"], "v2");
    assert_eq!(world.incident("api-1")["plans"][0]["outcome"], "verified");
}

fn switched(world: &World) -> Instant {
    let steps = world.receiver.of("rollback.step");
    steps.iter().find(|step| step.text("summary").contains("restarted")).map_or_else(Instant::now, |step| step.at)
}

fn the_command_line_says_so(world: &World) {
    let cli = &world.cli;
    until("the status is calm again", || {
        let services = cli.json(&["status"]);
        let service = &services["services"][0];
        service["incident"].is_null() && service["verdict"] == "healthy" && service["release"]["version"] == "v1"
    });
    let explained = cli.json(&["explain", "api"]);
    assert!(explained["path"]["questions"].as_array().is_some_and(|questions| questions.len() > 5), "{explained:#}");
    let incident = world.incident("api-1");
    assert_eq!(incident["plans"][0]["outcome"], "verified");
    assert!(incident["timeline"].as_array().is_some_and(|lines| lines.len() > 5), "{incident:#}");
    let listed = cli.json(&["incident", "list"]);
    assert_eq!(listed["incidents"].as_array().map(Vec::len), Some(1), "{listed:#}");
    assert_eq!(cli.json(&["history"])["rollbacks"][0]["version_to"], "v1");
    let deploys = cli.json(&["deploys", "api"]);
    let deploys = deploys["services"][0]["deploys"].as_array().expect("deploys").clone();
    let rows: Vec<_> =
        deploys.iter().map(|one| (&one["release"]["version"], &one["standing"], &one["source"])).collect();
    let row = |version, standing, source| (json!(version), json!(standing), json!(source));
    let expected =
        [row("v1", "known_good", "rollback"), row("v2", "known_bad", "target"), row("v1", "known_good", "first_seen")];
    assert_eq!(
        rows,
        expected.iter().map(|(version, standing, source)| (version, standing, source)).collect::<Vec<_>>()
    );
    for arguments in
        [&["status"][..], &["explain", "api"], &["incident", "show", "api-1"], &["incident", "list"], &["history"]]
    {
        assert!(cli.text(arguments).contains("api"), "{arguments:?}");
    }
    assert!(cli.text(&["deploys"]).contains("known_bad") || cli.text(&["deploys"]).contains("known bad"));
    assert_eq!(cli.refused(&["incident", "show", "api-9"]).0, 1);
    assert_eq!(cli.refused(&["explain", "other"]).0, 1);
    let (code, said) = cli.refused(&["incident", "approve", "api-1"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is over"), "{said}");
}

fn the_metrics_say_so(world: &World) {
    until("the metrics show the rollback", || {
        let page = world.api("/metrics").body;
        [
            "backstop_rollbacks_total{service=\"api\",plan=\"quick\",outcome=\"verified\"} 1",
            "backstop_incidents_total{service=\"api\",verdict=\"roll_back\"} 1",
            "backstop_condition{service=\"api\",condition=\"system_down\"} 0",
            "backstop_outbox_depth 0",
        ]
        .iter()
        .all(|line| page.contains(line))
    });
    assert_eq!(world.api("/healthz").status(), 200);
    assert_eq!(world.api("/readyz").status(), 200);
    assert_eq!(world.api("/api/v1/services").status(), 200);
}

#[test]
fn a_release_that_never_answers_is_rolled_back_when_its_settling_time_is_over() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({"ready": "unavailable"}))]);
    world.configure_service(&QUICK.replace("settle: 8s", "settle: 3s"));
    let _daemon = world.watch();
    world.wait_until_good("v1");
    let fault = Instant::now();
    world.deploy("v2");
    let opened = world.receiver.wait_for("incident.opened");
    times::note("503 from its start, settle 3s: deploy to page", opened.at - fault);
    world.receiver.wait_for("incident.resolved");
    times::note(
        "503 from its start, settle 3s: deploy to verified",
        world.receiver.wait_for("rollback.completed").at - fault,
    );
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
}

#[test]
fn a_release_that_hangs_is_rolled_back() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({"ready": "hangs"}))]);
    world.configure_service(&QUICK.replace("settle: 8s", "settle: 3s"));
    let _daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.receiver.wait_for("incident.resolved");
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
}

#[test]
fn nothing_known_good_means_no_rollback_and_a_page_that_says_so() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(&QUICK.replace("known_good_after: 2s", "known_good_after: 1h"));
    let _daemon = world.watch();
    world.wait_until_settled("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    let told = world.receiver.wait_for_finding("nothing_to_go_back_to");
    assert_eq!(told.text("severity"), "S3");
    world.break_release("v2");
    let refused = world.receiver.wait_for_of("rollback.refused", "api-1");
    assert!(refused.data["details"].to_string().contains("known_good"), "{refused:?}");
    assert_eq!(world.restarts(), Vec::<String>::new());
    assert!(
        world.api("/metrics").body.contains("backstop_gate_refusals_total{service=\"api\",gate=\"known_good\"} 1"),
        "a refusal is counted"
    );
    // It heals, and that is told.
    world.heal_release("v2");
    world.receiver.wait_for("incident.resolved");
    assert_eq!(world.live(), "v2");
}
