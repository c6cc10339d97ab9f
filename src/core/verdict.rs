//! Verdicts, and the path of questions that led to one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{answer::Answer, name::ConditionName, reading::Reading};

/// What the decision tree says. Ordered by how grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Every answer is no.
    Healthy,
    /// A yes or an unknown that no question handles.
    Monitor,
    /// Ask people whether to roll back.
    Consider,
    /// Roll back.
    RollBack,
}

impl VerdictKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Monitor, Self::Consider, Self::RollBack];

    /// The word as in configuration, API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Monitor => "monitor",
            Self::Consider => "consider",
            Self::RollBack => "roll_back",
        }
    }
}

impl std::fmt::Display for VerdictKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The plans of design §6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "design §6 and the module `plan` describe each")]
pub enum PlanKind {
    Quick,
    Full,
    StopWrites,
    RestartFailing,
    Gather,
}

impl PlanKind {
    /// Every plan.
    pub const ALL: [Self; 5] = [Self::Quick, Self::Full, Self::StopWrites, Self::RestartFailing, Self::Gather];

    /// Whether this version can carry it out. What it cannot is left to people: another plan in its place could make
    /// things worse.
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Quick | Self::RestartFailing | Self::Gather)
    }

    /// Whether it leads back to an older release.
    pub const fn rolls_back(self) -> bool {
        match self {
            Self::Quick | Self::Full | Self::StopWrites => true,
            Self::RestartFailing | Self::Gather => false,
        }
    }

    /// The word as in configuration, API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::StopWrites => "stop_writes",
            Self::RestartFailing => "restart_failing",
            Self::Gather => "gather",
        }
    }
}

impl std::fmt::Display for PlanKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The verdict, small enough to be compared after each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What it says.
    pub kind: VerdictKind,
    /// The plan that the deciding question names.
    pub plan: Option<PlanKind>,
    /// The deciding question's place, counted depth first from the top of the tree.
    pub decided_by: Option<u16>,
    /// A `hold_back_when` fact turned consider into monitor.
    pub held_back: bool,
    /// It would be to roll back, had an operator reported what reporters did.
    pub unconfirmed: bool,
}

/// One question as it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskedQuestion {
    /// The question.
    pub ask: String,
    /// The condition behind it.
    pub when: ConditionName,
    /// Its answer.
    pub answer: Answer,
    /// How deep in `ask_next` lists it stands; 0 at the top.
    pub depth: u8,
    /// What yes leads to: a verdict, or "`ask_next`".
    pub then: String,
    /// Whether this question decided the verdict.
    pub decided: bool,
    /// What its condition saw.
    pub readings: Vec<Reading>,
    /// What would have changed the answer, in words with numbers.
    pub would_change: String,
}

/// The whole way to a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// The verdict.
    pub verdict: VerdictKind,
    /// The plan that the deciding question names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<PlanKind>,
    /// Every question, in order; those after the deciding one too, since people ask.
    pub questions: Vec<AskedQuestion>,
    /// One sentence that says why.
    pub because: String,
}

impl Path {
    /// The question that decided, if one did.
    pub fn deciding(&self) -> Option<&AskedQuestion> {
        self.questions.iter().find(|question| question.decided)
    }
}

/// Since when what the verdict rests on has been so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onset {
    /// Nothing is wrong.
    Nothing,
    /// It was seen healthy before, and this long ago it began.
    Ago(Duration),
    /// It was so when the watch began: nobody knows since when.
    Unknown,
}
