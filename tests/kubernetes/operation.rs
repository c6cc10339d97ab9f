//! What a GitOps controller has begun before its sync was suspended, and writes to it of which nothing is heard.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    bed::{Bed, switch, until},
    done, failed, image, is_settled_at, overtaken,
    proxy::{Fate, Part, Proxy},
    synced::{Controller, Kind, synced, watched},
    watched::{Service, Watch},
};

/// Argo CD begins an operation, or goes on with one.
async fn runs(controller: &Controller) {
    let message = "waiting for healthy state of apps/Deployment/shop";
    controller.change(json!({"operation": {"sync": {"revision": "c1"}}})).await;
    tell(controller, json!({"phase": "Running", "startedAt": "2026-01-07T10:30:00Z", "message": message})).await;
}

/// It has ended.
async fn ends(controller: &Controller) {
    tell(controller, json!({"phase": "Succeeded"})).await;
    controller.change(json!({"operation": null})).await;
}

async fn tell(controller: &Controller, state: Value) {
    let status = json!({"status": {"operationState": state}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
    controller.objects.patch_status("shop", &parameters, &patch).await.expect("it is told");
}

async fn suspended_while_it_runs(name: &str) -> (Bed, Controller, backstop::target::Target) {
    let (bed, controller, target) = synced(name, Kind::Application).await;
    runs(&controller).await;
    done(bed.operate(&target, controller.suspend(), 20).await);
    (bed, controller, target)
}

#[tokio::test]
async fn what_argo_cd_has_begun_is_waited_for() {
    let (bed, controller, target) = suspended_while_it_runs("operation-ends").await;
    let ended = async {
        controller.looks(20).await;
        assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3", "nothing is written meanwhile");
        ends(&controller).await;
    };
    let (outcome, ()) = tokio::join!(bed.operate(&target, switch("1.4.3", "1.4.2"), 60), ended);
    assert!(done(outcome).contains("revision 1 is the workload's again"));
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
}

#[tokio::test]
async fn what_argo_cd_does_not_end_is_told_and_nothing_is_written() {
    let (bed, _controller, target) = suspended_while_it_runs("operation-hangs").await;
    let outcome = bed.operate(&target, switch("1.4.3", "1.4.2"), 5).await;
    let expected = format!(
        "roll back beside the Argo CD Application {}/shop, whose operation did not end within 5s (`argocd app terminate-op \
         shop` ends it): Running since 2026-01-07T10:30:00Z: waiting for",
        bed.namespace
    );
    assert!(failed(&outcome).starts_with(&expected), "{outcome:?}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3");
}

#[tokio::test]
async fn what_an_operation_brings_in_the_end_is_somebodys_and_stays() {
    let (bed, controller, target) = suspended_while_it_runs("operation-brings").await;
    let brought = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bed.deploy("Deployment", "shop:1.4.4").await;
        ends(&controller).await;
    };
    let (outcome, ()) = tokio::join!(bed.operate(&target, switch("1.4.3", "1.4.2"), 60), brought);
    assert_eq!(overtaken(&outcome), "switch from 1.4.3 to 1.4.2: 1.4.4 is live by now");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.4");
}

#[tokio::test]
async fn the_daemon_suspends_waits_for_what_was_begun_and_rolls_back() {
    let (bed, controller, watch) = watched("operation-daemon", Kind::Application).await;
    runs(&controller).await;
    let is_off = async {
        while controller.is_on().await {
            controller.looks(1).await;
        }
    };
    tokio::time::timeout(super::watched::PATIENCE, is_off).await.expect("it is suspended");
    controller.looks(20).await;
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash", "its operation is under way");
    ends(&controller).await;
    let incident = watch.verified("shop-1").await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
}

/// The watches die at the very write that suspends the sync, and nobody can know for a minute; `fate` is what becomes of it.
async fn watches_dead_at_the_suspension(name: &str, fate: Fate) {
    let bed = Bed::new(name).await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let controller = Controller::begin(&bed, Kind::Application, "c1", "shop:1.4.2").await;
    let proxy = Proxy::begin(&bed.client).await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = proxy.kubeconfig(directory.path());
    let target = format!("deployment: shop, kubeconfig: '{}'", kubeconfig.display());
    let watch = Watch::configured(&bed, &Service::begin(), &target, ", gitops: suspend");
    watch.trusts("1.4.2").await;
    proxy.watches_dead_from(Part::Sync, fate);
    controller.commit("c2", "shop:1.4.3-crash");
    let incident = watch.verified("shop-1").await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    assert!(!incident.to_string().contains("sync_not_held"), "{incident:#}");
    let written = |part: Part| proxy.asked().iter().filter(|one| one.is(part)).count();
    assert_eq!((written(Part::Sync), written(Part::Template)), (1, 1));
    assert!(!controller.is_on().await);
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
}

#[tokio::test]
async fn a_watch_that_died_unnoticed_before_a_suspension_is_not_believed_to_show_that_somebody_lifted_it() {
    watches_dead_at_the_suspension("dead-sync", Fate::Passes).await;
}

#[tokio::test]
async fn nor_is_it_where_the_answer_to_the_suspension_was_lost() {
    watches_dead_at_the_suspension("dead-lost-sync", Fate::Lost).await;
}
