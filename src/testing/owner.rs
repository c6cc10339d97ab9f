//! A GitOps controller that owns a simulated target: it puts back what Git holds, unless its sync is off.

use std::{collections::BTreeSet, time::Duration};

use crate::core::{
    name::IncidentId,
    operation::{Operation, OperationOutcome, StepKey},
    release::{GitState, GitSync, SyncState},
    sample::Reason,
    time::BootTime,
};

/// How the world of an owned target goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GitOps {
    /// The controller compares what is live with what Git holds also while its sync is off.
    pub compares: bool,
    /// A parent comes between so long after a suspension, if at all.
    pub reverted_after: Option<Duration>,
    /// What it does.
    pub parent: Parent,
    /// Git goes back to the first release so long after a suspension, if at all.
    pub left_after: Option<Duration>,
}

/// What a parent of the controller's object does to a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// It turns the sync on.
    TurnsOn,
    /// It makes the whole object what it was, annotations too.
    Replaces,
    /// It takes away the annotations that are not its own, and leaves the sync off.
    Forgets,
}

/// What is written on the controller's object.
#[derive(Debug, Clone)]
struct Before {
    incident: IncidentId,
    plan: u16,
    commit: u64,
    at: BootTime,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Owner {
    plan: GitOps,
    /// The release that Git holds, and the commit that brought it.
    git: usize,
    commit: u64,
    is_on: bool,
    before: Option<Before>,
    /// Plans whose suspension was reverted.
    reverted: BTreeSet<(IncidentId, u16)>,
    /// The last commit at which one was turned on by somebody else.
    reverted_at: Option<u64>,
    /// It is off since we turned it off, and nothing is written there any more.
    is_forgotten: bool,
    /// Since when Git is known to have left what it held when the sync was suspended.
    pub(super) left_since: Option<BootTime>,
    /// What was asked of it and must not be.
    pub(super) wrong: Option<String>,
}

impl Owner {
    pub(super) const fn new(plan: GitOps) -> Self {
        Self {
            plan,
            git: 0,
            commit: 1,
            is_on: true,
            before: None,
            reverted: BTreeSet::new(),
            reverted_at: None,
            is_forgotten: false,
            left_since: None,
            wrong: None,
        }
    }

    /// What parents and people do by `now`.
    pub(super) fn pass(&mut self, now: BootTime) {
        let Some(before) = self.before.clone() else { return };
        let is_due = |after: Option<Duration>| after.is_some_and(|after| now >= before.at.after(after));
        if !self.is_on && is_due(self.plan.reverted_after) {
            self.plan.reverted_after = None;
            if self.plan.parent != Parent::TurnsOn {
                // Nobody can tell any more.
                (self.before, self.left_since) = (None, None);
            }
            if self.plan.parent == Parent::Forgets {
                self.is_forgotten = true;
            } else {
                self.is_on = true;
                self.reverted_at = Some(self.commit);
                self.reverted.insert((before.incident, before.plan));
            }
        }
        if is_due(self.plan.left_after) {
            self.plan.left_after = None;
            self.commit(0);
        }
    }

    /// A commit: Git holds this release from now on.
    pub(super) const fn commit(&mut self, release: usize) {
        self.git = release;
        self.commit += 1;
    }

    /// What it would make live in the place of what is.
    pub(super) fn puts_back(&self, current: usize) -> Option<usize> {
        (self.is_on && current != self.git).then_some(self.git)
    }

    /// Whether anybody but Backstop ever turned it on.
    pub(super) fn was_reverted(&self) -> bool {
        !self.reverted.is_empty()
    }

    pub(super) const fn syncs(&self) -> bool {
        self.is_on
    }

    /// Whether Backstop has suspended it, and it is off.
    pub(super) const fn is_suspended(&self) -> bool {
        !self.is_on && (self.before.is_some() || self.is_forgotten)
    }

    /// Carries out an operation on its sync.
    pub(super) fn operate(
        &mut self,
        key: &StepKey,
        operation: &Operation,
        current: usize,
        now: BootTime,
    ) -> Result<(), OperationOutcome> {
        self.pass(now);
        match operation {
            Operation::SuspendSync { .. } if self.before.is_some() && self.is_on => {
                return Err(OperationOutcome::Failed(Reason::new("somebody turned it on again")));
            }
            Operation::SuspendSync { .. } if self.is_on => {
                // One of which nothing was heard is tried again, where nothing there says that it had been done.
                let is_retried = key.attempt > 1 && self.reverted.contains(&(key.incident.clone(), key.plan));
                if !is_retried && self.reverted_at == Some(self.commit) {
                    self.wrong = Some(format!("{key}: suspended a second time after somebody had turned it on"));
                }
                self.is_on = false;
                self.left_since = None;
                let (incident, plan, commit) = (key.incident.clone(), key.plan, self.commit);
                self.before = Some(Before { incident, plan, commit, at: now });
            }
            Operation::ResumeSync { .. } if self.is_forgotten => {
                return Err(OperationOutcome::Failed(Reason::new("it is off, and what it was is not written there")));
            }
            Operation::ResumeSync { .. } => {
                let Some(before) = self.before.take() else { return Ok(()) };
                if !self.is_on && before.commit == self.commit && current != self.git {
                    self.wrong = Some(format!("{key}: resumed while Git still holds what was rolled back from"));
                }
                self.is_on = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What a look shows of it.
    pub(super) fn look(&mut self, current: usize, now: BootTime) -> GitSync {
        let state = match &self.before {
            None if self.is_on => SyncState::Active,
            None => SyncState::ByHand,
            Some(before) => {
                let git = if before.commit == self.commit {
                    GitState::Holds
                } else {
                    let revision = format!("c{}", self.commit);
                    match (self.plan.compares || self.is_on, current == self.git) {
                        (false, _) => GitState::Fetched { revision },
                        (true, true) => GitState::Left { revision, compared: None },
                        (true, false) => GitState::Moved { revision },
                    }
                };
                let has_left = matches!(git, GitState::Left { .. });
                self.left_since = if has_left { Some(self.left_since.unwrap_or(now)) } else { None };
                let incident = before.incident.clone();
                if self.is_on { SyncState::Lifted { incident, git } } else { SyncState::Suspended { incident, git } }
            }
        };
        GitSync { owner: "the simulated controller".to_owned(), state, was: None }
    }
}
