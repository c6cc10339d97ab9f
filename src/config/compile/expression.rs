//! Own conditions.

use super::{
    super::{
        decode::{did_you_mean, shown, shown_key},
        shape, value,
    },
    Node, Sink, View,
    condition::{BUILT_IN, Conditions, any},
    limit::Limits,
    ordering,
    signal::Signals,
    visible,
};
use crate::{
    config::{
        limits::{EXPRESSION_DEPTH_LIMIT, EXPRESSION_PARTS_LIMIT},
        node::{Span, State, Value},
        shape::Shape,
    },
    core::{
        name::SignalIndex,
        policy::{Atom, Expression, ReportKind, SignalKind, ThresholdsPolicy},
    },
};

/// Makes the own conditions of a service.
pub(super) fn own(
    service: &View<'_>,
    signals: &Signals,
    probes: &ThresholdsPolicy,
    limits: &Limits,
    conditions: &mut Conditions,
    sink: &mut Sink,
) {
    let entries = service.map("conditions");
    let path = service.path_of("conditions");
    let mut parts = 0;
    for (key, node) in entries {
        if BUILT_IN.contains(&key.name.as_str()) {
            let message = format!("{path}.{}: there is a built-in condition of this name", shown_key(&key.name));
            sink.error(&key.span, message, "choose another name; a built-in one is changed in `thresholds`");
        }
        let body = ordering::body(node);
        parts += body.parts;
        if body.depth > EXPRESSION_DEPTH_LIMIT {
            let message = format!("{path}.{}: nested deeper than {EXPRESSION_DEPTH_LIMIT}", shown_key(&key.name));
            sink.error(&key.span, message, "make conditions of their own of its inner parts");
        }
    }
    if parts > EXPRESSION_PARTS_LIMIT {
        let message = format!("{path}: more than {EXPRESSION_PARTS_LIMIT} parts in all conditions together");
        sink.error(&service.key_span("conditions"), message, "leave some out");
        return;
    }
    let known: Vec<&str> = BUILT_IN.into_iter().chain(entries.iter().map(|(key, _)| key.name.as_str())).collect();
    let ordered = ordering::order(entries, &path, sink);
    let mut maker = Maker { signals, probes, limits, conditions, known, sink, shape: service.shape("conditions") };
    for (key, node) in ordered {
        let expression = maker.expression(node, &key.span, &format!("{path}.{}", shown_key(&key.name)), 1);
        maker.conditions.name(&key.name, expression);
    }
}

struct Maker<'a> {
    signals: &'a Signals,
    probes: &'a ThresholdsPolicy,
    limits: &'a Limits,
    conditions: &'a mut Conditions,
    known: Vec<&'a str>,
    sink: &'a mut Sink,
    shape: Shape,
}

impl Maker<'_> {
    /// Makes an expression; a mistake in it is told and replaced by one that is never met.
    fn expression(&mut self, node: &Node, span: &Span, path: &str, depth: usize) -> Expression {
        if node.state != State::Fine || depth > EXPRESSION_DEPTH_LIMIT {
            return self.unmade();
        }
        match &node.value {
            Value::Text(_) | Value::Secret(_) => self.named(node, path),
            Value::Map(entries) => {
                let Some((key, value)) = entries.first().filter(|_| entries.len() == 1) else { return self.unmade() };
                if value.state != State::Fine {
                    return self.unmade();
                }
                self.part(&key.name, node, value, span, path, depth)
            }
            _ => self.unmade(),
        }
    }

    fn part(&mut self, key: &str, node: &Node, value: &Node, span: &Span, path: &str, depth: usize) -> Expression {
        let inner = format!("{path}.{key}");
        let view = View::of(node, self.shape, span, path.to_owned());
        match key {
            "any" | "all" => {
                let items = value.items().iter().enumerate();
                let parts: Vec<Expression> = items
                    .map(|(place, item)| {
                        self.expression(item, &item.span, &format!("{inner}[{}]", place + 1), depth + 1)
                    })
                    .collect();
                if key == "any" || parts.len() < 2 {
                    any(parts).unwrap_or_else(|| self.unmade())
                } else {
                    Expression::All(parts)
                }
            }
            "not" => Expression::Not(Box::new(self.expression(value, span, &inner, depth + 1))),
            "condition" => self.named(value, &inner),
            "probe" => {
                let view = view.object(key);
                let failing = view.whole("failing").map_or(self.probes.down_after, |failing| failing.value);
                match self.signal(&view, "probe", |kind| matches!(kind, SignalKind::Probe { .. })) {
                    Some(signal) => self.conditions.atom(Atom::Failing { signal, failing }),
                    None => self.unmade(),
                }
            }
            "feature" => {
                let view = view.object(key);
                let Some(signal) = self.signal(&view, "feature", |kind| matches!(kind, SignalKind::Feature { .. }))
                else {
                    return self.unmade();
                };
                let usual = self.signals.failures[signal.get()].unwrap_or(1);
                let failing = view.whole("failures").map_or(usual, |failures| failures.value);
                self.conditions.atom(Atom::Failing { signal, failing })
            }
            "error_rate" => {
                let view = view.object(key);
                let above = view.percent("above").map_or(0.5, |above| above.value);
                let limit = self.limits.rate(&view, above, self.sink);
                let held = self.limits.held_for(&view, self.sink);
                let Some(signal) = self.requests(&view, false) else { return self.unmade() };
                let rate = self.conditions.atom(Atom::ErrorRate { signal, limit });
                self.conditions.sustained(rate, held)
            }
            "reports" => {
                let view = view.object(key);
                let kind = view.text("kind").and_then(|kind| report_kind(&kind.value));
                let at_least = view.whole("at_least").map_or(1, |at_least| at_least.value);
                let over = super::duration(&view, "over");
                let Some(kind) = kind else { return self.unmade() };
                self.conditions.atom(Atom::Reported { kind, at_least, over })
            }
            key => match shape::quantile_of(key) {
                Some(quantile) => {
                    let view = view.object(key);
                    let above = view.parsed("above", value::latency_above).map(|above| above.value);
                    let limit = self.limits.latency(&view, quantile, above, self.sink);
                    let held = self.limits.held_for(&view, self.sink);
                    let Some(signal) = self.requests(&view, true) else { return self.unmade() };
                    let latency = self.conditions.atom(Atom::Latency { signal, limit });
                    self.conditions.sustained(latency, held)
                }
                None => self.unmade(),
            },
        }
    }

    /// What stands in for a part that a diagnostic was made about.
    fn unmade(&mut self) -> Expression {
        self.conditions.atom(Atom::NotMeasured { why: "".into() })
    }

    fn named(&mut self, node: &Node, path: &str) -> Expression {
        let Some(name) = node.text().filter(|_| node.state == State::Fine) else { return self.unmade() };
        if let Some(place) = self.conditions.place(name) {
            return Expression::Condition(place);
        }
        // One that is known and has no place is in a circle, or rests on one; that is told already.
        if !self.known.contains(&name) {
            let message = format!("{path}: there is no condition called `{}`", shown(visible(node)));
            self.sink.error(&node.span, message, did_you_mean(visible(node), self.known.iter().copied()));
        }
        self.unmade()
    }

    fn signal(&mut self, view: &View<'_>, what: &str, wanted: fn(SignalKind) -> bool) -> Option<SignalIndex> {
        let node = view.usable("name").filter(|node| node.state == State::Fine)?;
        let name = node.text()?;
        if let Some((_, signal)) = self.signals.named(wanted).find(|(known, _)| *known == name) {
            return Some(signal);
        }
        let message = format!("{}: there is no {what} called `{}`", view.path_of("name"), shown(visible(node)));
        let other = self.signals.named(|kind| !wanted(kind)).find(|(known, _)| *known == name);
        let help = match other {
            Some(_) if what == "probe" => {
                format!("`{}` is a feature: write `feature` instead of `probe`", visible(node))
            }
            Some(_) if name != "requests" => {
                format!("`{}` is a probe: write `probe` instead of `feature`", visible(node))
            }
            _ => {
                let names: Vec<&str> = self.signals.named(wanted).map(|(known, _)| known).collect();
                did_you_mean(visible(node), names.iter().copied())
            }
        };
        self.sink.error(&node.span, message, help);
        None
    }

    fn requests(&mut self, view: &View<'_>, latency: bool) -> Option<SignalIndex> {
        match &self.signals.requests {
            Some((signal, _)) if !latency || self.signals.latency => Some(*signal),
            Some(_) => {
                let message = format!("{}: nothing measures latency here", view.path);
                self.sink.error(&view.span, message, "add `latency` to this service's `requests`");
                None
            }
            None => {
                let message = format!("{}: nothing counts requests here", view.path);
                self.sink.error(&view.span, message, "add `requests` to this service");
                None
            }
        }
    }
}

/// The kind of report that a word stands for.
pub(super) fn report_kind(word: &str) -> Option<ReportKind> {
    Some(match word {
        "complaint" => ReportKind::Complaint,
        "data_corruption" => ReportKind::DataCorruption,
        "security_exploited" => ReportKind::SecurityExploited,
        "minor_ui" => ReportKind::MinorUi,
        "non_critical_feature" => ReportKind::NonCriticalFeature,
        "under_1_percent" => ReportKind::UnderOnePercent,
        "workaround_available" => ReportKind::WorkaroundAvailable,
        _ => return None,
    })
}
