//! Operated by hand: a pin that holds, a rollback that a person orders, and a proof that a person asks for.

use serde_json::json;

use crate::world::{QUICK, World, wait::until};

#[test]
fn a_person_rolls_a_healthy_release_back_past_a_pin_and_it_is_kept_who_did() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.cli.text(&["pin", "api", "v2", "--reason", "schema is one way"]);
    until("the pin is shown", || world.cli.text(&["status"]).contains("v2 is pinned by"));

    let (code, said) = world.cli.refused(&["rollback", "api"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("not_pinned") && said.contains("schema is one way"), "{said}");
    assert!(said.contains("`backstop rollback api --override not_pinned --reason TEXT`"), "{said}");
    let dry_run = ["rollback", "api", "--dry-run", "--override", "not_pinned", "--reason", "the shop is empty"];
    let shown = world.cli.text(&dry_run);
    assert!(shown.contains("roll back the target") && shown.contains("switch back from v1 to v2"), "{shown}");
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing was changed so far");

    world.cli.text(&["rollback", "api", "--override", "not_pinned", "--reason", "the shop is empty"]);
    until("the step is shown", || {
        let shown = world.cli.text(&["status"]);
        shown.contains("rolling back v2 -> v1: step ") && shown.contains("-> backstop abort api-1")
    });
    let explained = world.cli.text(&["explain", "api"]);
    assert!(explained.contains("Rollback under way") && !explained.contains("held"), "{explained}");
    let joined = world.cli.text(&["verify", "api", "--wait"]);
    assert!(joined.contains("verified: plan 1 of api-1, v2 -> v1"), "{joined}");
    let incident = world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.restarts(), ["begin v1", "end v1"]);
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(incident["plans"][0]["by_hand"]["overridden"], json!(["not_pinned"]));
    assert_eq!(incident["plans"][0]["by_hand"]["reason"], "the shop is empty");
    assert!(incident["opened_by"].is_string(), "{incident:#}");
    world.receiver.wait_for("incident.resolved");
    assert!(world.history()[0]["reason"].as_str().is_some_and(|why| why.contains("the shop is empty")));

    let (code, said) = world.cli.refused(&["abort", "api-1"]);
    assert_eq!(code, 1, "{said}");
    let proved = world.cli.text(&["verify", "api", "--wait"]);
    assert!(proved.contains("verified of v1"), "{proved}");
    assert!(proved.contains("the rollback to it is on record already"), "{proved}");
    until("it is shown", || world.cli.text(&["status"]).contains("v1 was verified at "));
    assert_eq!(world.history().len(), 1, "nothing was rolled back a second time");

    // What somebody rolled back at the target is a rollback of its own.
    world.deploy("v2");
    world.wait_until_settled("v2");
    until("it is out of date", || !world.cli.text(&["status"]).contains("was verified"));
    world.deploy("v1");
    world.wait_until_settled("v1");
    world.cli.text(&["verify", "api", "--wait"]);
    until("it is put on record", || world.history().len() == 2);
    let proof = &world.history()[1];
    assert_eq!((&proof["version_from"], &proof["version_to"]), (&json!("v2"), &json!("v1")), "{proof:#}");
    assert_eq!(proof["outcome"], "verified");
    assert!(proof["reason"].as_str().is_some_and(|why| why.contains("verification asked for by")), "{proof:#}");

    // Who cannot see what is live says so, and why.
    let (link, away) = (world.path("current"), world.path("away"));
    std::fs::rename(&link, &away).expect("it is there");
    until("it is named", || {
        world.cli.text(&["status"]).contains("what is live cannot be seen at the target: failed to")
    });
    std::fs::rename(&away, &link).expect("it is there");
    until("it is seen again", || !world.cli.text(&["status"]).contains("cannot be seen"));

    // A name that is spelled wrong is no good news.
    let (code, said) = world.cli.refused(&["incident", "list", "--service", "apy"]);
    assert_eq!(code, 1);
    assert!(said.contains("failed to list the incidents: there is no service \"apy\""), "{said}");
    let marked = world.cli.text(&["deploys", "mark", "api", "v1.0", "good"]);
    assert!(marked.starts_with("api v1.0 marked good; warning: no release of this name was live here"), "{marked}");
    assert_eq!(world.cli.text(&["deploys", "mark", "api", "v1.0", "clear"]), "api v1.0 cleared\n");
    daemon.must_run();
}

#[test]
fn corrupted_data_is_left_to_people_and_everything_says_so() {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.cli.text(&["report", "api", "data_corruption", "--detail", "orders without lines"]);
    let refused = world.receiver.wait_for("rollback.refused");
    assert_eq!((refused.text("severity"), refused.text("finding")), ("S1", "rollback_refused"));
    for verb in [&["status"][..], &["explain", "api"]] {
        let shown = world.cli.text(verb).split_whitespace().collect::<Vec<_>>().join(" ");
        let why = "the tree wants the plan stop_writes, which is not available in this version: nothing is rolled back, \
                   and Backstop pages rollback_refused at S1 and leaves it to people";
        assert!(shown.contains(why), "{shown}");
    }
    assert_eq!(world.restarts(), Vec::<String>::new());
    daemon.must_run();
}
