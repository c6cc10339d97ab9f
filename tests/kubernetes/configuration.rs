//! ConfigMaps and Secrets as parts of a release, and what of them goes back.

use std::time::{Duration, Instant};

use backstop::{
    config::form::KubernetesTarget,
    core::{
        name::Version,
        operation::{Operation, OperationOutcome},
        release::{Hindrance, Observation, Release, WayBack},
    },
    target::Target,
};
use serde_json::{Value, json};

use super::{
    bed::{Bed, current, switch, until},
    done, failed, image, is_settled_at, overtaken, two_releases,
};

/// The ConfigMap goes back too.
pub(crate) fn restoring(bed: &Bed) -> KubernetesTarget {
    KubernetesTarget { restore_config: true, ..bed.form("Deployment") }
}

async fn first_release(bed: &Bed, target: &Target) {
    bed.configured("Deployment", "shop:1.4.2").await;
    until(target, "the first release", is_settled_at("1.4.2")).await;
}

/// The release that follows a change: how it is called, and what was seen of it.
pub(crate) async fn next(target: &Target, before: &str) -> (Version, Observation) {
    let seen = until(target, "another release", |seen| current(seen) != before && !current(seen).is_empty()).await;
    (seen.current.clone().expect("a release").version, seen)
}

fn way<'a>(seen: &'a Observation, to: &str) -> Option<&'a WayBack> {
    seen.way_back(&to.into())
}

pub(crate) fn hindered<'a>(seen: &'a Observation, to: &str) -> &'a str {
    way(seen, to).and_then(|way| way.hindered.as_deref()).unwrap_or_default()
}

async fn config(bed: &Bed) -> Value {
    bed.get("", "ConfigMap", "shop-config").await.data
}

/// Whether the pods were restarted by us, as the template says.
async fn restarted(bed: &Bed) -> bool {
    let workload = bed.get("apps", "Deployment", "shop").await;
    workload.data.pointer("/spec/template/metadata/annotations/backstop.io~1restarted-at").is_some()
}

#[tokio::test]
async fn a_changed_config_map_or_secret_is_a_deploy_and_gates_know_what_of_it_goes_back() {
    let bed = Bed::new("configured").await;
    let (target, restores) = (bed.target("Deployment"), bed.target_of(restoring(&bed)));
    let allowed = Some(vec!["another".to_owned()]);
    let blind = bed.target_of(KubernetesTarget { config_allow: allowed, ..bed.form("Deployment") });
    first_release(&bed, &target).await;
    until(&restores, "the first release", is_settled_at("1.4.2")).await;
    until(&blind, "the first release", is_settled_at("1.4.2")).await;

    bed.configure(json!({"limit": "0"})).await;
    let (second, seen) = next(&target, "1.4.2").await;
    assert!(second.as_str().starts_with("1.4.2+"), "{second}");
    assert!(seen.available.iter().any(|release| release.version.as_str() == "1.4.2"), "{seen:?}");
    assert!(hindered(&seen, "1.4.2").contains("`restore_config: true`"), "{seen:?}");
    let (same, seen) = next(&restores, "1.4.2").await;
    assert_eq!((same, way(&seen, "1.4.2")), (second.clone(), None), "it would be put back");
    let failing = bed.operate(&target, switch(second.as_str(), "1.4.2"), 10).await;
    assert!(failed(&failing).contains("only configuration has changed (ConfigMap shop-config)"), "{failing:?}");

    bed.change("", "Secret", "login", json!({"data": {"password": "aHVudGVyMw=="}})).await;
    let (third, seen) = next(&restores, second.as_str()).await;
    assert!(hindered(&seen, second.as_str()).contains("only the Secret login changed"), "{seen:?}");
    let leaves = way(&seen, "1.4.2").and_then(|way| way.leaves.clone());
    assert_eq!(leaves.as_deref(), Some("the Secret login stays as it is"));
    let refused = bed.operate(&restores, switch(third.as_str(), second.as_str()), 10).await;
    assert!(failed(&refused).contains("what a Secret held is never kept"), "{refused:?}");
    // What does not count is no part of it.
    assert_eq!(current(&blind.observe().await.expect("seen")), "1.4.2");
}

#[tokio::test]
async fn one_apply_of_configuration_and_template_is_one_deploy() {
    for template_comes in ["first", "last"] {
        let bed = Bed::new(&format!("template-{template_comes}")).await;
        let target = bed.target("Deployment");
        first_release(&bed, &target).await;
        let change = async |is_template: bool| {
            if is_template {
                bed.deploy("Deployment", "shop:1.4.3").await;
            } else {
                bed.configure(json!({"limit": "0"})).await;
            }
        };
        change(template_comes == "first").await;
        let begun = Instant::now();
        let mut told = Vec::new();
        let mut is_half = true;
        while told.last().is_none_or(|last| last == "1.4.2") || begun.elapsed() < Duration::from_secs(5) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{told:?}");
            if is_half && begun.elapsed() > Duration::from_secs(1) {
                change(template_comes == "last").await;
                is_half = false;
            }
            let seen = target.observe().await.expect("it is seen");
            match seen.current {
                Some(release) => {
                    if told.last().is_none_or(|last| last != release.version.as_str()) {
                        told.push(release.version.to_string());
                    }
                }
                None => assert!(seen.untold.expect("a reason").contains("settled")),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(told.iter().all(|version| version == "1.4.2" || version == "1.4.3"), "{template_comes}: {told:?}");
    }
}

#[tokio::test]
async fn a_changed_config_map_is_put_back_and_the_pods_restarted_and_all_of_it_undone_again() {
    let bed = Bed::new("restored").await;
    let target = bed.target_of(restoring(&bed));
    first_release(&bed, &target).await;
    let before = config(&bed).await;
    bed.change("", "ConfigMap", "shop-config", json!({"data": {"limit": "0", "more": "x"}, "binaryData": null})).await;
    let bad = config(&bed).await;
    let (second, _) = next(&target, "1.4.2").await;

    let there = bed.operate(&target, Operation::EnsureAvailable { version: "1.4.2".into() }, 10).await;
    assert!(matches!(there, OperationOutcome::Done(_)), "{there:?}");
    // A restarted daemon knows what the journal and the files beside the store know.
    let release = |version: &Version, seen: &Observation| {
        let mut all = seen.available.iter().chain(&seen.current);
        all.find(|one| one.version == *version).cloned().expect("it is there")
    };
    let seen = target.observe().await.expect("seen");
    let known: Vec<Release> = vec![release(&"1.4.2".into(), &seen), release(&second, &seen)];
    let target = bed.target_after(restoring(&bed), &known);
    for expected in ["pods are restarted", "already"] {
        let note = done(bed.operate(&target, switch(second.as_str(), "1.4.2"), 20).await);
        assert!(note.contains(expected), "{note}");
    }
    let now = config(&bed).await;
    assert_eq!((&now["data"], &now["binaryData"]), (&before["data"], &before["binaryData"]));
    assert!(restarted(&bed).await);
    let annotations = bed.get("", "ConfigMap", "shop-config").await.metadata.annotations.expect("annotations");
    assert_eq!(annotations["example.com/team"], "shop", "what others wrote stays");
    assert_eq!(annotations["backstop.io/incident"], "shop-1");
    done(bed.operate(&target, Operation::WaitRollout { version: "1.4.2".into() }, 30).await);
    until(&target, "the older release", is_settled_at("1.4.2")).await;

    // The undo of the undo.
    done(bed.operate(&target, switch("1.4.2", second.as_str()), 20).await);
    let now = config(&bed).await;
    assert_eq!((&now["data"], now.get("binaryData")), (&bad["data"], bad.get("binaryData")));
    done(bed.operate(&target, Operation::WaitRollout { version: second.clone() }, 30).await);
    until(&target, "the newer release", is_settled_at(second.as_str())).await;
}

#[tokio::test]
async fn where_only_the_template_goes_back_it_is_said_what_stays() {
    let bed = Bed::new("stays").await;
    let target = bed.target("Deployment");
    first_release(&bed, &target).await;
    bed.configure(json!({"limit": "0"})).await;
    // Half of the deploy is seen, and is no release: what is live after the rollback is the same.
    until(&target, "half of it", |seen| seen.untold.is_some()).await;
    bed.deploy("Deployment", "shop:1.4.3").await;
    let (second, seen) = next(&target, "1.4.2").await;
    assert_eq!(second.as_str(), "1.4.3");
    let leaves = way(&seen, "1.4.2").and_then(|way| way.leaves.clone());
    assert_eq!(leaves.as_deref(), Some("the ConfigMap shop-config stays as it is"));
    let note = done(bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await);
    assert!(note.ends_with("the ConfigMap shop-config stays as it is"), "{note}");
    assert_eq!(
        (image(&bed, "Deployment").await.as_str(), &config(&bed).await["data"]["limit"]),
        ("shop:1.4.2", &json!("0"))
    );
    done(bed.operate(&target, Operation::WaitRollout { version: "1.4.2".into() }, 30).await);
    // It is called so by whoever looks, and another change is another release.
    for target in [&target, &bed.target("Deployment")] {
        until(target, "the older release", is_settled_at("1.4.2")).await;
    }
    bed.configure(json!({"limit": "9"})).await;
    let (third, _) = next(&target, "1.4.2").await;
    assert!(third.as_str().starts_with("1.4.2+"), "{third}");
}

#[tokio::test]
async fn template_and_configuration_go_back_together() {
    let bed = Bed::new("together").await;
    let target = bed.target_of(restoring(&bed));
    first_release(&bed, &target).await;
    bed.configure(json!({"limit": "0"})).await;
    bed.deploy("Deployment", "shop:1.4.3").await;
    let (second, seen) = next(&target, "1.4.2").await;
    assert_eq!((second.as_str(), way(&seen, "1.4.2")), ("1.4.3", None));
    done(bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await);
    assert_eq!(
        (image(&bed, "Deployment").await.as_str(), &config(&bed).await["data"]["limit"]),
        ("shop:1.4.2", &json!("5"))
    );
    assert!(!restarted(&bed).await, "another template makes other pods");
    let workload = bed.get("apps", "Deployment", "shop").await;
    let annotations = workload.metadata.annotations.expect("annotations");
    assert!(!annotations.contains_key("backstop.io/switching"), "{annotations:?}");
    until(&target, "the older release", is_settled_at("1.4.2")).await;
}

#[tokio::test]
async fn where_somebody_put_the_config_map_back_the_pods_are_restarted_all_the_same() {
    let bed = Bed::new("put-back").await;
    let target = bed.target_of(restoring(&bed));
    first_release(&bed, &target).await;
    bed.configure(json!({"limit": "0"})).await;
    let (second, _) = next(&target, "1.4.2").await;
    bed.configure(json!({"limit": "5"})).await;
    assert!(!restarted(&bed).await);
    for expected in ["pods are restarted", "already"] {
        let note = done(bed.operate(&target, switch(second.as_str(), "1.4.2"), 20).await);
        assert!(note.contains(expected), "{note}");
        assert!(restarted(&bed).await);
    }
    until(&target, "the older release", is_settled_at("1.4.2")).await;
}

#[tokio::test]
async fn whoever_changes_the_configuration_meanwhile_wins() {
    let bed = Bed::new("configurer").await;
    let target = bed.target_of(restoring(&bed));
    first_release(&bed, &target).await;
    bed.configure(json!({"limit": "0"})).await;
    let (second, _) = next(&target, "1.4.2").await;
    bed.configure(json!({"limit": "7"})).await;
    let outcome = bed.operate(&target, switch(second.as_str(), "1.4.2"), 10).await;
    assert!(overtaken(&outcome).ends_with("is live by now"), "{outcome:?}");
    assert_eq!(config(&bed).await["data"]["limit"], "7");
}

#[tokio::test]
async fn what_cannot_go_back_is_known_beforehand() {
    let bed = Bed::new("beforehand").await;
    let target = bed.target_of(restoring(&bed));
    first_release(&bed, &target).await;
    bed.configure(json!({"limit": "0"})).await;
    let (second, _) = next(&target, "1.4.2").await;
    bed.change("", "ConfigMap", "shop-config", json!({"immutable": true})).await;
    let seen = until(&target, "immutable", |seen| way(seen, "1.4.2").is_some()).await;
    assert!(hindered(&seen, "1.4.2").contains("is immutable"), "{seen:?}");
    let outcome = bed.operate(&target, switch(second.as_str(), "1.4.2"), 10).await;
    assert!(failed(&outcome).contains("is immutable"), "{outcome:?}");

    // A ConfigMap that is away is no deploy, whoever looks and however long.
    bed.delete("", "ConfigMap", "shop-config").await;
    let why = "find the ConfigMap shop-config: there is none";
    until(&target, "away", |seen| seen.untold.as_deref() == Some(why)).await;
    let outcome = bed.operate(&target, switch(second.as_str(), "1.4.2"), 10).await;
    assert!(!matches!(outcome, OperationOutcome::Done(_)), "{outcome:?}");
}

#[tokio::test]
async fn what_may_not_be_read_is_told_with_what_mends_it() {
    let bed = Bed::new("limited").await;
    let rules = json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "delete"]},
        // By name is enough.
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["shop-config"],
            "verbs": ["list", "watch", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ]);
    let kubeconfig = Some(bed.allowed(rules).await);
    let target = bed.target_of(KubernetesTarget { kubeconfig: kubeconfig.clone(), ..restoring(&bed) });
    bed.configured("Deployment", "shop:1.4.2").await;
    let seen = until(&target, "a reason", |seen| seen.untold.as_deref().is_some_and(|why| why.contains("403"))).await;
    let why = seen.untold.expect("a reason");
    assert!(why.starts_with("see the Secret login ") && why.contains("list and watch on secrets"), "{why}");
    assert!(why.contains("`config_allow`") && !why.contains("hunter"), "{why}");

    // Left out, all else is seen, and goes back by this Role alone.
    let allowed = Some(vec!["shop-config".to_owned()]);
    let target = bed.target_of(KubernetesTarget { kubeconfig, config_allow: allowed, ..restoring(&bed) });
    until(&target, "the first release", is_settled_at("1.4.2")).await;
    bed.configure(json!({"limit": "0"})).await;
    let (second, _) = next(&target, "1.4.2").await;
    done(bed.operate(&target, switch(second.as_str(), "1.4.2"), 20).await);
    assert_eq!(config(&bed).await["data"]["limit"], "5");
}

#[tokio::test]
async fn what_keeps_no_way_back_says_so_as_soon_as_it_is_there() {
    let why = |seen: &Observation| match seen.hindrances() {
        [Hindrance::NotUndoable { why }] => why.clone(),
        other => format!("{other:?}"),
    };
    for (kind, spec, expected) in [
        ("Deployment", json!({"revisionHistoryLimit": 0}), "revisionHistoryLimit is 0"),
        ("StatefulSet", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}), "OnDelete"),
        ("DaemonSet", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}), "OnDelete"),
    ] {
        let bed = Bed::new(&format!("no-way-{}", kind.to_lowercase())).await;
        let target = two_releases(&bed, kind, "1.4.3").await;
        bed.change("apps", kind, "shop", json!({"spec": spec})).await;
        until(&target, expected, |seen| why(seen).contains(expected)).await;
    }
}

#[tokio::test]
async fn a_revision_that_is_gone_is_no_way_back() {
    let bed = Bed::new("gone").await;
    bed.workload("Deployment", "shop:1.4.1").await;
    bed.change("apps", "Deployment", "shop", json!({"spec": {"revisionHistoryLimit": 1}})).await;
    let target = bed.target("Deployment");
    for version in ["1.4.1", "1.4.2", "1.4.3"] {
        bed.deploy("Deployment", &format!("shop:{version}")).await;
        until(&target, version, is_settled_at(version)).await;
    }
    let only =
        |seen: &Observation| seen.available.iter().map(|one| one.version.as_str().to_owned()).collect::<Vec<_>>();
    until(&target, "the first one gone", |seen| only(seen) == ["1.4.2"]).await;
    let outcome = bed.operate(&target, Operation::EnsureAvailable { version: "1.4.1".into() }, 10).await;
    assert!(failed(&outcome).contains("its revision is gone"), "{outcome:?}");
}
