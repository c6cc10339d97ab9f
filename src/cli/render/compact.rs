//! A question in one line, for following the tree as it is asked.

use super::{
    Layout,
    text::{ALARM, FAINT, answer_cell, percent, plain, span},
};
use crate::core::{answer::Answer, reading::Reading, verdict::AskedQuestion};

/// Columns before the question: the mark and the answer.
const MARGIN: usize = 13;
/// Columns for the question.
const ASKED: usize = 43;

/// The answer, the question, and the numbers, below each other where the line is not wide enough. `indent` columns stay
/// free on the left.
pub(crate) fn question(question: &AskedQuestion, indent: usize, layout: Layout) -> String {
    let mark = if question.decided { layout.paint(ALARM, "==>") } else { "   ".to_owned() };
    let answer = answer_cell(layout, question.answer, Answer::No);
    let first = format!("{:indent$}{mark} {answer}  {:<ASKED$}", "", plain(&question.ask));
    let numbers: Vec<String> = question.readings.iter().filter_map(numbers).collect();
    let numbers = plain(&numbers.join("; "));
    let mut out = String::new();
    let column = indent + MARGIN + ASKED.max(question.ask.chars().count()) + 1;
    layout.hang(&mut out, &format!("{first} "), column, &numbers);
    if question.answer == Answer::No { faint(layout, &out) } else { out }
}

fn faint(layout: Layout, text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| layout.paint(FAINT, line) + "\n").collect();
    lines.concat()
}

/// What was seen, in a few words.
fn numbers(reading: &Reading) -> Option<String> {
    Some(match reading {
        Reading::Streak { signal, failing, needed, reason, .. } => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{signal} failed {failing} of {needed} times{reason}")
        }
        Reading::Rate { counted, requests, errors, rate, above, needed, answer, .. } => {
            let needed = needed.filter(|_| *answer != Answer::No);
            let needed = needed.map_or_else(String::new, |needed| format!(", yes from {needed}"));
            let above = percent(*above);
            match rate {
                None => format!("no requests yet, limit {above}"),
                Some(rate) if counted == "errors" => {
                    format!("{} ({errors} of {requests}), limit {above}{needed}", percent(*rate))
                }
                Some(_) => format!("{errors} of {requests} {counted}, limit {above}{needed}"),
            }
        }
        Reading::Sustained { held_seconds, needed_seconds, .. } => {
            if *held_seconds <= 0.0 {
                return None;
            }
            format!("for {} of {}", span(*held_seconds), span(*needed_seconds))
        }
        Reading::Rollout { state, .. } => state.clone(),
        Reading::Reports { count, needed, .. } => format!("{count} of {needed} reports"),
        Reading::NotMeasured { .. } => "not measured".to_owned(),
    })
}
