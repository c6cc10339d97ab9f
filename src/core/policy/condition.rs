//! Conditions and the decision tree, compiled to indices.

use std::{sync::Arc, time::Duration};

use super::{
    super::name::{ConditionName, SignalIndex},
    service::ReportKind,
};
use crate::core::verdict::{PlanKind, VerdictKind};

/// One measured fact that conditions are made of. Equal atoms are shared, so that each is evaluated once.
#[derive(Debug, Clone, PartialEq)]
pub enum Atom {
    /// A probe or feature has failed at least `failing` times in a row.
    Failing {
        /// The probe or feature.
        signal: SignalIndex,
        /// Failures in a row, at least 1.
        failing: u32,
    },
    /// A rollout passed its settling time without a healthy answer, or the target itself says that it fails.
    RolloutFailing,
    /// The error rate is above a limit.
    ErrorRate {
        /// The source of request counts.
        signal: SignalIndex,
        /// The limit.
        limit: RateLimit,
    },
    /// A latency quantile is above a limit.
    Latency {
        /// The source of request counts, with a histogram.
        signal: SignalIndex,
        /// The limit.
        limit: LatencyLimit,
    },
    /// People or other systems reported it.
    Reported {
        /// What was reported.
        kind: ReportKind,
        /// Reports needed, at least 1.
        at_least: u32,
        /// Within this time.
        over: Duration,
    },
    /// Nothing is configured that could measure it; answers no, and the path says that it was not measured.
    NotMeasured {
        /// What is not measured, as in "no requests are configured".
        why: Arc<str>,
    },
}

/// When an error rate counts as too high: the exact binomial test of design §4.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// The rate itself, between 0 and 1, both excluded.
    pub above: f64,
    /// The window.
    pub over: Duration,
    /// One look's confidence, between 0.5 and 1, both excluded.
    pub confidence: f64,
    /// Requests needed for any answer; the window lengthens to reach them.
    pub min_requests: u64,
    /// The longest that the window may become; at least `over`.
    pub widen_to: Duration,
    /// Errors needed for a yes.
    pub min_errors: u64,
}

/// When a latency quantile counts as too high: `max(factor × what it was before the deploy, at_least)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyLimit {
    /// The quantile, as 0.99.
    pub quantile: f64,
    /// Times what it was before the deploy; [`None`] for an absolute limit.
    pub factor: Option<f64>,
    /// Never yes below this.
    pub at_least: Duration,
    /// Window, confidence and requests needed; `above` is `1 - quantile`: the share of requests that may be slower.
    pub rate: RateLimit,
}

/// A place for the state of one "for" in a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SustainIndex(pub u16);

/// A condition's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// `atoms[index]` of the service.
    Atom(u16),
    /// `conditions[index]` of the service; always an earlier one.
    Condition(u16),
    /// Every one; never empty.
    All(Vec<Expression>),
    /// At least one; never empty.
    Any(Vec<Expression>),
    /// The contrary.
    Not(Box<Expression>),
    /// Yes once the inner one has been yes for so long. Unknown neither advances nor resets it, within the gap budget.
    Sustained {
        /// What must hold.
        inner: Box<Expression>,
        /// For how long.
        duration: Duration,
        /// Where its state is kept.
        index: SustainIndex,
    },
}

/// A named condition.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionPolicy {
    /// Its name.
    pub name: ConditionName,
    /// Its body.
    pub expression: Expression,
}

/// One question of the decision tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// As a person would ask it.
    pub ask: Arc<str>,
    /// `conditions[index]` of the service.
    pub when: u16,
    /// What follows from yes.
    pub then: Then,
    /// The plan that this question wants, if it names one.
    pub plan: Option<PlanKind>,
}

/// What follows from yes.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// The verdict.
    Verdict(VerdictKind),
    /// Further questions; if none of them says yes, the list above goes on.
    AskNext(Vec<Question>),
}
