//! What a platform says about a rollback: who owns the object, whether it can be undone, and which side of a rollout fails.

use super::Situation;
use crate::core::{
    answer::Answer,
    durable::{SuspensionRecord, SuspensionStage},
    name::Version,
    policy::GitopsPolicy,
    release::{GitSync, Hindrance, Observation, SyncState},
};

/// What a controller whose sync can be suspended means for a rollback.
fn suspendable(sync: &GitSync) -> (Answer, String) {
    let owner = &sync.owner;
    match &sync.state {
        SyncState::Active => (Answer::Yes, format!("{owner} owns it: its sync is suspended before the rollback")),
        SyncState::ByHand => (Answer::Yes, format!("{owner} owns it, and does not sync by itself just now")),
        SyncState::Suspended { incident, .. } => {
            (Answer::Yes, format!("{owner} owns it, and its sync has been suspended since incident {incident}"))
        }
        SyncState::Lifted { incident, .. } => {
            let why = format!(
                "{owner} owns it, and somebody turned its sync on again after incident {incident} had suspended it: roll \
                 back there; its annotation backstop.io/sync-before keeps Backstop from suspending it again"
            );
            (Answer::No, why)
        }
        SyncState::Unseen { why } => {
            (Answer::Unknown, format!("{owner} owns it, and whether it syncs cannot be seen: failed to {why}"))
        }
    }
}

impl Situation<'_> {
    fn hindrances(&self) -> Option<&[Hindrance]> {
        self.observation.map(Observation::hindrances)
    }

    pub(super) fn not_owned(&self) -> (Answer, String) {
        let Some(hindrances) = self.hindrances() else { return (Answer::Unknown, self.not_seen()) };
        let owned = hindrances.iter().find_map(|one| match one {
            Hindrance::Owned { by, always } => Some((by, *always)),
            _ => None,
        });
        let sync = self.observation.and_then(Observation::sync);
        if let (GitopsPolicy::Suspend, Some(sync)) = (self.policy.gates.gitops, sync) {
            return self.overruled(sync).unwrap_or_else(|| suspendable(sync));
        }
        match (owned, self.policy.gates.gitops) {
            (None, _) => (Answer::Yes, "no other controller is seen to own it".to_owned()),
            (Some((by, false)), GitopsPolicy::Act) => {
                (Answer::Yes, format!("{by} owns it and may put it back; gates.gitops says to act all the same"))
            }
            (Some((by, _)), GitopsPolicy::Suspend) => {
                (Answer::No, format!("{by} owns it, and has no sync that could be suspended: roll back there"))
            }
            (Some((by, _)), _) => (Answer::No, format!("{by} owns it, and would put it back: roll back there")),
        }
    }

    /// Whether somebody turned a suspended sync on, whatever is left of that on the owner.
    fn overruled(&self, sync: &GitSync) -> Option<(Answer, String)> {
        let is_not_held = |one: &&SuspensionRecord| one.stage == SuspensionStage::NotHeld;
        let SuspensionRecord { incident, from, .. } = self.record.suspension.as_ref().filter(is_not_held)?;
        if matches!(sync.state, SyncState::Unseen { .. }) {
            return None;
        }
        let why = format!(
            "{} owns it, and somebody turned its sync on after incident {incident} had suspended it: it is not suspended \
             again until Git is known to have left {from}: roll back there",
            sync.owner
        );
        Some((Answer::No, why))
    }

    pub(super) fn undoable(&self, to: Option<&Version>) -> (Answer, String) {
        let Some(hindrances) = self.hindrances() else { return (Answer::Unknown, self.not_seen()) };
        let way = to.and_then(|to| self.observation?.way_back(to));
        let why = hindrances.iter().filter_map(|one| match one {
            Hindrance::NotUndoable { why } => Some(why.as_str()),
            _ => None,
        });
        let mut why = why.chain(way.and_then(|way| way.hindered.as_deref()));
        match (why.next(), way.and_then(|way| way.leaves.as_deref())) {
            (None, None) => (Answer::Yes, "the target can be undone".to_owned()),
            (None, Some(leaves)) => (Answer::Yes, format!("the target can be undone, but {leaves}")),
            (Some(first), _) => (Answer::No, why.fold(first.to_owned(), |all, more| format!("{all}; {more}"))),
        }
    }

    pub(super) fn only_the_new_fails(&self) -> (Answer, String) {
        let Some(hindrances) = self.hindrances() else { return (Answer::Unknown, self.not_seen()) };
        let older = hindrances.iter().find_map(|one| match one {
            Hindrance::OlderFailsToo { why } => Some(why),
            _ => None,
        });
        match older {
            None => (Answer::Yes, "no instance of an older release is seen to fail".to_owned()),
            Some(why) => {
                (Answer::No, format!("the older release fails as well, so that the new one is not to blame: {why}"))
            }
        }
    }
}
