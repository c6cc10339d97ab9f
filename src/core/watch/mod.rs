//! One service's volatile half: windows, streaks, conditions and the verdict. What must outlive the process is in the
//! journal; this starts empty with each process.

#[cfg(test)]
mod alarms;
mod atom;
mod authority;
mod carry;
mod failures;
mod gap;
mod path;
mod reading;
#[cfg(test)]
mod scrape_tests;
mod signal;
mod sustained;
#[cfg(test)]
pub(in crate::core) mod tests;
mod tree;
mod words;

pub use gap::GAP_BUDGET;
pub(super) use signal::NO_ANSWER;

use std::{sync::Arc, time::Duration};

use self::{
    atom::{AtomState, NEVER},
    authority::Grounds,
    signal::{Signal, Streak},
    sustained::Sustained,
    tree::Inputs,
};
use super::{
    answer::Answer,
    name::{ConditionName, SignalIndex, SignalName},
    policy::{Atom, ReportKind, ServicePolicy, SignalKind},
    sample::Sample,
    time::{BootTime, Now, WallTime},
    verdict::{Onset, Verdict, VerdictKind},
};

/// What the evaluation has to know from the durable half.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The rollout that is under way or just failed.
    pub rollout: RolloutState<'a>,
    /// Reports that have not expired or been taken back.
    pub reports: &'a [(ReportKind, WallTime)],
    /// Those of them that operators made: without these, reports lead to consider at most.
    pub operators_reports: &'a [(ReportKind, WallTime)],
    /// Latencies before the live deploy, by name of signal and quantile (as in "requests p99"), in seconds.
    pub baseline: &'a [(String, f64)],
}

/// Where the live release's rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState<'a> {
    /// There is none.
    Settled,
    /// Under way: failing probes open nothing yet.
    UnderWay {
        /// The settling time ends then.
        until: BootTime,
    },
    /// Its settling time ended without a healthy answer, or the target says that it fails.
    Failing {
        /// In words.
        why: &'a str,
    },
}

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

/// A signal as people see it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SignalView {
    /// Its name.
    pub name: SignalName,
    /// The last outcome: passed, failed, missed, or none yet.
    #[serde(deserialize_with = "last_outcome")]
    pub last: super::view::Word,
    /// Its reason, failed or missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Failures in a row.
    pub failing: u32,
    /// Seconds since the last sample, missed ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Whether too much was missed for too long: the signal is lost.
    pub lost: bool,
    /// When the certificate expires that it sees, where it is taken over TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_expires: Option<super::time::WallTime>,
}

fn last_outcome<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<super::view::Word, D::Error> {
    super::view::word(deserializer, &["passed", "failed", "missed", "none"])
}

/// A wake is not asked for sooner than this: time alone changes nothing that cannot wait so long.
const WAKE_AT_LEAST: Duration = Duration::from_millis(50);

/// The errors of one outage in this time are left to the outage. An ordinary restart comes once; a crash loop comes
/// again, and then its errors count.
const FORGIVEN_EVERY: Duration = Duration::from_secs(600);

/// A deploy is noticed within this, whatever the target: looks come every five seconds at the latest, and take a while.
/// One in a hundred slow requests makes a p99, so that even a few seconds of a slow release would spoil a baseline.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

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
    may_act: bool,
    stands_without_reporters: bool,
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
            may_act: false,
            stands_without_reporters: true,
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
        let print = fingerprint(&facts);
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
        (self.stands_without_reporters, self.may_act) = (true, false);
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
                self.stands_without_reporters = without.kind >= self.verdict.kind;
            }
            self.may_act = grounds.to_act_on().kind >= self.verdict.kind;
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
        self.may_act
    }

    /// Whether that verdict would stand if reporters had said nothing. Nothing is done without asking that stands on their
    /// word alone.
    pub fn stands_without_reporters(&self) -> bool {
        self.stands_without_reporters
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

    /// Since when what the verdict rests on has been so: the earliest of the yes atoms behind the deciding question.
    /// Unknown if one of them was so when the watch began. Cuts do not move it: a fault that was there before a deploy
    /// and is there after it began before.
    pub fn onset(&self, now: Now) -> Onset {
        let Some(question) = self.verdict.decided_by.and_then(|place| tree::question_at(&self.policy.tree, place))
        else {
            return Onset::Nothing;
        };
        let mut earliest: Option<BootTime> = None;
        let mut known = true;
        let condition = &self.policy.conditions[usize::from(question.when)];
        tree::each_atom(&self.policy, &condition.expression, &mut |atom| {
            let state = &self.atoms[atom];
            if state.answer == Answer::Yes {
                known &= state.fault.is_some_and(|(_, known)| known);
                let began = state.fault.map(|(began, _)| began);
                earliest = earliest.into_iter().chain(began).min();
            }
        });
        match earliest {
            Some(began) if known => Onset::Ago(now.boot.since(began)),
            _ => Onset::Unknown,
        }
    }

    /// Since when the critical probes that say that the system is down have failed without a pass between: the boot time
    /// of the first failed sample of the longest such streak. None if none is failing now.
    pub fn failing_since(&self) -> Option<BootTime> {
        self.down_streaks().filter_map(|streak| streak.failed).map(|(first, _)| first).min()
    }

    /// Whether such a failure is seen just now: its probe was heard lately, and failing.
    pub fn is_seen_failing(&self, now: Now) -> bool {
        let is_down = |signal: &&Signal| signal.streak.failing >= self.policy.thresholds.down_after;
        self.critical_probes().filter(is_down).any(|signal| !signal.is_stale(now.boot))
    }

    /// How long that failure was *seen* to last: the time between its failed samples, without that in which samples were
    /// missed. Unlike the time since [`Self::failing_since`] it neither grows while nothing is seen, nor catches up after.
    pub fn failing_for(&self) -> Option<Duration> {
        self.down_streaks().map(|streak| streak.seen_failing).max()
    }

    fn down_streaks(&self) -> impl Iterator<Item = &Streak> {
        self.critical_probes()
            .map(|signal| &signal.streak)
            .filter(|streak| streak.failing >= self.policy.thresholds.down_after && streak.failed.is_some())
    }

    /// From here on the signal is taken so often: its samples are expected in that time, and its timeout.
    pub fn set_cadence(&mut self, signal: SignalIndex, every: Duration) {
        self.signals[signal.get()].set_cadence(every);
    }

    /// Whether every critical probe has passed at least once in samples taken after `since`.
    pub fn critical_probes_passed_since(&self, since: BootTime) -> bool {
        self.critical_probes().all(|signal| signal.streak.passed_at.is_some_and(|passed| passed > since))
    }

    /// Failed samples of a critical probe taken at `since` or later, passes between them notwithstanding: those of the
    /// probe that has the most. `since` is a rollout's start; cuts do not change the number. No more than the last 16 of
    /// each probe are known, so that 16 stands for any number from there on.
    pub fn failed_critical_samples_since(&self, since: BootTime) -> u32 {
        self.critical_probes().map(|signal| signal.failures.since(since)).max().unwrap_or(0)
    }

    fn critical_probes(&self) -> impl Iterator<Item = &Signal> {
        let kinds = self.policy.signals.iter().map(|signal| signal.kind);
        let critical = kinds.map(|kind| kind == SignalKind::Probe { critical: true });
        self.signals.iter().zip(critical).filter(|(_, critical)| *critical).map(|(signal, _)| signal)
    }

    /// Latency quantiles before the deploy that is noticed now, in seconds, for its [`Facts::baseline`]; only where there
    /// is enough evidence. What was seen since `NOTICED_WITHIN` may be the new release's already, and is left out.
    pub fn baseline(&self, now: Now) -> Vec<(String, f64)> {
        let before = now.boot.before(NOTICED_WITHIN);
        let mut baseline: Vec<(String, f64)> = Vec::new();
        for (state, atom) in self.atoms.iter().zip(&self.policy.atoms) {
            let (Some(label), Atom::Latency { signal, limit }) = (&state.label, atom) else { continue };
            let signal = &self.signals[signal.get()];
            if signal.is_stale(now.boot) || baseline.iter().any(|(name, _)| **name == **label) {
                continue;
            }
            let window = signal.requests.as_deref().and_then(|requests| requests.latency.as_ref());
            let view = atom::view_of(&limit.rate);
            if let Some(seconds) = window.and_then(|window| window.quantile_until(before, &view, limit.quantile)) {
                baseline.push((label.to_string(), seconds));
            }
        }
        baseline
    }

    /// Requests counted since the last cut, or since the watch began; none if no source of requests is configured.
    pub fn requests_since_cut(&self) -> Option<u64> {
        let counts = self.signals.iter().filter_map(|signal| signal.requests.as_deref());
        counts.map(|requests| requests.since_cut).reduce(u64::saturating_add)
    }

    /// Every named condition with its answer.
    pub fn condition_answers(&self) -> impl Iterator<Item = (&ConditionName, Answer)> {
        self.policy.conditions.iter().map(|condition| &condition.name).zip(self.conditions.iter().copied())
    }

    /// Every signal as people see it.
    pub fn signals(&self, now: Now) -> Vec<SignalView> {
        let signals = self.signals.iter().zip(&self.policy.signals);
        signals.map(|(signal, policy)| signal.view(policy, now.boot)).collect()
    }

    /// Signals of which more than a fifth is missing over the last twenty expected samples, with the last reason.
    pub fn lost(&self, now: Now) -> Vec<(SignalName, String)> {
        let signals = self.signals.iter().zip(&self.policy.signals);
        let lost = signals.filter(|(signal, _)| signal.is_lost(now.boot));
        lost.map(|(signal, policy)| (policy.name.clone(), signal.lost_reason(now.boot))).collect()
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

/// Facts that are equal have equal fingerprints; others nearly never (64-bit FNV-1a over their numbers).
fn fingerprint(facts: &Facts<'_>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let rollout = match facts.rollout {
        RolloutState::Settled => 0,
        RolloutState::UnderWay { .. } => 1,
        RolloutState::Failing { .. } => 2,
    };
    let reports = facts.reports.iter().flat_map(|(kind, at)| [*kind as u64, at.as_millis().cast_unsigned()]);
    let baseline = facts.baseline.iter().flat_map(|(name, seconds)| [name.len() as u64, seconds.to_bits()]);
    let numbers = [rollout, facts.reports.len() as u64, facts.operators_reports.len() as u64]
        .into_iter()
        .chain(reports)
        .chain(baseline);
    numbers.fold(OFFSET, |state, number| (state ^ number).wrapping_mul(PRIME))
}
