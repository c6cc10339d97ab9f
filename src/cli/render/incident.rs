//! Incidents: the list, and one in full.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::{
    explain::{pause, tree},
    table::{finish, row, table},
    text::{ALARM, FAINT, Layout, Moments, WARNING, WELL, plain, span, time, time_cell, verdict_style},
    under_way::{deciding, following, plan_of, plan_under_way, resuming},
};
use crate::{
    core::{
        gate::words,
        name::Version,
        policy::Severity,
        saga::StepStatus,
        time::WallTime,
        view::{ApprovalView, IncidentView, PlanView, StepView, WaitsFor},
    },
    serve::answers::Incidents,
};

/// A table of incidents.
pub fn incidents(incidents: &Incidents, layout: Layout) -> String {
    if incidents.incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    let mut rows =
        table(layout, &["INCIDENT", "OPENED (UTC)", "ENDED", "SEVERITY", "VERDICT", "ACCUSED", "STATE"], &[0, 1]);
    for incident in &incidents.incidents {
        row(
            &mut rows,
            [
                incident.id.to_string(),
                time_cell(incident.opened_at),
                incident
                    .resolved_at
                    .map_or_else(|| "-".to_owned(), |at| format!("after {}", after(incident.opened_at, at))),
                incident.severity.to_string(),
                incident.verdict.to_string(),
                incident.accused.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                incident.state.clone(),
            ],
        );
    }
    finish(&rows)
}

/// How long something lasted, as its pages tell it.
fn after(from: WallTime, to: WallTime) -> String {
    words(to.since(from))
}

/// One incident in full.
pub fn incident(view: &IncidentView, layout: Layout) -> String {
    let mut out = String::new();
    let style = match view.severity {
        Severity::S1 => ALARM,
        _ => WARNING,
    };
    let (severity, verdict) =
        (layout.paint(style, view.severity.as_str()), layout.paint(verdict_style(view.verdict), view.verdict.as_str()));
    let id = plain(view.id.as_str());
    let width = format!("{id}: {}, verdict {}: ", view.severity, view.verdict).width();
    layout.hang(&mut out, &format!("{id}: {severity}, verdict {verdict}: "), width, &plain(&view.state));
    out.push('\n');
    layout.field(&mut out, "service", &plain(view.service.as_str()));
    if let Some(by) = &view.opened_by {
        layout.field(&mut out, "by hand", &plain(by));
    }
    if let Some(accused) = &view.accused {
        layout.field(&mut out, "accused", &plain(accused.as_str()));
    }
    match view.onset {
        Some(onset) => layout.field(&mut out, "began", &time(onset)),
        None if view.opened_by.is_some() => {
            layout.field(&mut out, "began", "no fault is claimed: it was opened by hand");
        }
        None => layout.field(&mut out, "began", "unknown: it was so when the watch began"),
    }
    layout.field(&mut out, "opened", &time(view.opened_at));
    if let Some(at) = view.resolved_at {
        layout.field(&mut out, "ended", &format!("{}, after {}", time(at), after(view.opened_at, at)));
    }
    live(&mut out, view, layout);
    if let Some(pause) = &view.paused {
        layout.field(&mut out, "paused", &self::pause(pause));
    }
    if let Some(approval) = &view.approval {
        self::approval(&mut out, view, approval, layout);
    }
    next(&mut out, view, layout);
    let moments = moments(view);
    if !view.findings.is_empty() {
        layout.heading(&mut out, "Findings");
        let widest = view.findings.iter().map(|found| found.finding.as_str().len()).max().unwrap_or(0);
        for found in &view.findings {
            let first =
                format!("  {}  {}  {:<widest$}  ", moments.write(found.at), found.severity, found.finding.as_str());
            layout.hang(&mut out, &first, moments.width + 10 + widest, &plain(&found.detail));
        }
    }
    for plan in &view.plans {
        self::plan(&mut out, plan, moments, layout);
    }
    if !view.timeline.is_empty() {
        layout.heading(&mut out, "Timeline (UTC)");
        for line in &view.timeline {
            layout.hang(&mut out, &format!("  {}  ", moments.write(line.at)), moments.width + 4, &plain(&line.text));
        }
    }
    tree(&mut out, &view.path, layout);
    out
}

/// What is live, and whether that could be seen.
fn live(out: &mut String, view: &IncidentView, layout: Layout) {
    let live = view.live.as_ref().map(Version::as_str);
    let text = match (live, &view.target_unseen) {
        (Some(live), None) => format!("{live}, as the target was seen last"),
        (Some(live), Some(why)) => format!("{live} when it was last seen; the last look failed to {why}"),
        (None, Some(why)) => format!("not known: the last look failed to {why}"),
        (None, None) => return,
    };
    layout.field(out, "live", &plain(&text));
}

/// Every moment that is written with its clock alone, if all are of one day.
fn moments(view: &IncidentView) -> Moments {
    let steps = view.plans.iter().flat_map(|plan| &plan.steps).filter_map(|step| step.started_at);
    let findings = view.findings.iter().map(|found| found.at);
    let lines = view.timeline.iter().map(|line| line.at);
    Moments::of(std::iter::once(view.opened_at).chain(findings).chain(steps).chain(lines))
}

fn approval(out: &mut String, view: &IncidentView, approval: &ApprovalView, layout: Layout) {
    layout.heading(out, &format!("Approval {}", approval.approval));
    let what = plan_of(approval.plan, &approval.version_from, &approval.version_to);
    if approval.state == "open" {
        let held = view.paused.as_ref().map_or("", |_| "; it cannot be approved while the pause lasts");
        let text = format!("waits for a human until {}: {what}{held}", time(approval.expires));
        layout.hang(out, "  ", 2, &plain(&text));
        for command in deciding(&view.id, approval, &view.service, view.paused.as_ref()) {
            let _infallible = writeln!(out, "    {command}");
        }
        return;
    }
    let by = approval.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let why = approval.reason.as_ref().map_or_else(String::new, |reason| format!("; {reason}"));
    layout.hang(out, "  ", 2, &plain(&format!("{}{by}: {what}{why}", approval.state)));
}

/// What goes on, or by which commands people who decide now would do what Backstop does not.
fn next(out: &mut String, view: &IncidentView, layout: Layout) {
    if let Some(plan) = &view.plan_under_way {
        layout.heading(out, "Under way");
        layout.hang(out, "  ", 2, &plan_under_way(plan));
        for command in following(plan).into_iter().skip(1) {
            let _infallible = writeln!(out, "    {command}");
        }
    }
    let Some(waits_for) = view.waits_for.filter(|waits_for| *waits_for != WaitsFor::Approval) else { return };
    layout.heading(out, "Next");
    layout.hang(out, "  ", 2, &format!("{}; Backstop rolls nothing back in it by itself", waits_for.words()));
    let service = plain(view.service.as_str());
    let dry_run = format!("backstop rollback {service} --dry-run");
    let by_hand = match &view.by_hand {
        Some(command) => vec![("to see every gate first", dry_run), ("to roll back by hand", plain(command))],
        None => vec![("a rollback by hand would be refused; to see by what", dry_run)],
    };
    let resume = view.paused.as_ref().map(|pause| ("to take the pause back", resuming(&view.service, pause)));
    let commands = resume.into_iter().chain(by_hand);
    for (what, command) in commands {
        layout.hang(out, "  ", 2, &format!("{what}:"));
        let _infallible = writeln!(out, "    {command}");
    }
}

fn plan(out: &mut String, plan: &PlanView, moments: Moments, layout: Layout) {
    let outcome = match (plan.outcome, plan.ended_at) {
        (Some(outcome), Some(at)) => format!("{} after {}", outcome.as_str(), after(plan.started_at, at)),
        (Some(outcome), None) => outcome.as_str().to_owned(),
        _ => "under way".to_owned(),
    };
    let heading = if plan.plan.rolls_back() {
        format!("Plan {}, {}: {} -> {}", plan.number, plan.plan, plan.version_from, plan.version_to)
    } else {
        format!("Plan {}, {} of {}", plan.number, plan.plan, plan.version_from)
    };
    layout.heading(out, &plain(&format!("{heading}, {outcome}")));
    if let Some(by) = &plan.approved_by {
        layout.hang(out, "  ", 2, &plain(&format!("approved by {by}")));
    }
    if let Some(order) = &plan.by_hand {
        layout.hang(out, "  ", 2, &plain(&order.words()));
    }
    if let Some(by) = &plan.aborted_by {
        layout.hang(out, "  ", 2, &plain(&format!("aborted by {by}")));
    }
    for (place, step) in (1..).zip(&plan.steps) {
        self::step(out, place, step, moments, layout);
    }
}

fn step(out: &mut String, place: u32, step: &StepView, moments: Moments, layout: Layout) {
    let style = match step.status {
        StepStatus::Done => WELL,
        StepStatus::Pending | StepStatus::Skipped => FAINT,
        StepStatus::Failed | StepStatus::Stuck => ALARM,
        _ => WARNING,
    };
    let status = layout.paint(style, &format!("{:<7}", step.status.as_str()));
    let began = step.started_at.map_or_else(|| " ".repeat(moments.width), |at| moments.write(at));
    let mut text = format!("{place}. {}", plain(&step.title));
    if let (Some(from), Some(to)) = (step.started_at, step.ended_at) {
        let _infallible = write!(text, " ({})", span(to.since(from).as_secs_f64()));
    }
    if !step.note.is_empty() {
        let _infallible = write!(text, ": {}", plain(&step.note));
    }
    layout.hang(out, &format!("  {began}  {status}  "), moments.width + 13, &text);
}
