//! Which gates are asked before which plan.

use super::Gate;
use crate::core::verdict::PlanKind;

/// A restart takes no release away, so that nothing is asked of it that is about going back; gathering changes nothing.
#[test]
fn each_plan_has_its_own_gates() {
    let asked = |plan: PlanKind| -> Vec<&str> {
        Gate::ALL.iter().filter(|gate| gate.is_asked_before(plan)).map(|gate| gate.as_str()).collect()
    };
    assert_eq!(
        asked(PlanKind::RestartFailing),
        [
            "accused",
            "not_denied",
            "budget",
            "not_paused",
            "not_in_maintenance",
            "no_shared_cause",
            "dependencies_well",
            "self_check",
            "store",
        ]
    );
    assert_eq!(asked(PlanKind::Gather), ["store"]);
    for plan in PlanKind::ALL.into_iter().filter(|plan| plan.rolls_back()) {
        assert_eq!(asked(plan).len(), Gate::ALL.len(), "{plan}");
    }
}
