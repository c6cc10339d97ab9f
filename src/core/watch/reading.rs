//! What atoms see, rendered.

use std::time::Duration;

use super::{
    Facts, RolloutState, Watch,
    atom::{self, PASSES_TO_CLEAR},
    words::{count, span},
};
use crate::core::{
    answer::Answer,
    policy::{Atom, RateLimit},
    reading::Reading,
    statistics::{EXIT_FRACTION, whole_part},
    time::Now,
};

/// A reading, and what would change its answer.
pub(super) struct Rendered {
    pub(super) reading: Reading,
    pub(super) would_change: String,
}

impl Watch {
    pub(super) fn render_atom(&self, place: usize, now: Now, facts: &Facts<'_>) -> Rendered {
        let answer = self.atoms[place].answer;
        match &self.policy.atoms[place] {
            Atom::Failing { failing, .. } => self.render_streak(place, *failing, now, facts),
            Atom::ErrorRate { limit, .. } => self.render_rate(place, limit, "errors".to_owned(), now, facts),
            Atom::Latency { limit, .. } => {
                let slower = Duration::try_from_secs_f64(self.atoms[place].slow_limit.0).unwrap_or(limit.at_least);
                self.render_rate(place, &limit.rate, format!("slower than {}", span(slower)), now, facts)
            }
            Atom::RolloutFailing => {
                let (state, would_change) = match facts.rollout {
                    RolloutState::Settled => ("no rollout is under way".to_owned(), "a rollout that fails"),
                    RolloutState::UnderWay { until } => (
                        format!("rolling out, {} left to settle", span(until.since(now.boot))),
                        "the end of the settling time without a healthy answer",
                    ),
                    RolloutState::Failing { why } => (why.to_owned(), "a healthy answer"),
                    RolloutState::InstancesFailing { why, is_seen: true } => {
                        (why.to_owned(), "every instance of the live release serving")
                    }
                    RolloutState::InstancesFailing { why, is_seen: false } => {
                        (format!("{why}, when the target was last seen"), "the target being seen again")
                    }
                };
                Rendered { reading: Reading::Rollout { answer, state }, would_change: would_change.to_owned() }
            }
            Atom::Reported { kind, at_least, over } => {
                let counted = atom::reports(facts, *kind, *over, now).count();
                let counted = u32::try_from(counted).unwrap_or(u32::MAX);
                let would_change = if answer == Answer::Yes {
                    format!("fewer than {} within {}", count(u64::from(*at_least), "report"), span(*over))
                } else {
                    let more = count(u64::from(at_least.saturating_sub(counted)), "more report");
                    format!("{more} within {}", span(*over))
                };
                let reading = Reading::Reports { answer, kind: *kind, count: counted, needed: *at_least };
                Rendered { reading, would_change }
            }
            Atom::NotMeasured { why } => Rendered {
                reading: Reading::NotMeasured { why: why.to_string() },
                would_change: format!("nothing: {why}"),
            },
        }
    }

    fn render_streak(&self, place: usize, needed: u32, now: Now, facts: &Facts<'_>) -> Rendered {
        let signal_place = atom::signal_of(&self.policy.atoms[place]).expect("a streak has a signal").get();
        let (signal, name) = (&self.signals[signal_place], &self.policy.signals[signal_place].name);
        let answer = self.atoms[place].answer;
        let failing = signal.streak.failing;
        let rolling_out = matches!(facts.rollout, RolloutState::UnderWay { .. });
        let would_change = match answer {
            _ if rolling_out => format!("a healthy answer of {name}, which ends the rollout"),
            Answer::Unknown => format!("an answer of {name}"),
            Answer::No => {
                let more = u64::from(needed.saturating_sub(failing));
                format!("{} of {name} in a row", count(more, if failing == 0 { "failure" } else { "more failure" }))
            }
            Answer::Yes => {
                let passes = u64::from(needed.min(PASSES_TO_CLEAR).saturating_sub(signal.streak.passing).max(1));
                if passes == 1 { format!("a pass of {name}") } else { format!("{passes} passes of {name} in a row") }
            }
        };
        let reason = if rolling_out {
            Some("rolling out".to_owned())
        } else if answer == Answer::Unknown && signal.reason.is_none() {
            Some("no recent answer".to_owned())
        } else {
            signal.reason.as_ref().map(ToString::to_string)
        };
        let reading = Reading::Streak {
            signal: name.clone(),
            answer,
            failing,
            needed,
            reason,
            last_seen_seconds: signal.heard_at.map(|heard| now.boot.since(heard).as_secs_f64()),
        };
        Rendered { reading, would_change }
    }

    fn render_rate(&self, place: usize, limit: &RateLimit, counted: String, now: Now, facts: &Facts<'_>) -> Rendered {
        let rolling_out = matches!(facts.rollout, RolloutState::UnderWay { .. });
        let (state, atom) = (&self.atoms[place], &self.policy.atoms[place]);
        let signal_place = atom::signal_of(atom).expect("a rate has a signal").get();
        let (signal, name) = (&self.signals[signal_place], &self.policy.signals[signal_place].name);
        let seen = signal
            .requests
            .as_deref()
            .and_then(|requests| atom::view_at(atom, signal, requests, state.slow_limit.0, now.boot));
        let requests = signal.requests.as_deref().filter(|_| matches!(atom, Atom::Latency { .. }));
        let latency_reason = requests.and_then(|requests| requests.latency_reason.as_ref());
        let reason = match (&seen, &signal.reason) {
            _ if rolling_out => Some("rolling out: what is counted meanwhile blames neither release".to_owned()),
            (_, Some(reason)) => Some(reason.to_string()),
            (_, None) if latency_reason.is_some() => latency_reason.map(ToString::to_string),
            (None, None) if matches!(atom, Atom::Latency { .. }) => Some("no histogram was seen".to_owned()),
            _ if signal.is_stale(now.boot) => Some("no recent answer".to_owned()),
            _ if state.slow_limit.1 => Some("no baseline from before the deploy".to_owned()),
            _ => None,
        };
        let seen = seen.unwrap_or(atom::RateSeen::NOTHING);
        let needed = state.evidence.as_ref().and_then(|evidence| evidence.needed(seen.requests));
        let bad = |number: u64| {
            if counted == "errors" { count(number, "error") } else { format!("{} {counted}", count(number, "request")) }
        };
        let more = |number: u64| {
            if counted == "errors" {
                count(number, "more error")
            } else {
                format!("{} {counted}", count(number, "more request"))
            }
        };
        let would_change = match (state.answer, needed) {
            _ if rolling_out => "the end of the rollout".to_owned(),
            (Answer::Yes, _) => format!(
                "at most {} among {} requests, for {}",
                bad(whole_part(EXIT_FRACTION * limit.above * seen.requests as f64)),
                seen.requests,
                span(limit.over / atom::CLEAR_SHARE),
            ),
            (Answer::Unknown, _) if reason.is_some() && seen.requests == 0 => format!("an answer of {name}"),
            (Answer::Unknown, _) if seen.requests < limit.min_requests => {
                format!("{} within {}", count(limit.min_requests - seen.requests, "more request"), span(limit.widen_to))
            }
            (_, Some(needed)) => format!("{} among {} requests", more(needed.saturating_sub(seen.bad)), seen.requests),
            (_, None) => "more requests".to_owned(),
        };
        let reading = Reading::Rate {
            signal: name.clone(),
            answer: state.answer,
            counted,
            requests: seen.requests,
            errors: seen.bad,
            rate: (seen.requests > 0).then(|| seen.bad as f64 / seen.requests as f64),
            above: limit.above,
            over_seconds: seen.span.as_secs_f64(),
            configured_over_seconds: limit.over.as_secs_f64(),
            needed,
            blind: seen.blind,
            reason,
        };
        Rendered { reading, would_change }
    }
}
