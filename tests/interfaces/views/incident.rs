//! Incidents: open, over, aborted.

use backstop::core::{
    entry::{ByHand, PlanOutcome},
    gate::Gate,
    policy::{Finding, Severity},
    saga::StepStatus,
    verdict::{PlanKind, VerdictKind},
    view::{ApprovalView, FindingView, IncidentView, PlanView, StepView, TimelineView},
};

use super::{at, path};

fn step(title: &str, status: StepStatus, note: &str, from: Option<i64>, to: Option<i64>) -> StepView {
    StepView { title: title.to_owned(), status, note: note.to_owned(), started_at: from.map(at), ended_at: to.map(at) }
}

fn line(seconds: i64, text: &str) -> TimelineView {
    TimelineView { at: at(seconds), text: text.to_owned() }
}

/// An incident that waits for a human.
pub(crate) fn open_incident() -> IncidentView {
    IncidentView {
        id: "solvereign-api-17".into(),
        service: "solvereign-api".into(),
        opened_at: at(-60),
        onset: Some(at(-75)),
        opened_by: None,
        resolved_at: None,
        state: "waits for approval".to_owned(),
        verdict: VerdictKind::Consider,
        severity: Severity::S2,
        accused: Some("v1.2.4".into()),
        findings: vec![FindingView {
            finding: Finding::ApprovalRequested,
            severity: Severity::S2,
            at: at(-58),
            detail: "rolling back v1.2.4 to v1.2.3 waits for a human".to_owned(),
        }],
        approval: Some(ApprovalView {
            approval: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.4".into(),
            version_to: "v1.2.3".into(),
            requested_at: at(-58),
            expires: at(1742),
            state: "open",
            by: None,
            reason: None,
        }),
        plans: Vec::new(),
        timeline: vec![
            line(-60, "incident opened: 9 of 400 requests (2.3%) ended in an error within 5m, and the limit is 1%"),
            line(-58, "approval 1 requested, expires 2026-01-07T10:59:02Z"),
        ],
        path: path(),
        waits_for: None,
        by_hand: None,
        plan_under_way: None,
        live: None,
        target_unseen: None,
        paused: None,
    }
}

/// One that ended well.
pub(crate) fn resolved_incident() -> IncidentView {
    IncidentView {
        id: "solvereign-api-16".into(),
        service: "solvereign-api".into(),
        opened_at: at(-7200),
        onset: None,
        opened_by: None,
        resolved_at: Some(at(-7000)),
        state: "rolled back, verified".to_owned(),
        verdict: VerdictKind::RollBack,
        severity: Severity::S1,
        accused: Some("v1.2.2".into()),
        findings: vec![FindingView {
            finding: Finding::RollbackTookTooLong,
            severity: Severity::S3,
            at: at(-7000),
            detail: "16m 40s, and 15m are too long".to_owned(),
        }],
        approval: Some(ApprovalView {
            approval: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.2".into(),
            version_to: "v1.2.1".into(),
            requested_at: at(-7190),
            expires: at(-5390),
            state: "approved",
            by: Some("root".to_owned()),
            reason: None,
        }),
        plans: vec![PlanView {
            number: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.2".into(),
            version_to: "v1.2.1".into(),
            started_at: at(-7180),
            ended_at: Some(at(-7000)),
            outcome: Some(PlanOutcome::Verified),
            approved_by: Some("root".to_owned()),
            by_hand: None,
            aborted_by: None,
            steps: vec![
                step(
                    "make sure the older version is there",
                    StepStatus::Done,
                    "was there already",
                    Some(-7180),
                    Some(-7180),
                ),
                step("roll back the target", StepStatus::Done, "", Some(-7180), Some(-7172)),
                step("check version", StepStatus::Skipped, "no version endpoint is configured", None, None),
                step("verify", StepStatus::Done, "clear for 60s", Some(-7100), Some(-7000)),
            ],
        }],
        timeline: vec![line(-7200, "incident opened"), line(-7000, "resolved: rolled back, verified")],
        path: path(),
        waits_for: None,
        by_hand: None,
        plan_under_way: None,
        live: None,
        target_unseen: None,
        paused: None,
    }
}

/// A rollback that a person ordered although a gate said no, and then wanted to end.
pub(crate) fn aborted_incident() -> IncidentView {
    let mut view = resolved_incident();
    view.opened_by = Some("oncall".to_owned());
    view.plans[0].approved_by = None;
    view.plans[0].outcome = Some(PlanOutcome::Aborted);
    view.plans[0].aborted_by = Some("root".to_owned());
    view.plans[0].by_hand = Some(ByHand {
        by: "oncall".to_owned(),
        reason: Some("the shop is empty".to_owned()),
        overridden: vec![Gate::NotPinned],
    });
    view
}
