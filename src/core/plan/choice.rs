//! Which plan an incident gets: the first that matches, as the runbook has it.

use crate::core::verdict::PlanKind;

/// Conditions that a restart of what fails does not answer, whichever instances fail beside: what is corrupted or exploited
/// goes on being so by every instance that serves.
const NOT_MENDED_BY_RESTART: [&str; 2] = ["data_at_risk", "security_exploited"];

/// What the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The plan that the deciding question names.
    pub named: Option<PlanKind>,
    /// The condition behind the deciding question.
    pub condition: Option<&'a str>,
    /// The platform has not been seen for a while.
    pub is_out_of_sight: bool,
    /// Some instances of the live release serve and some fail, and its rollout is through.
    pub is_partial: bool,
    /// What failed was restarted in this incident already.
    pub was_restarted: bool,
}

/// The plan to be begun now. A restart comes once, and where it did not help the quick rollback follows.
pub fn choose(now: &Circumstances<'_>) -> PlanKind {
    let restart_may_help =
        now.is_partial && now.condition.is_none_or(|condition| !NOT_MENDED_BY_RESTART.contains(&condition));
    match now.named {
        Some(PlanKind::RestartFailing) if now.was_restarted => PlanKind::Quick,
        Some(named) => named,
        None if now.is_out_of_sight => PlanKind::Gather,
        None if restart_may_help && !now.was_restarted => PlanKind::RestartFailing,
        None => PlanKind::Quick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_matches() {
        use PlanKind::{Full, Gather, Quick, RestartFailing, StopWrites};
        let down = Some("system_down");
        for (named, condition, is_out_of_sight, is_partial, was_restarted, expected) in [
            (None, down, false, false, false, Quick),
            (None, down, false, true, false, RestartFailing),
            (None, down, false, true, true, Quick),
            (None, down, true, true, false, Gather),
            (None, None, false, true, false, RestartFailing),
            (None, Some("rollout_failing"), false, true, false, RestartFailing),
            (None, Some("error_rate_critical"), false, true, false, RestartFailing),
            (None, Some("security_exploited"), false, true, false, Quick),
            (None, Some("data_at_risk"), false, true, false, Quick),
            (Some(StopWrites), Some("data_at_risk"), true, true, false, StopWrites),
            (Some(Full), down, true, true, false, Full),
            (Some(Quick), down, true, true, false, Quick),
            (Some(Gather), down, false, true, false, Gather),
            (Some(RestartFailing), down, true, false, false, RestartFailing),
            (Some(RestartFailing), down, false, true, true, Quick),
        ] {
            let now = Circumstances { named, condition, is_out_of_sight, is_partial, was_restarted };
            assert_eq!(choose(&now), expected, "{now:?}");
        }
    }
}
