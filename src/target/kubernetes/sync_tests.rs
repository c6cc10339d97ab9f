use std::sync::LazyLock;

use super::{
    super::{traffic::tests::patched, workload::tests::object},
    *,
};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::random().expect("a key"));

/// A service of an installation, and its incident.
fn shop() -> (&'static str, IncidentId) {
    ("shop@here", "shop-1".into())
}

fn worker() -> (&'static str, IncidentId) {
    ("worker@here", "worker-7".into())
}

fn git(source: Option<&DynamicObject>) -> Git<'_> {
    Git { source, key: Some(&KEY) }
}

fn state(kind: Kind, object: &DynamicObject, source: Option<&DynamicObject>) -> SyncState {
    super::state(kind, object, git(source), shop().0)
}

fn suspend(kind: Kind, object: &DynamicObject, source: Option<&DynamicObject>) -> Change {
    let (whose, incident) = shop();
    super::suspend(kind, object, git(source), (whose, &incident))
}

fn resume(kind: Kind, object: &DynamicObject) -> Change {
    let (whose, incident) = shop();
    super::resume(kind, object, (whose, &incident))
}

const COMPARED: &str = "2026-09-21T14:13:20Z";

fn application(revision: &str, status: &str) -> DynamicObject {
    object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd", "uid": "u", "resourceVersion": "1"},
        "spec": {"syncPolicy": {"automated": {"prune": true, "selfHeal": true}, "syncOptions": ["CreateNamespace=true"]}},
        "status": {"sync": {"revision": revision, "status": status}, "reconciledAt": COMPARED}}))
}

fn flux(kind: Kind) -> DynamicObject {
    object(json!({"apiVersion": format!("{}/v1", kind.group()), "kind": kind.as_str(),
        "metadata": {"name": "shop", "namespace": "prod", "uid": "u", "resourceVersion": "1", "generation": 3, "annotations": {"a": "b"}},
        "spec": {"interval": "5m", "values": {"tag": "1.4.3"}, "sourceRef": {"kind": "GitRepository", "name": "shop"}},
        "status": {"helmChart": "prod/prod-shop"}}))
}

fn fetched_at(revision: &str) -> DynamicObject {
    object(json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "shop", "namespace": "prod"}, "status": {"artifact": {"revision": revision}}}))
}

fn suspended(git: GitState) -> SyncState {
    SyncState::Suspended { incident: shop().1, git }
}

fn left(revision: &str) -> GitState {
    let compared = Some(WallTime::from_millis(1_790_000_000_000));
    GitState::Left { revision: revision.to_owned(), compared }
}

#[test]
fn an_application_is_suspended_and_resumed_as_it_was() {
    let kind = Kind::Application;
    let before = application("c1", "Synced");
    assert_eq!(state(kind, &before, None), SyncState::Active);
    let (off, _) = patched(&before, suspend(kind, &before, None));
    assert_eq!(field(&off, "/spec/syncPolicy"), Some(&json!({"syncOptions": ["CreateNamespace=true"]})));
    assert_eq!(state(kind, &off, None), suspended(GitState::Holds));
    assert!(matches!(suspend(kind, &off, None), Change::Nothing(note) if note.contains("shop-1")));
    let (on, _) = patched(&off, resume(kind, &off));
    assert_eq!(field(&on, "/spec"), field(&before, "/spec"));
    assert_eq!(state(kind, &on, None), SyncState::Active);
    assert!(matches!(resume(kind, &on), Change::Nothing(_)));
    // The whole policy is gone meanwhile.
    let mut bare = off;
    bare.data["spec"] = json!({});
    let (on, _) = patched(&bare, resume(kind, &bare));
    assert_eq!(field(&on, "/spec/syncPolicy"), Some(&json!({"automated": {"prune": true, "selfHeal": true}})));
}

#[test]
fn flux_is_suspended_and_resumed_as_it_was() {
    for kind in [Kind::Kustomization, Kind::HelmRelease] {
        for was in [None, Some(false)] {
            let mut before = flux(kind);
            if let Some(was) = was {
                before.data["spec"]["suspend"] = was.into();
            }
            let source = fetched_at("main@sha1:c1");
            assert_eq!(state(kind, &before, Some(&source)), SyncState::Active);
            let (off, _) = patched(&before, suspend(kind, &before, Some(&source)));
            assert_eq!(field(&off, "/spec/suspend"), Some(&true.into()));
            assert_eq!(state(kind, &off, Some(&source)), suspended(GitState::Holds), "{kind:?}");
            let (on, _) = patched(&off, resume(kind, &off));
            assert_eq!(field(&on, "/spec"), field(&before, "/spec"));
        }
    }
}

#[test]
fn what_people_have_turned_off_is_left_so() {
    let mut argo = application("c1", "Synced");
    argo.data["spec"] = json!({"syncPolicy": {"automated": {"enabled": false}}});
    let mut kustomization = flux(Kind::Kustomization);
    kustomization.data["spec"]["suspend"] = true.into();
    for (kind, object) in [(Kind::Application, argo), (Kind::Kustomization, kustomization)] {
        assert_eq!(state(kind, &object, None), SyncState::ByHand);
        assert!(matches!(resume(kind, &object), Change::Refused(why) if why.contains("by hand")), "it is not ours");
        // Turned off after that was planned: it is to be off again then.
        let (noted, note) = patched(&object, suspend(kind, &object, None));
        assert!(note.contains("off already"), "{note}");
        assert_eq!(field(&noted, "/spec"), field(&object, "/spec"));
        assert!(matches!(state(kind, &noted, None), SyncState::Suspended { .. }));
        let (as_it_was, _) = patched(&noted, resume(kind, &noted));
        assert_eq!(field(&as_it_was, "/spec"), field(&object, "/spec"));
        assert_eq!(state(kind, &as_it_was, None), SyncState::ByHand);
    }
}

#[test]
fn who_turned_it_on_has_the_last_word() {
    for (kind, before) in
        [(Kind::Application, application("c1", "Synced")), (Kind::HelmRelease, flux(Kind::HelmRelease))]
    {
        let source = fetched_at("c1");
        let (mut theirs, _) = patched(&before, suspend(kind, &before, Some(&source)));
        theirs.data["spec"] = before.data["spec"].clone();
        let lifted = SyncState::Lifted { incident: shop().1, git: GitState::Holds };
        assert_eq!(state(kind, &theirs, Some(&source)), lifted);
        assert!(matches!(suspend(kind, &theirs, None), Change::Refused(why) if why.contains("shop-1")));
        let (cleaned, note) = patched(&theirs, resume(kind, &theirs));
        assert!(note.contains("so it stays"), "{note}");
        assert_eq!(field(&cleaned, "/spec"), field(&before, "/spec"));
        assert_eq!(state(kind, &cleaned, Some(&source)), SyncState::Active);
    }
}

#[test]
fn when_git_has_left() {
    let argo = |revision: &str, status: &str| {
        let before = application("c1", "Synced");
        let (mut off, _) = patched(&before, suspend(Kind::Application, &before, None));
        off.data["status"] = json!({"sync": {"revision": revision, "status": status}, "reconciledAt": COMPARED});
        state(Kind::Application, &off, None)
    };
    // What was rolled back differs from what Git holds.
    assert_eq!(argo("c1", "OutOfSync"), suspended(GitState::Holds));
    assert_eq!(argo("c2", "Synced"), suspended(left("c2")));
    assert_eq!(argo("c2", "OutOfSync"), suspended(GitState::Moved { revision: "c2".to_owned() }));
    assert_eq!(argo("c2", "Unknown"), suspended(GitState::Moved { revision: "c2".to_owned() }));

    let before = flux(Kind::Kustomization);
    let (off, _) = patched(&before, suspend(Kind::Kustomization, &before, Some(&fetched_at("c1"))));
    let of = |source: Option<&DynamicObject>| state(Kind::Kustomization, &off, source);
    assert_eq!(of(Some(&fetched_at("c1"))), suspended(GitState::Holds));
    let other = || suspended(GitState::Fetched { revision: "c2".to_owned() });
    assert_eq!(of(Some(&fetched_at("c2"))), other());
    assert!(matches!(of(None), SyncState::Suspended { git: GitState::Unclear { .. }, .. }));

    // What was fetched and not attempted when it was suspended came later than what is live.
    let mut behind = before;
    behind.data["status"] = json!({"lastAttemptedRevision": "c1"});
    let (off, _) = patched(&behind, suspend(Kind::Kustomization, &behind, Some(&fetched_at("c2"))));
    assert_eq!(state(Kind::Kustomization, &off, Some(&fetched_at("c2"))), other());
    // The same with an Application that was about to sync.
    let mut behind = application("c2", "OutOfSync");
    behind.data["status"]["operationState"] = json!({"syncResult": {"revision": "c1"}});
    let (off, _) = patched(&behind, suspend(Kind::Application, &behind, None));
    assert_eq!(state(Kind::Application, &off, None), suspended(GitState::Moved { revision: "c2".to_owned() }));

    // Another commit that changes nothing of what is fetched.
    let of_content = |revision: &str, digest: &str| {
        let mut source = fetched_at(revision);
        source.data["status"]["artifact"]["digest"] = digest.into();
        source
    };
    let before = flux(Kind::Kustomization);
    let (off, _) = patched(&before, suspend(Kind::Kustomization, &before, Some(&of_content("c1", "sha256:a"))));
    for (source, expected) in
        [(of_content("c2", "sha256:a"), suspended(GitState::Holds)), (of_content("c2", "sha256:b"), other())]
    {
        assert_eq!(state(Kind::Kustomization, &off, Some(&source)), expected);
    }

    // Nor do other values of a HelmRelease say what becomes of them.
    let before = flux(Kind::HelmRelease);
    let chart = fetched_at("0.3.0");
    let (mut off, _) = patched(&before, suspend(Kind::HelmRelease, &before, Some(&chart)));
    assert_eq!(state(Kind::HelmRelease, &off, Some(&chart)), suspended(GitState::Holds));
    off.data["spec"]["values"]["tag"] = "1.4.4".into();
    let SyncState::Suspended { git: GitState::Fetched { revision }, .. } = state(Kind::HelmRelease, &off, Some(&chart))
    else {
        panic!("it is at other values")
    };
    // They may hold secrets, and are few: whoever sees their digest must not find them out.
    let mut spec = off.data["spec"].clone();
    spec.as_object_mut().expect("an object").shift_remove("suspend");
    assert!(revision.starts_with("0.3.0 with values ") && !revision.contains(&super::super::content::of_value(&spec)));
    let unsealed = Git { source: Some(&chart), key: None };
    let unclear = super::state(Kind::HelmRelease, &off, unsealed, shop().0);
    assert!(matches!(unclear, SyncState::Suspended { git: GitState::Unclear { .. }, .. }), "{unclear:?}");
}

#[test]
fn what_argo_cd_has_not_compared_proves_nothing() {
    let before = application("c1", "Synced");
    let (mut off, _) = patched(&before, suspend(Kind::Application, &before, None));
    for reconciled_at in [Value::Null, json!("yesterday")] {
        off.data["status"] = json!({"sync": {"revision": "c2", "status": "Synced"}, "reconciledAt": reconciled_at});
        let moved = GitState::Moved { revision: "c2".to_owned() };
        assert_eq!(state(Kind::Application, &off, None), suspended(moved));
    }
}

#[test]
fn flux_tells_that_git_has_left_once_it_is_on_again_and_has_applied_that() {
    for kind in [Kind::Kustomization, Kind::HelmRelease] {
        let before = flux(kind);
        let (off, _) = patched(&before, suspend(kind, &before, Some(&fetched_at("c1"))));
        let of = |is_on: bool, status: Value| {
            let mut object = off.clone();
            if is_on {
                object.data["spec"] = before.data["spec"].clone();
            }
            object.metadata.generation = Some(5);
            object.data["status"] = status;
            match state(kind, &object, Some(&fetched_at("c2"))) {
                SyncState::Suspended { git, .. } | SyncState::Lifted { git, .. } => {
                    matches!(git, GitState::Left { compared: None, .. })
                }
                other => panic!("{other:?}"),
            }
        };
        let status = |generation: i64, ready: &str, applied: &str| {
            json!({"observedGeneration": generation, "lastAppliedRevision": applied,
                "conditions": [{"type": "Reconciling", "status": "True"}, {"type": "Ready", "status": ready}]})
        };
        assert!(of(true, status(5, "True", "c2")));
        assert!(!of(false, status(5, "True", "c2")), "it compares nothing");
        assert!(!of(true, status(4, "True", "c2")), "it has not looked since it was turned on");
        assert!(!of(true, status(5, "False", "c2")) && !of(true, Value::Null));
        assert_eq!(of(true, status(5, "True", "c1")), kind == Kind::HelmRelease, "a chart's version stands elsewhere");
    }
}

#[test]
fn what_it_was_is_told_as_a_patch() {
    let expected = json!({"spec": {"syncPolicy": {"automated": {"prune": true, "selfHeal": true}}}}).to_string();
    let before = application("c1", "Synced");
    let (off, _) = patched(&before, suspend(Kind::Application, &before, None));
    assert_eq!((was(Kind::Application, &before), was(Kind::Application, &off)), (expected.clone(), expected));
    let before = flux(Kind::Kustomization);
    let (off, _) = patched(&before, suspend(Kind::Kustomization, &before, Some(&fetched_at("c1"))));
    assert_eq!(was(Kind::Kustomization, &off), json!({"spec": {"suspend": null}}).to_string());
}

#[test]
fn where_each_is_and_has_its_content_from() {
    let syncer =
        |owner: Owner| Syncer::of(&owner).map(|one| format!("{} {}/{}", one.kind.as_str(), one.namespace, one.name));
    let (name, namespace) = (|| "shop".to_owned(), || "flux-system".to_owned());
    for (owner, expected) in [
        (Owner::ArgoCd { application: name(), namespace: None }, Some("Application argocd/shop")),
        (Owner::ArgoCd { application: name(), namespace: Some("team".to_owned()) }, Some("Application team/shop")),
        (Owner::FluxKustomization { name: name(), namespace: namespace() }, Some("Kustomization flux-system/shop")),
        (Owner::FluxHelmRelease { name: name(), namespace: namespace() }, Some("HelmRelease flux-system/shop")),
        (Owner::Helm { release: name() }, None),
        (Owner::Flagger { name: name() }, None),
    ] {
        assert_eq!(syncer(owner).as_deref(), expected);
    }
    let from = |kind: Kind, object: &DynamicObject| {
        source(kind, object).map(|one| format!("{} {}/{}", one.kind, one.namespace, one.name))
    };
    assert_eq!(from(Kind::Application, &application("c1", "Synced")), None);
    assert_eq!(from(Kind::Kustomization, &flux(Kind::Kustomization)).as_deref(), Some("GitRepository prod/shop"));
    assert_eq!(from(Kind::HelmRelease, &flux(Kind::HelmRelease)).as_deref(), Some("HelmChart prod/prod-shop"));
    let mut named = flux(Kind::HelmRelease);
    named.data["status"] = json!({});
    named.data["spec"]["chartRef"] = json!({"kind": "OCIRepository", "namespace": "charts", "name": "shop"});
    assert_eq!(from(Kind::HelmRelease, &named).as_deref(), Some("OCIRepository charts/shop"));
}

#[test]
fn it_is_on_again_once_no_service_needs_it_off() {
    for (kind, before) in
        [(Kind::Application, application("c1", "Synced")), (Kind::Kustomization, flux(Kind::Kustomization))]
    {
        let source = fetched_at("c1");
        let theirs = worker();
        let (mut object, _) = patched(&before, suspend(kind, &before, Some(&source)));
        let of_worker = |object: &DynamicObject| super::state(kind, object, git(Some(&source)), theirs.0);
        assert_eq!(of_worker(&object), suspended(GitState::Holds), "the other one is told whose it is");
        let note;
        (object, note) = patched(&object, super::suspend(kind, &object, git(Some(&source)), (theirs.0, &theirs.1)));
        assert!(note.contains("shop-1") && note.contains("worker-7"), "{note}");
        let worker_s = SyncState::Suspended { incident: theirs.1.clone(), git: GitState::Holds };
        assert_eq!(
            (of_worker(&object), state(kind, &object, Some(&source))),
            (worker_s.clone(), suspended(GitState::Holds))
        );
        // In whichever order.
        for (first, last, left) in [(shop(), worker(), worker_s), (worker(), shop(), suspended(GitState::Holds))] {
            let (one, note) = patched(&object, super::resume(kind, &object, (first.0, &first.1)));
            assert!(note.contains("stays off") && note.contains(last.1.as_str()), "{note}");
            assert_eq!(state(kind, &one, Some(&source)), left);
            assert!(matches!(super::resume(kind, &one, (first.0, &first.1)), Change::Nothing(_)));
            let (resumed, _) = patched(&one, super::resume(kind, &one, (last.0, &last.1)));
            assert_eq!(field(&resumed, "/spec"), field(&before, "/spec"));
            assert_eq!(state(kind, &resumed, Some(&source)), SyncState::Active);
        }
    }
}

#[test]
fn another_incident_of_the_same_service_takes_the_place_of_the_one_before() {
    let (kind, before) = (Kind::Application, application("c1", "Synced"));
    let (off, _) = patched(&before, suspend(kind, &before, None));
    let (service, next) = (shop().0, IncidentId::from("shop-2"));
    let (off, _) = patched(&off, super::suspend(kind, &off, git(None), (service, &next)));
    assert_eq!(state(kind, &off, None), SyncState::Suspended { incident: next.clone(), git: GitState::Holds });
    // An attempt for the one before comes too late.
    assert!(matches!(resume(kind, &off), Change::Refused(why) if why.contains("for incident shop-2 by now")));
    let (on, _) = patched(&off, super::resume(kind, &off, (service, &next)));
    assert_eq!(state(kind, &on, None), SyncState::Active);
}

#[test]
fn a_second_suspension_keeps_what_git_held_at_the_first() {
    let (kind, before) = (Kind::Kustomization, flux(Kind::Kustomization));
    let (off, _) = patched(&before, suspend(kind, &before, Some(&fetched_at("c1"))));
    let theirs = worker();
    let by_now = fetched_at("c2");
    let (off, _) = patched(&off, super::suspend(kind, &off, git(Some(&by_now)), (theirs.0, &theirs.1)));
    assert_eq!(state(kind, &off, Some(&by_now)), suspended(GitState::Fetched { revision: "c2".to_owned() }));
}

#[test]
fn an_operation_is_under_way_from_when_it_is_asked_for_until_it_has_ended() {
    let state = |phase: &str| json!({"phase": phase, "startedAt": COMPARED, "message": ""});
    let sync = || json!({"sync": {"revision": "c2"}});
    for (operation, state, expected) in [
        (Value::Null, Value::Null, None),
        (Value::Null, state("Succeeded"), None),
        (Value::Null, state("Failed"), None),
        (Value::Null, state("Error"), None),
        (sync(), Value::Null, Some("about to begin")),
        // The state of the one before.
        (sync(), state("Succeeded"), Some("about to begin")),
        (sync(), state("Running"), Some("Running since 2026-09-21T14:13:20Z")),
        (Value::Null, state("Running"), Some("Running since 2026-09-21T14:13:20Z")),
        (
            sync(),
            json!({"phase": "Terminating", "message": "waiting for healthy state of apps/Deployment/shop"}),
            Some("Terminating: waiting for healthy state of apps/Deployment/shop"),
        ),
    ] {
        let mut application = application("c1", "Synced");
        application.data["operation"] = operation.clone();
        application.data["status"]["operationState"] = state.clone();
        assert_eq!(under_way(&application).as_deref(), expected, "{operation} {state}");
    }
}
