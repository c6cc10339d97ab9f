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
                self.blind += passed.saturating_sub(trusted);
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

    /// Whether the passing time counts, so that it must be evaluated even if the inner answer stays the same.
    pub(super) fn is_counting(&self) -> bool {
        self.inner == Answer::Yes || self.has_begun()
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

#[cfg(test)]
mod tests {
    use Answer::{No, Unknown, Yes};
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(100);
    const TRUSTED: Duration = Duration::from_secs(40);

    fn at(seconds: u64) -> BootTime {
        BootTime::from_nanos((5_000 + seconds) * 1_000_000_000)
    }

    fn run(steps: &[(u64, Answer)]) -> Vec<Answer> {
        let mut sustained = Sustained::new(at(0));
        steps.iter().map(|&(time, inner)| sustained.evaluate(inner, DURATION, at(time), TRUSTED)).collect()
    }

    #[test]
    fn it_must_hold_and_no_ends_it() {
        assert_eq!(
            run(&[(0, Yes), (40, Yes), (80, Yes), (99, Yes), (100, Yes), (130, Yes), (131, No), (132, Yes)]),
            [Unknown, Unknown, Unknown, Unknown, Yes, Yes, No, Unknown]
        );
    }

    #[test]
    fn unknown_neither_advances_nor_ends_it_within_a_fifth() {
        assert_eq!(
            run(&[(0, Yes), (40, Unknown), (59, Yes), (99, Yes), (118, Yes), (119, Yes)]),
            [Unknown, Unknown, Unknown, Unknown, Unknown, Yes]
        );
        assert_eq!(
            run(&[(0, Yes), (40, Unknown), (61, Yes), (99, Yes), (139, Yes), (160, Yes), (161, Yes)]),
            [Unknown, Unknown, Unknown, Unknown, Unknown, Unknown, Yes]
        );
        // Once it is so, a blind spell leaves it so, but not for long.
        assert_eq!(
            run(&[(0, Yes), (40, Yes), (80, Yes), (100, Yes), (110, Unknown), (129, Unknown), (131, Unknown)]),
            [Unknown, Unknown, Unknown, Yes, Yes, Yes, Unknown]
        );
    }

    #[test]
    fn a_suspended_machine_does_not_sustain_anything() {
        assert_eq!(run(&[(0, Yes), (10_000, Yes), (10_099, Yes)]), [Unknown, Unknown, Unknown]);
    }

    #[test]
    fn it_asks_to_be_looked_at_when_it_is_due() {
        let mut sustained = Sustained::new(at(0));
        assert_eq!(sustained.due(DURATION), NEVER);
        sustained.evaluate(Yes, DURATION, at(0), TRUSTED);
        assert_eq!(sustained.due(DURATION), at(100));
        sustained.evaluate(Unknown, DURATION, at(30), TRUSTED);
        assert_eq!(sustained.due(DURATION), at(50).after(Duration::from_nanos(1)));
        assert_eq!(sustained.held_at(DURATION, at(45)), Duration::from_secs(30));
    }

    proptest! {
        /// Second by second: yes only after so many seconds of yes since the last no, with no more than a fifth unknown
        /// among them.
        #[test]
        fn it_agrees_with_a_model_of_seconds(steps in prop::collection::vec((1_u64..30, 0_u8..6), 1..60)) {
            let mut sustained = Sustained::new(at(0));
            let (mut time, mut inner) = (0, Unknown);
            let (mut held, mut blind) = (0_u64, 0_u64);
            for (wait, next) in steps {
                for _ in 0..wait {
                    match inner {
                        Yes => held = (held + 1).min(100),
                        Unknown if held > 0 => blind += 1,
                        _ => {}
                    }
                    time += 1;
                }
                let next = [Yes, Yes, Yes, Yes, Unknown, No][usize::from(next)];
                if next == No || blind > 20 {
                    (held, blind) = (0, 0);
                }
                let expected = match next {
                    No => No,
                    _ if held >= 100 => Yes,
                    _ => Unknown,
                };
                if expected == Yes && next == Yes {
                    blind = 0;
                }
                inner = next;
                prop_assert_eq!(sustained.evaluate(next, DURATION, at(time), TRUSTED), expected);
            }
        }
    }
}
