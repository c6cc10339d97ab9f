//! One incident, its findings, approvals, plans and timeline.

use serde::{Deserialize, Serialize};

use super::{PauseView, PlanUnderWay, ServiceState, WaitsFor, Word, word};
use crate::core::{
    entry::{ByHand, PlanOutcome},
    name::{IncidentId, ServiceName, Version},
    policy::{Finding, Severity},
    saga::StepStatus,
    time::WallTime,
    verdict::{Path, PlanKind, VerdictKind},
};

/// How an incident stands of which there is nothing more to say.
pub const OPEN: &str = "open";

/// The same where its deploy was denied in another one.
const DENIED_BEFORE: &str = "open: a rollback of this deploy was denied in an incident before this one";

/// One incident, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its identity.
    pub id: IncidentId,
    /// Of which service.
    pub service: ServiceName,
    /// When it was opened.
    pub opened_at: WallTime,
    /// When the fault began, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onset: Option<WallTime>,
    /// Who opened it by rolling back by hand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub opened_by: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<WallTime>,
    /// How it ended, or how it stands, in words.
    pub state: String,
    /// The gravest verdict in it.
    pub verdict: VerdictKind,
    /// The gravest severity in it.
    pub severity: Severity,
    /// What was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accused: Option<Version>,
    /// What was found, in order.
    pub findings: Vec<FindingView>,
    /// What waits for a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// Plans, in order.
    pub plans: Vec<PlanView>,
    /// What happened, in order.
    pub timeline: Vec<TimelineView>,
    /// The path to the verdict that opened it, or that rose last.
    pub path: Path,
    /// What it waits for; only a daemon that runs knows this, and what follows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_for: Option<WaitsFor>,
    /// The command by which people who decide in its place would roll back, with every gate that it sets aside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by_hand: Option<String>,
    /// The plan that is under way, and how far it has got.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_under_way: Option<PlanUnderWay>,
    /// What was live when the target was last seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub live: Option<Version>,
    /// Why the last look at the target did not see what is live, if it did not; phrased to follow "failed to".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_unseen: Option<String>,
    /// The pause that its service is under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<PauseView>,
}

impl IncidentView {
    /// The same with what is known of it just now by its service's state.
    #[must_use]
    pub fn just_now(&self, state: &ServiceState) -> Self {
        if state.incident.as_ref() != Some(&self.id) || self.resolved_at.is_some() {
            return self.clone();
        }
        // What was denied in an incident before this one is not in this one's own story.
        let is_denied_before = state.waits_for == Some(WaitsFor::Denied) && self.state == OPEN;
        Self {
            state: if is_denied_before { DENIED_BEFORE } else { &self.state }.to_owned(),
            waits_for: state.waits_for,
            by_hand: state.by_hand.clone(),
            plan_under_way: state.plan_under_way.clone(),
            live: state.release.as_ref().map(|release| release.version.clone()),
            target_unseen: state.target_unseen.clone(),
            paused: state.paused.clone(),
            ..self.clone()
        }
    }
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::Found`")]
pub struct FindingView {
    pub finding: Finding,
    pub severity: Severity,
    pub at: WallTime,
    pub detail: String,
}

/// A rollback that waits for a human, or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::ApprovalRequested`")]
pub struct ApprovalView {
    pub approval: u32,
    pub plan: PlanKind,
    pub version_from: Version,
    pub version_to: Version,
    pub requested_at: WallTime,
    pub expires: WallTime,
    /// open, approved, denied or void.
    #[serde(deserialize_with = "approval_state")]
    pub state: Word,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was denied, or is void.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

fn approval_state<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    word(deserializer, &["open", "approved", "denied", "void"])
}

/// A plan's progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::PlanStarted` and `Fact::PlanEnded`")]
pub struct PlanView {
    pub number: u16,
    pub plan: PlanKind,
    pub version_from: Version,
    pub version_to: Version,
    pub started_at: WallTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<WallTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PlanOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Who ordered it by hand, why, and which gates were overridden.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by_hand: Option<ByHand>,
    /// Who wanted it to end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aborted_by: Option<String>,
    pub steps: Vec<StepView>,
}

/// A step's progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain words")]
pub struct StepView {
    pub title: String,
    pub status: StepStatus,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub note: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<WallTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<WallTime>,
}

/// One line of an incident's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain words")]
pub struct TimelineView {
    pub at: WallTime,
    pub text: String,
}
