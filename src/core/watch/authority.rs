//! What a verdict rests on. What reporters say leads to consider at most, and what was seen once but is not seen now leads
//! to no action: a verdict that is acted on must stand without either.

use super::{Facts, atom, atom::AtomState, tree, tree::Inputs};
use crate::core::{
    answer::Answer,
    policy::{Atom, Expression, ServicePolicy},
    time::Now,
    verdict::{Verdict, VerdictKind},
};

/// The verdict with only operators' reports counted, if that is to roll back too; else consider, by the same question.
pub(super) fn confirmed(
    policy: &ServicePolicy,
    inputs: &Inputs<'_>,
    conditions: &[Answer],
    verdict: Verdict,
    now: Now,
    facts: &Facts<'_>,
) -> Verdict {
    let without = decide_by(policy, inputs, conditions, |atom, state| without_reporters(atom, state, now, facts));
    if without.kind == VerdictKind::RollBack {
        return without;
    }
    Verdict { kind: VerdictKind::Consider, unconfirmed: true, ..verdict }
}

/// Whether the verdict, or a graver one, would be the same if reporters had said nothing.
pub(super) fn stands_without_reporters(
    policy: &ServicePolicy,
    inputs: &Inputs<'_>,
    conditions: &[Answer],
    verdict: Verdict,
    now: Now,
    facts: &Facts<'_>,
) -> bool {
    let without = decide_by(policy, inputs, conditions, |atom, state| without_reporters(atom, state, now, facts));
    without.kind >= verdict.kind
}

/// Whether the verdict stands on what is seen just now and on what operators say.
pub(super) fn may_act(
    policy: &ServicePolicy,
    inputs: &Inputs<'_>,
    conditions: &[Answer],
    verdict: Verdict,
    now: Now,
    facts: &Facts<'_>,
) -> bool {
    let now_seen = decide_by(policy, inputs, conditions, |atom, state| match state.answer {
        Answer::Yes if !state.is_seen => Answer::Unknown,
        _ => without_reporters(atom, state, now, facts),
    });
    now_seen.kind >= verdict.kind
}

fn without_reporters(atom: &Atom, state: &AtomState, now: Now, facts: &Facts<'_>) -> Answer {
    match atom {
        Atom::Reported { kind, at_least, over } if state.answer == Answer::Yes => {
            let counted = atom::counting(facts.operators_reports, *kind, *over, now).count();
            Answer::from(counted >= *at_least as usize)
        }
        _ => state.answer,
    }
}

/// What the tree says when atoms are answered otherwise.
fn decide_by(
    policy: &ServicePolicy,
    inputs: &Inputs<'_>,
    conditions: &[Answer],
    of: impl Fn(&Atom, &AtomState) -> Answer,
) -> Verdict {
    let atoms: Vec<Answer> = policy.atoms.iter().zip(inputs.atoms).map(|(atom, state)| of(atom, state)).collect();
    let mut answers = conditions.to_vec();
    for (place, condition) in policy.conditions.iter().enumerate() {
        answers[place] = answer(&condition.expression, &atoms, inputs, &answers);
    }
    tree::decide(&policy.tree, &answers, || false)
}

/// The same as the tree's own answer, but for other atoms. A "for" whose inner answer is still yes has counted as long with
/// them as it did without, or not much less; any other inner answer is its own.
fn answer(expression: &Expression, atoms: &[Answer], inputs: &Inputs<'_>, conditions: &[Answer]) -> Answer {
    match expression {
        Expression::Atom(atom) => atoms[usize::from(*atom)],
        Expression::Condition(condition) => conditions[usize::from(*condition)],
        Expression::All(all) => {
            all.iter().fold(Answer::Yes, |sum, each| sum.and(answer(each, atoms, inputs, conditions)))
        }
        Expression::Any(any) => {
            any.iter().fold(Answer::No, |sum, each| sum.or(answer(each, atoms, inputs, conditions)))
        }
        Expression::Not(inner) => !answer(inner, atoms, inputs, conditions),
        Expression::Sustained { inner, index, .. } => match answer(inner, atoms, inputs, conditions) {
            Answer::Yes => inputs.sustained[usize::from(index.0)].answer,
            other => other,
        },
    }
}
