//! One writes: a Lease for each workload, whoever else watches it.

use std::time::Duration;

use backstop::{
    config::form::Target as Form,
    core::{
        operation::OperationOutcome,
        release::{Hindrance, Observation},
    },
    target::{Shared, Target},
};
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{
    bed::{Bed, current, switch, until},
    done, failed, image, is_settled_at, key, two_releases,
    watched::Watch,
};

const WITHIN: Duration = Duration::from_secs(10);
const LEASE: &str = "backstop-deployment-shop";

/// The bed's `shop` as another installation of Backstop sees it.
fn of(bed: &Bed, installation: &str) -> Target {
    let form = Form::Kubernetes(bed.form("Deployment"));
    Target::new(&form, "shop".into(), std::env::temp_dir(), &Shared::new(installation, None), &[])
}

async fn lease(bed: &Bed) -> Value {
    bed.get("coordination.k8s.io", "Lease", LEASE).await.data["spec"].clone()
}

/// As if its holder had been gone for an hour.
async fn expire(bed: &Bed) {
    let patch = json!({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}});
    let api = bed.api("coordination.k8s.io", "Lease");
    api.patch(LEASE, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await.expect("it is changed");
}

#[tokio::test]
async fn who_holds_the_lease_writes_and_nobody_else() {
    let bed = Bed::new("alone").await;
    drop(two_releases(&bed, "Deployment", "1.4.3").await);
    let (one, other) = (of(&bed, "installation-one"), of(&bed, "installation-other"));
    for target in [&one, &other] {
        until(target, "both releases", |seen| current(seen) == "1.4.3" && !seen.available.is_empty()).await;
    }
    done(one.stop_traffic(&key(1), WITHIN).await);
    let held = lease(&bed).await;
    assert_eq!((&held["holderIdentity"], &held["leaseTransitions"]), (&"installation-one".into(), &0.into()));
    for outcome in [other.start_traffic(&key(2), WITHIN).await, bed.operate(&other, switch("1.4.3", "1.4.2"), 10).await]
    {
        let said = failed(&outcome).to_owned();
        assert!(said.starts_with("write, since another Backstop does: installation-one (on "), "{said}");
        assert!(said.contains(&format!("holds the lease {}/{LEASE} for another ", bed.namespace)), "{said}");
    }
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3");
    done(one.start_traffic(&key(3), WITHIN).await);

    // Its holder is gone, and it is taken over; whoever comes back then finds it another's.
    expire(&bed).await;
    done(bed.operate(&other, switch("1.4.3", "1.4.2"), 10).await);
    let taken = lease(&bed).await;
    assert_eq!((&taken["holderIdentity"], &taken["leaseTransitions"]), (&"installation-other".into(), &1.into()));
    let hindrances = |seen: &Observation| seen.hindrances().to_vec();
    assert_eq!(hindrances(&one.observe().await.expect("it is seen")), []);
    let outcome = one.stop_traffic(&key(4), WITHIN).await;
    assert!(failed(&outcome).contains("installation-other"), "{outcome:?}");
    // From then on a gate says so.
    let known = hindrances(&one.observe().await.expect("it is seen"));
    assert!(
        matches!(known.as_slice(), [Hindrance::NotUndoable { why }] if why.contains("installation-other")),
        "{known:?}"
    );
}

#[tokio::test]
async fn of_many_at_once_one_takes_an_expired_lease() {
    let bed = Bed::new("at-once").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    let first = of(&bed, "first");
    until(&first, "the first release", is_settled_at("1.4.2")).await;
    done(first.stop_traffic(&key(1), WITHIN).await);
    drop(first);
    expire(&bed).await;
    let mut trying = tokio::task::JoinSet::new();
    for number in 0..8 {
        let target = of(&bed, &format!("installation-{number}"));
        trying.spawn(async move {
            let outcome = target.start_traffic(&key(2), WITHIN).await;
            (number, outcome, target)
        });
    }
    let outcomes = trying.join_all().await;
    let succeeded: Vec<i32> = outcomes
        .iter()
        .filter(|(_, outcome, _)| matches!(outcome, OperationOutcome::Done(note) if note.starts_with("scaled")))
        .map(|(number, _, _)| *number)
        .collect();
    let [winner] = succeeded.as_slice() else { panic!("one, not {outcomes:?}") };
    assert_eq!(lease(&bed).await["holderIdentity"], format!("installation-{winner}"));
}

#[tokio::test]
async fn a_daemon_that_finds_another_writing_refuses_and_says_so() {
    let bed = Bed::new("beside").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    let first = of(&bed, "first-installation");
    until(&first, "the first release", is_settled_at("1.4.2")).await;
    let watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    // Whoever wrote keeps its lease for a while.
    let scaled = async || {
        done(first.stop_traffic(&key(1), WITHIN).await);
        done(first.start_traffic(&key(2), WITHIN).await);
    };
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    scaled().await;
    let told = |watch: &Watch| {
        let found = |one: &Value| {
            let why = one["findings"][0]["detail"].as_str().unwrap_or_default();
            one["findings"][0]["finding"] == "rollback_failed"
                && why.contains("another Backstop does: first-installation")
        };
        watch.incident("shop-1").filter(found)
    };
    let incident = watch.wait("people are told who writes", told).await;
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash", "{incident:#}");
}

#[tokio::test]
async fn of_two_daemons_one_acts_and_what_it_does_is_told_in_the_cluster() {
    let bed = Bed::new("two").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let (one, other) = (Watch::begin(&bed, "Deployment"), Watch::begin(&bed, "Deployment"));
    one.trusts("1.4.2").await;
    other.trusts("1.4.2").await;
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let is_over = |watch: &Watch| {
        watch.incident("shop-1").filter(|one| one["state"].as_str().is_some_and(|state| state.starts_with("resolved")))
    };
    let both = [one.wait("the first's is over", is_over).await, other.wait("the other's is over", is_over).await];
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
    // Undone once, and nothing after it: each write of a template is another revision.
    let annotations = bed.get("apps", "Deployment", "shop").await.metadata.annotations.expect("annotations");
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3", "{both:#?}");
    let verified = both.iter().filter(|incident| incident["plans"][0]["outcome"] == "verified").count();
    assert_eq!(verified, 1, "{both:#?}");
    let events = bed.api("", "Event").list(&ListParams::default()).await.expect("a list");
    let told = |reason: &str| {
        events
            .iter()
            .filter(|one| one.data["reason"] == reason && one.data["source"]["component"] == "backstop")
            .count()
    };
    for (reason, at_least) in [
        ("IncidentOpened", 1),
        ("RollbackStarted", 1),
        ("RollbackStep", 5),
        ("RollbackVerified", 1),
        ("IncidentResolved", 1),
    ] {
        assert!(told(reason) >= at_least, "{reason}: {events:#?}");
    }
}

#[tokio::test]
async fn who_else_writes_is_told_before_tonight() {
    let bed = Bed::new("told-before").await;
    drop(two_releases(&bed, "Deployment", "1.4.3").await);
    let watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.3").await;
    let file = watch.directory().join("backstop.yaml");
    let check = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_backstop"));
        let output = command.args(["check", "--live"]).arg(&file).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let first = of(&bed, "first-installation");
    until(&first, "both releases", |seen| current(seen) == "1.4.3" && !seen.available.is_empty()).await;
    done(first.stop_traffic(&key(1), WITHIN).await);
    done(first.start_traffic(&key(2), WITHIN).await);
    let (is_well, said) = check();
    let expected =
        "another Backstop writes there, and no rollback of this one's is written meanwhile: first-installation (on ";
    assert!(!is_well && said.contains(expected), "{said}");
    assert!(said.contains(&format!("holds the lease {}/{LEASE} for another ", bed.namespace)), "{said}");
    // Its own daemon's lease holds nothing up.
    expire(&bed).await;
    bed.deploy("Deployment", "shop:1.4.4-crash").await;
    watch.verified("shop-1").await;
    assert_ne!(lease(&bed).await["holderIdentity"], "first-installation");
    let (is_well, said) = check();
    assert!(is_well && !said.contains("another Backstop"), "{said}");
}
