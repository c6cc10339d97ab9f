//! What `deploy/` gives Backstop's account is enough, and nothing of it is too much: everything is done with that account,
//! and then again without each verb in turn.

use std::{fs, path::Path, process::Command, time::Duration};

use backstop::{
    config::form::{KubernetesTarget, StopTraffic, Workload},
    core::{
        operation::{Operation, OperationOutcome},
        release::Observation,
        time::WallTime,
    },
    target::{Notice, PERMISSIONS, Permission, Purpose, Scope, Target},
};
use kube::{
    api::{DeleteParams, ListParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{
    bed::{Bed, current, switch, until},
    deployed::{apply, moved},
    done, key,
};
use crate::nodes::Fate;

const WITHIN: Duration = Duration::from_secs(10);

/// A token of an account, as a pod gets one.
pub(crate) async fn token(bed: &Bed, account: &str) -> String {
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", bed.namespace);
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": null}});
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(body.to_string().into_bytes()).expect("a request");
    let answer: Value = bed.client.request(request).await.expect("a token");
    answer["status"]["token"].as_str().expect("a token").to_owned()
}

/// A kubeconfig for an account, beside the one of the bed.
pub(crate) async fn kubeconfig(bed: &Bed, directory: &Path, account: &str) -> std::path::PathBuf {
    let token = token(bed, account).await;
    let own = std::env::var("KUBECONFIG").expect("a cluster");
    let mut config: Value = serde_saphyr::from_str(&fs::read_to_string(own).expect("a file")).expect("YAML");
    config["users"] = json!([{"name": account, "user": {"token": token}}]);
    for context in config["contexts"].as_array_mut().expect("contexts") {
        context["context"]["user"] = account.into();
    }
    let file = directory.join(format!("{account}.kubeconfig"));
    fs::write(&file, config.to_string()).expect("written");
    file
}

/// The bed's `shop` as that account sees it.
pub(crate) fn form(bed: &Bed, kind: &str, kubeconfig: &Path) -> KubernetesTarget {
    KubernetesTarget {
        kubeconfig: Some(kubeconfig.to_owned()),
        traffic_service: Some("shop".to_owned()),
        stop_traffic: StopTraffic::Selector,
        restore_config: true,
        ..bed.form(kind)
    }
}

/// Makes `shop`, which is configured, with an older release and a newer one.
async fn configured_releases(bed: &Bed, kind: &str) -> Target {
    let target = bed.target(kind);
    bed.configured(kind, "shop:1.4.2").await;
    until(&target, "the first release", |seen| current(seen) == "1.4.2" && !seen.rolling_out).await;
    bed.deploy(kind, "shop:1.4.3").await;
    until(&target, "the second release", |seen| current(seen) == "1.4.3").await;
    target
}

async fn service(bed: &Bed) {
    let spec = json!({"selector": {"app": "shop"}, "ports": [{"port": 80}]});
    bed.create("", json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": spec})).await;
}

fn notice(id: &str) -> Notice {
    Notice {
        id: id.to_owned(),
        at: WallTime::from_millis(1_790_000_000_000),
        reason: "RollbackStarted",
        message: "shop-1: rolling back".to_owned(),
        is_warning: true,
    }
}

/// A configuration for the command line.
fn configuration(form: &KubernetesTarget, directory: &Path, account: &str) -> std::path::PathBuf {
    let kind = match form.workload {
        Workload::Deployment(_) => "deployment",
        Workload::StatefulSet(_) => "statefulset",
        Workload::DaemonSet(_) => "daemonset",
    };
    let here = directory.display();
    let text = format!(
        "server: {{socket: {here}/socket}}\nstore: {{path: {here}/store.db}}\nhistory: {{file: {here}/history.json}}\n\
         evidence: {{directory: {here}/evidence}}\nservices:\n- name: shop\n  target: {{kubernetes: {{namespace: {}, {kind}: shop, \
         traffic_service: shop, stop_traffic: selector, restore_config: true, kubeconfig: {}}}}}\n  \
         probes: {{ready: {{command: {{run: ['true']}}}}}}\n",
        form.namespace,
        form.kubeconfig.as_ref().expect("one").display(),
    );
    let path = directory.join(format!("{account}.yaml"));
    fs::write(&path, text).expect("written");
    path
}

/// What `backstop check --live` finds of the target, and its exit code.
async fn checked(configuration: &Path) -> (Vec<Value>, Option<i32>) {
    let configuration = configuration.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
        command.args(["check", "--live", "--json"]).arg(configuration).output().expect("it runs")
    });
    let output = output.await.expect("no panic");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (report["findings"].as_array().expect("a list").clone(), output.status.code())
}

#[tokio::test]
async fn the_account_of_deploy_can_do_all_that_plans_need() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let bed = Bed::new(&format!("account-{}", kind.to_lowercase())).await;
        let directory = tempfile::tempdir().expect("a directory");
        for file in ["account.yaml", "cluster-role.yaml", "watched.yaml"] {
            for object in moved(&bed, file) {
                apply(&bed, &object).await;
            }
        }
        service(&bed).await;
        let kubeconfig = kubeconfig(&bed, directory.path(), "backstop").await;
        let form = form(&bed, kind, &kubeconfig);
        // What is seen and named is seen with the same account.
        let target = bed.target_of(form.clone());
        drop(configured_releases(&bed, kind).await);
        until(&target, "the releases", |seen| {
            current(seen) == "1.4.3" && !seen.available.is_empty() && !seen.rolling_out
        })
        .await;
        let (findings, code) = checked(&configuration(&form, directory.path(), "backstop")).await;
        assert_eq!((findings.as_slice(), code), (&[][..], Some(0)), "{kind}");
        assert_eq!(target.denied().await, Ok(Vec::new()), "{kind}");

        done(target.stop_traffic(&key(1), WITHIN).await);
        done(bed.operate(&target, switch("1.4.3", "1.4.2"), 20).await);
        done(bed.operate(&target, Operation::WaitRollout { version: "1.4.2".into() }, 30).await);
        bed.configure(json!({"limit": "0"})).await;
        let seen = until(&target, "another release", |seen| current(seen).starts_with("1.4.2+")).await;
        done(bed.operate(&target, switch(current(&seen), "1.4.2"), 20).await);
        assert_eq!(bed.get("", "ConfigMap", "shop-config").await.data["data"]["limit"], "5", "{kind}");
        done(bed.operate(&target, Operation::WaitRollout { version: "1.4.2".into() }, 30).await);
        done(target.start_traffic(&key(2), WITHIN).await);
        for _ in 0..2 {
            target.announce(&notice("shop-1/1/started")).await.expect("an event");
        }
        let files = target.gather(WITHIN).await.expect("files");
        for file in &files {
            // What else is missing in one is no matter of permission.
            assert!(!file.content.contains("forbidden"), "{kind}: {file:?}");
        }
        let told = bed.api("", "Event").list(&ListParams::default()).await.expect("a list");
        let told: Vec<&DynamicObject> =
            told.iter().filter(|event| event.data["source"]["component"] == "backstop").collect();
        assert_eq!(told.len(), 1, "{kind}: the same is told once: {told:#?}");
        let uid = bed.get("apps", kind, "shop").await.metadata.uid;
        assert_eq!(told[0].data["involvedObject"]["uid"].as_str(), uid.as_deref());
        let lease = bed.get("coordination.k8s.io", "Lease", &format!("backstop-{}-shop", kind.to_lowercase())).await;
        assert_eq!(lease.data["spec"]["holderIdentity"], bed.namespace.as_str(), "{kind}");
        fail_all(&bed, &target).await;
        assert!(done(restart(&bed, &target).await).ends_with(" deleted"), "{kind}");
    }
}

/// Restarts what fails, as a plan that was decided by the last look does.
async fn restart(bed: &Bed, target: &Target) -> OperationOutcome {
    let partly = |seen: &Observation| seen.live_instances().is_some_and(|live| !live.to_restart.is_empty());
    let seen = until(target, "what fails", partly).await;
    let instances = seen.live_instances().map(|live| live.to_restart.clone()).unwrap_or_default();
    bed.operate(target, Operation::RestartFailing { version: current(&seen).into(), instances }, 10).await
}

/// All of them: where others serve, one that fails counts only after a while.
async fn fail_all(bed: &Bed, target: &Target) {
    let pods = bed.api("", "Pod").list(&ListParams::default()).await.expect("a list").items;
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        bed.nodes.decide(pod.metadata.name.as_deref().expect("a name"), Fate::CrashLooping);
    }
    let none_serves = |seen: &Observation| {
        seen.workload.as_ref().is_some_and(|one| one.instances.failing > 0 && one.instances.ready == 0)
    };
    until(target, "none serves", none_serves).await;
}

/// An account that has all but one permission, in both of its roles.
async fn account_without(bed: &Bed, place: usize, without: &Permission) -> String {
    let account = format!("without-{place}");
    let name = |object: &mut Value| object["metadata"]["name"] = format!("{}-{account}", bed.namespace).into();
    bed.create("", json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})).await;
    for file in ["cluster-role.yaml", "watched.yaml"] {
        for mut object in moved(bed, file) {
            name(&mut object);
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            if kind.ends_with("Binding") {
                object["subjects"][0]["name"] = account.clone().into();
                object["roleRef"]["name"] = object["metadata"]["name"].clone();
            } else {
                let scope = if kind == "ClusterRole" { Scope::Cluster } else { Scope::Namespace };
                object["rules"] = rules_but(scope, without);
            }
            apply(bed, &object).await;
        }
    }
    account
}

/// What is gone with a permission: what is given in the whole cluster is given in each namespace, too.
fn gone_with(without: &Permission) -> Vec<&'static Permission> {
    let is_gone = |one: &&Permission| {
        *one == without || (without.scope == Scope::Namespace && one.to_string() == without.to_string())
    };
    PERMISSIONS.iter().filter(is_gone).collect()
}

fn rules_but(scope: Scope, without: &Permission) -> Value {
    let kept = PERMISSIONS.iter().filter(|one| one.scope == scope && !gone_with(without).contains(one));
    kept.map(|one| json!({"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]})).collect()
}

/// Does what that permission is for, and tells why it failed.
async fn try_what_needs(bed: &Bed, target: &Target, permission: &Permission) -> String {
    let reason = |outcome: OperationOutcome| match outcome {
        OperationOutcome::Failed(reason) | OperationOutcome::Unknown(reason) | OperationOutcome::Overtaken(reason) => {
            reason.as_str().to_owned()
        }
        OperationOutcome::Done(note) => format!("it was done: {note}"),
    };
    match permission.purpose {
        Purpose::See => {
            // A copy that was listed and cannot be watched is none a moment later.
            for _ in 0..100 {
                if let Err(reason) = target.observe().await
                    && !reason.as_str().contains("has not come yet")
                {
                    return reason.as_str().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            "it was seen".to_owned()
        }
        Purpose::TellReleases => {
            let is_told = |seen: &Observation| seen.untold.as_deref().is_some_and(|why| why.contains("cannot"));
            until(target, "why it is not told", is_told).await.untold.expect("a reason")
        }
        Purpose::RollBack => reason(bed.operate(target, switch("1.4.3", "1.4.2"), 10).await),
        Purpose::RestoreConfiguration => {
            until(target, "the release", |seen| current(seen) == "1.4.3").await;
            bed.configure(json!({"limit": "0"})).await;
            let seen = until(target, "another release", |seen| current(seen).starts_with("1.4.3+")).await;
            reason(bed.operate(target, switch(current(&seen), "1.4.3"), 10).await)
        }
        Purpose::WriteAlone | Purpose::StopTraffic => reason(target.stop_traffic(&key(1), WITHIN).await),
        Purpose::RestartFailing => reason(restart(bed, target).await),
        Purpose::SuspendSync => panic!("nobody owns it here"),
        Purpose::Announce => match target.announce(&notice("shop-1/denied")).await {
            Ok(()) => "it was told".to_owned(),
            Err(reason) => reason.as_str().to_owned(),
        },
        Purpose::Gather => {
            let files = target.gather(WITHIN).await.expect("files");
            let denied = files.iter().find(|file| file.content.contains("forbidden"));
            denied.map_or_else(|| format!("all was gathered: {files:?}"), |file| file.content.clone())
        }
    }
}

#[tokio::test]
async fn without_a_verb_its_part_fails_and_says_so() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let bed = Bed::new(&format!("denied-{}", kind.to_lowercase())).await;
        let directory = tempfile::tempdir().expect("a directory");
        service(&bed).await;
        let admin = configured_releases(&bed, kind).await;
        until(&admin, "rolled out", |seen| current(seen) == "1.4.3" && !seen.rolling_out).await;
        fail_all(&bed, &admin).await;
        let full = form(&bed, kind, Path::new("/nowhere"));
        for (place, permission) in PERMISSIONS.iter().enumerate().filter(|(_, one)| is_tried_with(kind, one)) {
            let account = account_without(&bed, place, permission).await;
            let kubeconfig = kubeconfig(&bed, directory.path(), &account).await;
            let form = KubernetesTarget { kubeconfig: Some(kubeconfig), ..full.clone() };
            let target = alone(&bed, &form);
            if permission.resource == "leases" {
                fit_lease(&bed, kind, permission.verb).await;
            }
            // The authorizer hears of roles a moment later.
            let denied = settled(&target, permission).await;
            assert_eq!(denied, words(&gone_with(permission)), "{kind}");
            if permission.purpose == Purpose::RollBack {
                // Names are known to whoever has seen it.
                until(&target, "the releases", |seen| !seen.available.is_empty()).await;
            }
            if permission.purpose == Purpose::RestartFailing {
                until(&target, "what fails", |seen| {
                    seen.workload.as_ref().is_some_and(|one| one.instances.failing > 0)
                })
                .await;
            }
            let said = try_what_needs(&bed, &target, permission).await;
            let (resource, sub) = permission.parts();
            let resource = sub.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
            let named = format!("cannot {} resource \"{resource}\"", permission.verb);
            assert!(said.contains(&named), "{kind}, without {permission}: {said}");
            let (mut findings, code) = checked(&configuration(&form, directory.path(), &account)).await;
            // What was tried before may hold the lease still.
            findings
                .retain(|one| !one["what"].as_str().is_some_and(|what| what.starts_with("another Backstop writes")));
            assert_eq!(findings.len(), denied.len(), "{kind}, without {permission}: {findings:#?}");
            let finding = &findings[0];
            assert!(
                finding["what"].as_str().expect("a text").starts_with(&format!("the account may not {permission}"))
            );
            assert!(finding["mend"].as_str().expect("a text").contains(&permission.rule()), "{finding}");
            assert_eq!(code, Some(i32::from(permission.purpose.is_vital())), "{finding}");
        }
    }
}

/// Whether it is tried with this kind: with a Deployment all that one needs, and with the others what is theirs alone.
fn is_tried_with(kind: &str, permission: &Permission) -> bool {
    match kind {
        // What owners need is tried with them.
        _ if permission.scope == Scope::Owner => false,
        "Deployment" => !["statefulsets", "daemonsets", "controllerrevisions"].contains(&permission.resource),
        "StatefulSet" => ["statefulsets", "controllerrevisions"].contains(&permission.resource),
        _ => permission.resource == "daemonsets",
    }
}

/// A target that shares nothing with the bed's others, so that it asks by its own account.
pub(crate) fn alone(bed: &Bed, form: &KubernetesTarget) -> Target {
    let shared = backstop::target::Shared::new(&bed.namespace, Some(std::env::temp_dir().join(&bed.namespace)));
    let form = backstop::config::form::Target::Kubernetes(form.clone());
    Target::new(&form, "shop".into(), std::env::temp_dir(), &shared, &[])
}

/// Makes the verb on Leases the one that is needed.
async fn fit_lease(bed: &Bed, kind: &str, verb: &str) {
    let name = format!("backstop-{}-shop", kind.to_lowercase());
    let api = bed.api("coordination.k8s.io", "Lease");
    let _there_or_not = api.delete(&name, &DeleteParams::default()).await;
    if verb == "update" {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
        let lease = serde_json::from_value(lease).expect("a lease");
        api.create(&PostParams::default(), &lease).await.expect("a lease");
    }
}

fn words(permissions: &[&Permission]) -> Vec<String> {
    permissions.iter().map(ToString::to_string).collect()
}

async fn settled(target: &Target, without: &Permission) -> Vec<String> {
    let mut denied = Vec::new();
    for _ in 0..100 {
        denied = target.denied().await.expect("it may ask").iter().map(|one| one.permission.to_string()).collect();
        if denied == words(&gone_with(without)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    denied
}
