//! The version endpoint and the target disagree: what runs is another release than the one that is live by the target, as
//! after a switch without a restart.

use std::time::Duration;

use super::{
    service::{Service, rollout_since},
    sight::same_version,
    turn::Turn,
};
use crate::core::{
    durable::{IncidentRecord, Rollout},
    name::Version,
    time::Now,
};

/// Told after this: a restart that comes a little after the switch, and instances that are exchanged one by one, have long
/// had their time by then, since it begins only when the rollout is over.
const TOLD_AFTER: Duration = Duration::from_secs(60);

/// What was measured until so short ago is still that of the release before: the endpoint may have told of a new one before
/// any look did.
const LASTING: Duration = Duration::from_secs(10);

impl Service {
    /// What the version endpoint says since the live release's rollout began, where that is another version and the rollout
    /// is over. While a plan is under way that is for its own steps to judge.
    pub(super) fn contradiction(&self, turn: &Turn<'_>) -> Option<&Version> {
        if !self.policy.checks_version
            || turn.open_incident(&self.name).is_some_and(|one: &IncidentRecord| one.active_plan().is_some())
        {
            return None;
        }
        let live = turn.record(&self.name).live().filter(|live| live.rollout != Rollout::UnderWay)?;
        let since = rollout_since(&self.rollout, live, turn.now, turn.steady());
        let said = self.sight.live_version_after(since)?;
        (!same_version(said, &live.deploy.release.version)).then_some(said)
    }

    /// Keeps since when they disagree.
    pub(super) fn follow_contradiction(&mut self, turn: &Turn<'_>) {
        let disagrees = self.contradiction(turn).is_some();
        self.contradicted_since = disagrees.then(|| self.contradicted_since.unwrap_or(turn.now.boot));
    }

    /// Whether they have disagreed for so long that nothing which was measured lately is the live release's.
    pub(super) fn is_contradicted(&self, now: Now) -> bool {
        self.contradicted_since.is_some_and(|since| now.boot.since(since) >= LASTING)
    }

    /// What people are told of it, once it has lasted.
    pub(super) fn told_contradiction(&self, turn: &Turn<'_>) -> Option<String> {
        self.contradicted_since.filter(|since| turn.now.boot.since(*since) >= TOLD_AFTER)?;
        let said = self.contradiction(turn)?;
        let live = &turn.record(&self.name).live()?.deploy.release.version;
        Some(format!("the service says {said}, the target {live}: was it restarted after the switch?"))
    }
}
