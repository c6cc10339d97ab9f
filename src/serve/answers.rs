//! What the API answers, beyond the core's own views. The command line reads the same types back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::{
    answer::Answer,
    engine::is_expiring,
    gate::{Gate, GateReport},
    name::{IncidentId, ServiceName, SignalName, Version},
    policy::{Mode, Severity},
    release::{Release, Standing},
    time::WallTime,
    verdict::{Path, PlanKind, VerdictKind},
    view::{
        ApprovalView, DaemonView, DeployView, IncidentView, PauseView, PinView, PlanUnderWay, ReportView, ServiceView,
        VerificationView,
    },
    watch::SignalView,
};

/// `GET services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// By name.
    pub services: Vec<ServiceSummary>,
    /// The daemon's own state.
    pub daemon: DaemonView,
}

/// One row of [`Services`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: ServiceName,
    /// Whether Backstop acts by itself here.
    pub mode: Mode,
    /// What the tree says just now.
    pub verdict: VerdictKind,
    /// Why, in one sentence.
    pub because: String,
    /// The plan that the deciding question names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<PlanKind>,
    /// What is live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<Release>,
    /// Its standing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standing: Option<Standing>,
    /// Whether a rollout is under way.
    pub rolling_out: bool,
    /// Signals that are lost.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lost: Vec<SignalName>,
    /// Certificates that will expire soon.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub certificates_expiring: Vec<ExpiringCertificate>,
    /// Whether a rollback would be possible: yes if every gate says yes, no if one says no.
    pub rollback_possible: Answer,
    /// Gates that would hold it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub held_by: Vec<Gate>,
    /// Where it would go back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollback_to: Option<Version>,
    /// The incident that is open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incident: Option<IncidentId>,
    /// How that incident stands, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incident_state: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<PauseView>,
    /// Who pinned what is live, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned: Option<PinView>,
    /// Reports that count.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reports: Vec<ReportView>,
    /// The last verification without a plan, of what is live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verification: Option<VerificationView>,
    /// When this was so.
    pub at: WallTime,
}

impl From<&ServiceView> for ServiceSummary {
    fn from(view: &ServiceView) -> Self {
        Self {
            name: view.name.clone(),
            mode: view.mode,
            verdict: view.verdict,
            because: view.path.because.clone(),
            plan: view.path.plan,
            release: view.release.clone(),
            standing: view.standing,
            rolling_out: view.rolling_out,
            lost: view.signals.iter().filter(|signal| signal.lost).map(|signal| signal.name.clone()).collect(),
            certificates_expiring: view.signals.iter().filter_map(|signal| expiring(signal, view.at)).collect(),
            rollback_possible: rollback_possible(&view.gates),
            held_by: view
                .gates
                .iter()
                .filter(|report| report.answer != Answer::Yes)
                .map(|report| report.gate)
                .collect(),
            rollback_to: view.rollback_to.clone(),
            incident: view.incident.clone(),
            incident_state: None,
            plan_under_way: view.plan_under_way.clone(),
            approval: view.approval.clone(),
            target_unseen: view.target_unseen.clone(),
            paused: view.paused.clone(),
            pinned: live_pin(view),
            reports: view.reports.clone(),
            verification: view.verification.clone().filter(|verification| !verification.overtaken),
            at: view.at,
        }
    }
}

impl ServiceSummary {
    /// A row, with how its incident stands among these.
    pub fn of(view: &ServiceView, incidents: &[Arc<IncidentView>]) -> Self {
        let open = incidents.iter().find(|incident| view.incident.as_ref() == Some(&incident.id));
        Self { incident_state: open.map(|incident| incident.state.clone()), ..Self::from(view) }
    }
}

/// A certificate that will expire soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringCertificate {
    /// The signal that sees it.
    pub signal: SignalName,
    /// When it expires.
    pub expires: WallTime,
}

fn expiring(signal: &SignalView, now: WallTime) -> Option<ExpiringCertificate> {
    let expires = signal.certificate_expires.filter(|expires| is_expiring(*expires, now))?;
    Some(ExpiringCertificate { signal: signal.name.clone(), expires })
}

fn live_pin(view: &ServiceView) -> Option<PinView> {
    let live = &view.release.as_ref()?.version;
    view.pins.iter().find(|pin| pin.version == *live).cloned()
}

/// Kleene's *and* over the gates; without any, nobody knows.
pub fn rollback_possible(gates: &[GateReport]) -> Answer {
    gates.iter().map(|report| report.answer).reduce(Answer::and).unwrap_or(Answer::Unknown)
}

/// `GET services/{name}/explain`: how the verdict came about, and what would follow from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The service.
    pub service: ServiceName,
    /// When this was so.
    pub at: WallTime,
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
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<PauseView>,
    /// Every question with its numbers.
    pub path: Path,
    /// Every signal's state.
    pub signals: Vec<SignalView>,
    /// Every gate's answer.
    pub gates: Vec<GateReport>,
    /// Kleene's *and* over the gates.
    pub rollback_possible: Answer,
    /// Where it would go back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollback_to: Option<Version>,
}

impl From<&ServiceView> for Explanation {
    fn from(view: &ServiceView) -> Self {
        Self {
            service: view.name.clone(),
            at: view.at,
            mode: view.mode,
            release: view.release.clone(),
            standing: view.standing,
            rolling_out: view.rolling_out,
            incident: view.incident.clone(),
            plan_under_way: view.plan_under_way.clone(),
            approval: view.approval.clone(),
            target_unseen: view.target_unseen.clone(),
            paused: view.paused.clone(),
            path: view.path.clone(),
            signals: view.signals.clone(),
            gates: view.gates.clone(),
            rollback_possible: rollback_possible(&view.gates),
            rollback_to: view.rollback_to.clone(),
        }
    }
}

/// `GET services/{name}/deploys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploys {
    /// The service.
    pub service: ServiceName,
    /// Newest first.
    pub deploys: Vec<DeployView>,
}

/// `GET incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    /// Newest first.
    pub incidents: Vec<IncidentSummary>,
}

/// One row of [`Incidents`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// Its identity.
    pub id: IncidentId,
    /// Of which service.
    pub service: ServiceName,
    /// When it was opened.
    pub opened_at: WallTime,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resolved_at: Option<WallTime>,
    /// How it ended, or how it stands, in words.
    pub state: String,
    /// The gravest verdict in it.
    pub verdict: VerdictKind,
    /// The gravest severity in it.
    pub severity: Severity,
    /// What was live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accused: Option<Version>,
    /// What waits for a human.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalView>,
}

impl From<&IncidentView> for IncidentSummary {
    fn from(view: &IncidentView) -> Self {
        Self {
            id: view.id.clone(),
            service: view.service.clone(),
            opened_at: view.opened_at,
            resolved_at: view.resolved_at,
            state: view.state.clone(),
            verdict: view.verdict,
            severity: view.severity,
            accused: view.accused.clone(),
            approval: view.approval.clone(),
        }
    }
}

/// The answer to what was asked of the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in words.
    pub message: String,
}
