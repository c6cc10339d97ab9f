//! One service: its state, what goes on in it, and its deploys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ApprovalView;
use crate::core::{
    answer::Answer,
    entry::PlanOutcome,
    event::Authority,
    gate::GateReport,
    name::{ConditionName, IncidentId, ServiceName, Version},
    policy::{Mode, ReportKind},
    release::{DeploySource, Release, Standing},
    saga::StepStatus,
    time::WallTime,
    verdict::{Path, PlanKind, VerdictKind},
    watch::SignalView,
};

/// One service, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// What is so of it.
    #[serde(flatten)]
    pub now: ServiceState,
    /// What the tree says just now.
    pub verdict: VerdictKind,
    /// The path to it.
    pub path: Path,
    /// Every condition's answer.
    pub conditions: BTreeMap<ConditionName, Answer>,
    /// Every signal's state.
    pub signals: Vec<SignalView>,
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
}

/// What is so of a service just now: the same wherever a service is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Whether Backstop acts by itself here.
    pub mode: Mode,
    /// What is live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<Release>,
    /// Its standing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standing: Option<Standing>,
    /// Whether a rollout is under way.
    pub rolling_out: bool,
    /// The incident that is open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incident: Option<IncidentId>,
    /// What that waits for, where Backstop goes no further by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_for: Option<WaitsFor>,
    /// The command by which people who decide in its place would roll back, with every gate that it sets aside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by_hand: Option<String>,
    /// The plan that is under way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_under_way: Option<PlanUnderWay>,
    /// What waits for a human.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalView>,
    /// Why the last look at the target did not see what is live, if it did not; phrased to follow "failed to".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_unseen: Option<String>,
    /// What holds the target at the live release, against what its own files say, and what undoes that; in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_held: Option<String>,
    /// What the version endpoint says, where it is another version than the live one and no rollout is under way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_says: Option<Version>,
    /// Who paused it, until when and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<PauseView>,
    /// Whose sync a rollback has suspended, and until when, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync_suspended: Option<String>,
    /// Where a rollback would go back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollback_to: Option<Version>,
    /// What is asked before a restart of what fails, gate by gate, while that is what would come first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub restart_gates: Vec<GateReport>,
    /// When this was so.
    pub at: WallTime,
}

/// What an open incident waits for, where Backstop goes no further in it by itself: for an approval, or else for people to
/// decide, because of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Somebody who approves or denies.
    Approval,
    /// The rollback was refused.
    Refused,
    /// Somebody denied it.
    Denied,
    /// It failed, and was undone or changed nothing.
    Failed,
    /// It hangs half-way.
    Stuck,
    /// Somebody deployed meanwhile.
    Overtaken,
    /// Somebody ended it.
    Aborted,
    /// It did not help.
    Persists,
    /// Nobody can tell whether it helped.
    Unverified,
}

impl ServiceState {
    /// That the service says another version than the target, in words, where it does.
    pub fn disagreement(&self) -> Option<String> {
        let (said, live) = (self.service_says.as_ref()?, &self.release.as_ref()?.version);
        Some(format!("the service says {said}, the target {live}: {live} does not soak until they agree"))
    }
}

impl WaitsFor {
    /// After a plan that ended so; nothing after one that helped.
    pub const fn after(outcome: PlanOutcome) -> Option<Self> {
        match outcome {
            PlanOutcome::Verified => None,
            PlanOutcome::Failed => Some(Self::Failed),
            PlanOutcome::Stuck => Some(Self::Stuck),
            PlanOutcome::Overtaken => Some(Self::Overtaken),
            PlanOutcome::Aborted => Some(Self::Aborted),
            PlanOutcome::Persists => Some(Self::Persists),
            PlanOutcome::Unverified => Some(Self::Unverified),
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Approval => "waits for approval",
            Self::Refused => "waits for people: refused",
            Self::Denied => "waits for people: denied",
            Self::Failed => "waits for people: failed",
            Self::Stuck => "waits for people: stuck",
            Self::Overtaken => "waits for people: overtaken",
            Self::Aborted => "waits for people: aborted",
            Self::Persists => "waits for people: persists",
            Self::Unverified => "waits for people: unverified",
        }
    }
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
    /// How far verification has got, while that is its step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verification: Option<VerificationProgress>,
}

/// How far the verification of a plan has got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerificationProgress {
    /// Everything has been healthy for so long without a break, in seconds; 0 where it is not healthy.
    pub healthy_seconds: f64,
    /// So long it must be, in seconds.
    pub healthy_for_seconds: f64,
    /// What stands between the present state and a proof, in words, if anything does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub obstacle: Option<String>,
    /// After so long nothing more is waited for, in seconds.
    pub left_seconds: f64,
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
    /// Whether it is the one of every service.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub of_all: bool,
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

/// A release of which something is known though no deploy of it is: a mark or a pin made before it ever came, or what was
/// measured of one that was live too long ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeployedView {
    /// Which.
    pub version: Version,
    /// What is known of it.
    pub standing: Standing,
    /// Why that is known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why: String,
    /// Who pinned it, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned: Option<PinView>,
}

/// What was live, and what else is known of releases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeploysView {
    /// Newest first.
    pub deploys: Vec<DeployView>,
    /// By version.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub undeployed: Vec<UndeployedView>,
}
