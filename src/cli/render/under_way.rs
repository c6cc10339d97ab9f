//! What is going on, waits for somebody, or is left to people: the same words wherever they stand.

use super::text::{plain, span, time};
use crate::core::{
    name::{IncidentId, ServiceName, Version},
    policy::Mode,
    saga::StepStatus,
    verdict::{PlanKind, VerdictKind},
    view::{ApprovalView, PauseView, PlanUnderWay, VerificationProgress},
};

/// The plan under way, its step, and since when.
pub(super) fn plan_under_way(plan: &PlanUnderWay) -> String {
    let PlanUnderWay { version_from, version_to, step, steps, title, seconds, .. } = plan;
    let state = match plan.status {
        StepStatus::Pending => ", not begun yet",
        StepStatus::Unknown => ", what became of it is being looked at",
        StepStatus::Failed => ", failed and about to be tried again or undone",
        StepStatus::Undoing => ", being undone",
        StepStatus::UndoUnknown => ", whether it is undone is being looked at",
        StepStatus::Started | StepStatus::Done | StepStatus::Skipped | StepStatus::Undone | StepStatus::Stuck => "",
    };
    let since = span(*seconds);
    let verified = plan.verification.as_ref().map(|progress| format!("; {}", progressed(progress))).unwrap_or_default();
    let end = plan.aborted_by.as_ref().map(|by| format!("; {by} wants it to end")).unwrap_or_default();
    let what = if plan.plan.rolls_back() {
        format!("rolling back {version_from} -> {version_to}")
    } else {
        format!("restarting what fails of {version_from}")
    };
    plain(&format!("{what}: step {step} of {steps}, {title}{state}, since {since}{verified}{end}"))
}

/// How far verification has got, and how long it may go on.
fn progressed(progress: &VerificationProgress) -> String {
    let VerificationProgress { healthy_seconds, healthy_for_seconds, obstacle, left_seconds } = progress;
    let (needed, left) = (span(*healthy_for_seconds), span(*left_seconds));
    match obstacle {
        Some(obstacle) => format!("not healthy yet ({obstacle}), which it must be for {needed}; {left} left"),
        None => format!("healthy for {} of {needed}; {left} left", span(*healthy_seconds)),
    }
}

/// The commands that tell more of it, and end it safely where nobody has wanted that yet.
pub(super) fn following(plan: &PlanUnderWay) -> Vec<String> {
    let incident = &plan.incident;
    let show = format!("backstop incident show {incident}");
    let abort = plan.aborted_by.is_none().then(|| format!("backstop abort {incident}"));
    std::iter::once(show).chain(abort).map(|command| plain(&command)).collect()
}

/// A plan and its versions, as in "plan quick, v2 -> v1".
pub(super) fn plan_of(plan: PlanKind, from: &Version, to: &Version) -> String {
    if plan.rolls_back() { format!("plan {plan}, {from} -> {to}") } else { format!("plan {plan} of {from}") }
}

/// What waits for a human, and until when; while its service is paused nobody can approve it.
pub(super) fn approval(approval: &ApprovalView, paused: Option<&PauseView>) -> String {
    let what = plan_of(approval.plan, &approval.version_from, &approval.version_to);
    let held = paused.map_or("", |_| "; it cannot be approved while the pause lasts");
    let until = time(approval.expires);
    plain(&format!("approval {} waits for a human until {until}: {what}{held}", approval.approval))
}

/// The commands by which it is decided, the one first that takes the pause back, where one holds it.
pub(super) fn deciding(
    incident: &IncidentId,
    approval: &ApprovalView,
    service: &ServiceName,
    paused: Option<&PauseView>,
) -> Vec<String> {
    let command = |verb| plain(&format!("backstop incident {verb} {incident} --approval {}", approval.approval));
    let resume = paused.map(|pause| resuming(service, pause));
    resume.into_iter().chain(["approve", "deny"].map(command)).collect()
}

/// The command that takes a pause back.
pub(super) fn resuming(service: &ServiceName, pause: &PauseView) -> String {
    if pause.of_all { "backstop resume".to_owned() } else { plain(&format!("backstop resume {service}")) }
}

/// What happens where the tree wants a plan that this version does not have.
pub(super) fn left_to_people(plan: PlanKind, verdict: VerdictKind, mode: Mode) -> String {
    let what_then = match (mode, verdict) {
        (Mode::Observe, _) => "it is left to people",
        (_, VerdictKind::RollBack) => "Backstop pages rollback_refused at S1 and leaves it to people",
        _ => "Backstop pages rollback_refused and leaves it to people",
    };
    format!(
        "the tree wants the plan {plan}, which is not available in this version: nothing is rolled back, and {what_then}"
    )
}
