//! One incident, its approvals and its plans.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::{
    entry::{ByHand, PlanOutcome, PlannedStep, StepAction},
    name::{ConditionName, IncidentId, ServiceName, Version},
    operation::{Gathering, StepKey},
    policy::{Finding, Severity},
    saga::StepStatus,
    time::{SteadyTime, WallTime},
    verdict::{Path, PlanKind, VerdictKind},
};

/// Lines that an incident's timeline keeps: how it began and how it ended, each by half.
pub(super) const TIMELINE_LIMIT: usize = 400;

/// Findings that an incident keeps: twice as many as there are kinds of them, and more than a day of one each half hour,
/// as an incident that nobody answers makes. The first half and the latest stay, as in the timeline, and the gravest of
/// each kind.
pub(super) const FINDINGS_LIMIT: usize = 100;

/// Approvals that an incident keeps: a day of one each half hour. The first half and the latest stay, and what was denied.
pub(super) const APPROVALS_LIMIT: usize = 48;

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentRecord {
    /// Its identity.
    pub id: IncidentId,
    /// Of which service.
    pub service: ServiceName,
    /// When it was opened.
    pub opened_at: WallTime,
    /// The same on the journal's time line.
    pub opened: SteadyTime,
    /// When the fault began, if that is known.
    pub onset: Option<WallTime>,
    /// The same on the journal's time line.
    pub began: Option<SteadyTime>,
    /// Who opened it by hand; [`None`] where the verdict did.
    pub opened_by: Option<String>,
    /// When and how it ended.
    pub resolved: Option<(WallTime, String)>,
    /// When it ended, on the journal's time line.
    pub ended: Option<SteadyTime>,
    /// When something was last told of a sync suspended in it, on the same line: that may be long after its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync_told: Option<SteadyTime>,
    /// The gravest verdict in it.
    pub verdict: VerdictKind,
    /// The path to it.
    pub path: Path,
    /// Conditions that said yes in it.
    pub fired: BTreeSet<ConditionName>,
    /// The deploy that was live, and its version.
    pub accused: Option<(u64, Version)>,
    /// What was found, in order: at most 100.
    pub findings: Vec<FindingRecord>,
    /// A refusal was told: from here on only by approval.
    pub refused: bool,
    /// Approvals asked for, in order: at most 48.
    pub approvals: Vec<ApprovalRecord>,
    /// Plans, in order.
    pub plans: Vec<PlanRecord>,
    /// What was gathered for people, or is being gathered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gather: Option<GatherRecord>,
    /// What happened, in order.
    pub timeline: Vec<(WallTime, String)>,
    /// Lines left out of the timeline's middle.
    pub timeline_left_out: u64,
    /// What would have been done, told last, where its service was only observed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub would_have: Option<WouldHaveRecord>,
}

/// What would have been done in an incident of a service that is only observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::WouldHave`")]
pub struct WouldHaveRecord {
    pub verdict: VerdictKind,
    pub what: String,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::Found`")]
pub struct FindingRecord {
    pub finding: Finding,
    pub severity: Severity,
    pub at: WallTime,
    pub detail: String,
}

/// An approval asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::ApprovalRequested`")]
pub struct ApprovalRecord {
    pub number: u32,
    pub plan: PlanKind,
    pub verdict: VerdictKind,
    pub from: Version,
    pub to: Version,
    pub requested_at: WallTime,
    pub expires: WallTime,
    /// The same on the journal's time line.
    pub lapses: SteadyTime,
    pub state: ApprovalState,
    /// Why it was denied, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits.
    Open,
    /// Given, by whom.
    Approved(String),
    /// Refused, by whom.
    Denied(String),
    /// It can no longer be given, because of this.
    Void(String),
}

/// What was gathered for people, or is being gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatherRecord {
    /// When it began.
    pub begun_at: WallTime,
    /// Why.
    pub why: String,
    /// What it came to, or why nothing could be gathered.
    pub ended: Option<Result<Gathering, String>>,
}

/// A plan and its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::PlanStarted`")]
pub struct PlanRecord {
    pub number: u16,
    pub plan: PlanKind,
    pub from: Version,
    pub to: Version,
    pub deploy: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    pub started_at: WallTime,
    /// The same on the journal's time line.
    pub started: SteadyTime,
    pub approved_by: Option<String>,
    pub by_hand: Option<ByHand>,
    /// The gravest verdict in its incident when it began: whether anything accused the release that is rolled back from.
    /// [`None`] where an earlier version of Backstop kept it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<VerdictKind>,
    /// Who wants it to end, and why.
    pub aborted: Option<(String, Option<String>)>,
    /// Its steps.
    pub steps: Vec<StepRecord>,
    /// How it ended, and when.
    pub ended: Option<(WallTime, PlanOutcome)>,
    /// Why it ended so, in words.
    pub ended_why: String,
    /// When something last happened in it.
    pub touched_at: SteadyTime,
}

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// As planned.
    pub planned: PlannedStep,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts begun, undoing included.
    pub attempts: u16,
    /// Attempts at doing that came to their own end and failed.
    pub failures: u16,
    /// The last note.
    pub note: String,
    /// When the first attempt began.
    pub started_at: Option<WallTime>,
    /// When something last became of it.
    pub ended_at: Option<WallTime>,
}

impl IncidentRecord {
    /// Whether it is open.
    pub const fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// The plan that is under way.
    pub fn active_plan(&self) -> Option<&PlanRecord> {
        self.plans.last().filter(|plan| plan.ended.is_none())
    }

    /// Whether Backstop begins no further plan in it: a rollback was begun, or people came between. What fails may be restarted
    /// before that.
    pub fn is_through(&self) -> bool {
        self.plans.iter().any(|plan| {
            let is_left = matches!(plan.ended, Some((_, PlanOutcome::Aborted | PlanOutcome::Overtaken)));
            plan.plan.rolls_back() || is_left
        })
    }

    /// Whether what failed was restarted in it already, whatever came of that.
    pub fn was_restarted(&self) -> bool {
        self.plans.iter().any(|plan| plan.plan == PlanKind::RestartFailing)
    }

    /// The approval that waits.
    pub fn open_approval(&self) -> Option<&ApprovalRecord> {
        self.approvals.last().filter(|approval| approval.state == ApprovalState::Open)
    }

    /// The gravest severity: of the findings, or of the verdict.
    pub fn severity(&self) -> Severity {
        let verdict = verdict_severity(self.verdict);
        self.findings.iter().map(|found| found.severity).fold(verdict, Ord::max)
    }

    /// Whether this was found in it.
    pub fn found(&self, finding: Finding) -> bool {
        self.findings.iter().any(|found| found.finding == finding)
    }

    /// Adds a finding; where there are too many, one from the middle goes of whose kind another that is no less grave stays.
    pub(super) fn note_finding(&mut self, found: FindingRecord) {
        while self.findings.len() >= FINDINGS_LIMIT {
            let middle = FINDINGS_LIMIT / 2;
            let is_told_elsewhere = |&place: &usize| {
                let this = &self.findings[place];
                let others = self.findings.iter().enumerate().filter(|(other, _)| *other != place);
                others
                    .chain([(FINDINGS_LIMIT, &found)])
                    .any(|(_, other)| other.finding == this.finding && other.severity >= this.severity)
            };
            let place = (middle..self.findings.len()).find(is_told_elsewhere).unwrap_or(middle);
            self.findings.remove(place);
        }
        self.findings.push(found);
    }

    /// Adds an approval; where there are too many, one from the middle goes that was not denied: a denial holds.
    pub(super) fn note_approval(&mut self, asked: ApprovalRecord) {
        while self.approvals.len() >= APPROVALS_LIMIT {
            let middle = APPROVALS_LIMIT / 2;
            let may_go = |place: &usize| !matches!(self.approvals[*place].state, ApprovalState::Denied(_));
            let place = (middle..self.approvals.len()).find(may_go).unwrap_or(middle);
            self.approvals.remove(place);
        }
        self.approvals.push(asked);
    }

    pub(super) fn tell(&mut self, at: WallTime, text: String) {
        if self.timeline.len() == TIMELINE_LIMIT {
            self.timeline.remove(TIMELINE_LIMIT / 2);
            self.timeline_left_out += 1;
        }
        self.timeline.push((at, text));
    }
}

/// How grave a verdict is by itself.
pub const fn verdict_severity(verdict: VerdictKind) -> Severity {
    match verdict {
        VerdictKind::RollBack => Severity::S1,
        VerdictKind::Consider => Severity::S2,
        VerdictKind::Monitor | VerdictKind::Healthy => Severity::S3,
    }
}

impl PlanRecord {
    /// Whether something accused the release that it rolls back from before it began. What fails once the plan restarts the
    /// service itself, or once another release is live, accuses that release of nothing.
    pub fn is_accused(&self, incident: &IncidentRecord) -> bool {
        self.verdict.map_or(!incident.fired.is_empty(), |verdict| verdict >= VerdictKind::Consider)
    }

    /// The step that makes the older version live, while it is worked at: begun, and neither done nor undone.
    pub fn switch_under_way(&self) -> Option<&StepRecord> {
        let is_switch = |step: &&StepRecord| {
            matches!(
                step.planned.action,
                StepAction::Operate { operation: crate::core::operation::Operation::Switch { .. } }
            )
        };
        self.steps
            .iter()
            .find(is_switch)
            .filter(|step| self.ended.is_none() && step.status != StepStatus::Pending && !self.is_settled(step))
    }

    /// The first step that still has to be worked at, and its place.
    pub fn current_step(&self) -> Option<(u16, &StepRecord)> {
        let place = self.steps.iter().position(|step| !self.is_settled(step))?;
        Some((u16::try_from(place).expect("plans have few steps"), &self.steps[place]))
    }

    /// Whether it was given up: what remained was left out.
    pub fn is_given_up(&self) -> bool {
        self.steps.iter().any(|step| step.status == StepStatus::Skipped)
    }

    fn is_settled(&self, step: &StepRecord) -> bool {
        match step.status {
            StepStatus::Done | StepStatus::Skipped | StepStatus::Undone | StepStatus::Stuck => true,
            StepStatus::Failed => step.planned.optional || self.is_given_up(),
            StepStatus::Unknown => step.planned.action == StepAction::Verify,
            StepStatus::Pending | StepStatus::Started | StepStatus::Undoing | StepStatus::UndoUnknown => false,
        }
    }

    /// The status of the step that does this.
    pub fn status_of(&self, action: impl Fn(&StepAction) -> bool) -> Option<StepStatus> {
        self.steps.iter().find(|step| action(&step.planned.action)).map(|step| step.status)
    }

    /// The status of the step that makes the older version live.
    pub fn switch_status(&self) -> StepStatus {
        self.status_of(|action| {
            matches!(action, StepAction::Operate { operation: crate::core::operation::Operation::Switch { .. } })
        })
        .unwrap_or_default()
    }

    /// The identity of a step's latest attempt.
    pub fn key(&self, incident: &IncidentId, step: u16) -> StepKey {
        let attempt = self.steps[usize::from(step)].attempts;
        StepKey { incident: incident.clone(), plan: self.number, step, attempt }
    }
}
