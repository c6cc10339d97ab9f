//! The sync of a GitOps controller that is suspended for a rollback: from the first attempt at it until it is on again.

use serde::{Deserialize, Serialize};

use super::{
    Durable,
    apply::{Fold, FoldError},
};
use crate::core::{
    entry::{Fact, PlanOutcome, StepAction, StepEvent},
    name::{IncidentId, ServiceName, Version},
    operation::{Attempt, Operation},
    saga::StepStatus,
    time::{SteadyTime, WallTime},
};

/// A sync that is suspended, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspensionRecord {
    /// In which incident.
    pub incident: IncidentId,
    /// By which plan of it.
    pub plan: u16,
    /// By which step of that.
    pub step: u16,
    /// Whose sync, in words.
    pub owner: String,
    /// A merge patch, as JSON, that makes it what it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<String>,
    /// What was rolled back from: Git has to leave it.
    pub from: Version,
    /// What was rolled back to.
    pub to: Version,
    /// Since when.
    pub at: WallTime,
    /// The same on the journal's time line.
    pub began: SteadyTime,
    /// Attempts at turning it on after its plan.
    pub attempts: u16,
    /// One of them was begun since the last rollback: that it is on is our doing then.
    pub resuming: bool,
    /// When the plan ended that rolled back: what the controller compared before that says nothing of what is live since.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_since: Option<WallTime>,
    /// What has to become of it.
    pub stage: SuspensionStage,
}

/// What has to become of a suspended sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspensionStage {
    /// Its plan is under way.
    InPlan,
    /// It stays off until Git has left what was rolled back from.
    Held,
    /// Nothing was rolled back: it is to be turned on again.
    ToBeResumed,
    /// Somebody turned it on against the rollback. That was told, nothing more is done, and it is not suspended for another
    /// rollback until Git has left what was rolled back from.
    NotHeld,
}

impl SuspensionStage {
    /// In words, to follow "the sync of its owner".
    pub const fn words(self) -> &'static str {
        match self {
            Self::InPlan => "is suspended for the rollback under way",
            Self::Held => "is suspended until Git has left",
            Self::ToBeResumed => "is still suspended, and is to be resumed",
            Self::NotHeld => "was turned on by somebody before Git was known to have left",
        }
    }
}

impl Fold<'_> {
    pub(super) fn sync_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        let (id, text) = match fact {
            Fact::SyncResuming { .. } => {
                if let Some(suspension) = &mut self.service()?.suspension {
                    suspension.attempts = suspension.attempts.saturating_add(1);
                    suspension.resuming = true;
                }
                return Ok(());
            }
            Fact::SyncResumed { incident, how } => {
                self.service()?.suspension = None;
                (incident, format!("no sync is suspended for it any more: {how}"))
            }
            Fact::SyncNotHeld { incident, why } => {
                if let Some(suspension) = &mut self.service()?.suspension {
                    suspension.stage = SuspensionStage::NotHeld;
                    suspension.resuming = false;
                }
                (incident, format!("the suspension did not hold: {why}"))
            }
            Fact::SyncLeft { incident, why } => {
                self.service()?.suspension = None;
                (incident, format!("its sync is left to people: {why}"))
            }
            _ => unreachable!("dispatched by `fact`"),
        };
        let told = self.steady;
        // It may be forgotten by now.
        if let Ok(incident) = self.incident(id) {
            incident.tell(at, text);
            incident.sync_told = Some(told);
        }
        Ok(())
    }

    /// What a step that turns a sync off, or on again, means for it.
    pub(super) fn sync_by_step(
        &mut self,
        (incident, plan, step): (&IncidentId, u16, u16),
        event: StepEvent,
    ) -> Result<(), FoldError> {
        let (at, began) = (self.at, self.steady);
        let record = self.plan(incident, plan)?;
        let planned = &record.steps[usize::from(step)].planned;
        let StepAction::Operate { operation: Operation::SuspendSync { owner, was } } = &planned.action else {
            return Ok(());
        };
        match event {
            StepEvent::Started => {
                let (owner, was) = (owner.clone(), was.clone());
                let (from, to) = (record.from.clone(), record.to.clone());
                let incident = incident.clone();
                let record = self.service()?;
                let suspended = SuspensionRecord {
                    incident,
                    plan,
                    step,
                    owner,
                    was,
                    from,
                    to,
                    at,
                    began,
                    attempts: 0,
                    resuming: false,
                    held_since: None,
                    stage: SuspensionStage::InPlan,
                };
                let known = &mut record.suspension;
                // Another attempt of the same plan goes on with what the first one began.
                if !known.as_ref().is_some_and(|known| known.is_of(&suspended.incident, plan)) {
                    *known = Some(suspended);
                }
            }
            StepEvent::Undone => {
                self.service()?.suspension.take_if(|one| one.is_of(incident, plan));
            }
            _ => {}
        }
        Ok(())
    }

    /// What the end of a plan means for a suspended sync, its own or one from before.
    pub(super) fn sync_at_end(
        &mut self,
        incident: &IncidentId,
        plan: u16,
        outcome: PlanOutcome,
    ) -> Result<(), FoldError> {
        let record = self.plan(incident, plan)?;
        let (from, to) = (record.from.clone(), record.to.clone());
        let switch = record.switch_status();
        let at = self.at;
        let Some(suspension) = &mut self.service()?.suspension else { return Ok(()) };
        let is_own = suspension.is_of(incident, plan);
        let has_changed = switch.may_have_changed_the_world();
        if has_changed {
            // To turn it on now would put back what was rolled back from.
            suspension.stage = SuspensionStage::Held;
            suspension.resuming = false;
            suspension.held_since = Some(at);
            (suspension.from, suspension.to) = (from, to);
        } else if is_own {
            // Who came between has changed what Git would put back.
            let is_anothers = outcome == PlanOutcome::Overtaken && switch != StepStatus::Undone;
            suspension.stage = if is_anothers { SuspensionStage::Held } else { SuspensionStage::ToBeResumed };
        }
        Ok(())
    }
}

impl Durable {
    /// Whether an operation turns on a sync whose plan is over, and no other plan has begun since.
    pub fn resumes_sync(&self, attempt: &Attempt) -> bool {
        let key = &attempt.key;
        let is_its = |one: &SuspensionRecord| {
            one.is_of(&key.incident, key.plan) && one.step == key.step && one.stage != SuspensionStage::InPlan
        };
        let is_idle = |name: &ServiceName| self.open_incident(name).is_none_or(|open| open.active_plan().is_none());
        matches!(attempt.operation, Operation::ResumeSync { .. })
            && self
                .services
                .iter()
                .any(|(name, record)| record.suspension.as_ref().is_some_and(is_its) && is_idle(name))
    }
}

impl SuspensionRecord {
    fn is_of(&self, incident: &IncidentId, plan: u16) -> bool {
        self.incident == *incident && self.plan == plan
    }
}
