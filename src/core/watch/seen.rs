//! What a watch has seen, for those who ask: since when, how long, how much, and by which signals.

use std::time::Duration;

use super::{
    Watch, atom,
    signal::{Signal, Streak},
    tree,
};
use crate::core::{
    answer::Answer,
    name::{ConditionName, SignalName},
    policy::{Atom, SignalKind},
    time::{BootTime, Now, WallTime},
    verdict::Onset,
    view,
};

/// A signal as people see it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SignalView {
    /// Its name.
    pub name: SignalName,
    /// The last outcome: passed, failed, missed, or none yet.
    #[serde(deserialize_with = "last_outcome")]
    pub last: view::Word,
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
    pub certificate_expires: Option<WallTime>,
}

fn last_outcome<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<view::Word, D::Error> {
    view::word(deserializer, &["passed", "failed", "missed", "none"])
}

/// A deploy is noticed within this, whatever the target: looks come every five seconds at the latest, and take a while.
/// One in a hundred slow requests makes a p99, so that even a few seconds of a slow release would spoil a baseline.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

impl Watch {
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

    /// Latency quantiles before the deploy that is noticed now, in seconds, for [`super::Facts::baseline`]; only where
    /// there is enough evidence. What was seen since `NOTICED_WITHIN` may be the new release's already, and is left out.
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
