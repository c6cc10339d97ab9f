//! The decision tree as it was asked: answers, numbers, limits, margins, and what would change each.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::{
    reading,
    text::{ALARM, FAINT, Layout, WARNING, WELL, answer_cell, count, plain, span, time, verdict_style, verdict_words},
    under_way,
};
use crate::{
    core::{
        answer::Answer,
        gate::GateReport,
        policy::Mode,
        reading::Reading,
        verdict::{AskedQuestion, Path, PlanKind},
        watch::SignalView,
    },
    serve::answers::Explanation,
};

/// Columns before a question: the mark, and the answer.
const MARGIN: usize = 13;

/// Columns that one level of `ask_next` is moved to the right.
const LEVEL: usize = 3;

/// How a service's verdict came about.
pub fn explanation(view: &Explanation, layout: Layout) -> String {
    let mut out = String::new();
    let verdict = layout.paint(verdict_style(view.path.verdict), verdict_words(view.path.verdict));
    let plan = view.path.plan.map_or_else(String::new, |plan| format!(" by plan {plan}"));
    let _infallible = writeln!(out, "{}: {verdict}{plan}", plain(view.service.as_str()));
    layout.hang(&mut out, "  ", 2, &plain(&view.path.because));
    out.push('\n');
    layout.field(&mut out, "release", &release(view));
    layout.field(&mut out, "mode", mode(view.now.mode));
    if let Some(incident) = &view.now.incident {
        layout.field(&mut out, "incident", &plain(incident.as_str()));
    }
    if let Some(paused) = &view.now.paused {
        layout.field(&mut out, "paused", &pause(paused));
    }
    if let Some(why) = &view.now.target_unseen {
        layout.field(&mut out, "target", &plain(&format!("what is live cannot be seen: failed to {why}")));
    }
    if let Some(disagreement) = view.now.disagreement() {
        layout.field(&mut out, "version", &plain(&disagreement));
    }
    if let Some(suspended) = &view.now.sync_suspended {
        layout.field(&mut out, "sync", &plain(suspended));
    }
    layout.field(&mut out, "as of", &time(view.now.at));
    tree(&mut out, &view.path, layout);
    rollback(&mut out, view, layout);
    signals(&mut out, &view.signals, layout);
    out
}

fn release(view: &Explanation) -> String {
    let Some(release) = &view.now.release else { return "unknown".to_owned() };
    let mut text = plain(release.version.as_str());
    if let Some(standing) = view.now.standing {
        let _infallible = write!(text, ", {}", standing.as_str().replace('_', " "));
    }
    if view.now.rolling_out {
        text += ", rolling out";
    }
    text
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Act => "act: a verdict of roll_back is carried out at once, where every gate says yes",
        Mode::Ask => "ask: every rollback waits for a human",
        Mode::Observe => "observe: nothing is done, pages say what would have been",
    }
}

/// A pause in words.
pub(super) fn pause(paused: &crate::core::view::PauseView) -> String {
    let until = paused.until.map_or_else(|| "until resumed".to_owned(), |until| format!("until {}", time(until)));
    plain(&format!("{until}, by {}: {}", paused.by, paused.reason))
}

/// The questions of a path, in order.
pub(super) fn tree(out: &mut String, path: &Path, layout: Layout) {
    layout.heading(out, "Decision tree");
    if path.questions.is_empty() {
        out.push_str("  no question was asked\n");
    }
    for question in &path.questions {
        ask(out, question, layout);
    }
}

fn ask(out: &mut String, question: &AskedQuestion, layout: Layout) {
    let indent = MARGIN + LEVEL * usize::from(question.depth);
    let mark = if question.decided { layout.paint(ALARM, "==>") } else { "   ".to_owned() };
    let answer = answer_cell(layout, question.answer, Answer::No);
    let first = format!("{mark} {answer}  {:1$}", "", indent - MARGIN);
    // What follows from a yes stands at the right, where both fit.
    let asked = plain(&question.ask);
    let follows = plain(&format!("[{}: yes -> {}]", question.when, question.then));
    if indent + asked.width() + 2 + follows.width() <= layout.width {
        let gap = layout.width - indent - asked.width() - follows.width();
        let _infallible = writeln!(out, "{first}{asked}{:gap$}{}", "", layout.paint(FAINT, &follows));
    } else {
        layout.hang(out, &first, indent, &asked);
        layout.hang(out, &" ".repeat(indent), indent, &follows);
    }
    for seen in &question.readings {
        for (label, text) in reading::lines(seen) {
            detail(out, indent, label, &text, layout);
        }
    }
    // Where nothing is measured, nothing would change it either; once is enough.
    let measured = !matches!(question.readings.as_slice(), [Reading::NotMeasured { .. }]);
    if measured && !question.would_change.is_empty() {
        detail(out, indent, "change", &question.would_change, layout);
    }
}

/// A labelled line below a question.
fn detail(out: &mut String, indent: usize, label: &str, text: &str, layout: Layout) {
    let first = format!("{:indent$}  {}", "", layout.paint(FAINT, &format!("{label:<8}")));
    layout.hang(out, &first, indent + 10, &plain(text));
}

fn rollback(out: &mut String, view: &Explanation, layout: Layout) {
    if let Some(plan) = &view.now.plan_under_way {
        // What the gates say now is about another one; these were asked before it began.
        layout.heading(out, "Rollback under way");
        layout.hang(out, "  ", 2, &under_way::plan_under_way(plan));
        for command in under_way::following(plan) {
            let _infallible = writeln!(out, "    {command}");
        }
        return;
    }
    if let (Some(approval), Some(incident)) = (&view.now.approval, &view.now.incident) {
        layout.heading(out, "Rollback to be approved");
        let paused = view.now.paused.as_ref();
        layout.hang(out, "  ", 2, &under_way::approval(approval, paused));
        for command in under_way::deciding(incident, approval, &view.service, paused) {
            let _infallible = writeln!(out, "    {command}");
        }
    }
    gates(out, view, layout);
}

fn gates(out: &mut String, view: &Explanation, layout: Layout) {
    let widest = |all: &[GateReport]| all.iter().map(|report| report.gate.as_str().len()).max().unwrap_or(0);
    if !view.now.restart_gates.is_empty() {
        layout.heading(out, "Restart of what fails, which comes before a rollback");
        for report in &view.now.restart_gates {
            gate(out, report, widest(&view.now.restart_gates), layout);
        }
    }
    let to = view.now.rollback_to.as_ref().map_or_else(String::new, |to| format!(" to {}", plain(to.as_str())));
    let number = |answer| view.gates.iter().map(|report| u64::from(report.answer == answer)).sum::<u64>();
    let (refusing, unknown) = (number(Answer::No), number(Answer::Unknown));
    let summary = match view.rollback_possible {
        Answer::Yes => layout.paint(WELL, "possible, every gate says yes"),
        _ if view.gates.is_empty() => layout.paint(WARNING, "not known, no gate was asked"),
        _ => {
            let mut parts = Vec::new();
            if refusing > 0 {
                parts.push(format!("{} {} no", count(refusing, "gate"), if refusing == 1 { "says" } else { "say" }));
            }
            if unknown > 0 {
                parts.push(format!(
                    "{} {} know",
                    count(unknown, "gate"),
                    if unknown == 1 { "does not" } else { "do not" }
                ));
            }
            let held = layout.paint(ALARM, &format!("held, {}", parts.join(" and ")));
            // An approval waits only where no other gate holds.
            let approved = if view.now.approval.is_some() {
                "; budget and cooldown do not hold what a human approves"
            } else {
                ""
            };
            format!("{held}{approved}")
        }
    };
    layout.heading(out, &format!("Rollback{to}"));
    if let Some(plan) = view.path.plan.filter(|plan| !plan.is_available()) {
        let why = under_way::left_to_people(plan, view.path.verdict, view.now.mode);
        layout.hang(out, "  ", 2, &why);
        layout.hang(out, "  ", 2, &format!("by hand, with the plan {}: {summary}", PlanKind::Quick));
    } else {
        let _infallible = writeln!(out, "  {summary}");
    }
    for report in &view.gates {
        gate(out, report, widest(&view.gates), layout);
    }
}

fn gate(out: &mut String, report: &GateReport, widest: usize, layout: Layout) {
    let mark = if report.answer == Answer::Yes { "   " } else { "  !" };
    let answer = answer_cell(layout, report.answer, Answer::Yes);
    let first = format!("{mark} {answer}  {:<widest$}  ", report.gate.as_str());
    layout.hang(out, &first, MARGIN + widest + 2, &plain(&report.why));
}

fn signals(out: &mut String, signals: &[SignalView], layout: Layout) {
    if signals.is_empty() {
        return;
    }
    layout.heading(out, "Signals");
    let widest = signals.iter().map(|signal| signal.name.as_str().width()).max().unwrap_or(0);
    for signal in signals {
        let mark = if signal.lost { "  !" } else { "   " };
        let style = match signal.last {
            "passed" => FAINT,
            "failed" => ALARM,
            _ => WARNING,
        };
        let last = layout.paint(style, &format!("{:<7}", signal.last));
        let first = format!("{mark} {last}  {:<widest$}  ", plain(signal.name.as_str()));
        layout.hang(out, &first, MARGIN + widest + 2, &plain(&signal_words(signal)));
    }
}

fn signal_words(signal: &SignalView) -> String {
    let mut parts = Vec::new();
    match signal.age_seconds {
        Some(seconds) => parts.push(format!("{} ago", span(seconds))),
        None => parts.push("no sample yet".to_owned()),
    }
    if signal.lost {
        parts.push("LOST: too much was missed for too long".to_owned());
    }
    if signal.failing > 0 {
        parts.push(format!("{} failed in a row", signal.failing));
    }
    let mut text = parts.join(", ");
    if let Some(reason) = &signal.reason {
        let _infallible = write!(text, ": {reason}");
    }
    if let Some(expires) = signal.certificate_expires {
        let _infallible = write!(text, "; certificate until {}", time(expires));
    }
    text
}
