//! The automated sync of the controller that owns a workload, suspended and resumed as it was.
//!
//! What it was is written on the controller's object itself, in the same patch, with the incident of each service that it is
//! suspended for and with what Git held at that time: whoever goes on after a crash finds it there, and so does a human. One
//! object may sync several services: the last of them for which it is suspended turns it on. Where somebody turned the sync
//! on meanwhile, it is theirs, and is not turned off a second time.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    configuration::Key,
    content::canonical,
    owner::Owner,
    traffic::Change,
    undo::{INCIDENT, annotate, tests, without},
    workload::{annotation, field, text},
};
use crate::core::{
    name::IncidentId,
    release::{GitState, SyncState},
    time::WallTime,
};

/// What the sync was, and what Git held, as JSON.
const BEFORE: &str = "backstop.io/sync-before";
/// Where Argo CD keeps its Applications unless the tracking says otherwise: the namespace that all of its own manifests use.
const ARGO_CD_NAMESPACE: &str = "argocd";

/// A kind of object that syncs a workload from Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Application,
    Kustomization,
    HelmRelease,
}

impl Kind {
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::Application => "argoproj.io",
            Self::Kustomization => "kustomize.toolkit.fluxcd.io",
            Self::HelmRelease => "helm.toolkit.fluxcd.io",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
        }
    }
}

/// The object whose sync can be suspended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Syncer {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Syncer {
    /// The one of an owner, where it has a sync that can be suspended.
    pub(super) fn of(owner: &Owner) -> Option<Self> {
        let (kind, namespace, name) = match owner {
            Owner::ArgoCd { application, namespace } => {
                (Kind::Application, namespace.as_deref().unwrap_or(ARGO_CD_NAMESPACE), application)
            }
            Owner::FluxKustomization { name, namespace } => (Kind::Kustomization, namespace.as_str(), name),
            Owner::FluxHelmRelease { name, namespace } => (Kind::HelmRelease, namespace.as_str(), name),
            Owner::Helm { .. } | Owner::ArgoRollouts { .. } | Owner::Flagger { .. } | Owner::Other { .. } => {
                return None;
            }
        };
        Some(Self { kind, namespace: namespace.to_owned(), name: name.clone() })
    }
}

/// Where a Flux object has its content from: kind, namespace and name of an object of `source.toolkit.fluxcd.io`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The group of Flux's sources.
pub(super) const SOURCES: &str = "source.toolkit.fluxcd.io";

/// The source of a Flux object; none of an Application, which tells the revision itself.
pub(super) fn source(kind: Kind, object: &DynamicObject) -> Option<Source> {
    let reference = match kind {
        Kind::Application => return None,
        Kind::Kustomization => "/spec/sourceRef",
        Kind::HelmRelease => {
            // The chart that the release made for itself, or the one that it names.
            if let Some((namespace, name)) = text(object, "/status/helmChart").and_then(|chart| chart.split_once('/')) {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                return Some(Source { kind: "HelmChart".to_owned(), namespace, name });
            }
            "/spec/chartRef"
        }
    };
    let part = |name: &str| text(object, &format!("{reference}/{name}")).map(str::to_owned);
    let namespace = part("namespace").or_else(|| object.metadata.namespace.clone());
    Some(Source { kind: part("kind")?, namespace: namespace?, name: part("name")? })
}

/// What Git holds, as far as it is not on the object itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Git<'a> {
    /// The source of a Flux object.
    pub(super) source: Option<&'a DynamicObject>,
    /// Seals the values of a HelmRelease, among which secrets may be.
    pub(super) key: Option<&'a Key>,
}

/// What a source has last fetched.
fn fetched(source: &DynamicObject) -> Option<&str> {
    text(source, "/status/artifact/revision")
}

/// A digest of what it has fetched: the same for another commit that changes nothing of it.
fn content(kind: Kind, source: Option<&DynamicObject>) -> Option<String> {
    let of = |source| text(source, "/status/artifact/digest").map(str::to_owned);
    (kind == Kind::Kustomization).then(|| source.and_then(of)).flatten()
}

/// What Git holds by now, as far as the object and its source tell.
fn held(kind: Kind, object: &DynamicObject, git: Git<'_>) -> Option<String> {
    match kind {
        // Argo CD compares what is live with this.
        Kind::Application => revisions(object, "/status/sync"),
        Kind::Kustomization => git.source.and_then(fetched).map(str::to_owned),
        // Another release may be another chart, or other values in the object itself.
        Kind::HelmRelease => {
            let mut spec = field(object, "/spec")?.clone();
            spec.as_object_mut()?.shift_remove("suspend");
            let values = git.key?.seal(&canonical(&spec));
            Some(format!("{} with values {values}", git.source.and_then(fetched)?))
        }
    }
}

/// What Git held when the release came from there that is live while the sync is on.
fn applied(kind: Kind, object: &DynamicObject, git: Git<'_>) -> Option<String> {
    // A revision that was fetched and not yet attempted is one that came after.
    let attempted = match kind {
        Kind::Application if text(object, "/status/sync/status") != Some("Synced") => {
            revisions(object, "/status/operationState/syncResult")
        }
        Kind::Kustomization => text(object, "/status/lastAttemptedRevision").map(str::to_owned),
        Kind::Application | Kind::HelmRelease => None,
    };
    attempted.or_else(|| held(kind, object, git))
}

/// The revision of an Application at a place of it, or those of its sources.
fn revisions(application: &DynamicObject, place: &str) -> Option<String> {
    if let Some(revision) = text(application, &format!("{place}/revision")).filter(|revision| !revision.is_empty()) {
        return Some(revision.to_owned());
    }
    let all = field(application, &format!("{place}/revisions"))?.as_array()?;
    let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What is remembered on the object.
#[derive(Debug, Clone, PartialEq)]
struct Before {
    /// For whom it is suspended, each with its incident: services, with the installation that watches them. Never empty: the last one takes it all away.
    incidents: BTreeMap<String, String>,
    /// What turned the sync on: Argo CD's `automated`, or Flux's `suspend`, which may be absent.
    was: Value,
    revision: Option<String>,
    /// A digest of what the source had fetched, where that was this revision.
    content: Option<String>,
}

impl Before {
    fn of(object: &DynamicObject) -> Option<Self> {
        let all: Value = serde_json::from_str(annotation(object, BEFORE)?).ok()?;
        let incident = |(whose, id): (&String, &Value)| Some((whose.clone(), id.as_str()?.to_owned()));
        let incidents: BTreeMap<_, _> = all["incidents"].as_object()?.iter().filter_map(incident).collect();
        let text = |name: &str| all[name].as_str().map(str::to_owned);
        let (revision, content) = (text("revision"), text("content"));
        (!incidents.is_empty()).then(|| Self { incidents, was: all["was"].clone(), revision, content })
    }

    fn text(&self) -> String {
        let Self { incidents, was, revision, content } = self;
        json!({"incidents": incidents, "was": was, "revision": revision, "content": content}).to_string()
    }

    /// The incident of this one, or else of another one.
    fn incident(&self, whose: &str) -> IncidentId {
        let own = self.incidents.get(whose).or_else(|| self.incidents.values().next());
        own.map(String::as_str).unwrap_or_default().into()
    }

    /// What Git holds by now for what is live.
    fn at(&mut self, kind: Kind, object: &DynamicObject, git: Git<'_>) {
        self.revision = applied(kind, object, git);
        let is_fetched = self.revision.is_some() && self.revision == held(kind, object, git);
        self.content = content(kind, git.source).filter(|_| is_fetched);
    }
}

fn is_on(kind: Kind, object: &DynamicObject) -> bool {
    match kind {
        Kind::Application => {
            let automated = field(object, "/spec/syncPolicy/automated").filter(|automated| !automated.is_null());
            automated.is_some_and(|automated| automated["enabled"].as_bool() != Some(false))
        }
        Kind::Kustomization | Kind::HelmRelease => {
            field(object, "/spec/suspend").and_then(Value::as_bool) != Some(true)
        }
    }
}

/// What an Argo CD Application has under way, in words that follow "its operation:". It is asked for by `operation`, which goes away when it has ended.
pub(super) fn under_way(application: &DynamicObject) -> Option<String> {
    let of_state = |name: &str| text(application, &format!("/status/operationState/{name}"));
    let phase = of_state("phase").filter(|phase| ["Running", "Terminating"].contains(phase));
    let is_asked_for = field(application, "/operation").is_some_and(|operation| !operation.is_null());
    let Some(phase) = phase else { return is_asked_for.then(|| "about to begin".to_owned()) };
    let since = of_state("startedAt").map(|at| format!(" since {at}")).unwrap_or_default();
    let message = of_state("message").filter(|message| !message.is_empty());
    Some(format!("{phase}{since}{}", message.map(|one| format!(": {one}")).unwrap_or_default()))
}

/// A merge patch that makes it what it was before we changed it, or is.
pub(super) fn was(kind: Kind, object: &DynamicObject) -> String {
    let was = Before::of(object).map(|before| before.was).or_else(|| field(object, place(kind)).cloned());
    // Outermost first.
    let nested = place(kind).rsplit('/').filter(|part| !part.is_empty());
    nested.fold(was.unwrap_or_default(), |inner, part| json!({ part: inner })).to_string()
}

/// How the sync stands for a service of an installation.
pub(super) fn state(kind: Kind, object: &DynamicObject, git: Git<'_>, whose: &str) -> SyncState {
    match (Before::of(object), is_on(kind, object)) {
        (None, true) => SyncState::Active,
        (None, false) => SyncState::ByHand,
        (Some(before), is_on) => {
            let git = git_state(kind, object, git, &before);
            let incident = before.incident(whose);
            if is_on { SyncState::Lifted { incident, git } } else { SyncState::Suspended { incident, git } }
        }
    }
}

fn git_state(kind: Kind, object: &DynamicObject, git: Git<'_>, before: &Before) -> GitState {
    let Some(revision) = held(kind, object, git) else {
        return GitState::Unclear { why: "which revision Git holds cannot be seen".to_owned() };
    };
    let Some(was) = &before.revision else {
        return GitState::Unclear { why: "which revision Git held when it was suspended was not seen".to_owned() };
    };
    if revision == *was || before.content.is_some() && before.content == content(kind, git.source) {
        return GitState::Holds;
    }
    match (kind, compared(object)) {
        // Argo CD tells whether what is live is what Git holds, whether it syncs or not.
        (Kind::Application, Some(at)) if text(object, "/status/sync/status") == Some("Synced") => {
            GitState::Left { revision, compared: Some(at) }
        }
        (Kind::Application, _) => GitState::Moved { revision },
        // Flux compares nothing while it is suspended.
        (Kind::Kustomization | Kind::HelmRelease, _) if is_on(kind, object) && has_applied(kind, object, git) => {
            GitState::Left { revision, compared: None }
        }
        (Kind::Kustomization | Kind::HelmRelease, _) => GitState::Fetched { revision },
    }
}

/// When Argo CD last compared what is live with what Git holds.
fn compared(application: &DynamicObject) -> Option<WallTime> {
    let at: jiff::Timestamp = text(application, "/status/reconciledAt")?.parse().ok()?;
    Some(WallTime::from_millis(at.as_millisecond()))
}

/// Whether Flux says that it has made what its source holds live, since the object was last changed: since its sync was
/// turned on, that is.
fn has_applied(kind: Kind, object: &DynamicObject, git: Git<'_>) -> bool {
    let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
    let conditions = field(object, "/status/conditions").and_then(Value::as_array);
    let is_attempted = kind != Kind::Kustomization
        || git.source.and_then(fetched).is_some_and(|at| text(object, "/status/lastAppliedRevision") == Some(at));
    let seen = field(object, "/status/observedGeneration").and_then(Value::as_i64);
    is_attempted
        && seen.is_some()
        && seen == object.metadata.generation
        && conditions.into_iter().flatten().any(is_ready)
}

/// Turns the sync off for a service of an installation, in its incident.
pub(super) fn suspend(
    kind: Kind,
    object: &DynamicObject,
    git: Git<'_>,
    (whose, incident): (&str, &IncidentId),
) -> Change {
    let mut patch = tests(object);
    let was = || field(object, place(kind)).cloned().unwrap_or(Value::Null);
    let new = || {
        let mut before = Before { incidents: BTreeMap::new(), was: was(), revision: None, content: None };
        before.at(kind, object, git);
        before
    };
    let (mut before, note) = match (Before::of(object), is_on(kind, object)) {
        (Some(before), true) => {
            let since = before.incident(whose);
            let why = format!("somebody turned it on again after incident {since} had suspended it");
            return Change::Refused(why);
        }
        (Some(before), false) => {
            let since = before.incident(whose);
            if before.incidents.get(whose).map(String::as_str) == Some(incident.as_str()) {
                return Change::Nothing(format!("it is suspended already, since incident {since}"));
            }
            // What is live came from where Git was when it was turned off, and not from where it is by now.
            (before, format!("it is suspended since incident {since}, and stays so for {incident} too"))
        }
        // People have done so since that was planned. That it was off is what it is to be again.
        (None, false) => (new(), "it is off already".to_owned()),
        (None, true) => {
            patch.push(match kind {
                Kind::Application => json!({"op": "remove", "path": place(kind)}),
                Kind::Kustomization | Kind::HelmRelease => json!({"op": "add", "path": place(kind), "value": true}),
            });
            (new(), "its sync is suspended".to_owned())
        }
    };
    before.incidents.insert(whose.to_owned(), incident.to_string());
    patch.extend(annotate(object, &[(BEFORE, &before.text()), (INCIDENT, incident.as_str())]));
    Change::Patch(patch, note)
}

/// Turns it on as it was, unless it is suspended for another one too.
pub(super) fn resume(kind: Kind, object: &DynamicObject, (whose, incident): (&str, &IncidentId)) -> Change {
    let mut before = match (Before::of(object), is_on(kind, object)) {
        (None, false) => {
            let why = "it is off, and what it was is not written there any more: turn it on by hand".to_owned();
            return Change::Refused(why);
        }
        (None, true) => return Change::Nothing("nothing of ours is suspended".to_owned()),
        (Some(before), _) => before,
    };
    match before.incidents.remove(whose) {
        None => return Change::Nothing("nothing of ours is suspended".to_owned()),
        Some(by_now) if by_now != incident.as_str() => {
            return Change::Refused(format!("it is suspended for incident {by_now} by now"));
        }
        Some(_) => {}
    }
    let mut patch = tests(object);
    if let Some(other) = before.incidents.values().next() {
        patch.extend(annotate(object, &[(BEFORE, &before.text())]));
        let is_off = if is_on(kind, object) { "somebody turned its sync on meanwhile" } else { "its sync stays off" };
        return Change::Patch(patch, format!("{is_off}, which is suspended for incident {other} too"));
    }
    let note = if is_on(kind, object) {
        "somebody turned its sync on meanwhile, and so it stays".to_owned()
    } else {
        let place = place(kind);
        if kind == Kind::Application && field(object, "/spec/syncPolicy").is_none_or(Value::is_null) {
            patch.push(json!({"op": "add", "path": "/spec/syncPolicy", "value": {}}));
        }
        if !before.was.is_null() {
            patch.push(json!({"op": "add", "path": place, "value": before.was}));
        } else if field(object, place).is_some() {
            patch.push(json!({"op": "remove", "path": place}));
        }
        "its sync is as it was".to_owned()
    };
    patch.extend(without(object, &[BEFORE]));
    Change::Patch(patch, note)
}

const fn place(kind: Kind) -> &'static str {
    match kind {
        Kind::Application => "/spec/syncPolicy/automated",
        Kind::Kustomization | Kind::HelmRelease => "/spec/suspend",
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod table;
