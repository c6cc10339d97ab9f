//! A service's conditions: the built-in ones, and the place where all are kept.

use std::{collections::BTreeMap, time::Duration};

use super::{Sink, View, limit::Limits, shown_duration, signal::Signals};
use crate::core::{
    name::ConditionName,
    policy::{Atom, ConditionPolicy, Expression, ReportKind, SignalKind, SustainIndex, ThresholdsPolicy},
};

/// The built-in conditions, in their order.
pub(super) const BUILT_IN: [&str; 9] = [
    "system_down",
    "rollout_failing",
    "data_at_risk",
    "security_exploited",
    "error_rate_critical",
    "error_rate_elevated",
    "key_feature_broken",
    "performance_degraded",
    "complaints",
];

/// Conditions as they are made; equal atoms are shared.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) atoms: Vec<Atom>,
    pub(super) list: Vec<ConditionPolicy>,
    pub(super) sustained: u16,
    places: BTreeMap<String, u16>,
}

impl Conditions {
    /// An atom's place as an expression.
    pub(super) fn atom(&mut self, atom: Atom) -> Expression {
        let place = self.atoms.iter().position(|known| *known == atom).unwrap_or_else(|| {
            self.atoms.push(atom);
            self.atoms.len() - 1
        });
        Expression::Atom(u16::try_from(place).expect("parts of expressions are bounded"))
    }

    /// An expression that must hold for some time.
    pub(super) fn sustained(&mut self, inner: Expression, held: Option<Duration>) -> Expression {
        let Some(duration) = held else { return inner };
        let index = SustainIndex(self.sustained);
        self.sustained += 1;
        Expression::Sustained { inner: Box::new(inner), duration, index }
    }

    /// Keeps a condition under its name.
    pub(super) fn name(&mut self, name: &str, expression: Expression) {
        let place = u16::try_from(self.list.len()).expect("conditions are bounded");
        self.places.insert(name.to_owned(), place);
        self.list.push(ConditionPolicy { name: ConditionName::from(name), expression });
    }

    /// The place of a condition.
    pub(super) fn place(&self, name: &str) -> Option<u16> {
        self.places.get(name).copied()
    }

    /// Every name.
    pub(super) fn names(&self) -> Vec<&str> {
        self.list.iter().map(|condition| condition.name.as_str()).collect()
    }

    fn not_measured(&mut self, why: &str) -> Expression {
        self.atom(Atom::NotMeasured { why: why.into() })
    }

    fn reported(&mut self, kind: ReportKind, at_least: u32, over: Duration) -> Expression {
        self.atom(Atom::Reported { kind, at_least, over })
    }
}

/// Warns of a threshold that was chosen and that nothing measures.
fn unmeasured(service: &View<'_>, key: &str, what: &str, sink: &mut Sink) {
    let thresholds = service.object("thresholds");
    if thresholds.differs(key) {
        let message = format!("{}: has no effect, since this service has {what}", thresholds.path_of(key));
        sink.warn(&thresholds.key_span(key), message, "add it, or leave this out");
    }
}

/// At least one; no list around a single one.
pub(super) fn any(mut parts: Vec<Expression>) -> Option<Expression> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(Expression::Any(parts)),
    }
}

/// Makes the built-in conditions, in the order of [`BUILT_IN`].
pub(super) fn built_in(
    service: &View<'_>,
    signals: &Signals,
    probes: &ThresholdsPolicy,
    limits: &Limits,
    sink: &mut Sink,
) -> Conditions {
    let mut all = Conditions::default();
    let view = service.object("thresholds");
    let expire = super::duration(&service.object("reports"), "expire");

    let critical = signals.named(|kind| kind == SignalKind::Probe { critical: true });
    let down: Vec<Atom> = critical.map(|(_, signal)| Atom::Failing { signal, failing: probes.down_after }).collect();
    let down = down.into_iter().map(|atom| all.atom(atom)).collect();
    let down = any(down).unwrap_or_else(|| all.not_measured("no probe is critical"));
    all.name("system_down", down);

    let failing = all.atom(Atom::RolloutFailing);
    all.name("rollout_failing", failing);
    let corrupted = all.reported(ReportKind::DataCorruption, 1, expire);
    all.name("data_at_risk", corrupted);
    let exploited = all.reported(ReportKind::SecurityExploited, 1, expire);
    all.name("security_exploited", exploited);

    for (name, key) in [("error_rate_critical", "roll_back_above"), ("error_rate_elevated", "consider_above")] {
        let view = view.object(key);
        // Held against the rest even where nothing measures it: the mistake would come out with the first source.
        let above = view.percent("error_rate").map_or(0.5, |rate| rate.value);
        let limit = limits.rate(&view, above, sink);
        let held = limits.held_for(&view, sink);
        let expression = if let Some((signal, _)) = &signals.requests {
            let rate = all.atom(Atom::ErrorRate { signal: *signal, limit });
            all.sustained(rate, held)
        } else {
            unmeasured(service, key, "no `requests`", sink);
            all.not_measured("no requests are configured")
        };
        all.name(name, expression);
    }

    let critical = signals.named(|kind| kind == SignalKind::Feature { critical: true });
    let broken: Vec<Atom> = critical
        .map(|(_, signal)| Atom::Failing { signal, failing: signals.failures[signal.get()].unwrap_or(1) })
        .collect();
    let broken = broken.into_iter().map(|atom| all.atom(atom)).collect();
    let broken = any(broken).unwrap_or_else(|| all.not_measured("no critical features are configured"));
    all.name("key_feature_broken", broken);

    let slow = view.object("slow_above");
    let limit = limits.slow_above(&slow, sink);
    let held = limits.held_for(&slow, sink);
    let expression = match &signals.requests {
        Some((signal, _)) if signals.latency => {
            let latency = all.atom(Atom::Latency { signal: *signal, limit });
            all.sustained(latency, held)
        }
        Some(_) => {
            unmeasured(service, "slow_above", "no `latency` in `requests`", sink);
            all.not_measured("the requests have no latency")
        }
        None => {
            unmeasured(service, "slow_above", "no `requests`", sink);
            all.not_measured("no requests are configured")
        }
    };
    all.name("performance_degraded", expression);

    let complaints = view.object("complaints");
    let at_least = complaints.whole("at_least").map_or(1, |at_least| at_least.value);
    if let Some(over) = complaints.duration("over").filter(|over| over.value > expire && !expire.is_zero()) {
        let message =
            format!("{}: reports expire before {} are over", complaints.path_of("over"), shown_duration(&over));
        sink.warn(&over.span, message, "shorten it, or lengthen `reports.expire`");
    }
    let complaints = all.reported(ReportKind::Complaint, at_least, super::duration(&complaints, "over"));
    all.name("complaints", complaints);
    all
}
