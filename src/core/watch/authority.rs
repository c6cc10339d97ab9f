//! What reporters say leads to consider at most: a verdict of `roll_back` must stand without it.

use super::{Facts, atom, tree, tree::Inputs};
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
    let atoms = policy.atoms.iter().zip(inputs.atoms).map(|(atom, state)| match atom {
        Atom::Reported { kind, at_least, over } if state.answer == Answer::Yes => {
            let counted = atom::counting(facts.operators_reports, *kind, *over, now).count();
            Answer::from(counted >= *at_least as usize)
        }
        _ => state.answer,
    });
    let atoms: Vec<Answer> = atoms.collect();
    let mut answers = conditions.to_vec();
    for (place, condition) in policy.conditions.iter().enumerate() {
        answers[place] = answer(&condition.expression, &atoms, inputs, &answers);
    }
    let without = tree::decide(&policy.tree, &answers, || false);
    if without.kind == VerdictKind::RollBack {
        return without;
    }
    Verdict { kind: VerdictKind::Consider, unconfirmed: true, ..verdict }
}

/// The same as the tree's own answer, but for other atoms. A "for" whose inner answer is yes without reporters too has
/// counted as long without them as it did with them, or not much less; any other inner answer is its own.
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
