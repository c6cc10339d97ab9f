//! What the right outcome is, and whether it came.

use std::fs;

use super::{follow::Follow, place::Place};
use crate::{
    cli::Fault,
    core::{entry::PlanOutcome, operation::HistoryRecord, release::Standing, verdict::VerdictKind, view::IncidentView},
};

/// The first release.
pub(super) const GOOD: &str = "v1.2.3";
/// The second.
pub(super) const BAD: &str = "v1.2.4";
/// Orders that the flaky release must have served before it counts as left alone.
const FLAKY_ORDERS_AT_LEAST: u64 = 3_000;

/// What is wrong with the second release, and what is right then.
pub(super) const fn expectation(fault: Fault) -> (&'static str, &'static str) {
    match fault {
        Fault::Down => (
            "serves well for four seconds, and then answers nothing but 503.",
            "Once that has lasted for three seconds unbroken, roll back without asking, and prove that it helped.",
        ),
        Fault::Errors => ("fails 12 of every 100 orders.", "Roll back without asking, and prove that it helped."),
        Fault::Slow => (
            "takes half a second and more for every order.",
            "Ask the on-call engineer first; roll back once that is approved, and prove that it helped.",
        ),
        Fault::Flaky => (
            "fails 8 of every 1,000 orders.",
            "Fewer than one in a hundred: leave it alone, open no incident, and let it prove itself.",
        ),
    }
}

/// Whether the run is over: either the right outcome is there, or one from which it can come no more.
pub(super) fn is_over(fault: Fault, follow: &Follow, orders: u64) -> bool {
    match (fault, follow.incident()) {
        (Fault::Flaky, Some(incident)) => incident.plans.iter().any(|plan| plan.outcome.is_some()),
        (Fault::Flaky, None) => follow.standing(BAD) == Some(Standing::KnownGood) && orders >= FLAKY_ORDERS_AT_LEAST,
        (_, Some(incident)) => {
            let ended = incident.plans.last().and_then(|plan| plan.outcome);
            incident.resolved_at.is_some() || ended.is_some_and(|outcome| outcome != PlanOutcome::Verified)
        }
        (_, None) => false,
    }
}

/// What is not as it should be, each in a sentence; nothing if all is right.
pub(super) fn faults(fault: Fault, follow: &Follow, place: &Place) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let expected = if fault == Fault::Flaky { BAD } else { GOOD };
    let live = place.live().unwrap_or_else(|| "nothing".to_owned());
    must(live == expected, format!("{expected} should be live, and {live} is"));
    let records = history(place);
    let incident = follow.incident();
    if fault == Fault::Flaky {
        must(incident.is_none(), "an incident was opened over 0.8% of errors".to_owned());
        must(records.is_empty(), "a rollback is on record, and none was called for".to_owned());
        let standing = follow.standing(BAD);
        must(standing == Some(Standing::KnownGood), format!("{BAD} should have proved itself; it is {standing:?}"));
        return wrong;
    }
    let Some(incident) = incident else {
        wrong.push(format!("no incident was opened over {BAD}"));
        return wrong;
    };
    let plan = incident.plans.last();
    let verified = plan.and_then(|plan| plan.outcome) == Some(PlanOutcome::Verified);
    must(verified, format!("the rollback should be verified; the incident is: {}", incident.state));
    must(incident.resolved_at.is_some(), "the incident should be over".to_owned());
    let asked = fault == Fault::Slow;
    let verdict = if asked { VerdictKind::Consider } else { VerdictKind::RollBack };
    must(incident.verdict == verdict, format!("the verdict should be {verdict}; it was {}", incident.verdict));
    let approved = plan.is_some_and(|plan| plan.approved_by.is_some());
    must(approved == asked, format!("a human {} be asked", if asked { "should" } else { "should not" }));
    let standing = follow.standing(BAD);
    must(standing == Some(Standing::KnownBad), format!("{BAD} should be known to be bad; it is {standing:?}"));
    let recorded = matches!(&records[..], [one]
        if one.version_from == BAD && one.version_to == GOOD && one.outcome == PlanOutcome::Verified.as_str());
    must(recorded, format!("the history should hold this one rollback; it holds {}", records.len()));
    wrong
}

/// What the history file holds.
pub(super) fn history(place: &Place) -> Vec<HistoryRecord> {
    #[derive(serde::Deserialize)]
    struct File {
        rollbacks: Vec<HistoryRecord>,
    }
    let bytes = fs::read(place.history()).unwrap_or_default();
    serde_json::from_slice::<File>(&bytes).map(|file| file.rollbacks).unwrap_or_default()
}

/// When the older release was live again, and when that was verified.
pub(super) fn moments(
    incident: &IncidentView,
) -> (Option<crate::core::time::WallTime>, Option<crate::core::time::WallTime>) {
    let ended = |title: &str| {
        let step = incident.plans.last()?.steps.iter().find(|step| step.title == title)?;
        step.ended_at
    };
    (ended("roll back the target"), ended("verify"))
}
