//! What becomes of a watch when its account loses what it had.

use kube::{
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{
    account::{alone, form, kubeconfig},
    bed::{Bed, until},
    deployed::{apply, moved},
    image, is_settled_at,
    watched::{Service, Watch},
};

/// A daemon that watches the bed's `shop` by the account of `deploy/`, and trusts what is live.
async fn watched(bed: &Bed, directory: &std::path::Path) -> Watch {
    for file in ["account.yaml", "cluster-role.yaml", "watched.yaml"] {
        for object in moved(bed, file) {
            apply(bed, &object).await;
        }
    }
    let kubeconfig = kubeconfig(bed, directory, "backstop").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let target = format!("deployment: shop, kubeconfig: '{}'", kubeconfig.display());
    let watch = Watch::of(bed, &Service::begin(), &target);
    watch.trusts("1.4.2").await;
    watch
}

/// Takes a verb on a resource away from the account's Role.
async fn take_away(bed: &Bed, resource: &str, verb: &str) {
    let api = bed.api("rbac.authorization.k8s.io", "Role");
    let role: DynamicObject = api.get("backstop").await.expect("a role");
    let mut rules = role.data["rules"].clone();
    for rule in rules.as_array_mut().expect("rules") {
        if rule["resources"].as_array().is_some_and(|all| all.contains(&resource.into())) {
            let kept = rule["verbs"].as_array().expect("verbs").iter().filter(|one| *one != verb).cloned().collect();
            rule["verbs"] = Value::Array(kept);
        }
    }
    let patch = json!({"rules": rules});
    api.patch("backstop", &PatchParams::default(), &Patch::Merge(patch)).await.expect("it is changed");
}

#[tokio::test]
async fn a_permission_that_is_gone_in_the_middle_of_a_plan_is_named_to_people() {
    let bed = Bed::new("withdrawn").await;
    let directory = tempfile::tempdir().expect("a directory");
    let watch = watched(&bed, directory.path()).await;
    // The plan finds the older release and takes its lease; it is the write that is denied.
    take_away(&bed, "deployments", "patch").await;
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let told = |watch: &Watch| {
        let is_told = |one: &Value| {
            let why = one["findings"][0]["detail"].as_str().unwrap_or_default();
            one["findings"][0]["finding"] == "rollback_failed" && why.contains("cannot patch resource \"deployments\"")
        };
        watch.incident("shop-1").filter(is_told)
    };
    let incident = watch.wait("people are told which permission is missing", told).await;
    assert_eq!(incident["plans"][0]["steps"][0]["status"], "done", "{incident:#}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash");
}

#[tokio::test]
async fn an_account_that_is_deleted_makes_the_watch_blind_and_nothing_is_done() {
    let bed = Bed::new("orphaned").await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut watch = watched(&bed, directory.path()).await;
    let accounts = bed.api("", "ServiceAccount");
    accounts.delete("backstop", &DeleteParams::default()).await.expect("it is deleted");
    // The API server remembers a token for some seconds, and a watch that is open goes on until it is renewed.
    let form = form(&bed, "Deployment", &directory.path().join("backstop.kubeconfig"));
    for tries in 0.. {
        if alone(&bed, &form).denied().await.is_err() {
            break;
        }
        assert!(tries < 300, "its token is good for a minute after it was deleted");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    watch.kill();
    let unseen = |watch: &Watch| watch.log().contains("the target cannot be seen").then_some(());
    watch.wait("it says that it sees nothing", unseen).await;
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    until(&bed.target("Deployment"), "it fails", |seen| seen.failing.is_some()).await;
    let opened = watch.incident("shop-1");
    assert!(opened.is_none(), "what is not seen is neither health nor failure: {opened:?}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash");
}
