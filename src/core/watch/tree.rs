//! Conditions from atoms, and the verdict from conditions.

use std::time::Duration;

use super::{atom::AtomState, sustained::Sustained};
use crate::core::{
    answer::Answer,
    policy::{Expression, Question, ServicePolicy, Then},
    time::BootTime,
    verdict::{PlanKind, Verdict, VerdictKind},
};

/// What conditions are answered from.
pub(super) struct Inputs<'a> {
    pub(super) atoms: &'a [AtomState],
    pub(super) sustained: &'a mut [Sustained],
    pub(super) now: BootTime,
    /// See [`Sustained::evaluate`].
    pub(super) trusted: Duration,
}

/// Answers every condition, each from earlier ones. Tells the first time at which a "for" could change an answer.
pub(super) fn answer_conditions(policy: &ServicePolicy, inputs: &mut Inputs<'_>, answers: &mut [Answer]) {
    for (place, condition) in policy.conditions.iter().enumerate() {
        answers[place] = answer(&condition.expression, inputs, answers);
    }
}

/// Without short cuts: each "for" must hear of its inner answer every time.
fn answer(expression: &Expression, inputs: &mut Inputs<'_>, conditions: &[Answer]) -> Answer {
    match expression {
        Expression::Atom(atom) => inputs.atoms[usize::from(*atom)].answer,
        Expression::Condition(condition) => conditions[usize::from(*condition)],
        Expression::All(all) => all.iter().fold(Answer::Yes, |sum, each| sum.and(answer(each, inputs, conditions))),
        Expression::Any(any) => any.iter().fold(Answer::No, |sum, each| sum.or(answer(each, inputs, conditions))),
        Expression::Not(inner) => !answer(inner, inputs, conditions),
        Expression::Sustained { inner, duration, index } => {
            let inner = answer(inner, inputs, conditions);
            let (now, trusted) = (inputs.now, inputs.trusted);
            inputs.sustained[usize::from(index.0)].evaluate(inner, *duration, now, trusted)
        }
    }
}

/// Calls `visit` with every "for" of an expression, those of the conditions it refers to excluded.
pub(super) fn each_sustained(expression: &Expression, visit: &mut impl FnMut(usize, Duration)) {
    match expression {
        Expression::Atom(_) | Expression::Condition(_) => {}
        Expression::All(parts) | Expression::Any(parts) => {
            for part in parts {
                each_sustained(part, visit);
            }
        }
        Expression::Not(inner) => each_sustained(inner, visit),
        Expression::Sustained { inner, duration, index } => {
            visit(usize::from(index.0), *duration);
            each_sustained(inner, visit);
        }
    }
}

/// Calls `visit` with every atom that `expression` rests on, through conditions too.
pub(super) fn each_atom(policy: &ServicePolicy, expression: &Expression, visit: &mut impl FnMut(usize)) {
    match expression {
        Expression::Atom(atom) => visit(usize::from(*atom)),
        Expression::Condition(condition) => {
            each_atom(policy, &policy.conditions[usize::from(*condition)].expression, visit);
        }
        Expression::All(parts) | Expression::Any(parts) => {
            for part in parts {
                each_atom(policy, part, visit);
            }
        }
        Expression::Not(inner) | Expression::Sustained { inner, .. } => each_atom(policy, inner, visit),
    }
}

/// Asks the tree from the top.
pub(super) fn decide(questions: &[Question], answers: &[Answer], held_back: impl FnOnce() -> bool) -> Verdict {
    let mut asking = Asking { answers, place: 0, decided: None, open: false };
    asking.ask(questions, true, None);
    let Some((place, kind, plan)) = asking.decided else {
        let kind = if asking.open { VerdictKind::Monitor } else { VerdictKind::Healthy };
        return Verdict { kind, plan: None, decided_by: None, held_back: false, unconfirmed: false };
    };
    let held_back = kind == VerdictKind::Consider && held_back();
    let kind = if held_back { VerdictKind::Monitor } else { kind };
    Verdict { kind, plan, decided_by: Some(place), held_back, unconfirmed: false }
}

struct Asking<'a> {
    answers: &'a [Answer],
    /// The next question's place, counted depth first.
    place: u16,
    decided: Option<(u16, VerdictKind, Option<PlanKind>)>,
    /// A yes or unknown was passed by.
    open: bool,
}

impl Asking<'_> {
    /// Goes through every question for the sake of its place, but asks only where `asked`.
    fn ask(&mut self, questions: &[Question], asked: bool, plan_above: Option<PlanKind>) {
        for question in questions {
            let place = self.place;
            self.place += 1;
            let plan = question.plan.or(plan_above);
            let answer = self.answers[usize::from(question.when)];
            let asked = asked && self.decided.is_none();
            let yes = asked && answer == Answer::Yes;
            self.open |= asked && answer == Answer::Unknown;
            match &question.then {
                Then::Verdict(kind) if yes => self.decided = Some((place, *kind, plan)),
                Then::Verdict(_) => {}
                Then::AskNext(next) => {
                    self.open |= yes;
                    self.ask(next, yes, plan);
                }
            }
        }
    }
}

/// The question at a place, with those that lead to it left out.
pub(super) fn question_at(questions: &[Question], place: u16) -> Option<&Question> {
    fn find<'a>(questions: &'a [Question], left: &mut u16) -> Option<&'a Question> {
        for question in questions {
            if *left == 0 {
                return Some(question);
            }
            *left -= 1;
            if let Then::AskNext(next) = &question.then
                && let Some(found) = find(next, left)
            {
                return Some(found);
            }
        }
        None
    }
    find(questions, &mut { place })
}

#[cfg(test)]
mod tests {
    use Answer::{No, Unknown, Yes};

    use super::*;

    fn verdict(when: u16, kind: VerdictKind) -> Question {
        Question { ask: "?".into(), when, then: Then::Verdict(kind), plan: None }
    }

    fn next(when: u16, plan: Option<PlanKind>, questions: Vec<Question>) -> Question {
        Question { ask: "?".into(), when, then: Then::AskNext(questions), plan }
    }

    #[test]
    fn the_first_yes_with_a_verdict_decides() {
        use VerdictKind::{Consider, Healthy, Monitor, RollBack};
        let tree = [
            next(0, Some(PlanKind::Gather), vec![verdict(1, RollBack), verdict(2, Consider)]),
            verdict(3, RollBack),
            verdict(4, Consider),
        ];
        let cases = [
            ([No, No, No, No, No], Healthy, None),
            ([No, Yes, Yes, No, No], Healthy, None),
            ([Yes, No, No, No, No], Monitor, None),
            ([Unknown, Yes, No, No, No], Monitor, None),
            ([Yes, Yes, No, No, No], RollBack, Some(1)),
            ([Yes, Unknown, Yes, No, No], Consider, Some(2)),
            ([Yes, No, Unknown, Yes, No], RollBack, Some(3)),
            ([No, No, No, No, Yes], Consider, Some(4)),
            ([No, No, No, Unknown, Yes], Consider, Some(4)),
            ([No, No, No, Unknown, No], Monitor, None),
        ];
        for (answers, kind, place) in cases {
            let said = decide(&tree, &answers, || false);
            assert_eq!((said.kind, said.decided_by), (kind, place), "{answers:?}");
            if let Some(place) = place {
                let question = question_at(&tree, place).expect("a question");
                assert_eq!(question.then, Then::Verdict(kind));
                assert_eq!(said.plan, (place < 3).then_some(PlanKind::Gather));
            }
        }
    }

    #[test]
    fn only_consider_is_held_back() {
        let tree = [verdict(0, VerdictKind::RollBack), verdict(1, VerdictKind::Consider)];
        let said = decide(&tree, &[No, Yes], || true);
        assert_eq!((said.kind, said.decided_by, said.held_back), (VerdictKind::Monitor, Some(1), true));
        assert_eq!(decide(&tree, &[Yes, Yes], || true).kind, VerdictKind::RollBack);
    }
}
