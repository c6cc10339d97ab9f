//! What is rolled back: can it be seen, is there something to go back to, and would it let itself be changed?

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time;

use super::{Finding, Gravity, Look};
use crate::{
    config::{
        form::{self, CommandLine, Config},
        here::{self, Want},
    },
    core::{
        policy::GitopsPolicy,
        release::{GitSync, Hindrance, Observation, SyncState},
        sample::Reason,
    },
    record::atomic,
    store::SqliteStore,
    target::{Denied, Purpose, Shared, Target},
};

/// Reading a few bytes of the store, which a file system may hold up.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// Who the daemon that runs by this file is to others; none where it has not run yet, or not on this machine.
pub(super) async fn installation(config: &Arc<Config>) -> Option<String> {
    if !config.services.iter().any(|service| matches!(service.target, form::Target::Kubernetes(_))) {
        return None;
    }
    let path = config.store.clone();
    // What keeps it from being read is told by the daemon itself when it starts.
    let read = move || Some(SqliteStore::open_read_only(&path).ok()?.installation().simple().to_string());
    time::timeout(STORE_WITHIN, tokio::task::spawn_blocking(read)).await.ok()?.ok()?
}

pub(super) fn looks(config: &Arc<Config>, installation: Option<&str>) -> Vec<Look> {
    let is_known = installation.is_some();
    // Nothing is written by it, and nothing is kept.
    let shared = Arc::new(Shared::new(installation.unwrap_or("check"), None));
    let mut looks = Vec::new();
    for (place, service) in config.services.iter().enumerate() {
        let gitops = config.policy.services[place].gates.gitops;
        let key = format!("services({}).target.{}", service.name, word(&service.target));
        looks.extend(on_this_machine(&key, &service.target));
        let nothing_is_run = std::env::temp_dir();
        let target = Target::new(&service.target, service.name.clone(), nothing_is_run, &shared, &[]);
        let kind = word(&service.target);
        let shared = Arc::clone(&shared);
        looks.push(Look::new(key.clone(), async move {
            let (denied, observed, traffic, other) =
                tokio::join!(target.denied(), target.observe(), target.can_stop_traffic(), target.written_by_another());
            // Watches end with what they share.
            drop(shared);
            let other = other.map(|other| other.map(|who| Other { who, is_known }));
            judged(&key, kind, gitops, &denied, observed.and_then(Observation::there), traffic, other)
        }));
    }
    looks
}

/// Another Backstop that writes to a target.
struct Other {
    who: String,
    /// Whether this machine knows which one runs by this file.
    is_known: bool,
}

impl Other {
    fn finding(&self, key: &str) -> Finding {
        let what =
            format!("another Backstop writes there, and no rollback of this one's is written meanwhile: {}", self.who);
        if self.is_known {
            let mend = "let one Backstop watch it; the lease runs out a minute after the other's end";
            return Finding::fails(key, what, mend);
        }
        // The daemon's own store may be elsewhere.
        let what =
            format!("{what}; whether that is the daemon of this file is not known, since there is no store here");
        let mend = "check where the daemon runs, or let one Backstop watch it";
        Finding { place: key.to_owned(), gravity: Gravity::Lacks, what, mend: mend.to_owned() }
    }
}

const fn word(target: &form::Target) -> &'static str {
    match target {
        form::Target::Releases(_) => "releases",
        form::Target::Command(_) => "command",
        form::Target::Kubernetes(_) => "kubernetes",
        form::Target::Compose(_) => "compose",
    }
}

fn judged(
    key: &str,
    kind: &str,
    gitops: GitopsPolicy,
    denied: &Result<Vec<Denied>, Reason>,
    observed: Result<Observation, Reason>,
    traffic: Result<(), Reason>,
    other: Result<Option<Other>, Reason>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_denied =
        |purpose: Purpose| denied.as_ref().is_ok_and(|all| all.iter().any(|one| one.permission.purpose == purpose));
    let (blind, no_traffic) = (is_denied(Purpose::See), is_denied(Purpose::StopTraffic));
    let cannot_ask = is_denied(Purpose::WriteAlone);
    match (denied, &observed) {
        // The same fault of the cluster, told once.
        (Err(reason), Err(_)) => {
            let mend = "mend kubeconfig, context, network or account";
            return vec![Finding::fails(key, format!("failed to {reason}"), mend)];
        }
        (Err(reason), Ok(_)) => {
            findings.push(Finding::fails(key, format!("failed to {reason}"), "let the account ask what it may do"));
        }
        (Ok(denied), _) => findings.extend(denied.iter().map(|denied| permission(key, denied))),
    }
    let is_untold = matches!(&observed, Ok(seen) if seen.untold.is_some()) && is_denied(Purpose::TellReleases);
    match observed {
        // What the account may not do is told already.
        Err(_) if blind => {}
        Ok(_) if is_untold => {}
        Err(reason) => {
            let mend = match kind {
                "command" => "run `current` and `previous` as this user and see what they say",
                _ => "mend what it names: what cannot be seen is not rolled back",
            };
            findings.push(Finding::fails(key, format!("failed to {reason}"), mend));
        }
        Ok(observation) => {
            findings.extend(seen(key, gitops, &observation));
            // What the account may not do is told already.
            let sync = observation.sync().filter(|_| !is_denied(Purpose::SuspendSync));
            findings.extend(sync.and_then(|sync| not_suspendable(key, sync)));
        }
    }
    if let Err(reason) = traffic
        && !no_traffic
    {
        let what = format!("traffic cannot be stopped: failed to {reason}");
        let (place, mend) = match kind {
            "compose" => ("stop_traffic", "name services of the project there"),
            _ => ("traffic_service", "make the Service, or mend its name"),
        };
        findings.push(Finding::fails(&format!("{key}.{place}"), what, mend));
    }
    match other {
        Ok(Some(other)) => findings.push(other.finding(key)),
        Err(reason) if !cannot_ask => {
            let what = format!("whether another Backstop writes there is not known: failed to {reason}");
            findings.push(Finding::fails(key, what, "mend what it names: without its lease nothing is written"));
        }
        Ok(None) | Err(_) => {}
    }
    findings
}

fn permission(key: &str, denied: &Denied) -> Finding {
    let purpose = denied.permission.purpose;
    Finding {
        place: key.to_owned(),
        gravity: if purpose.is_vital() { Gravity::Fails } else { Gravity::Lacks },
        what: format!("the account may not {denied}: {}", purpose.lost()),
        mend: denied.mend(),
    }
}

/// What would hold a rollback of what is live.
fn seen(key: &str, gitops: GitopsPolicy, observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &observation.current {
        None => {
            let why = observation.untold.as_deref().map_or_else(String::new, |why| format!(": failed to {why}"));
            findings.push(Finding::fails(key, format!("it does not tell what is live{why}"), "deploy a release"));
        }
        Some(live) if observation.available.is_empty() => {
            let what = format!("there is nothing to go back to from {live}");
            findings.push(Finding::fails(key, what, "keep older releases there; the next deploy leaves this one"));
        }
        Some(_) => {}
    }
    for hindrance in observation.hindrances() {
        let (what, mend) = match hindrance {
            Hindrance::Owned { always: false, .. } if gitops == GitopsPolicy::Act => continue,
            // How its sync stands is told by itself.
            Hindrance::Owned { .. } if gitops == GitopsPolicy::Suspend && observation.sync().is_some() => continue,
            Hindrance::Owned { by, always } => {
                let mend = if *always { "roll back there" } else { "roll back there, or set gates.gitops" };
                (format!("{by} owns it, so that a rollback is refused"), mend)
            }
            Hindrance::NotUndoable { why } => (format!("a rollback is refused: {why}"), "change that"),
            Hindrance::OlderFailsToo { why } => {
                (format!("a rollback is refused: the older release fails as well: {why}"), "mend the older pods")
            }
        };
        findings.push(Finding::fails(key, what, mend));
    }
    findings
}

/// Why the sync of the target's owner could not be suspended tonight.
fn not_suspendable(key: &str, sync: &GitSync) -> Option<Finding> {
    let owner = &sync.owner;
    match &sync.state {
        SyncState::Active | SyncState::ByHand | SyncState::Suspended { .. } => None,
        SyncState::Lifted { incident, .. } => {
            let what =
                format!("somebody turned the sync of {owner} on again after incident {incident} had suspended it");
            Some(Finding::fails(key, what, "roll back there; Backstop does not suspend it a second time"))
        }
        SyncState::Unseen { why } => {
            let what = format!("the sync of {owner} cannot be seen, and so not be suspended: failed to {why}");
            Some(Finding::fails(key, what, "give the account the rules that the README names, or set gates.gitops"))
        }
    }
}

/// Directories, links and programs of a target that is on this machine.
fn on_this_machine(key: &str, target: &form::Target) -> Vec<Look> {
    let programs: Vec<(&'static str, CommandLine)> = match target {
        form::Target::Releases(target) => {
            [("restart", Some(&target.restart)), ("stop", target.stop.as_ref()), ("start", target.start.as_ref())]
                .into_iter()
                .filter_map(|(name, command)| Some((name, command?.clone())))
                .collect()
        }
        form::Target::Command(target) => {
            [("roll_back", Some(&target.roll_back)), ("stop", target.stop.as_ref()), ("start", target.start.as_ref())]
                .into_iter()
                .filter_map(|(name, command)| Some((name, command?.clone())))
                .collect()
        }
        form::Target::Compose(_) => return vec![docker_program(key)],
        form::Target::Kubernetes(_) => return Vec::new(),
    };
    let mut looks = Vec::new();
    for (name, command) in programs {
        looks.push(blocking(format!("{key}.{name}"), move |place| {
            let why = command.0.first().and_then(|program| here::program(program, None, None));
            let mend = "install it, or mend the path";
            why.map(|why| Finding::fails(place, format!("the program {why}"), mend)).into_iter().collect()
        }));
    }
    if let form::Target::Releases(target) = target {
        // That the link itself is well, and the directory can be read, is seen by observing it.
        let parent = atomic::parent(&target.current).to_owned();
        looks.push(blocking(format!("{key}.current"), move |place| replaceable(place, &parent)));
    }
    looks
}

/// Whatever is changed of a project goes through it.
fn docker_program(key: &str) -> Look {
    blocking(key.to_owned(), |place| {
        let why = here::program("docker", None, None);
        let mend = "install docker and its compose plugin, version 2";
        why.map(|why| Finding::fails(place, format!("the program {why}"), mend)).into_iter().collect()
    })
}

fn replaceable(place: &str, parent: &Path) -> Vec<Finding> {
    let why = here::directory(parent, Want::Write);
    let mend = "let this user write to it";
    why.map(|why| Finding::fails(place, format!("{why}, so the symlink cannot be replaced"), mend))
        .into_iter()
        .collect()
}

/// A look that asks a file system, which may hang.
fn blocking(place: String, findings: impl FnOnce(&str) -> Vec<Finding> + Send + 'static) -> Look {
    let own = place.clone();
    Look::new(place, async move {
        let name = own.clone();
        let found = tokio::task::spawn_blocking(move || findings(&own)).await;
        found.unwrap_or_else(|error| vec![Finding::fails(&name, error, "tell whoever makes Backstop")])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::release::{GitState, Release, Workload};

    fn observation(available: &[&str], hindrances: Vec<Hindrance>) -> Observation {
        Observation {
            current: Some(Release::of("v2")),
            available: available.iter().map(|&version| Release::of(version)).collect(),
            workload: Some(Box::new(Workload { hindrances, ..Workload::default() })),
            ..Observation::default()
        }
    }

    #[test]
    fn what_would_hold_a_rollback_is_told_once() {
        let owned = |always: bool| vec![Hindrance::Owned { by: "the Argo CD Application shop".to_owned(), always }];
        let refused = || Err(Reason::new("list the pods: refused"));
        for (gitops, denied, observed, expected) in [
            (GitopsPolicy::Refuse, Ok(Vec::new()), Ok(observation(&["v1"], Vec::new())), vec![]),
            (GitopsPolicy::Refuse, Ok(Vec::new()), Ok(observation(&[], Vec::new())), vec!["nothing to go back to"]),
            (GitopsPolicy::Refuse, Ok(Vec::new()), Ok(observation(&["v1"], owned(false))), vec!["owns it"]),
            (GitopsPolicy::Act, Ok(Vec::new()), Ok(observation(&["v1"], owned(false))), vec![]),
            (GitopsPolicy::Act, Ok(Vec::new()), Ok(observation(&["v1"], owned(true))), vec!["owns it"]),
            (GitopsPolicy::Refuse, Err(Reason::new("reach it")), refused(), vec!["failed to reach it"]),
            (GitopsPolicy::Refuse, Ok(Vec::new()), refused(), vec!["failed to list the pods"]),
        ] {
            let found = judged("k", "kubernetes", gitops, &denied, observed, Ok(()), Ok(None));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (finding, expected) in found.iter().zip(expected) {
                assert!(finding.what.contains(expected), "{finding:?}");
            }
        }
    }

    #[test]
    fn an_owner_whose_sync_could_not_be_suspended_tonight_is_told() {
        let unseen = || SyncState::Unseen { why: "find the Application argocd/shop: there is none".to_owned() };
        let lifted = || SyncState::Lifted { incident: "shop-1".into(), git: GitState::Holds };
        let permission =
            crate::target::PERMISSIONS.iter().find(|one| one.purpose == Purpose::SuspendSync).expect("one");
        let denied = || vec![Denied { permission, namespace: Some("argocd".to_owned()), object: None }];
        for (state, denied, expected) in [
            (SyncState::Active, Vec::new(), None),
            (SyncState::ByHand, Vec::new(), None),
            (unseen(), Vec::new(), Some("cannot be seen, and so not be suspended: failed to find the Application")),
            (lifted(), Vec::new(), Some("on again after incident shop-1")),
            (unseen(), denied(), Some("the account may not get applications.argoproj.io in namespace argocd")),
        ] {
            let owner = "the Argo CD Application shop".to_owned();
            let hindrance = Hindrance::Owned { by: owner.clone(), always: false };
            let mut observed = observation(&["v1"], vec![hindrance]);
            observed.workload.as_mut().expect("a workload").sync = Some(GitSync { owner, state, was: None });
            let found = judged("k", "kubernetes", GitopsPolicy::Suspend, &Ok(denied), Ok(observed), Ok(()), Ok(None));
            let said: Vec<&str> = found.iter().map(|one| one.what.as_str()).collect();
            assert_eq!(said.len(), usize::from(expected.is_some()), "{said:?}");
            assert!(expected.is_none_or(|expected| said[0].contains(expected)), "{said:?}");
        }
    }

    #[test]
    fn a_missing_permission_to_see_is_told_once_and_with_its_rule() {
        let permission = crate::target::PERMISSIONS.iter().find(|one| one.purpose == Purpose::See).expect("one");
        let denied = Denied { permission, namespace: Some("prod".to_owned()), object: None };
        let unseen = Err(Reason::new("see the deployments: forbidden"));
        let found = judged("k", "kubernetes", GitopsPolicy::Refuse, &Ok(vec![denied]), unseen, Ok(()), Ok(None));
        let [finding] = found.as_slice() else { panic!("one, not {found:?}") };
        assert_eq!(finding.gravity, Gravity::Fails);
        assert!(finding.what.starts_with("the account may not list deployments.apps in namespace prod"), "{finding:?}");
        let rule =
            "add {apiGroups: [apps], resources: [deployments], verbs: [list]} to the account's Role in namespace prod";
        assert_eq!(finding.mend, rule);
    }

    #[test]
    fn another_who_writes_is_named_and_a_fault_where_it_is_certain_that_it_is_another() {
        let who = || "x (on y) holds the lease prod/backstop-deployment-shop for another 40 s".to_owned();
        for (other, gravity, said) in [
            (
                Ok(Some(Other { who: who(), is_known: true })),
                Some(Gravity::Fails),
                "meanwhile: x (on y) holds the lease",
            ),
            (Ok(Some(Other { who: who(), is_known: false })), Some(Gravity::Lacks), "since there is no store here"),
            (Err(Reason::new("read the lease: no answer")), Some(Gravity::Fails), "failed to read the lease"),
            (Ok(None), None, ""),
        ] {
            let seen = Ok(observation(&["v1"], Vec::new()));
            let found = judged("k", "kubernetes", GitopsPolicy::Refuse, &Ok(Vec::new()), seen, Ok(()), other);
            assert_eq!(found.first().map(|one| one.gravity), gravity, "{found:?}");
            assert!(found.len() < 2 && found.iter().all(|one| one.what.contains(said)), "{found:?}");
        }
    }
}
