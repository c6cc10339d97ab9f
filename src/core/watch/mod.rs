//! One service's volatile half: windows, streaks, conditions and the verdict. What must outlive the process is in the
//! journal; this starts empty with each process.

#[cfg(test)]
mod alarms;
mod atom;
mod authority;
mod carry;
mod facts;
mod failures;
mod gap;
mod path;
mod reading;
#[cfg(test)]
mod scrape_tests;
mod seen;
mod signal;
mod sustained;
#[cfg(test)]
pub(in crate::core) mod tests;
mod tree;
mod words;

pub use facts::{Facts, RolloutState};
pub use gap::GAP_BUDGET;
pub use seen::SignalView;
pub(super) use signal::NO_ANSWER;

use std::{sync::Arc, time::Duration};

use self::{
    atom::{AtomState, NEVER},
    authority::{Grounds, Support},
    signal::Signal,
    sustained::Sustained,
    tree::Inputs,
};
use super::{
    answer::Answer,
    name::SignalIndex,
    policy::{Atom, ReportKind, ServicePolicy, SignalKind},
    sample::Sample,
    time::{BootTime, Now},
    verdict::{Verdict, VerdictKind},
};

/// What a sample did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four things that a sample may or may not have done")]
pub struct Recorded {
    /// An atom's answer may have changed: evaluate. False spares the evaluation.
    pub changed: bool,
    /// It was too old for the window and dropped.
    pub late: bool,
    /// It is the first failure after a pass: confirm, and look at the target.
    pub first_failure: bool,
    /// It is the first pass after a failure: back to the ordinary interval.
    pub first_pass: bool,
}

/// A wake is not asked for sooner than this: time alone changes nothing that cannot wait so long.
const WAKE_AT_LEAST: Duration = Duration::from_millis(50);

/// The errors of one outage in this time are left to the outage. An ordinary restart comes once; a crash loop comes
/// again, and then its errors count.
const FORGIVEN_EVERY: Duration = Duration::from_secs(600);

/// An `under_1_percent` report is void while an error rate of at least this is measured.
const ONE_PERCENT: f64 = 0.01;

/// Windows, streaks and answers of one service.
///
/// Samples go in by [`Self::record`]; [`Self::evaluate`] answers atoms, conditions and the tree anew where samples, facts
/// or time could have changed them, and is nearly free where not.
#[derive(Debug)]
pub struct Watch {
    policy: Arc<ServicePolicy>,
    signals: Box<[Signal]>,
    atoms: Box<[AtomState]>,
    sustained: Box<[Sustained]>,
    conditions: Box<[Answer]>,
    verdict: Verdict,
    support: Support,
    /// When time alone could change an answer.
    due: BootTime,
    /// Whose samples changed something since the last evaluation.
    dirty: Dirty,
    /// A "for" is counting: it must hear of its inner answer even if that stays the same.
    counting: bool,
    /// Stands for the facts of the last evaluation.
    facts: u64,
    /// For so long an answer is taken to have stood without being looked at.
    trusted: Duration,
    /// When an outage's errors were last left to the outage.
    forgiven_at: Option<BootTime>,
}

/// Signals with news. One by one is how they come, so that no list is kept of more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dirty {
    Nothing,
    One(SignalIndex),
    Several,
}

impl Dirty {
    fn add(&mut self, signal: SignalIndex) {
        *self = match *self {
            Self::Nothing => Self::One(signal),
            Self::One(same) if same == signal => *self,
            _ => Self::Several,
        };
    }

    fn has(self, signal: Option<SignalIndex>) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(one) => signal == Some(one),
            Self::Several => true,
        }
    }
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(policy: Arc<ServicePolicy>, now: Now) -> Self {
        let signals: Box<[_]> = (0..policy.signals.len())
            .map(|place| {
                let of_signal = |atom: &&Atom| atom::signal_of(atom).is_some_and(|signal| signal.get() == place);
                let atoms = || policy.atoms.iter().filter(of_signal);
                let views: Vec<_> = atoms().filter_map(atom::rate_limit).map(atom::view_of).collect();
                let slow = atoms().filter(|atom| matches!(atom, Atom::Latency { .. }));
                let slow: Vec<_> = slow.filter_map(atom::rate_limit).map(atom::view_of).collect();
                Signal::new(&policy.signals[place], &views, &slow, now.boot)
            })
            .collect();
        Self {
            atoms: policy.atoms.iter().map(|atom| AtomState::new(atom, &policy)).collect(),
            sustained: vec![Sustained::new(now.boot); usize::from(policy.sustained_count)].into(),
            conditions: vec![Answer::Unknown; policy.conditions.len()].into(),
            verdict: Verdict {
                kind: VerdictKind::Monitor,
                plan: None,
                decided_by: None,
                held_back: false,
                unconfirmed: false,
            },
            support: Support::NONE,
            due: BootTime::START,
            dirty: Dirty::Several,
            counting: false,
            facts: 0,
            trusted: signals.iter().map(Signal::stale_after).max().unwrap_or(WAKE_AT_LEAST),
            forgiven_at: None,
            signals,
            policy,
        }
    }

    /// Takes one sample; its `signal` says which of this service's. Constant time, but for a sample that comes late,
    /// which takes a step for each slot of the window that it is late by.
    pub fn record(&mut self, now: Now, sample: &Sample) -> Recorded {
        let place = sample.signal.get();
        let was_failing = self.signals[place].streak.failing;
        let recorded = self.signals[place].record(now, sample);
        if recorded.changed {
            self.dirty.add(sample.signal);
        }
        if recorded.first_pass && was_failing >= self.policy.thresholds.down_after {
            self.outage_ended(now, place);
        }
        recorded
    }

    /// An outage is its own question, with `down_for` to wait: its errors do not then accuse the release a second time
    /// by their rate. A restart happens once; what goes down again soon after is not forgiven.
    fn outage_ended(&mut self, now: Now, place: usize) {
        if !matches!(self.policy.signals[place].kind, SignalKind::Probe { critical: true })
            || self.forgiven_at.is_some_and(|at| now.boot.since(at) < FORGIVEN_EVERY)
        {
            return;
        }
        self.forgiven_at = Some(now.boot);
        for (signal, policy) in self.signals.iter_mut().zip(&self.policy.signals) {
            if policy.kind == SignalKind::Requests {
                signal.cut(now.boot);
            }
        }
        for (state, atom) in self.atoms.iter_mut().zip(&self.policy.atoms) {
            if matches!(atom, Atom::ErrorRate { .. } | Atom::Latency { .. }) {
                state.cut();
            }
        }
        self.due = BootTime::START;
        self.dirty = Dirty::Several;
    }

    /// Answers anew and gives the verdict.
    pub fn evaluate(&mut self, now: Now, facts: Facts<'_>) -> Verdict {
        let print = facts::fingerprint(&facts);
        let facts_changed = print != self.facts;
        if self.dirty == Dirty::Nothing && !facts_changed && now.boot < self.due {
            return self.verdict;
        }
        let Self { policy, signals, atoms, sustained, conditions, dirty, .. } = self;
        let mut due = NEVER;
        // Which of the reports are an operator's may change as time passes, without any answer being another.
        let of_reporters = facts.operators_reports.len() < facts.reports.len();
        let mut changed = facts_changed || of_reporters;
        let mut streaks = false;
        for (place, state) in atoms.iter_mut().enumerate() {
            if facts_changed || now.boot >= state.due || dirty.has(state.signal) {
                changed |= state.evaluate(&policy.atoms[place], signals, now, &facts);
                streaks |= state.is_streak;
            }
            due = due.min(state.due);
        }
        if streaks {
            settle_quiet(signals, atoms);
        }
        if changed || self.counting {
            let mut inputs = Inputs { atoms, sustained, now: now.boot, trusted: self.trusted };
            tree::answer_conditions(policy, &mut inputs, conditions);
            self.verdict = tree::decide(&policy.tree, conditions, || is_held_back(policy, atoms, &facts));
        }
        self.support = Support::NONE;
        if self.verdict.kind >= VerdictKind::Consider {
            let inputs = Inputs { atoms, sustained, now: now.boot, trusted: self.trusted };
            let grounds = Grounds { policy, inputs, conditions, facts: &facts, now };
            if of_reporters {
                let without = grounds.without_reporters();
                if self.verdict.kind == VerdictKind::RollBack {
                    // What reporters say leads to consider at most, by the same question.
                    let considered = Verdict { kind: VerdictKind::Consider, unconfirmed: true, ..self.verdict };
                    self.verdict = if without.kind == VerdictKind::RollBack { without } else { considered };
                }
                self.support.without_reporters = without.kind >= self.verdict.kind;
            }
            if let RolloutState::InstancesFailing { .. } = facts.rollout {
                self.support.without_instances = grounds.without_instances().kind >= self.verdict.kind;
            }
            self.support.may_act = grounds.to_act_on().kind >= self.verdict.kind;
        }
        self.counting = sustained.iter().any(Sustained::is_counting);
        if self.counting {
            for condition in &policy.conditions {
                tree::each_sustained(&condition.expression, &mut |index, duration| {
                    due = due.min(sustained[index].due(duration));
                });
            }
        }
        self.facts = print;
        self.due = due;
        self.dirty = Dirty::Nothing;
        self.verdict
    }

    /// The verdict of the last evaluation; monitor before the first.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether that verdict may be acted on without asking anybody: it stands on what was seen last, not only on what was
    /// seen before and is not surely over, and on what operators say, not only reporters.
    pub fn may_act(&self) -> bool {
        self.support.may_act
    }

    /// Whether that verdict would stand if reporters had said nothing. Nothing is done without asking that stands on their
    /// word alone.
    pub fn stands_without_reporters(&self) -> bool {
        self.support.without_reporters
    }

    /// Whether that verdict would stand if the platform had shown no instance of the live release that fails: if what users
    /// see, or what people say, leads as far.
    pub fn stands_without_instances(&self) -> bool {
        self.support.without_instances
    }

    /// Windows cut at the end of a rollout: samples from before `now` neither blame nor acquit, and streaks begin anew.
    /// The first counts of each source of requests after it began before it, and are left out.
    pub fn cut(&mut self, now: Now) {
        for signal in &mut self.signals {
            signal.cut(now.boot);
        }
        for atom in &mut self.atoms {
            atom.cut();
        }
        for sustained in &mut self.sustained {
            sustained.cut(now.boot);
        }
        self.due = BootTime::START;
        self.dirty = Dirty::Several;
        self.counting = true;
    }

    /// When the answer could change without a new sample: a "for", a settling or a hysteresis that runs out, a slot that
    /// leaves a window with a yes, a signal that becomes stale. At least 50 ms from `now`.
    pub fn next_wake(&self, now: Now) -> Option<BootTime> {
        (self.dirty != Dirty::Nothing || self.due < NEVER).then(|| self.due.max(now.boot.after(WAKE_AT_LEAST)))
    }

    /// From here on the signal is taken so often: its samples are expected in that time, and its timeout.
    pub fn set_cadence(&mut self, signal: SignalIndex, every: Duration) {
        self.signals[signal.get()].set_cadence(every);
    }
}

/// Notes for each signal whether another pass would change anything.
fn settle_quiet(signals: &mut [Signal], atoms: &[AtomState]) {
    for signal in signals.iter_mut() {
        signal.quiet = true;
    }
    for state in atoms.iter().filter(|state| state.is_streak) {
        if let Some(signal) = state.signal {
            signals[signal.get()].quiet &= state.answer == Answer::No;
        }
    }
}

/// Whether a reported fact turns consider into monitor. That few requests are affected is measured where it can be.
fn is_held_back(policy: &ServicePolicy, atoms: &[AtomState], facts: &Facts<'_>) -> bool {
    let more_than_one_percent = || {
        policy.atoms.iter().zip(atoms).any(|(atom, state)| {
            matches!(atom, Atom::ErrorRate { limit, .. } if limit.above >= ONE_PERCENT && state.answer == Answer::Yes)
        })
    };
    facts.reports.iter().any(|(kind, _)| {
        policy.hold_back_when.contains(kind) && (*kind != ReportKind::UnderOnePercent || !more_than_one_percent())
    })
}
