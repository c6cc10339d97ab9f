//! What the journal says of a plan: who ordered it, its steps, what becomes of them, and how it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::{gate::Gate, name::Version, operation::Operation};

/// Who ordered a rollback, and what that person knew and set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// Who.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Gates that did not say yes, and were overridden by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub overridden: Vec<Gate>,
}

impl ByHand {
    /// Who ordered it, why, and what was set aside.
    pub fn words(&self) -> String {
        let mut said = format!("ordered by {}", self.by);
        if let Some(reason) = &self.reason {
            said += &format!(" ({reason})");
        }
        if !self.overridden.is_empty() {
            let gates: Vec<_> = self.overridden.iter().map(|gate| gate.as_str()).collect();
            said += &format!("; overridden: {}", gates.join(", "));
        }
        said
    }
}

/// One step of a plan, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What it is called on pages, as in "roll back the target".
    pub title: String,
    /// What is done.
    pub action: StepAction,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// What undoes it, where something does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undo: Option<Operation>,
    /// The plan goes on when it fails: verification tells what came of it.
    #[serde(default)]
    pub optional: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a plan has a handful of them")]
pub enum StepAction {
    /// An operation on the world.
    Operate {
        /// Which.
        operation: Operation,
    },
    /// Every critical probe passes once after the step began.
    CheckHealth,
    /// The version endpoint says so.
    CheckVersion {
        /// What it must say.
        version: Version,
    },
    /// Watch until what fired is clear, and stays so.
    Verify,
    /// Put the rollback into the history file; what it says is known only by then.
    Record,
}

/// What can happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEvent {
    /// An attempt begins; durable before its effect.
    Started,
    /// It is so.
    Succeeded,
    /// It is not so.
    Failed,
    /// Nobody knows.
    BecameUnknown,
    /// It was left out.
    Skipped,
    /// An attempt at undoing it begins; durable before its effect.
    UndoStarted,
    /// It is as it was before.
    Undone,
    /// It could not be undone.
    UndoFailed,
}

/// How a plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// Rolled back, and everything that fired is clear.
    Verified,
    /// Rolled back, and it is still so.
    Persists,
    /// Rolled back, and nobody knows whether it helped.
    Unverified,
    /// Not rolled back; what was done is undone.
    Failed,
    /// A step can neither be finished nor undone.
    Stuck,
    /// Ended because a human or a deploy came between.
    Overtaken,
    /// Ended safely because a person wanted it so.
    Aborted,
}

impl PlanOutcome {
    /// Every outcome.
    pub const ALL: [Self; 7] =
        [Self::Verified, Self::Persists, Self::Unverified, Self::Failed, Self::Stuck, Self::Overtaken, Self::Aborted];

    /// The word as in API, metrics and history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Persists => "persists",
            Self::Unverified => "unverified",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::Overtaken => "overtaken",
            Self::Aborted => "aborted",
        }
    }
}

/// What is decided about a plan that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A rollback begins.
    RollBack,
    /// A restart of what fails begins.
    Restart,
    /// A human is asked.
    Ask,
    /// Nothing begins: it is held, or left to people.
    Hold,
}
