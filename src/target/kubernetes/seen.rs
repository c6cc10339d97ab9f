//! From objects to an observation.

use tokio::time::Instant;

use super::{
    clusters::Sight,
    configuration::Kept,
    identity::{Identity, identify, versions},
    owner::owner,
    pods::{Count, Health, Pod, Unready, pod},
    restart,
    revision::{self, Revision},
    rollout::{self, Rollout, rollout},
    settle::Settling,
    ways::{Wanted, way_back},
    workload::{Kind, field, number},
};
use crate::{
    core::{
        name::Version,
        release::{Hindrance, Instances, LiveInstances, Observation, Release, WayBack, Workload},
    },
    target::{AVAILABLE_LIMIT, names::Names},
};

/// What is remembered from look to look.
#[derive(Debug)]
pub(super) struct Seen {
    unready: Unready,
    settling: Settling,
}

/// What is looked at, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) kind: Kind,
    pub(super) sight: &'a Sight,
    pub(super) kept: &'a Kept,
    /// Whether `ConfigMaps` go back too.
    pub(super) restores: bool,
    /// The share of the live release's pods that one plan may delete where they fail.
    pub(super) restart_at_most: f64,
    pub(super) now: Instant,
}

/// The workload's pods, by name.
pub(super) fn pods(kind: Kind, sight: &Sight) -> Vec<Pod> {
    sight.pods.iter().filter_map(|object| pod(object, kind.revision_label())).collect()
}

impl Seen {
    pub(super) fn new(settling: Settling) -> Self {
        Self { unready: Unready::default(), settling }
    }

    /// The release that was told last.
    pub(super) fn told(&self) -> Option<&Version> {
        self.settling.told()
    }

    /// Whether another look would tell more, though nothing has changed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.settling.is_due(now)
    }

    /// What a look comes to; with the release that is live, where that is told.
    pub(super) fn observe(&mut self, look: Look<'_>, names: &mut Names) -> (Observation, Option<Identity>) {
        let Look { kind, sight, now, .. } = look;
        let revisions = sight.revisions(kind);
        // Oldest first: who was first with a tag has it alone.
        for revision in revisions.iter().rev() {
            versions(&revision.template, names);
        }
        let pods = pods(kind, sight);
        self.unready.see(&pods, now);
        // Until the controller has made the new revision, nobody knows which pods are of which release.
        let revision = revision::current(&sight.workload, &revisions);
        let current = revision.map(|current| current.pod_label.as_str());
        let cause = revision.and_then(|current| current.change_cause.clone());
        let is_new = |pod: &&Pod| current == Some(pod.revision.as_str());
        let is_old = |pod: &&Pod| current.is_some() && !is_new(pod);
        let all = self.unready.count(pods.iter(), now);
        let new = self.unready.count(pods.iter().filter(is_new), now);
        // What a lost node does to pods accuses neither release.
        let tells = |pod: &&Pod| self.unready.tells_of_its_release(pod);
        let accused = self.unready.count(pods.iter().filter(is_new).filter(tells), now);
        let old = self.unready.count(pods.iter().filter(is_old).filter(tells), now);
        // The newer release is not to blame for what the older one does as well.
        let old_fails = old.why.clone().filter(|_| old.failing > 0);
        let old_fails = old_fails.or_else(|| self.unready.restarting(pods.iter().filter(is_old), now));
        let state = rollout(kind, &sight.workload);
        let is_through = current.is_some() && rollout::was_completed(kind, &sight.workload);
        let live_instances = is_through.then(|| {
            let of_live: Vec<&Pod> = pods.iter().filter(is_new).collect();
            of_live_release(&of_live, &self.unready, look.restart_at_most, now)
        });
        let failing = match &state {
            Rollout::Failed(why) => Some(new.why.clone().map_or_else(|| why.clone(), |pod| format!("{why}; {pod}"))),
            _ if accused.failing > 0 && new.ready == 0 => accused.why,
            _ => None,
        };
        let identity = identify(sight, names, look.kept);
        if identity.is_err() {
            self.settling.lost();
        }
        let told = identity.and_then(|live| self.settling.tell(&live, now).map(|()| live));
        let (live, untold) = match told {
            Ok(live) => {
                live.keep_name(names);
                (Some(live), None)
            }
            Err(why) => (None, Some(why)),
        };
        let (available, ways_back) = available(look, &revisions, live.as_ref(), names);
        let digest = same_images(pods.iter().filter(is_new));
        let observation = Observation {
            available,
            current: live.as_ref().map(|live| Release { digest, cause, ..live.release() }),
            untold,
            gone: None,
            rolling_out: matches!(state, Rollout::UnderWay(_)),
            failing,
            workload: Some(Box::new(Workload {
                object: sight.workload.metadata.uid.clone(),
                hindrances: hindrances(kind, sight, &state, old_fails, &revisions),
                instances: Instances {
                    wanted: wanted(kind, sight),
                    ready: all.ready,
                    failing: all.failing,
                    why: new.why.or(all.why),
                    live: live_instances,
                },
                ways_back,
                held: None,
                sync: None,
            })),
        };
        (observation, live)
    }
}

/// The pods of a release that was rolled out. Where none serves any more, that is no partial failure, and nothing is waited for.
fn of_live_release(pods: &[&Pod], unready: &Unready, restart_at_most: f64, now: Instant) -> LiveInstances {
    let some_serve = pods.iter().any(|pod| pod.health == Health::Ready);
    let fails = |pod: &Pod| if some_serve { unready.lasting_failure(pod, now) } else { unready.failure(pod, now) };
    let count = Count::of(pods.iter().copied(), fails);
    let all = count.ready + count.starting + count.failing;
    LiveInstances {
        all,
        ready: count.ready,
        failing: count.failing,
        exceeds_restart: f64::from(count.failing) > f64::from(all) * restart_at_most,
        to_restart: restart::chosen(pods, fails, restart_at_most),
    }
}

fn wanted(kind: Kind, sight: &Sight) -> u32 {
    let wanted = match kind {
        Kind::Deployment | Kind::StatefulSet => number(&sight.workload, "/spec/replicas", 1),
        Kind::DaemonSet => number(&sight.workload, "/status/desiredNumberScheduled", 0),
    };
    u32::try_from(wanted).unwrap_or(0)
}

/// What speaks against a rollback, known as soon as the release is there.
fn hindrances(
    kind: Kind,
    sight: &Sight,
    state: &Rollout,
    old_fails: Option<String>,
    revisions: &[Revision],
) -> Vec<Hindrance> {
    let mut all = Vec::new();
    if let Some(owner) = owner(&sight.workload) {
        all.push(Hindrance::Owned { by: owner.to_string(), always: !owner.can_be_acted_past() });
    }
    let mut not_undoable = |why: String| all.push(Hindrance::NotUndoable { why });
    let word = kind.word();
    if field(&sight.workload, "/spec/paused").and_then(serde_json::Value::as_bool) == Some(true) {
        not_undoable(format!("the {word} is paused, so that nothing would roll out: `kubectl rollout resume {word}`"));
    }
    if *state == Rollout::ByHand {
        not_undoable("its update strategy is OnDelete, so that its pods would go on running what they run".to_owned());
    }
    if number(&sight.workload, "/spec/revisionHistoryLimit", 10) == 0 {
        not_undoable("it keeps no revisions: revisionHistoryLimit is 0".to_owned());
    }
    if let Some(why) = old_fails.filter(|_| revisions.len() > 1) {
        all.push(Hindrance::OlderFailsToo { why });
    }
    all
}

/// The digests that all of these pods run; none where they differ, as while a node still has an older image of the tag.
fn same_images<'a>(mut pods: impl Iterator<Item = &'a Pod>) -> Option<String> {
    let first = &pods.next()?.images;
    (!first.is_empty() && pods.all(|pod| pod.images == *first)).then(|| first.join(","))
}

/// The releases that revisions are there for, newest first, but for the live one; with what going back to each comes to,
/// where that is not the whole of it.
fn available(
    look: Look<'_>,
    revisions: &[Revision],
    live: Option<&Identity>,
    names: &mut Names,
) -> (Vec<Release>, Vec<WayBack>) {
    let (mut available, mut ways): (Vec<Release>, Vec<WayBack>) = (Vec::new(), Vec::new());
    // While what is live is not told, what has its template may be it.
    let untold = revision::template(&look.sight.workload).filter(|_| live.is_none()).map(|one| one.content());
    for revision in revisions.iter().filter(|revision| untold.as_deref() != Some(&revision.template.content())) {
        for version in versions(&revision.template, names).into_iter().rev() {
            let is_known = live.is_some_and(|live| live.version == version)
                || available.iter().any(|known| known.version == version);
            let Some(content) = names.content(&version).filter(|_| !is_known && available.len() < AVAILABLE_LIMIT)
            else {
                continue;
            };
            if let Some(live) = live {
                let is_same_template = revision.template.content() == live.template.content();
                let wanted = Wanted { version: &version, content, is_same_template };
                ways.extend(way_back(wanted, live, look.sight, look.kept, look.restores));
            }
            let configuration = Some(content.to_owned());
            available.push(Release { configuration, ..Release::of(version) });
        }
    }
    (available, ways)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pod(name: &str, health: Health) -> Pod {
        Pod {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            resource_version: None,
            revision: "a".to_owned(),
            health,
            restarts: 0,
            images: Vec::new(),
        }
    }

    /// So many of so many fail since so long; so many of them are told to fail, and whether that is more than may be restarted.
    #[tokio::test]
    async fn few_that_fail_count_once_they_have_failed_for_a_while() {
        for (failing, all, seconds, told, exceeds) in [
            (1, 101, 29, 0, false),
            (1, 101, 30, 1, false),
            (30, 100, 30, 30, false),
            (31, 100, 30, 31, true),
            (1, 2, 30, 1, true),
            (1, 4, 30, 1, false),
            (2, 4, 30, 2, true),
            // None serves any more.
            (2, 2, 0, 2, true),
        ] {
            let health = |place: usize| {
                if place < failing { Health::Failing("CrashLoopBackOff".to_owned()) } else { Health::Ready }
            };
            let pods: Vec<Pod> = (0..all).map(|place| pod(&format!("p{place:03}"), health(place))).collect();
            let (mut unready, began) = (Unready::default(), Instant::now());
            unready.see(&pods, began);
            let seen =
                of_live_release(&pods.iter().collect::<Vec<_>>(), &unready, 0.3, began + Duration::from_secs(seconds));
            assert_eq!((seen.failing, seen.exceeds_restart), (told, exceeds), "{failing} of {all}, {seconds} s");
            assert_eq!(seen.to_restart.is_empty(), told == 0);
            assert_eq!(usize::try_from(seen.all), Ok(all));
        }
    }
}
