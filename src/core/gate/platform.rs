//! What a platform says about a rollback: who owns the object, whether it can be undone, and which side of a rollout fails.

use super::Situation;
use crate::core::{
    answer::Answer,
    name::Version,
    policy::GitopsPolicy,
    release::{Hindrance, Observation},
};

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
        match (owned, self.policy.gates.gitops) {
            (None, _) => (Answer::Yes, "no other controller is seen to own it".to_owned()),
            (Some((by, false)), GitopsPolicy::Act) => {
                (Answer::Yes, format!("{by} owns it and may put it back; gates.gitops says to act all the same"))
            }
            (Some((by, _)), _) => (Answer::No, format!("{by} owns it, and would put it back: roll back there")),
        }
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
