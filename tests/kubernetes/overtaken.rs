//! Somebody deletes, replaces, deploys or rolls back while a rollback is under way: the human wins, and that is said.

use std::time::Duration;

use backstop::core::operation::Operation;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use serde_json::{Value, json};

use super::{
    bed::{Bed, current, switch, until},
    image, is_settled_at, overtaken,
    proxy::{Fate, Part, Proxy},
    two_releases,
    watched::{Service, Watch},
};

/// Takes the Deployment away and leaves what belongs to it, which the next one of its name adopts.
async fn delete_alone(bed: &Bed) {
    let parameters = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    let api = bed.api("apps", "Deployment");
    api.delete("shop", &parameters).await.expect("it is deleted");
    for tries in 0.. {
        if api.get_opt("shop").await.expect("asked").is_none() {
            return;
        }
        assert!(tries < 600, "the garbage collector took more than 60 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_plan_is_about_one_object_and_leaves_another_of_its_name_alone() {
    let bed = Bed::new("replaced").await;
    let target = two_releases(&bed, "Deployment", "1.4.3").await;
    let seen = until(&target, "rolled out", is_settled_at("1.4.3")).await;
    let object = seen.object().map(str::to_owned);
    assert!(object.is_some(), "{seen:?}");
    delete_alone(&bed).await;
    bed.workload("Deployment", "shop:1.4.3").await;
    let another = |seen: &backstop::core::release::Observation| {
        current(seen) == "1.4.3" && seen.object() != object.as_deref() && !seen.available.is_empty()
    };
    until(&target, "the other one has the older release too", another).await;
    for operation in [
        Operation::EnsureAvailable { version: "1.4.2".into() },
        switch("1.4.3", "1.4.2"),
        Operation::WaitRollout { version: "1.4.3".into() },
    ] {
        let outcome = bed.operate_on(object.clone(), &target, operation, 10).await;
        let said = overtaken(&outcome);
        assert_eq!(
            said,
            format!(
                "find the deployment {}/shop: it was deleted, and another of the same name is there",
                bed.namespace
            )
        );
    }
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3");
    bed.delete("apps", "Deployment", "shop").await;
    until(&target, "it is gone", |seen| seen.gone.is_some()).await;
    for operation in [switch("1.4.3", "1.4.2"), Operation::WaitRollout { version: "1.4.3".into() }] {
        let outcome = bed.operate_on(object.clone(), &target, operation, 10).await;
        assert_eq!(overtaken(&outcome), format!("find the deployment {}/shop: there is none", bed.namespace));
    }
}

/// A daemon in the middle of a rollback: just before the template is written, or just after.
struct Midway {
    bed: Bed,
    proxy: Proxy,
    watch: Watch,
    _directory: tempfile::TempDir,
}

impl Midway {
    async fn before_the_write(name: &str) -> Self {
        let world = Self::begin(name).await;
        world.proxy.hold(Part::Template);
        world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
        world.proxy.holds_in_time().await;
        world
    }

    /// The older release is the workload's again, and whether it is rolled out cannot be seen.
    async fn after_the_write(name: &str) -> Self {
        let world = Self::begin(name).await;
        world.proxy.silent_from(Part::Template, Fate::Passes);
        world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
        let is_written =
            |watch: &Watch| watch.incident("shop-1").filter(|one| one["plans"][0]["steps"][1]["status"] == "done");
        world.watch.wait("the older release is the workload's again", is_written).await;
        world
    }

    async fn begin(name: &str) -> Self {
        let bed = Bed::new(name).await;
        let proxy = Proxy::begin(&bed.client).await;
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = proxy.kubeconfig(directory.path());
        bed.workload("Deployment", "shop:1.4.1").await;
        until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.1")).await;
        bed.deploy("Deployment", "shop:1.4.2").await;
        until(&bed.target("Deployment"), "the second release", is_settled_at("1.4.2")).await;
        let target = format!("deployment: shop, rollout_timeout: 60s, kubeconfig: '{}'", kubeconfig.display());
        let watch = Watch::of(&bed, &Service::begin(), &target);
        watch.trusts("1.4.2").await;
        Self { bed, proxy, watch, _directory: directory }
    }

    /// Waits until the plan has stopped and people are told; with why.
    async fn stopped(&self) -> String {
        self.proxy.let_go();
        self.proxy.decide(|_| Fate::Passes);
        let is_told = |watch: &Watch| watch.incident("shop-1").filter(|one| one["plans"][0]["outcome"].is_string());
        let incident = self.watch.wait("the plan stops", is_told).await;
        assert_eq!(incident["plans"][0]["outcome"], "overtaken", "{incident:#}");
        assert_eq!(incident["findings"][0]["finding"], "rollback_failed", "{incident:#}");
        assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
        incident["findings"][0]["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// What Backstop wrote to the workload.
    fn written(&self) -> usize {
        self.proxy.asked().iter().filter(|one| one.is(Part::Template) && one.answered == 200).count()
    }
}

#[tokio::test]
async fn a_deployment_deleted_during_a_rollback_stops_it() {
    let world = Midway::before_the_write("deleted").await;
    world.bed.delete("apps", "Deployment", "shop").await;
    let why = world.stopped().await;
    assert!(why.contains("shop: there is none"), "{why}");
    let left = world.bed.api("apps", "Deployment").list(&ListParams::default()).await.expect("a list");
    assert_eq!((left.items.len(), world.written()), (0, 0));
}

#[tokio::test]
async fn a_deployment_deleted_while_its_rollout_is_waited_for_stops_the_rollback() {
    let world = Midway::after_the_write("deleted-later").await;
    world.bed.delete("apps", "Deployment", "shop").await;
    let why = world.stopped().await;
    assert!(why.contains("shop: there is none"), "{why}");
}

#[tokio::test]
async fn a_deployment_replaced_during_a_rollback_is_not_touched() {
    let world = Midway::before_the_write("replaced-midway").await;
    // Unseen until it is there: the watch shows both at once.
    world.proxy.decide(|_| Fate::Silent);
    world.proxy.cut();
    // Its name is free at once; what belonged to it is collected meanwhile.
    let parameters = DeleteParams::background();
    world.bed.api("apps", "Deployment").delete("shop", &parameters).await.expect("it is deleted");
    world.bed.workload("Deployment", "shop:1.4.3-crash").await;
    let why = world.stopped().await;
    assert!(why.contains("another of the same name is there"), "{why}");
    assert_eq!((image(&world.bed, "Deployment").await, world.written()), ("shop:1.4.3-crash".to_owned(), 0));
    let annotations = world.bed.get("apps", "Deployment", "shop").await.metadata.annotations.unwrap_or_default();
    assert!(!annotations.keys().any(|name| name.starts_with("backstop.io/")), "{annotations:?}");
}

#[tokio::test]
async fn a_human_who_deploys_during_a_rollback_wins() {
    let world = Midway::before_the_write("deploys-midway").await;
    world.bed.deploy("Deployment", "shop:1.4.4").await;
    let why = world.stopped().await;
    assert!(why.contains("1.4.4 is live"), "{why}");
    assert_eq!((image(&world.bed, "Deployment").await, world.written()), ("shop:1.4.4".to_owned(), 0));
    // It is watched as a release of its own.
    world.watch.trusts("1.4.4").await;
}

/// As `kubectl rollout undo` writes it: the template of an older revision, with the annotations that it had.
async fn undo(bed: &Bed, image: &str) {
    let object = bed.get("apps", "Deployment", "shop").await;
    let ours = object.metadata.annotations.unwrap_or_default();
    let gone: serde_json::Map<String, Value> =
        ours.into_keys().filter(|name| name.starts_with("backstop.io/")).map(|name| (name, Value::Null)).collect();
    let patch = json!({"metadata": {"annotations": gone},
        "spec": {"template": {"spec": {"containers": [{"name": "shop", "image": image}]}}}});
    bed.change("apps", "Deployment", "shop", patch).await;
}

#[tokio::test]
async fn a_human_who_rolls_back_during_a_rollback_wins() {
    let world = Midway::before_the_write("undoes-midway").await;
    undo(&world.bed, "shop:1.4.1").await;
    let why = world.stopped().await;
    assert!(why.contains("1.4.1 is live"), "{why}");
    assert_eq!((image(&world.bed, "Deployment").await, world.written()), ("shop:1.4.1".to_owned(), 0));
}

#[tokio::test]
async fn a_human_who_takes_a_rollback_back_wins() {
    let world = Midway::after_the_write("undone-by-hand").await;
    undo(&world.bed, "shop:1.4.3-crash").await;
    let why = world.stopped().await;
    assert!(why.contains("1.4.3-crash is live at the target, and Backstop did not put it there"), "{why}");
    assert_eq!((image(&world.bed, "Deployment").await, world.written()), ("shop:1.4.3-crash".to_owned(), 1));
}
