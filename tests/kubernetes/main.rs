//! A workload in a real cluster: looked at, undone and waited for. Run by `tests/kubernetes/with`.

mod account;
mod alone;
mod bed;
mod configuration;
mod deployed;
mod expired;
mod faults;
mod ingress;
mod inside;
mod killed;
mod kubelet;
mod nodes;
mod operation;
mod overtaken;
mod partial;
mod parts;
mod proxy;
mod quiet;
mod synced;
mod watched;
mod withdrawn;

/// Parts of the world that the daemon's tests have.
#[path = "../daemon/world"]
#[expect(dead_code, reason = "those tests use the rest")]
pub(crate) mod world {
    pub(crate) mod http;
    pub(crate) mod port;
    pub(crate) mod receiver;
    pub(crate) mod times;
    pub(crate) mod traffic;
    pub(crate) mod wait;
}

use std::time::Duration;

use backstop::{
    config::form::{KubernetesTarget, StopTraffic},
    core::{
        operation::{Operation, OperationOutcome, StepKey},
        release::{Hindrance, Instance, Observation},
    },
};
use bed::{Bed, current, switch, until};
use nodes::Fate;
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

fn is_settled_at(version: &str) -> impl Fn(&Observation) -> bool {
    move |seen| current(seen) == version && !seen.rolling_out
}

fn available(observation: &Observation) -> Vec<&str> {
    observation.available.iter().map(|release| release.version.as_str()).collect()
}

fn failed(outcome: &OperationOutcome) -> &str {
    match outcome {
        OperationOutcome::Failed(reason) => reason.as_str(),
        other => panic!("it should have failed: {other:?}"),
    }
}

fn overtaken(outcome: &OperationOutcome) -> &str {
    match outcome {
        OperationOutcome::Overtaken(reason) => reason.as_str(),
        other => panic!("somebody else came between: {other:?}"),
    }
}

#[track_caller]
fn done(outcome: OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Done(note) => note,
        other => panic!("not done: {other:?}"),
    }
}

fn key(step: u16) -> StepKey {
    StepKey { incident: "shop-1".into(), plan: 1, step, attempt: 1 }
}

/// Makes `shop` with an older release and a newer one.
async fn two_releases(bed: &Bed, kind: &str, newer: &str) -> backstop::target::Target {
    let target = bed.target(kind);
    bed.workload(kind, "shop:1.4.2").await;
    until(&target, "the first release", is_settled_at("1.4.2")).await;
    bed.deploy(kind, &format!("shop:{newer}")).await;
    until(&target, "the second release", |seen| current(seen) == newer).await;
    target
}

#[tokio::test]
async fn each_kind_is_seen_undone_and_rolled_out() {
    for kind in KINDS {
        let bed = Bed::new(&format!("undone-{}", kind.to_lowercase())).await;
        let target = two_releases(&bed, kind, "1.4.3").await;
        let seen = until(&target, "rolled out", is_settled_at("1.4.3")).await;
        assert_eq!((available(&seen), seen.failing.as_deref()), (vec!["1.4.2"], None), "{kind}");
        // Pods are watched by themselves, and may be seen a moment later.
        until(&target, "its digest", |seen| {
            seen.current.as_ref().and_then(|release| release.digest.as_deref()) == Some("sha256:shop:1.4.3")
        })
        .await;

        let there = bed.operate(&target, Operation::EnsureAvailable { version: "1.4.2".into() }, 10).await;
        assert!(matches!(there, OperationOutcome::Done(_)), "{kind}: {there:?}");
        let undone = bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await;
        assert!(matches!(&undone, OperationOutcome::Done(note) if note.contains("revision 1 ")), "{kind}: {undone:?}");
        let waited = bed.operate(&target, Operation::WaitRollout { version: "1.4.2".into() }, 30).await;
        assert!(matches!(waited, OperationOutcome::Done(_)), "{kind}: {waited:?}");
        let again = bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await;
        assert!(matches!(&again, OperationOutcome::Done(note) if note.contains("already")), "{kind}: {again:?}");

        let workload = bed.get("apps", kind, "shop").await;
        let annotations = workload.metadata.annotations.expect("annotations");
        let cause = "rolled back from 1.4.3 to 1.4.2 by Backstop, incident shop-1";
        assert_eq!(annotations.get("kubernetes.io/change-cause").map(String::as_str), Some(cause));
        assert_eq!(annotations.get("backstop.io/incident").map(String::as_str), Some("shop-1"));
        // Others' controllers take it over when they make a revision, and this one whenever it changes.
        if kind == "Deployment" {
            let says = |seen: &Observation| seen.current.as_ref().and_then(|live| live.cause.as_deref()) == Some(cause);
            until(&target, "why it was made", says).await;
        }
    }
}

#[tokio::test]
async fn an_undo_leaves_what_kubectl_would_leave() {
    let bed = Bed::new("as-kubectl").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    // An autoscaler's count, and a field that no release has.
    bed.change("apps", "Deployment", "shop", json!({"spec": {"replicas": 5, "minReadySeconds": 1}})).await;
    let before = bed.get("apps", "Deployment", "shop").await;
    let undone = bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await;
    assert!(matches!(undone, OperationOutcome::Done(_)), "{undone:?}");
    let after = bed.get("apps", "Deployment", "shop").await;
    let mut expected = before.data["spec"].clone();
    expected["template"]["spec"]["containers"][0]["image"] = "shop:1.4.2".into();
    assert_eq!(after.data["spec"], expected);
    assert!(after.data.pointer("/spec/template/metadata/labels/pod-template-hash").is_none());
}

#[tokio::test]
async fn a_release_whose_pods_fail_says_so_while_older_pods_still_serve() {
    for (tag, why) in [("1.4.3-crash", "CrashLoopBackOff"), ("1.4.3-unpullable", "ImagePullBackOff")] {
        let bed = Bed::new(&tag.replace('.', "-")).await;
        let target = two_releases(&bed, "Deployment", tag).await;
        let seen = until(&target, "failing", |seen| seen.failing.is_some()).await;
        assert!(seen.rolling_out);
        let said = seen.failing.expect("a reason");
        assert!(said.contains(why) && said.starts_with("pod shop-"), "{said}");
    }
}

#[tokio::test]
async fn a_release_whose_pods_are_on_lost_nodes_is_not_to_blame() {
    let bed = Bed::new("lost").await;
    let target = two_releases(&bed, "Deployment", "1.4.3-lost").await;
    let fails = |seen: &Observation| seen.workload.as_ref().is_some_and(|one| one.instances.failing > 0);
    let seen = until(&target, "it has lasted", fails).await;
    let why = seen.workload.as_ref().and_then(|one| one.instances.why.clone()).expect("a reason");
    assert!(why.contains("its node is not ready for 3"), "{why}");
    assert_eq!((seen.failing, seen.rolling_out), (None, true));
}

#[tokio::test]
async fn the_human_who_deploys_meanwhile_wins() {
    let bed = Bed::new("human").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    bed.deploy("Deployment", "shop:1.4.4").await;
    let outcome = bed.operate(&target, switch("1.4.3", "1.4.2"), 10).await;
    assert_eq!(overtaken(&outcome), "switch from 1.4.3 to 1.4.2: 1.4.4 is live by now");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.4");
}

#[tokio::test]
async fn another_object_of_the_same_name_is_another() {
    let bed = Bed::new("another").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    bed.delete("apps", "Deployment", "shop").await;
    until_gone(&bed).await;
    bed.workload("Deployment", "shop:1.4.3").await;
    // Its revisions are its own: those of the one before went with it.
    let outcome = bed.operate(&target, switch("1.4.3", "1.4.2"), 10).await;
    assert!(failed(&outcome).contains("its revision is gone"), "{outcome:?}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3");
}

#[tokio::test]
async fn a_rollout_that_does_not_end_is_told_with_what_is_waited_for() {
    let bed = Bed::new("waits").await;
    let target = two_releases(&bed, "Deployment", "1.4.3-unready").await;
    let outcome = bed.operate(&target, Operation::WaitRollout { version: "1.4.3-unready".into() }, 3).await;
    let OperationOutcome::Unknown(reason) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.as_str().contains("of 2 new replicas"), "{reason}");
}

#[tokio::test]
async fn the_same_tag_with_another_content_is_another_release() {
    let bed = Bed::new("content").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    until(&target, "rolled out", is_settled_at("1.4.3")).await;
    let limit = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "shop", "env": [{"name": "LIMIT", "value": "0"}]}]}}}});
    bed.change("apps", "Deployment", "shop", limit).await;
    let seen = until(&target, "another name", |seen| current(seen).starts_with("1.4.3+")).await;
    assert_eq!(available(&seen), ["1.4.3", "1.4.2"]);
    let outcome = bed.operate(&target, switch(current(&seen), "1.4.3"), 10).await;
    assert!(matches!(outcome, OperationOutcome::Done(_)), "{outcome:?}");
    until(&target, "back", |seen| current(seen) == "1.4.3").await;
}

#[tokio::test]
async fn what_would_hinder_a_rollback_is_known_beforehand() {
    let bed = Bed::new("hindered").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    let seen = until(&target, "rolled out", is_settled_at("1.4.3")).await;
    assert_eq!(seen.hindrances(), []);
    bed.change("apps", "Deployment", "shop", json!({"spec": {"paused": true}})).await;
    let seen = until(&target, "paused", |seen| !seen.hindrances().is_empty()).await;
    let Hindrance::NotUndoable { why } = &seen.hindrances()[0] else { panic!("{seen:?}") };
    assert!(why.contains("paused"), "{why}");
    let owned = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/shop"}},
        "spec": {"paused": false}});
    bed.change("apps", "Deployment", "shop", owned).await;
    let argo = Hindrance::Owned { by: "the Argo CD Application shop".to_owned(), always: false };
    until(&target, "owned", |seen| seen.hindrances() == [argo.clone()]).await;
}

#[tokio::test]
async fn traffic_is_stopped_and_restored_to_what_it_was() {
    let bed = Bed::new("traffic").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    bed.change("apps", "Deployment", "shop", json!({"spec": {"replicas": 3}})).await;
    let replicas = async || bed.get("apps", "Deployment", "shop").await.data.pointer("/spec/replicas").cloned();
    let target = bed.target("Deployment");
    for _ in 0..2 {
        done(target.stop_traffic(&key(1), Duration::from_secs(10)).await);
        assert_eq!(replicas().await, Some(0.into()));
    }
    for _ in 0..2 {
        done(target.start_traffic(&key(2), Duration::from_secs(10)).await);
        assert_eq!(replicas().await, Some(3.into()));
    }

    let selector = json!({"app": "shop", "tier": "web"});
    bed.create(
        "",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"selector": selector, "ports": [{"port": 80}]}}),
    )
    .await;
    let form = KubernetesTarget {
        traffic_service: Some("shop".to_owned()),
        stop_traffic: StopTraffic::Selector,
        ..bed.form("Deployment")
    };
    let target = bed.target_of(form);
    let chosen = async || bed.get("", "Service", "shop").await.data.pointer("/spec/selector").cloned();
    for _ in 0..2 {
        done(target.stop_traffic(&key(3), Duration::from_secs(10)).await);
        assert_eq!(chosen().await.and_then(|all| all.as_object().map(serde_json::Map::len)), Some(3));
    }
    for _ in 0..2 {
        done(target.start_traffic(&key(4), Duration::from_secs(10)).await);
        assert_eq!(chosen().await, Some(selector.clone()));
    }
}

#[tokio::test]
async fn only_pods_that_fail_are_deleted_and_no_more_than_a_share() {
    let bed = Bed::new("partial").await;
    let target = bed.target("Deployment");
    bed.workload("Deployment", "shop:1.4.2").await;
    bed.change("apps", "Deployment", "shop", json!({"spec": {"replicas": 4}})).await;
    let all_ready = |seen: &Observation| {
        seen.live_instances().is_some_and(|live| (live.all, live.ready, live.failing) == (4, 4, 0))
    };
    until(&target, "ready", all_ready).await;
    let pods = bed.api("", "Pod").list(&kube::api::ListParams::default()).await.expect("a list").items;
    let names: Vec<String> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
    for name in &names[..2] {
        bed.nodes.decide(name, Fate::CrashLooping);
    }
    let two_fail = |seen: &Observation| {
        seen.workload.as_ref().map(|one| &one.instances).is_some_and(|all| (all.ready, all.failing) == (2, 2))
    };
    let seen = until(&target, "two fail", two_fail).await;
    assert_eq!(seen.partial_failure(), None, "one pause before the next start is no failure yet");
    // Each has pauses of its own: the first is known to go on failing before the second is.
    let both = |seen: &Observation| seen.partial_failure().is_some_and(|live| live.failing == 2);
    let seen = until(&target, "two go on failing", both).await;
    let live = seen.partial_failure().expect("it was just there");
    assert_eq!((live.all, live.ready, live.failing, live.exceeds_restart), (4, 2, 2, true));
    // Thirty percent of four.
    let [first] = &live.to_restart[..] else { panic!("{live:?}") };
    assert!(first.why.contains("CrashLoopBackOff"), "{first}");
    let restart =
        |instances: &[Instance]| Operation::RestartFailing { version: "1.4.2".into(), instances: instances.to_vec() };
    let chosen = [first.clone()];
    assert_eq!(done(bed.operate(&target, restart(&chosen), 20).await), format!("{} deleted", first.name));
    // Once more, as after a restart of ours: no other is deleted.
    let again = done(bed.operate(&target, restart(&chosen), 20).await);
    assert!(again.ends_with(" is gone already") || again.ends_with(" has ended already"), "{again}");
    let three = |seen: &Observation| {
        let all = seen.workload.as_ref().map(|one| &one.instances);
        all.is_some_and(|all| (all.ready, all.failing) == (3, 1)) && seen.partial_failure().is_some()
    };
    let seen = until(&target, "the other one", three).await;
    let [second] = &seen.partial_failure().expect("one still fails").to_restart[..] else { panic!("{seen:?}") };
    let second = [second.clone()];
    // One that serves by now stays.
    bed.nodes.decide(&second[0].name, Fate::Ready);
    until(&target, "ready again", all_ready).await;
    let left = done(bed.operate(&target, restart(&second), 20).await);
    assert_eq!(left, format!("{} serves by now", second[0].name));
}

#[tokio::test]
async fn what_a_human_would_look_at_first_is_gathered() {
    let bed = Bed::new("gathered").await;
    let target = two_releases(&bed, "Deployment", "1.4.3-crash").await;
    until(&target, "failing", |seen| seen.failing.is_some()).await;
    let files = target.gather(Duration::from_secs(30)).await.expect("files");
    let file = |name: &str| {
        let found = files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}: {files:?}"));
        found.content.as_str()
    };
    assert!(file("nodes.txt").contains(&format!("node-{}", bed.namespace)));
    assert!(file("pods.txt").lines().any(|line| line.contains(&bed.namespace) && line.ends_with("CrashLoopBackOff")));
    assert!(file("events.txt").contains("ScalingReplicaSet"));
    // The first pods are those that fail.
    let log = files.iter().find(|file| file.name.ends_with("-previous.txt")).expect("the log of one that fails");
    let pod = log.name.trim_start_matches("log-").trim_end_matches("-previous.txt");
    assert_eq!(log.content.trim_end(), format!("the previous words of {pod}"));
    let seen: Vec<&String> = files.iter().flat_map(|file| &file.seen).collect();
    assert!(seen.iter().any(|line| line.contains("nodes are ready")), "{seen:?}");
    assert!(seen.iter().any(|line| line.contains("pods of all namespaces are ready; not ready: ")), "{seen:?}");
}

/// Events come in the order of their names, page by page: the newest one may be the last of all.
#[tokio::test]
async fn what_is_gathered_goes_beyond_the_first_page() {
    let bed = Bed::new("pages").await;
    let event = |name: String, kind: &str, second: u32| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": kind, "reason": "Told",
            "message": format!("this is {name}"), "lastTimestamp": format!("2026-01-07T10:00:{second:02}Z"),
            "involvedObject": {"kind": "Pod", "name": "shop-1", "namespace": bed.namespace}})
    };
    bed.create("", event("a000".to_owned(), "Warning", 1)).await;
    for number in 1..=120 {
        bed.create("", event(format!("a{number:03}"), "Normal", 0)).await;
    }
    bed.create("", event("z".to_owned(), "Warning", 2)).await;
    let files = bed.target("Deployment").gather(Duration::from_secs(30)).await.expect("files");
    let events = files.iter().find(|file| file.name == "events.txt").expect("the events");
    let told: Vec<&str> = events.content.lines().filter(|line| line.contains("this is ")).collect();
    assert_eq!(told.len(), 122, "{events:?}");
    assert!(told[121].ends_with("this is z") && told[120].ends_with("this is a000"), "{told:?}");
    assert_eq!(events.seen, ["last warning: Told Pod/shop-1 1 this is z"]);
}

/// Where no node serves logs, that is said in each file, and the others come all the same.
#[tokio::test]
async fn logs_that_nobody_serves_are_told_in_their_files() {
    let bed = Bed::new("logless").await;
    let target = bed.target("Deployment");
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&target, "the release", is_settled_at("1.4.2")).await;
    bed.nodes.end_kubelet().await;
    let files = target.gather(Duration::from_secs(30)).await.expect("files");
    assert!(files.iter().any(|file| file.name == "nodes.txt" && file.content.contains("node-")));
    let mut logs = files.iter().filter(|file| file.name.starts_with("log-"));
    assert!(logs.all(|file| file.content.starts_with("failed to read the ")), "{files:#?}");
    // What the time does not suffice for is said, too.
    let files = target.gather(Duration::ZERO).await.expect("files");
    let late = files.iter().filter(|file| file.content.contains("the time for gathering was over")).count();
    assert_eq!(late, 3 + 4, "three lists, and two logs of each pod: {files:#?}");
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let bed = Bed::new("absent").await;
    let target = bed.target("Deployment");
    let mut said = String::new();
    for _ in 0..100 {
        // Until the first copies have come that is not known.
        if let Ok(seen) = target.observe().await {
            said = seen.gone.expect("there is none");
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(said, format!("find the deployment {}/shop: there is none", bed.namespace));
}

async fn image(bed: &Bed, kind: &str) -> String {
    let workload = bed.get("apps", kind, "shop").await;
    let image = workload.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    image.expect("an image").to_owned()
}

async fn until_gone(bed: &Bed) {
    let api = bed.api("apps", "ReplicaSet");
    for _ in 0..300 {
        if api.list(&kube::api::ListParams::default()).await.expect("a list").items.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the garbage collector took more than 30 s");
}
