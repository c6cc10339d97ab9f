//! Every service at a glance, then what needs a look.

use super::{
    explain::pause,
    table::{finish, row, table},
    text::{ALARM, Layout, WARNING, count, plain, span, time},
    under_way,
};
use crate::{
    core::{
        answer::Answer,
        verdict::{PlanKind, VerdictKind},
        view::{ConfigurationTrouble, DaemonView},
    },
    serve::answers::{ServiceSummary, Services},
};

/// A page that waits for less is on its way: a channel answers within this, or its first try has failed.
const ON_ITS_WAY_SECONDS: f64 = 5.0;

/// A table of services, the daemon's own troubles first.
pub fn status(services: &Services, layout: Layout) -> String {
    let mut out = String::new();
    daemon(&mut out, &services.daemon, layout);
    if services.services.is_empty() {
        out.push_str("no service has been evaluated yet\n");
        return out;
    }
    let columns = ["SERVICE", "STATE", "VERDICT", "RELEASE", "STANDING", "ROLLBACK", "INCIDENT"];
    let mut rows = table(layout, &columns, &[0, 2, 3, 4, 5, 6]);
    for service in &services.services {
        row(
            &mut rows,
            [
                service.name.to_string(),
                state(service),
                service.verdict.to_string(),
                service.now.release.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
                service.now.standing.map_or_else(|| "-".to_owned(), |standing| standing.as_str().replace('_', " ")),
                rollback(service),
                service.now.incident.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            ],
        );
    }
    out += &finish(&rows);
    for service in &services.services {
        attention(&mut out, service, layout);
    }
    out
}

fn daemon(out: &mut String, daemon: &DaemonView, layout: Layout) {
    let before = out.len();
    let mut tell = |style, text: &str| layout.hang(out, &format!("{} ", layout.paint(style, "!")), 2, &plain(text));
    if let Some(why) = &daemon.store_failing {
        tell(ALARM, &format!("the journal cannot be written, so nothing is done: {why}"));
    }
    if let Some(why) = &daemon.observer_impaired {
        tell(ALARM, &format!("the watchdog's own network or host is ill, so every sample is missed: {why}"));
    }
    if let Some(trouble) = &daemon.configuration {
        for line in configuration(trouble) {
            tell(WARNING, &line);
        }
    }
    if let Some(paused) = &daemon.paused {
        tell(WARNING, &format!("every service is paused {}", pause(paused)));
    }
    if daemon.outbox_depth > 0 && daemon.outbox_oldest_age_seconds >= ON_ITS_WAY_SECONDS {
        let (wait, age) = (count(daemon.outbox_depth as u64, "page"), span(daemon.outbox_oldest_age_seconds));
        tell(WARNING, &format!("not yet delivered: {wait}, the oldest for {age}"));
    }
    if out.len() > before {
        out.push('\n');
    }
}

/// Why the configuration on disk is not in force: where, what, how to mend it, and where the rest is told.
fn configuration(trouble: &ConfigurationTrouble) -> Vec<String> {
    let ConfigurationTrouble { file, line, column, why, help, more } = trouble;
    let place = match (line, column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        (Some(line), None) => format!(":{line}"),
        (None, _) => String::new(),
    };
    let mut lines = vec![
        format!("the configuration on disk is not the one in force: {file}{place}: {why}"),
        format!("to mend it: {help}"),
    ];
    if line.is_some() {
        let rest =
            if *more > 0 { format!("it, and {} besides", count(*more as u64, "mistake")) } else { "it".to_owned() };
        lines.push(format!("`backstop check {file}` shows {rest}"));
    }
    lines
}

fn state(service: &ServiceSummary) -> String {
    let state = if service.now.plan_under_way.is_some() {
        "rolling back"
    } else if let Some(waits_for) = service.now.waits_for {
        waits_for.words()
    } else if service.now.paused.is_some() {
        "paused"
    } else if service.now.rolling_out {
        "rolling out"
    } else if !service.lost.is_empty() {
        "impaired"
    } else {
        "watched"
    };
    match service.now.mode {
        crate::core::policy::Mode::Act => state.to_owned(),
        crate::core::policy::Mode::Ask => format!("{state}, asks"),
        crate::core::policy::Mode::Observe => format!("{state}, observes"),
    }
}

fn rollback(service: &ServiceSummary) -> String {
    if let Some(plan) = &service.now.plan_under_way {
        return format!("step {} of {}", plan.step, plan.steps);
    }
    if service.now.approval.is_some() {
        return "to be approved".to_owned();
    }
    if left_to_people(service).is_some() {
        return "by people".to_owned();
    }
    if !service.now.restart_gates.is_empty() {
        return "after a restart".to_owned();
    }
    match (service.rollback_possible, &service.now.rollback_to) {
        (Answer::Yes, Some(to)) => format!("to {to}"),
        (Answer::Yes, None) => "possible".to_owned(),
        (Answer::No, _) => "held".to_owned(),
        (Answer::Unknown, _) => "unknown".to_owned(),
    }
}

/// The plan that the tree wants, where this version does not have it.
fn left_to_people(service: &ServiceSummary) -> Option<PlanKind> {
    service.plan.filter(|plan| !plan.is_available())
}

/// Where a rollback stands: under way, waiting, left to people, or held.
fn standing(lines: &mut Vec<String>, service: &ServiceSummary) {
    if let Some(plan) = &service.now.plan_under_way {
        lines.push(under_way::plan_under_way(plan));
        lines.extend(under_way::following(plan).into_iter().map(|command| format!("-> {command}")));
    } else if let (Some(approval), Some(incident)) = (&service.now.approval, &service.now.incident) {
        let paused = service.now.paused.as_ref();
        lines.push(under_way::approval(approval, paused));
        let commands = under_way::deciding(incident, approval, &service.name, paused);
        lines.extend(commands.into_iter().map(|command| format!("-> {command}")));
    } else if let Some(plan) = left_to_people(service) {
        lines.push(under_way::left_to_people(plan, service.verdict, service.now.mode));
    } else if !service.now.restart_gates.is_empty() {
        let held = service.now.restart_gates.iter().filter(|report| report.answer != Answer::Yes);
        let held: Vec<_> = held.map(|report| report.gate.to_string()).collect();
        lines.push(if held.is_empty() {
            "what fails is to be restarted".to_owned()
        } else {
            format!("a restart of what fails is held by: {}", held.join(", "))
        });
    } else if (service.verdict != VerdictKind::Healthy || service.rollback_possible == Answer::No)
        && !service.held_by.is_empty()
    {
        let gates: Vec<_> = service.held_by.iter().map(ToString::to_string).collect();
        lines.push(format!("a rollback is held by: {}", gates.join(", ")));
    }
}

/// What a person should know of a service that is not simply well.
fn attention(out: &mut String, service: &ServiceSummary, layout: Layout) {
    let mut lines = Vec::new();
    if service.verdict != VerdictKind::Healthy {
        lines.push(service.because.clone());
    }
    standing(&mut lines, service);
    // What is under way or waits was told just now, with what is to be done.
    if let (Some(incident), None, None) = (&service.now.incident, &service.now.plan_under_way, &service.now.approval) {
        if let Some(state) = &service.incident_state {
            lines.push(format!("{incident}: {state}"));
        }
        lines.push(format!("-> backstop incident show {incident}"));
    }
    lines.extend(service.now.sync_suspended.clone());
    if let Some(why) = &service.now.target_unseen {
        lines.push(format!("what is live cannot be seen at the target: failed to {why}"));
    }
    lines.extend(service.now.target_held.clone());
    lines.extend(service.now.disagreement());
    if !service.lost.is_empty() {
        let lost: Vec<_> = service.lost.iter().map(ToString::to_string).collect();
        lines.push(format!("nothing is seen of: {}", lost.join(", ")));
    }
    for one in &service.certificates_expiring {
        lines.push(format!("the certificate that {} sees expires at {}", one.signal, time(one.expires)));
    }
    if let Some(paused) = &service.now.paused {
        lines.push(format!("paused {}", pause(paused)));
    }
    if let Some(pin) = &service.pinned {
        let reason = pin.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{} is pinned by {}{reason}", pin.version, pin.by));
    }
    for report in &service.reports {
        let detail = report.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        lines.push(format!("{} reported {} (counts until {}){detail}", report.by, report.kind, time(report.expires)));
    }
    if let Some(verification) = &service.verification {
        lines.push(match verification.outcome {
            None => format!("{} has {} verified", verification.by, verification.version),
            Some(outcome) => {
                let at = verification.ended.map(|at| format!(" at {}", time(at))).unwrap_or_default();
                format!("{} was {}{at}: {}", verification.version, outcome.as_str(), verification.note)
            }
        });
    }
    if lines.is_empty() {
        return;
    }
    layout.heading(out, &plain(service.name.as_str()));
    for line in lines {
        layout.hang(out, "  ", 2, &plain(&line));
    }
}
