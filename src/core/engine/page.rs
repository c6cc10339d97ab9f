//! Writes pages: plain words first.

use super::turn::Turn;
use crate::core::{
    durable::{IncidentRecord, verdict_severity},
    entry::{Fact, PlanOutcome},
    name::{PageId, ServiceName, Version},
    page::{Page, PageKind},
    policy::{Finding, Severity},
    verdict::{Path, VerdictKind},
};

/// A page before it has an identity and channels.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    kind: PageKind,
    service: Option<ServiceName>,
    incident: Option<crate::core::name::IncidentId>,
    finding: Option<Finding>,
    live: Severity,
    summary: String,
    action: Option<String>,
    then: Option<String>,
    outcome: Option<PlanOutcome>,
    verdict: Option<VerdictKind>,
    path: Option<Path>,
    versions: Option<(Version, Option<Version>)>,
    details: Vec<String>,
    is_repeat: bool,
}

impl Draft {
    /// About an incident; its gravest verdict is the least severity.
    pub(super) fn about(kind: PageKind, incident: &IncidentRecord, summary: impl Into<String>) -> Self {
        Self {
            kind,
            service: Some(incident.service.clone()),
            incident: Some(incident.id.clone()),
            finding: None,
            live: verdict_severity(incident.verdict),
            summary: summary.into(),
            action: None,
            then: None,
            outcome: None,
            verdict: Some(incident.verdict),
            path: Some(incident.path.clone()),
            versions: incident.accused.clone().map(|(_, version)| (version, None)),
            details: Vec::new(),
            is_repeat: false,
        }
    }

    /// About a service outside an incident, or about the watchdog itself.
    pub(super) fn finding(
        kind: PageKind,
        service: Option<&ServiceName>,
        finding: Finding,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            service: service.cloned(),
            incident: None,
            finding: Some(finding),
            live: Severity::S3,
            summary: summary.into(),
            action: None,
            then: None,
            outcome: None,
            verdict: None,
            path: None,
            versions: None,
            details: Vec::new(),
            is_repeat: false,
        }
    }

    /// About a service in which no incident is open.
    pub(super) fn service(kind: PageKind, service: &ServiceName, summary: impl Into<String>) -> Self {
        Self {
            kind,
            service: Some(service.clone()),
            incident: None,
            finding: None,
            live: Severity::S3,
            summary: summary.into(),
            action: None,
            then: None,
            outcome: None,
            verdict: None,
            path: None,
            versions: None,
            details: Vec::new(),
            is_repeat: false,
        }
    }

    /// Only what is live is known of the versions.
    pub(super) fn live(mut self, version: &Version) -> Self {
        self.details.push(format!("Live: {version}"));
        self
    }

    /// Said of what that incident left behind, whether it is over or not.
    pub(super) fn of(mut self, incident: &crate::core::name::IncidentId) -> Self {
        self.incident = Some(incident.clone());
        self
    }

    pub(super) fn found(mut self, finding: Finding) -> Self {
        self.finding = Some(finding);
        self
    }

    /// It only says once more that its incident is open: it goes to the channels that have the last one.
    pub(super) fn once_more(mut self) -> Self {
        self.is_repeat = true;
        self
    }

    /// The severity is this alone: what is told is no alarm, whatever the incident was.
    pub(super) fn at(mut self, severity: Severity) -> Self {
        self.live = severity;
        self
    }

    /// Without the path: the plan's first page and its last one carry it.
    pub(super) fn brief(mut self) -> Self {
        self.path = None;
        self
    }

    pub(super) fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// What is to be done beyond what the escalation table says.
    pub(super) fn then(mut self, what: String) -> Self {
        self.then = Some(what);
        self
    }

    /// How the rollback or the verification that it tells of ended.
    pub(super) fn ended(mut self, outcome: PlanOutcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    pub(super) fn versions(mut self, from: &Version, to: &Version) -> Self {
        self.versions = Some((from.clone(), Some(to.clone())));
        self
    }

    pub(super) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// The page itself, with its identity and without channels: for what cannot go through the journal.
    pub(super) fn into_page(self, turn: &Turn<'_>, id: PageId) -> Page {
        let escalation = &turn.policy.escalation;
        let severity = self.finding.map_or(self.live, |finding| self.live.max(escalation.severity(finding)));
        let action = match (self.action, self.finding) {
            (Some(action), _) => action,
            (None, Some(finding)) => escalation.action(finding).to_owned(),
            (None, None) => String::new(),
        };
        let action = match self.then {
            Some(then) => format!("{action} {then}").trim_start().to_owned(),
            None => action,
        };
        let (version_from, version_to) = match self.versions {
            Some((from, to)) => (Some(from), to),
            None => (None, None),
        };
        Page {
            id,
            kind: self.kind,
            at: turn.now.wall,
            service: self.service,
            incident: self.incident,
            severity,
            finding: self.finding,
            summary: self.summary,
            action,
            verdict: self.verdict,
            path: self.path,
            outcome: self.outcome,
            version_from,
            version_to,
            details: self.details,
            test: false,
        }
    }

    /// Puts it into the outbox; none where it is a repeat, and the last one still waits for every channel.
    pub(super) fn into_fact(self, turn: &Turn<'_>) -> Option<Fact> {
        let number = turn.ledger.durable.outbox.page_count + 1;
        let id = PageId::from(format!("msg_{}_{number}", turn.installation));
        let is_repeat = self.is_repeat;
        let page = self.into_page(turn, id);
        let mut channels = channels(turn, page.severity);
        if let Some(incident) = page.incident.as_ref().filter(|_| is_repeat) {
            let waited_for = turn.ledger.durable.outbox.repeats_wait_for(incident);
            channels.retain(|channel| !waited_for.contains(channel));
            if channels.is_empty() {
                return None;
            }
        }
        Some(Fact::PageQueued { page, channels, is_repeat })
    }
}

/// Who hears of a severity.
pub(super) fn channels(turn: &Turn<'_>, severity: Severity) -> Vec<crate::core::name::ChannelName> {
    turn.policy.escalation.severities.get(&severity).map(|policy| policy.notify.clone()).unwrap_or_default()
}
