//! "For 5m": a condition that must hold for a while.

use std::time::Duration;

use super::{atom::NEVER, gap::GAP_BUDGET};
use crate::core::{answer::Answer, time::BootTime};

/// How long the inner condition has held.
///
/// - No ends it at once.
/// - Yes advances it; until the time is full the answer is unknown, because the system is then neither healthy nor is it
///   sure that the trouble lasts.
/// - Unknown neither advances nor ends it, until it has taken a fifth of the time: then the signal is lost, and what was
///   counted with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sustained {
    inner: Answer,
    pub(super) answer: Answer,
    evaluated_at: BootTime,
    pub(super) held: Duration,
    pub(super) blind: Duration,
}

impl Sustained {
    pub(super) fn new(now: BootTime) -> Self {
        let none = Duration::ZERO;
        Self { inner: Answer::Unknown, answer: Answer::Unknown, evaluated_at: now, held: none, blind: none }
    }

    /// Takes the inner answer at `now`. Since the last evaluation the inner answer was the one of then, but not for
    /// longer than `trusted`: beyond that nobody looked, as in a suspended machine.
    pub(super) fn evaluate(&mut self, inner: Answer, duration: Duration, now: BootTime, trusted: Duration) -> Answer {
        let passed = now.since(self.evaluated_at);
        let trusted = passed.min(trusted);
        match self.inner {
            Answer::Yes => {
                self.held = (self.held + trusted).min(duration);
                self.blind += passed - trusted;
            }
            Answer::Unknown if self.has_begun() => self.blind += passed,
            _ => {}
        }
        self.evaluated_at = self.evaluated_at.max(now);
        if inner == Answer::No || self.blind > duration.mul_f64(GAP_BUDGET) {
            (self.held, self.blind) = (Duration::ZERO, Duration::ZERO);
        }
        self.inner = inner;
        self.answer = match inner {
            Answer::No => Answer::No,
            _ if self.held >= duration => Answer::Yes,
            _ => Answer::Unknown,
        };
        if self.answer == Answer::Yes && inner == Answer::Yes {
            self.blind = Duration::ZERO;
        }
        self.answer
    }

    fn has_begun(&self) -> bool {
        self.held > Duration::ZERO
    }

    /// When the answer changes if the inner one does not.
    pub(super) fn due(&self, duration: Duration) -> BootTime {
        match self.inner {
            Answer::Yes if self.answer != Answer::Yes => self.evaluated_at.after(duration.saturating_sub(self.held)),
            Answer::Unknown if self.has_begun() => {
                let left = duration.mul_f64(GAP_BUDGET).saturating_sub(self.blind);
                self.evaluated_at.after(left + Duration::from_nanos(1))
            }
            _ => NEVER,
        }
    }

    /// Time counted so far, judged at `now`.
    pub(super) fn held_at(&self, duration: Duration, now: BootTime) -> Duration {
        let more = if self.inner == Answer::Yes { now.since(self.evaluated_at) } else { Duration::ZERO };
        (self.held + more).min(duration)
    }

    /// After a cut nothing has held yet.
    pub(super) fn cut(&mut self, now: BootTime) {
        *self = Self::new(now);
    }
}
