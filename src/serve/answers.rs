//! What the API answers, beyond the core's own views. The command line reads the same types back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::{
    answer::Answer,
    engine::is_expiring,
    gate::{Gate, GateReport},
    name::{IncidentId, ServiceName, SignalName, Version},
    policy::Severity,
    time::WallTime,
    verdict::{Path, PlanKind, VerdictKind},
    view::{
        ApprovalView, DaemonView, DeploysView, IncidentView, PinView, ReportView, ServiceState, ServiceView,
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
    /// What is so of it.
    #[serde(flatten)]
    pub now: ServiceState,
    /// What the tree says just now.
    pub verdict: VerdictKind,
    /// Why, in one sentence.
    pub because: String,
    /// The plan that the deciding question names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<PlanKind>,
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
    /// How the open incident stands, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incident_state: Option<String>,
    /// Who pinned what is live, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned: Option<PinView>,
    /// Reports that count.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reports: Vec<ReportView>,
    /// The last verification without a plan, of what is live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verification: Option<VerificationView>,
}

impl From<&ServiceView> for ServiceSummary {
    fn from(view: &ServiceView) -> Self {
        Self {
            name: view.name.clone(),
            now: view.now.clone(),
            verdict: view.verdict,
            because: view.path.because.clone(),
            plan: view.path.plan,
            lost: view.signals.iter().filter(|signal| signal.lost).map(|signal| signal.name.clone()).collect(),
            certificates_expiring: view.signals.iter().filter_map(|signal| expiring(signal, view.now.at)).collect(),
            rollback_possible: rollback_possible(&view.gates),
            held_by: view
                .gates
                .iter()
                .filter(|report| report.answer != Answer::Yes)
                .map(|report| report.gate)
                .collect(),
            incident_state: None,
            pinned: live_pin(view),
            reports: view.reports.clone(),
            verification: view.verification.clone().filter(|verification| !verification.overtaken),
        }
    }
}

impl ServiceSummary {
    /// A row, with how its incident stands among these.
    pub fn of(view: &ServiceView, incidents: &[Arc<IncidentView>]) -> Self {
        let open = incidents.iter().find(|incident| view.now.incident.as_ref() == Some(&incident.id));
        Self { incident_state: open.map(|incident| incident.just_now(&view.now).state), ..Self::from(view) }
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
    let live = &view.now.release.as_ref()?.version;
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
    /// What is so of it.
    #[serde(flatten)]
    pub now: ServiceState,
    /// Every question with its numbers.
    pub path: Path,
    /// Every signal's state.
    pub signals: Vec<SignalView>,
    /// Every gate's answer.
    pub gates: Vec<GateReport>,
    /// Kleene's *and* over the gates.
    pub rollback_possible: Answer,
}

impl From<&ServiceView> for Explanation {
    fn from(view: &ServiceView) -> Self {
        Self {
            service: view.name.clone(),
            now: view.now.clone(),
            path: view.path.clone(),
            signals: view.signals.clone(),
            gates: view.gates.clone(),
            rollback_possible: rollback_possible(&view.gates),
        }
    }
}

/// `GET services/{name}/deploys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploys {
    /// The service.
    pub service: ServiceName,
    /// What was live, and what else is known.
    #[serde(flatten)]
    pub known: DeploysView,
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
