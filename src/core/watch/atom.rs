//! Atoms: one measured fact each, with its hysteresis.

use std::time::Duration;

use super::{
    Facts, RolloutState, gap,
    signal::{Requests, Signal},
};
use crate::core::{
    answer::Answer,
    name::SignalIndex,
    policy::{Atom, LatencyLimit, RateLimit, ReportKind, ServicePolicy},
    statistics::{Evidence, whole_part},
    time::{BootTime, Now},
    window::View,
};

/// Passes in a row that end what a streak of failures began, at most; fewer where fewer failures were needed. A probe
/// that fails every other time stays failing, and does not open and close an incident every second.
pub(super) const PASSES_TO_CLEAR: u32 = 3;

/// A rate that was above its limit must stay below the exit threshold for this share of its window.
pub(super) const CLEAR_SHARE: u32 = 4;

/// A no is a statement about a stretch of time: it takes so many polls that were heard, or as many as a window surely
/// holds where those are fewer.
const POLLS_FOR_NO: u64 = 3;

/// No wake is needed.
pub(super) const NEVER: BootTime = BootTime::from_nanos(u64::MAX);

/// An atom's state between evaluations.
#[derive(Debug)]
pub(super) struct AtomState {
    pub(super) answer: Answer,
    /// The signal that it is about.
    pub(super) signal: Option<SignalIndex>,
    /// Whether it is about failures in a row.
    pub(super) is_streak: bool,
    /// Whether what was last seen speaks for a yes. Where it does not, a yes is one that was, and is not surely over.
    pub(super) is_seen: bool,
    /// It was yes, and has not been clear for long enough since.
    latched: bool,
    clear_since: Option<BootTime>,
    /// Since when it has been so, and whether it was seen otherwise before. Stands until the answer is no.
    pub(super) fault: Option<(BootTime, bool)>,
    no_at: Option<BootTime>,
    /// When the answer could change by time alone.
    pub(super) due: BootTime,
    /// For rates.
    pub(super) evidence: Option<Evidence>,
    /// For latencies compared with a baseline: its name among the facts.
    pub(super) label: Option<Box<str>>,
    /// The limit in seconds just now, and whether it stands in for an unknown baseline.
    pub(super) slow_limit: (f64, bool),
}

/// What a rate atom sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RateSeen {
    pub(super) requests: u64,
    /// Surely bad.
    pub(super) bad: u64,
    /// Perhaps bad; more than `bad` only where a histogram's bucket holds both.
    pub(super) perhaps_bad: u64,
    pub(super) span: Duration,
    /// Share of the expected polls that are missing.
    pub(super) blind: f64,
    /// Whether it is past the budget, or nearly nothing was heard yet.
    pub(super) is_blind: bool,
    /// When it could be another by time alone.
    pub(super) changes_at: BootTime,
}

impl RateSeen {
    /// What a source that says nothing shows.
    pub(super) const NOTHING: Self = Self {
        requests: 0,
        bad: 0,
        perhaps_bad: 0,
        span: Duration::ZERO,
        blind: 1.0,
        is_blind: true,
        changes_at: NEVER,
    };
}

impl AtomState {
    pub(super) fn new(atom: &Atom, policy: &ServicePolicy) -> Self {
        let signal = signal_of(atom).map(|signal| &policy.signals[signal.get()]);
        let evidence = rate_limit(atom).zip(signal).map(|(limit, signal)| Evidence::new(limit, signal.every));
        let label = match (atom, signal) {
            (Atom::Latency { limit: LatencyLimit { quantile, factor: Some(_), .. }, .. }, Some(signal)) => {
                Some(format!("{} {}", signal.name, quantile_name(*quantile)).into())
            }
            _ => None,
        };
        Self {
            answer: if matches!(atom, Atom::NotMeasured { .. }) { Answer::No } else { Answer::Unknown },
            signal: signal_of(atom),
            is_streak: matches!(atom, Atom::Failing { .. }),
            is_seen: false,
            latched: false,
            clear_since: None,
            fault: None,
            no_at: None,
            due: BootTime::START,
            evidence,
            label,
            slow_limit: (0.0, false),
        }
    }

    /// Answers anew; tells whether the answer changed.
    pub(super) fn evaluate(&mut self, atom: &Atom, signals: &[Signal], now: Now, facts: &Facts<'_>) -> bool {
        let before = self.answer;
        self.due = NEVER;
        self.is_seen = false;
        self.answer = match atom {
            Atom::Failing { signal, failing } => self.failing(&signals[signal.get()], *failing, now.boot, facts),
            Atom::RolloutFailing => {
                let failing = facts.rollout.is_failing();
                if failing {
                    self.is_seen = !matches!(facts.rollout, RolloutState::InstancesFailing { is_seen: false, .. });
                    self.fault = self.fault.or(Some((now.boot, true)));
                }
                failing.into()
            }
            // What is counted while two releases and a restart share the window blames neither: it is cut at the end.
            Atom::ErrorRate { .. } | Atom::Latency { .. } if matches!(facts.rollout, RolloutState::UnderWay { .. }) => {
                Answer::Unknown
            }
            Atom::ErrorRate { signal, limit } => self.rate(atom, &signals[signal.get()], limit, now.boot),
            Atom::Latency { signal, limit } => {
                self.slow_limit = slow_limit(limit, self.label.as_deref(), facts);
                self.rate(atom, &signals[signal.get()], &limit.rate, now.boot)
            }
            Atom::Reported { kind, at_least, over } => self.reported(*kind, *at_least, *over, now, facts),
            Atom::NotMeasured { .. } => Answer::No,
        };
        if self.answer == Answer::No {
            self.no_at = Some(now.boot);
            self.fault = None;
        }
        self.answer != before
    }

    fn failing(&mut self, signal: &Signal, needed: u32, now: BootTime, facts: &Facts<'_>) -> Answer {
        if matches!(facts.rollout, RolloutState::UnderWay { .. }) {
            return Answer::Unknown;
        }
        let Some(stale) = signal.stale_at().filter(|&stale| stale > now) else { return Answer::Unknown };
        self.due = stale;
        let streak = &signal.streak;
        if streak.failing >= needed {
            self.is_seen = true;
            self.latched = true;
            self.fault = self.fault.or(streak.fault);
            return Answer::Yes;
        }
        if self.latched && streak.passing < needed.min(PASSES_TO_CLEAR) {
            return Answer::Yes;
        }
        self.latched = false;
        // A first failure right after the start is no sign of health.
        if streak.passing == 0 && streak.passed_at.is_none_or(|passed| signal.is_before_cut(passed)) {
            Answer::Unknown
        } else {
            Answer::No
        }
    }

    fn rate(&mut self, atom: &Atom, signal: &Signal, limit: &RateLimit, now: BootTime) -> Answer {
        let Some(stale) = signal.stale_at().filter(|&stale| stale > now) else { return Answer::Unknown };
        let Some(requests) = signal.requests.as_deref() else { return Answer::Unknown };
        let Some(seen) = view_at(atom, signal, requests, self.slow_limit.0, now) else { return Answer::Unknown };
        let Some(evidence) = self.evidence.as_mut() else { return Answer::Unknown };
        self.due = stale.min(seen.changes_at);
        if self.slow_limit.1 {
            // Without a baseline only what is surely fast has an answer.
            return no_unless_blind(evidence.is_below(seen.perhaps_bad, seen.requests), seen.is_blind);
        }
        if evidence.is_above(seen.bad, seen.requests) {
            self.is_seen = true;
            self.latched = true;
            self.clear_since = None;
            // It began after it was last seen otherwise, and within the window that shows it.
            let shown = now.before(seen.span).max(requests.since);
            let began = self.no_at.map_or(shown, |no| no.max(shown));
            self.fault = self.fault.or(Some((began, self.no_at.is_some())));
            return Answer::Yes;
        }
        if self.latched {
            if seen.requests < limit.min_requests {
                return Answer::Unknown;
            }
            let is_clear = evidence.is_clear(seen.perhaps_bad, seen.requests);
            if !is_clear || seen.is_blind {
                self.is_seen = !is_clear && !seen.is_blind;
                self.clear_since = None;
                return Answer::Yes;
            }
            let clear_at = self.clear_since.get_or_insert(now).after(limit.over / CLEAR_SHARE);
            if now < clear_at {
                self.due = self.due.min(clear_at);
                return Answer::Yes;
            }
            self.latched = false;
            self.clear_since = None;
        }
        no_unless_blind(evidence.is_below(seen.perhaps_bad, seen.requests), seen.is_blind)
    }

    fn reported(&mut self, kind: ReportKind, at_least: u32, over: Duration, now: Now, facts: &Facts<'_>) -> Answer {
        let (mut count, mut first) = (0, now.wall);
        for at in reports(facts, kind, over, now) {
            count += 1;
            first = first.min(at);
        }
        if count < at_least {
            return Answer::No;
        }
        self.due = now.boot_at(first.after(over));
        self.is_seen = true;
        self.fault = self.fault.or(Some((now.boot_at(first), true)));
        Answer::Yes
    }

    /// What was met before a cut is judged anew by what comes after it.
    pub(super) fn cut(&mut self) {
        self.latched = false;
        self.clear_since = None;
        self.due = BootTime::START;
    }
}

/// No is a statement about the whole window: with too much of it blind it is not made.
fn no_unless_blind(answer: Answer, is_blind: bool) -> Answer {
    if answer == Answer::No && is_blind { Answer::Unknown } else { answer }
}

/// Reports of one kind that count just now.
pub(super) fn reports<'a>(
    facts: &Facts<'a>,
    kind: ReportKind,
    over: Duration,
    now: Now,
) -> impl Iterator<Item = crate::core::time::WallTime> + 'a {
    counting(facts.reports, kind, over, now)
}

/// Those of `all` that are of one kind and young enough.
pub(super) fn counting(
    all: &[(ReportKind, crate::core::time::WallTime)],
    kind: ReportKind,
    over: Duration,
    now: Now,
) -> impl Iterator<Item = crate::core::time::WallTime> {
    let oldest = now.wall.before(over);
    all.iter().filter(move |(reported, at)| *reported == kind && *at > oldest).map(|(_, at)| *at)
}

/// The signal that an atom is about.
pub(super) fn signal_of(atom: &Atom) -> Option<SignalIndex> {
    match atom {
        Atom::Failing { signal, .. } | Atom::ErrorRate { signal, .. } | Atom::Latency { signal, .. } => Some(*signal),
        Atom::RolloutFailing | Atom::Reported { .. } | Atom::NotMeasured { .. } => None,
    }
}

/// The limit of a rate atom.
pub(super) fn rate_limit(atom: &Atom) -> Option<&RateLimit> {
    match atom {
        Atom::ErrorRate { limit, .. } => Some(limit),
        Atom::Latency { limit, .. } => Some(&limit.rate),
        _ => None,
    }
}

/// The window of a rate atom.
pub(super) fn view_of(limit: &RateLimit) -> View {
    View { over: limit.over, widen_to: limit.widen_to, min_requests: limit.min_requests }
}

/// As in "p99" or "p99.9".
pub(super) fn quantile_name(quantile: f64) -> String {
    // Percent in thousandths, so that 0.999 is not 99.90000000000001.
    format!("p{}", (quantile * 100_000.0).round() / 1_000.0)
}

fn slow_limit(limit: &LatencyLimit, label: Option<&str>, facts: &Facts<'_>) -> (f64, bool) {
    let at_least = limit.at_least.as_secs_f64();
    let Some(factor) = limit.factor else { return (at_least, false) };
    let baseline = facts.baseline.iter().find(|(name, _)| Some(name.as_str()) == label);
    baseline.map_or((at_least, true), |(_, seconds)| ((factor * seconds).max(at_least), false))
}

/// What is in an atom's window; nothing where its source has no histogram, or has none any more.
pub(super) fn view_at(
    atom: &Atom,
    signal: &Signal,
    requests: &Requests,
    slow_limit_seconds: f64,
    now: BootTime,
) -> Option<RateSeen> {
    let limit = rate_limit(atom)?;
    let view = view_of(limit);
    let durations = matches!(atom, Atom::Latency { .. });
    let expected_since = if durations { requests.latency_begun? } else { requests.begun? };
    let (seen, window) = if durations {
        let stale = requests.latency_heard_at?.after(signal.stale_after());
        if stale <= now {
            return None;
        }
        let slow = requests.latency.as_ref()?.slower(now, &view, slow_limit_seconds);
        ((slow.total, slow.surely, slow.perhaps), (slow.begin, slow.span_nanos, slow.changes_at.min(stale)))
    } else {
        let counts = requests.counts.sums(now, &view);
        ((counts.total, counts.errors, counts.errors), (counts.begin, counts.span_nanos, counts.changes_at))
    };
    let (begin, span_nanos, changes_at) = window;
    let from = begin.max(expected_since);
    let heard = requests.counts.heard_since(from, durations);
    let polls = Polls { every: signal.every, from, heard };
    let (blind, is_past_budget) = polls.blind(now);
    Some(RateSeen {
        requests: seen.0,
        bad: seen.1,
        perhaps_bad: seen.2,
        span: Duration::from_nanos(span_nanos).min(now.since(expected_since)),
        blind,
        is_blind: is_past_budget || heard < POLLS_FOR_NO.min(polls.fit_into(limit.over).saturating_sub(1)).max(1),
        changes_at: if is_past_budget { changes_at } else { changes_at.min(polls.blind_at()) },
    })
}

/// The polls of a window: those that were heard among those that were expected since `from`.
struct Polls {
    every: Duration,
    from: BootTime,
    heard: u64,
}

impl Polls {
    fn fit_into(&self, duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos() / self.every.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    /// The share that is missing, and whether that is past the gap budget.
    fn blind(&self, now: BootTime) -> (f64, bool) {
        let expected = self.fit_into(now.since(self.from));
        let missing = expected.saturating_sub(self.heard);
        (missing as f64 / expected.max(1) as f64, gap::is_too_much(missing, expected))
    }

    /// When it will be, if nothing more is heard.
    fn blind_at(&self) -> BootTime {
        // One more than the budget allows, which the division gives or misses by one.
        let least = whole_part(self.heard as f64 / (1.0 - gap::GAP_BUDGET));
        let expected = (least..=least + 3).find(|&all| gap::is_too_much(all.saturating_sub(self.heard), all));
        expected.map_or(NEVER, |expected| {
            let expected = u32::try_from(expected).unwrap_or(u32::MAX);
            self.from.after(self.every.saturating_mul(expected))
        })
    }
}
