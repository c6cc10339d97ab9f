//! The whole daemon where some pods of a release fail, and what it gathers for people.

use std::{fs, time::Instant};

use serde_json::json;

use super::{
    bed::{Bed, until},
    image, is_settled_at,
    nodes::Fate,
    watched::Watch,
    world::times,
};

/// Names of the bed's pods that are not being deleted.
pub(crate) async fn pods(bed: &Bed) -> Vec<String> {
    let all = bed.api("", "Pod").list(&kube::api::ListParams::default()).await.expect("a list").items;
    let here = all.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    here.filter_map(|pod| pod.metadata.name).collect()
}

#[tokio::test]
async fn a_failing_pod_among_healthy_ones_is_restarted_and_nothing_is_rolled_back() {
    let bed = Bed::new("one-of-four").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    bed.change("apps", "Deployment", "shop", json!({"spec": {"replicas": 4}})).await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let mut watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    let before = pods(&bed).await;
    let failing = before.first().expect("four").clone();
    bed.nodes.decide(&failing, Fate::CrashLooping);
    let begun = Instant::now();
    let is_begun = |watch: &Watch| watch.incident("shop-1").filter(|incident| incident["plans"][0].is_object());
    watch.wait("it is being restarted", is_begun).await;
    // Killed in the middle it deletes no other.
    watch.kill();
    let incident = watch.verified("shop-1").await;
    times::note("one of four pods crash-looping, killed in between: fault to verified", begun.elapsed());
    let [plan] = &incident["plans"].as_array().expect("plans")[..] else { panic!("{incident:#}") };
    assert_eq!((&plan["plan"], &plan["version_to"]), (&json!("restart_failing"), &json!("1.4.2")));
    assert!(
        incident["state"].as_str().is_some_and(|state| state.contains("what failed was restarted")),
        "{incident:#}"
    );
    let after = pods(&bed).await;
    assert!(!after.contains(&failing), "{after:?}");
    assert!(before.iter().skip(1).all(|pod| after.contains(pod)), "{before:?}, {after:?}");
    let history = fs::read_to_string(watch.directory().join("history.json")).unwrap_or_default();
    assert!(!history.contains("shop-1"), "{history}");
}

#[tokio::test]
async fn where_the_pods_of_a_release_fail_again_it_is_rolled_back() {
    let bed = Bed::new("persists").await;
    bed.workload("StatefulSet", "shop:1.4.2").await;
    until(&bed.target("StatefulSet"), "the first release", is_settled_at("1.4.2")).await;
    let watch = Watch::begin(&bed, "StatefulSet");
    watch.trusts("1.4.2").await;
    bed.deploy("StatefulSet", "shop:1.4.3").await;
    until(&bed.target("StatefulSet"), "the second release", is_settled_at("1.4.3")).await;
    watch.trusts("1.4.3").await;
    let begun = Instant::now();
    bed.nodes.decide_with("shop-1", "shop:1.4.3", Fate::CrashLooping);
    let both =
        |watch: &Watch| watch.incident("shop-1").filter(|incident| incident["plans"][1]["outcome"] == "verified");
    let incident = watch.wait("rolled back, and verified", both).await;
    times::note("one of two pods crash-looping again and again: fault to rolled back and verified", begun.elapsed());
    let plans = &incident["plans"];
    assert_eq!((&plans[0]["plan"], &plans[0]["outcome"]), (&json!("restart_failing"), &json!("persists")), "{plans:#}");
    assert_eq!((&plans[1]["plan"], &plans[1]["version_to"]), (&json!("quick"), &json!("1.4.2")), "{plans:#}");
    assert_eq!(image(&bed, "StatefulSet").await, "shop:1.4.2");
}

#[tokio::test]
async fn evidence_is_gathered_into_the_incidents_folder() {
    let bed = Bed::new("evidence").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    let shown = watch.ask(&["rollback", "shop", "--plan", "gather", "--dry-run"]).expect("shown");
    assert!(shown.contains("gather nodes, pods, events and logs"), "{shown}");
    watch.ask(&["rollback", "shop", "--plan", "gather", "--reason", "it feels slow"]).expect("begun");
    let gathered = |watch: &Watch| watch.incident("shop-1").filter(|one| one.to_string().contains(" files in "));
    let incident = watch.wait("it is gathered", gathered).await;
    let folder = watch.directory().join("evidence/shop-1");
    assert!(incident.to_string().contains(&format!("files in {}", folder.display())), "{incident:#}");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read("gathered-nodes.txt").contains(&format!("node-{}", bed.namespace)));
    assert!(read("gathered-pods.txt").contains("shop-"));
    assert!(read("gathered-events.txt").contains("ScalingReplicaSet"));
    let pod = pods(&bed).await.swap_remove(0);
    assert_eq!(read(&format!("gathered-log-{pod}-previous.txt")), format!("the previous words of {pod}\n"));
}
