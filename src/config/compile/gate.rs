//! Gates, verification, and what follows from consider.

use super::{Sink, View, duration, shown_duration};
use crate::core::policy::{
    ConsiderPolicy, ConsiderThen, GatesPolicy, GitopsPolicy, KnownGoodPolicy, Mode, RollbacksPolicy, SharedCausePolicy,
    VerifyPolicy,
};

pub(super) fn gates(view: &View<'_>, min_requests: u32, sink: &mut Sink) -> GatesPolicy {
    if let (Some(settle), Some(within)) = (view.duration("settle"), view.duration("deployed_within"))
        && settle.value >= within.value
    {
        let at = if settle.written { &settle.span } else { &within.span };
        let message = format!(
            "{}: {} is not shorter than `deployed_within`, {}, so no deploy could ever be blamed",
            view.path_of("settle"),
            shown_duration(&settle),
            shown_duration(&within)
        );
        sink.error(at, message, "shorten it, or lengthen `deployed_within`");
    }
    let rollbacks = view.object("rollbacks");
    let shared_cause = view.object("shared_cause");
    GatesPolicy {
        known_good: match view.text("known_good") {
            Some(word) if word.value == "previous" => KnownGoodPolicy::Previous,
            _ => KnownGoodPolicy::Soaked,
        },
        known_good_after: duration(view, "known_good_after"),
        known_good_min_requests: min_requests.into(),
        settle: duration(view, "settle"),
        deployed_within: duration(view, "deployed_within"),
        rollbacks: RollbacksPolicy {
            at_most: rollbacks.whole("at_most").map_or(1, |at_most| at_most.value),
            over: duration(&rollbacks, "over"),
        },
        acting_wait: duration(&shared_cause, "wait"),
        shared_cause: SharedCausePolicy {
            services: shared_cause.whole("services").map_or(2, |services| services.value),
            within: duration(&shared_cause, "within"),
        },
        cooldown: duration(view, "cooldown"),
        resume_within: duration(view, "resume_within"),
        gitops: match view.text("gitops") {
            Some(word) if word.value == "act" => GitopsPolicy::Act,
            Some(word) if word.value == "suspend" => GitopsPolicy::Suspend,
            _ => GitopsPolicy::Refuse,
        },
    }
}

pub(super) fn verify(view: &View<'_>, sink: &mut Sink) -> VerifyPolicy {
    if let (Some(healthy), Some(timeout)) = (view.duration("healthy_for"), view.duration("timeout"))
        && healthy.value >= timeout.value
    {
        let at = if healthy.written { &healthy.span } else { &timeout.span };
        let message = format!(
            "{}: {} cannot pass within `timeout`, {}, so no rollback could be proved",
            view.path_of("healthy_for"),
            shown_duration(&healthy),
            shown_duration(&timeout)
        );
        sink.error(at, message, "shorten it, or lengthen `timeout`");
    }
    VerifyPolicy { healthy_for: duration(view, "healthy_for"), timeout: duration(view, "timeout") }
}

pub(super) fn consider(view: &View<'_>) -> ConsiderPolicy {
    let then = match view.text("then") {
        Some(word) if word.value == "roll_back" => ConsiderThen::RollBack,
        _ => ConsiderThen::Ask,
    };
    ConsiderPolicy { then, window: duration(view, "window") }
}

/// The service's own mode, or the one at the top.
pub(super) fn mode(service: &View<'_>, root: &View<'_>) -> Mode {
    let view = if service.written("mode").is_some() { service } else { root };
    match view.text("mode").map(|mode| mode.value) {
        Some(word) if word == "ask" => Mode::Ask,
        Some(word) if word == "observe" => Mode::Observe,
        _ => Mode::Act,
    }
}
