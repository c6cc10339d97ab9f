//! Finished views for readers: the API, the command line, metrics. Plain data; rendered by the core when asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    entry::{ByHand, PlanOutcome},
    event::Authority,
    gate::{Gate, GateReport},
    name::{ConditionName, IncidentId, ServiceName, Version},
    policy::{Finding, Mode, ReportKind, Severity},
    release::{DeploySource, Release, Standing},
    saga::StepStatus,
    time::WallTime,
    verdict::{Path, PlanKind, VerdictKind},
    watch::SignalView,
};

/// One of a few words that are fixed in the source. An alias, because derived decoding takes a field that is written as a
/// reference for one that borrows from its input.
pub type Word = &'static str;

/// Reads a word back; one that this build does not know (the daemon may be newer) becomes "unknown".
pub(crate) fn word<'de, D: serde::Deserializer<'de>>(deserializer: D, known: &[Word]) -> Result<Word, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(known.iter().copied().find(|&word| word == text).unwrap_or("unknown"))
}

fn approval_state<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    word(deserializer, &["open", "approved", "denied", "void"])
}

/// One service, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Whether Backstop acts by itself here.
    pub mode: Mode,
    /// What the tree says just now.
    pub verdict: VerdictKind,
    /// The path to it.
    pub path: Path,
    /// What is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Its standing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Whether a rollout is under way.
    pub rolling_out: bool,
    /// Every condition's answer.
    pub conditions: BTreeMap<ConditionName, Answer>,
    /// Every signal's state.
    pub signals: Vec<SignalView>,
    /// The incident that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The plan that is under way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_under_way: Option<PlanUnderWay>,
    /// What waits for a human.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalView>,
    /// Why the last look at the target did not see what is live, if it did not; phrased to follow "failed to".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_unseen: Option<String>,
    /// Who paused it, until when and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// Pinned versions.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub pins: Vec<PinView>,
    /// Reports that count.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reports: Vec<ReportView>,
    /// The last verification without a plan.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verification: Option<VerificationView>,
    /// Whether a rollback would be possible just now, gate by gate.
    pub gates: Vec<GateReport>,
    /// Where it would go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<Version>,
    /// When this view was made.
    pub at: WallTime,
}

/// A plan under way, and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanUnderWay {
    /// The incident that it belongs to.
    pub incident: IncidentId,
    /// Its number in that incident.
    pub number: u16,
    /// Which plan.
    pub plan: PlanKind,
    /// From which version.
    pub version_from: Version,
    /// To which.
    pub version_to: Version,
    /// The step that it is at, counted from 1.
    pub step: u16,
    /// Of so many.
    pub steps: u16,
    /// What that step is called.
    pub title: String,
    /// Where it stands.
    pub status: StepStatus,
    /// Nothing has become of it for so long, in seconds.
    pub seconds: f64,
    /// Who wants the plan to end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aborted_by: Option<String>,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    /// Until when; absent: until resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<WallTime>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// One deploy, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployView {
    /// Counts up in each service.
    pub number: u64,
    /// What became live.
    pub release: Release,
    /// When that was noticed.
    pub at: WallTime,
    /// How.
    pub source: DeploySource,
    /// Who, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What is known of the release.
    pub standing: Standing,
    /// Why that is known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why: String,
    /// Whether it is the live one.
    pub live: bool,
    /// Who pinned its version, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned: Option<PinView>,
}

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

/// A report that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::Reported`")]
pub struct ReportView {
    pub kind: ReportKind,
    pub at: WallTime,
    pub by: String,
    pub authority: Authority,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// It counts until then.
    pub expires: WallTime,
}

/// A pinned version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::Pinned`")]
pub struct PinView {
    pub version: Version,
    pub at: WallTime,
    pub by: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// The last verification without a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the same fields as `Fact::VerificationBegun` and `Fact::VerificationEnded`")]
pub struct VerificationView {
    pub number: u64,
    pub by: String,
    pub version: Version,
    pub began: WallTime,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<WallTime>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<PlanOutcome>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub note: String,
    /// Whether another deploy has become live since.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub overtaken: bool,
}

/// What the daemon says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct DaemonView {
    /// Pages that wait for a channel.
    pub outbox_depth: usize,
    /// Age of the oldest of them, in seconds.
    pub outbox_oldest_age_seconds: f64,
    /// Why the journal cannot be written, while it cannot.
    pub store_failing: Option<String>,
    /// Why the watchdog's own network is ill, while it is.
    pub observer_impaired: Option<String>,
    /// Why the configuration on disk is not the one in force, where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub configuration: Option<String>,
    /// Samples that came too late for their window.
    pub late_samples: u64,
    /// The pause of all services.
    pub paused: Option<PauseView>,
}
