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
    let dry_run = ["rollback", "api", "--dry-run", "--override", "not_pinned", "--reason", "the shop is empty"];
    let shown = world.cli.text(&dry_run);
    assert!(shown.contains("roll back the target") && shown.contains("switch back from v1 to v2"), "{shown}");
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing was changed so far");

    world.cli.text(&["rollback", "api", "--override", "not_pinned", "--reason", "the shop is empty"]);
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
    until("it is put on record", || world.history().len() == 2);
    let proof = &world.history()[1];
    assert_eq!((&proof["version_from"], &proof["version_to"]), (&json!("v2"), &json!("v1")), "{proof:#}");
    assert_eq!(proof["outcome"], "verified");
    assert!(proof["reason"].as_str().is_some_and(|why| why.contains("verification asked for by")), "{proof:#}");

    // A name that is spelled wrong is no good news.
    let (code, said) = world.cli.refused(&["incident", "list", "--service", "apy"]);
    assert_eq!(code, 1);
    assert!(said.contains("failed to list the incidents: there is no service \"apy\""), "{said}");
    let marked = world.cli.text(&["deploys", "mark", "api", "v1.0", "good"]);
    assert!(marked.starts_with("api v1.0 marked good; warning: no release of this name was live here"), "{marked}");
    assert_eq!(world.cli.text(&["deploys", "mark", "api", "v1.0", "clear"]), "api v1.0 cleared\n");
    daemon.must_run();
}
