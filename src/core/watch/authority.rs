//! What a verdict rests on. What reporters say leads to consider at most, and what was seen once but is not seen now leads
//! to no action: a verdict that is acted on must stand without either.

use super::{Facts, atom, atom::AtomState, tree, tree::Inputs};
use crate::core::{
    answer::Answer,
    policy::{Atom, Expression, ServicePolicy},
    time::Now,
    verdict::Verdict,
};

/// What a verdict stands on, as far as it matters to what is done about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Support {
    /// It stands on what was seen last, and on what operators say.
    pub(super) may_act: bool,
    /// It would stand if reporters had said nothing.
    pub(super) without_reporters: bool,
    /// It would stand if the platform had shown no instance that fails.
    pub(super) without_instances: bool,
}

impl Support {
    /// That of a verdict that leads to nothing.
    pub(super) const NONE: Self = Self { may_act: false, without_reporters: true, without_instances: true };
}

/// The answers that a verdict was made of, to be asked what it would be without some of them.
pub(super) struct Grounds<'a> {
    pub(super) policy: &'a ServicePolicy,
    pub(super) inputs: Inputs<'a>,
    pub(super) conditions: &'a [Answer],
    pub(super) facts: &'a Facts<'a>,
    pub(super) now: Now,
}

impl Grounds<'_> {
    /// What the tree says with only operators' reports counted.
    pub(super) fn without_reporters(&self) -> Verdict {
        self.decide_by(|atom, state| self.confirmed(atom, state))
    }

    /// What it says with only that, and only what speaks for a yes just now.
    pub(super) fn to_act_on(&self) -> Verdict {
        self.decide_by(|atom, state| match state.answer {
            Answer::Yes if !state.is_seen => Answer::Unknown,
            _ => self.confirmed(atom, state),
        })
    }

    /// What it says without what the platform shows of the live release's instances.
    pub(super) fn without_instances(&self) -> Verdict {
        self.decide_by(|atom, state| match atom {
            Atom::RolloutFailing => Answer::No,
            _ => state.answer,
        })
    }

    fn confirmed(&self, atom: &Atom, state: &AtomState) -> Answer {
        match atom {
            Atom::Reported { kind, at_least, over } if state.answer == Answer::Yes => {
                let counted = atom::counting(self.facts.operators_reports, *kind, *over, self.now).count();
                Answer::from(counted >= *at_least as usize)
            }
            _ => state.answer,
        }
    }

    fn decide_by(&self, of: impl Fn(&Atom, &AtomState) -> Answer) -> Verdict {
        let atoms: Vec<Answer> =
            self.policy.atoms.iter().zip(self.inputs.atoms).map(|(atom, state)| of(atom, state)).collect();
        let mut answers = self.conditions.to_vec();
        for (place, condition) in self.policy.conditions.iter().enumerate() {
            answers[place] = answer(&condition.expression, &atoms, &self.inputs, &answers);
        }
        tree::decide(&self.policy.tree, &answers, || false)
    }
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
