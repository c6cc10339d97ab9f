//! What a rollback by hand would do.

use serde::{Deserialize, Serialize};

use super::PlanUnderWay;
use crate::core::{
    answer::Answer,
    gate::Gate,
    name::{ServiceName, Version},
    verdict::PlanKind,
};

/// What a rollback by hand would do just now. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackPreview {
    /// Of which service.
    pub service: ServiceName,
    /// From which version.
    pub version_from: Version,
    /// To which; absent where there is nothing to go back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_to: Option<Version>,
    /// By which plan.
    pub plan: PlanKind,
    /// Whether it would begin.
    pub possible: bool,
    /// The plan that is under way, and that it would have to wait for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_under_way: Option<PlanUnderWay>,
    /// By which command it would begin although it is refused, if by any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub all_the_same: Option<String>,
    /// What the target has beside what is live, where there is nothing to go back to and nothing else was named.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub available: Vec<Version>,
    /// Every gate.
    pub gates: Vec<GatePreview>,
    /// Every step.
    pub steps: Vec<StepPreview>,
}

/// What a gate says to a rollback by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the first three are the fields of `GateReport`")]
pub struct GatePreview {
    pub gate: Gate,
    pub answer: Answer,
    pub why: String,
    /// Whether it binds a person here.
    pub binds: bool,
    /// Whether it may be overridden by name.
    pub can_be_overridden: bool,
    /// Whether the order overrides it.
    pub overridden: bool,
}

impl GatePreview {
    /// Whether it holds the rollback.
    pub fn holds(&self) -> bool {
        self.binds && !self.overridden && self.answer != Answer::Yes
    }
}

/// A step of a plan that was not begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPreview {
    /// What it is called.
    pub title: String,
    /// How long one attempt may take, in seconds.
    pub deadline_seconds: f64,
    /// What undoes it, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undo: Option<String>,
    /// The plan goes on when it fails.
    pub optional: bool,
}
