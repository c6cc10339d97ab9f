//! The whole way to the verdict, rendered when asked for.

use std::time::Duration;

use super::{
    Facts, Watch, tree,
    words::{bracketed, count, percent, span, spoken},
};
use crate::core::{
    answer::Answer,
    policy::{Atom, Expression, Question, Then},
    reading::Reading,
    time::Now,
    verdict::{AskedQuestion, Path, VerdictKind},
};

/// Most changes that are named for one question; a condition over fifty probes needs no fifty sentences.
const CHANGES_SHOWN: usize = 3;

impl Watch {
    /// Every question with its answer, its numbers and what would change it, and one sentence that says why the verdict
    /// is what it is. `facts` are those of the last evaluation.
    pub fn path(&self, now: Now, facts: Facts<'_>) -> Path {
        let mut questions = Vec::new();
        self.render_questions(&self.policy.tree, 0, now, &facts, &mut questions);
        let because = self.because(&questions);
        Path { verdict: self.verdict.kind, plan: self.verdict.plan, questions, because }
    }

    fn render_questions(
        &self,
        questions: &[Question],
        depth: u8,
        now: Now,
        facts: &Facts<'_>,
        rendered: &mut Vec<AskedQuestion>,
    ) {
        for question in questions {
            let condition = &self.policy.conditions[usize::from(question.when)];
            let answer = self.conditions[usize::from(question.when)];
            let (readings, would_change) = self.render_condition(&condition.expression, answer, now, facts);
            rendered.push(AskedQuestion {
                ask: question.ask.to_string(),
                when: condition.name.clone(),
                answer,
                depth,
                then: match &question.then {
                    Then::Verdict(kind) => kind.to_string(),
                    Then::AskNext(_) => "ask_next".to_owned(),
                },
                decided: self.verdict.decided_by.map(usize::from) == Some(rendered.len()),
                readings,
                would_change,
            });
            if let Then::AskNext(next) = &question.then {
                self.render_questions(next, depth.saturating_add(1), now, facts, rendered);
            }
        }
    }

    /// Readings, each atom once; and the changes of those atoms that could change the answer.
    fn render_condition(
        &self,
        expression: &Expression,
        answer: Answer,
        now: Now,
        facts: &Facts<'_>,
    ) -> (Vec<Reading>, String) {
        let mut places = Vec::new();
        tree::each_atom(&self.policy, expression, &mut |atom| {
            if !places.contains(&atom) {
                places.push(atom);
            }
        });
        let mut readings = Vec::new();
        let mut changes = Vec::new();
        for place in places {
            let rendered = self.render_atom(place, now, facts);
            let measured = !matches!(self.policy.atoms[place], Atom::NotMeasured { .. });
            // What is already as it would have to be changes nothing; the atoms that agree with the answer carry it.
            if measured && self.atoms[place].answer == answer {
                changes.insert(changes.iter().filter(|(agrees, _)| *agrees).count(), (true, rendered.would_change));
            } else {
                changes.push((false, rendered.would_change));
            }
            readings.push(rendered.reading);
        }
        self.each_sustained_below(expression, &mut |index, duration| {
            let sustained = &self.sustained[index];
            let held = sustained.held_at(duration, now.boot);
            if sustained.answer == Answer::Unknown && !held.is_zero() {
                changes.insert(0, (true, format!("{} more of the same", span(duration.saturating_sub(held)))));
            }
            readings.push(Reading::Sustained {
                answer: sustained.answer,
                held_seconds: held.as_secs_f64(),
                needed_seconds: duration.as_secs_f64(),
                blind: sustained.blind.as_secs_f64() / duration.as_secs_f64().max(f64::MIN_POSITIVE),
            });
        });
        if changes.iter().any(|(agrees, _)| *agrees) {
            changes.retain(|(agrees, _)| *agrees);
        }
        let more = changes.len().saturating_sub(CHANGES_SHOWN);
        let mut would_change =
            changes.into_iter().take(CHANGES_SHOWN).map(|(_, change)| change).collect::<Vec<_>>().join("; or ");
        if more > 0 {
            would_change = format!("{would_change}; or one of {more} others");
        }
        (readings, would_change)
    }

    fn each_sustained_below(&self, expression: &Expression, visit: &mut impl FnMut(usize, Duration)) {
        // Through conditions too, whose own "for" is as much part of the answer.
        fn conditions(expression: &Expression, visit: &mut impl FnMut(u16)) {
            match expression {
                Expression::Atom(_) => {}
                Expression::Condition(condition) => visit(*condition),
                Expression::All(parts) | Expression::Any(parts) => {
                    for part in parts {
                        conditions(part, visit);
                    }
                }
                Expression::Not(inner) | Expression::Sustained { inner, .. } => conditions(inner, visit),
            }
        }
        let mut open = vec![expression];
        let mut seen = Vec::new();
        while let Some(expression) = open.pop() {
            tree::each_sustained(expression, visit);
            conditions(expression, &mut |condition| {
                if !seen.contains(&condition) {
                    seen.push(condition);
                    open.push(&self.policy.conditions[usize::from(condition)].expression);
                }
            });
        }
    }

    fn because(&self, questions: &[AskedQuestion]) -> String {
        if let Some(deciding) = questions.iter().find(|question| question.decided) {
            let said = sentence(deciding, Answer::Yes);
            if self.verdict.unconfirmed {
                return format!("{said} Only reporters say so: it becomes roll_back when an operator reports it, too.");
            }
            return if self.verdict.held_back { format!("{said} A report holds a rollback back.") } else { said };
        }
        if self.verdict.kind == VerdictKind::Healthy {
            return format!("All {} are answered no.", count(questions.len() as u64, "question"));
        }
        let asked = |answer| questions.iter().find(move |question| question.answer == answer);
        match asked(Answer::Yes).or_else(|| asked(Answer::Unknown)) {
            Some(open) => format!("Nothing is decided. {}", sentence(open, open.answer)),
            None => "Nothing was asked yet.".to_owned(),
        }
    }
}

/// What the readings behind an answer say.
fn sentence(question: &AskedQuestion, answer: Answer) -> String {
    let mut parts: Vec<String> = question.readings.iter().filter_map(|reading| part(reading, answer)).collect();
    if parts.is_empty() {
        parts.push(format!("{} is {answer}", spoken(question.when.as_str())));
    }
    let more = parts.len().saturating_sub(CHANGES_SHOWN);
    parts.truncate(CHANGES_SHOWN);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    let mut said = parts.join("; ");
    if let Some(first) = said.get(0..1) {
        said.replace_range(0..1, &first.to_uppercase());
    }
    said.push('.');
    said
}

fn part(reading: &Reading, wanted: Answer) -> Option<String> {
    let said = match reading {
        Reading::Streak { answer, .. }
        | Reading::Rate { answer, .. }
        | Reading::Rollout { answer, .. }
        | Reading::Reports { answer, .. }
            if *answer != wanted =>
        {
            return None;
        }
        Reading::Streak { signal, answer: Answer::Unknown, reason, .. } => {
            format!("{signal} has no answer to build on{}", bracketed(reason.as_deref()))
        }
        Reading::Streak { signal, failing: 0, needed, .. } => {
            format!("{signal} passes again, but not often enough to be clear after {needed} failures")
        }
        Reading::Streak { signal, failing, needed, reason, .. } => format!(
            "{signal} failed {} in a row{}; {needed} are enough",
            if *failing == 1 { "once".to_owned() } else { format!("{failing} times") },
            bracketed(reason.as_deref())
        ),
        Reading::Rate { counted, requests, errors, rate, above, over_seconds, needed, answer, reason, .. } => {
            let what =
                if counted == "errors" { "error rate".to_owned() } else { format!("share of requests {counted}") };
            let over = span(Duration::try_from_secs_f64(*over_seconds).unwrap_or_default());
            let seen = match rate {
                Some(rate) => format!("{what} {} ({errors} of {requests} requests in {over})", percent(*rate)),
                None => format!("{what} unknown, no requests in {over}"),
            };
            let limit = percent(*above);
            match (answer, needed) {
                (Answer::Yes, Some(needed)) if errors >= needed => {
                    format!("{seen} is above {limit}; {needed} would have been enough")
                }
                (Answer::Yes, _) => format!("{seen} was above {limit} and is not clear yet"),
                (Answer::Unknown, _) => {
                    format!("{seen} is no evidence for or against {limit}{}", bracketed(reason.as_deref()))
                }
                (Answer::No, _) => format!("{seen} is not above {limit}"),
            }
        }
        Reading::Sustained { held_seconds, needed_seconds, .. } => {
            let spoken = |seconds: f64| span(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            if wanted == Answer::No || *held_seconds <= 0.0 {
                return None;
            }
            // How much longer is not counted.
            if held_seconds >= needed_seconds {
                format!("so for {} or longer, which is enough", spoken(*needed_seconds))
            } else {
                format!("so for {} of {}", spoken(*held_seconds), spoken(*needed_seconds))
            }
        }
        Reading::Rollout { state, .. } => format!("the live release: {state}"),
        Reading::Reports { kind, count: counted, needed, .. } => {
            let kind = serde_json::to_value(kind).ok();
            let kind = kind.as_ref().and_then(serde_json::Value::as_str).map_or_else(String::new, spoken);
            format!("{} of {kind}; {needed} are enough", count(u64::from(*counted), "report"))
        }
        Reading::NotMeasured { .. } => return None,
    };
    Some(said)
}
