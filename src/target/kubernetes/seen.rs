//! From objects to an observation.

use tokio::time::Instant;

use super::{
    clusters::Sight,
    owner::owner,
    pods::{Count, Pod, Unready, pod},
    revision::{self, Revision, Template},
    rollout::{Rollout, rollout},
    workload::{Kind, field, number},
};
use crate::{
    core::{
        name::Version,
        release::{Hindrance, Instances, Observation, Release, Workload},
    },
    target::{AVAILABLE_LIMIT, names::Names},
};

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    unready: Unready,
}

/// What a sight shows live.
pub(super) fn live(sight: &Sight, names: &mut Names) -> Option<Version> {
    revision::template(&sight.workload).map(|template| name(&template, names))
}

fn name(template: &Template, names: &mut Names) -> Version {
    names.name(&template.tag(), &template.content())
}

/// The workload's pods, by name.
pub(super) fn pods(kind: Kind, sight: &Sight) -> Vec<Pod> {
    sight.pods.iter().filter_map(|object| pod(object, kind.revision_label())).collect()
}

impl Seen {
    pub(super) fn unready(&self) -> &Unready {
        &self.unready
    }

    pub(super) fn observe(&mut self, kind: Kind, sight: &Sight, names: &mut Names, now: Instant) -> Observation {
        let revisions = sight.revisions(kind);
        // Oldest first: who was first with a tag has it alone.
        for revision in revisions.iter().rev() {
            name(&revision.template, names);
        }
        let current = revision::current(&sight.workload, &revisions);
        let label = current.map(|revision| revision.pod_label.as_str());
        let pods = pods(kind, sight);
        self.unready.see(&pods, now);
        let is_new = |pod: &&Pod| Some(pod.revision.as_str()) == label;
        let new = self.unready.count(pods.iter().filter(is_new), now);
        let old = self.unready.count(pods.iter().filter(|pod| !is_new(pod)), now);
        let state = rollout(kind, &sight.workload);
        let failing = match &state {
            Rollout::Failed(why) => Some(new.why.clone().map_or_else(|| why.clone(), |pod| format!("{why}; {pod}"))),
            _ if new.failing > 0 && new.ready == 0 => new.why.clone(),
            _ => None,
        };
        let live = revision::template(&sight.workload).map(|template| {
            let digest = same_images(pods.iter().filter(is_new));
            Release { digest, ..release(&template, names) }
        });
        Observation {
            available: available(&revisions, live.as_ref(), names),
            current: live,
            rolling_out: matches!(state, Rollout::UnderWay(_)),
            failing,
            workload: Some(Box::new(Workload {
                hindrances: hindrances(kind, sight, &state, &old, &revisions),
                instances: Instances {
                    wanted: wanted(kind, sight),
                    ready: old.ready + new.ready,
                    failing: old.failing + new.failing,
                    why: new.why.or(old.why),
                },
            })),
            ..Observation::default()
        }
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
fn hindrances(kind: Kind, sight: &Sight, state: &Rollout, old: &Count, revisions: &[Revision]) -> Vec<Hindrance> {
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
    if old.failing > 0
        && let Some(why) = &old.why
        && revisions.len() > 1
    {
        all.push(Hindrance::OlderFailsToo { why: why.clone() });
    }
    all
}

/// The digests that all of these pods run; none where they differ, as while a node still has an older image of the tag.
fn same_images<'a>(mut pods: impl Iterator<Item = &'a Pod>) -> Option<String> {
    let first = &pods.next()?.images;
    (!first.is_empty() && pods.all(|pod| pod.images == *first)).then(|| first.join(","))
}

fn release(template: &Template, names: &mut Names) -> Release {
    Release { configuration: Some(template.content()), ..Release::of(name(template, names)) }
}

fn available(revisions: &[Revision], live: Option<&Release>, names: &mut Names) -> Vec<Release> {
    let mut available: Vec<Release> = Vec::new();
    for revision in revisions {
        let release = release(&revision.template, names);
        let is_known = |known: &Release| known.version == release.version;
        if !live.is_some_and(is_known) && !available.iter().any(is_known) && available.len() < AVAILABLE_LIMIT {
            available.push(release);
        }
    }
    available
}
