//! The engine on a bench: one situation after another, and what must follow.

use std::time::Duration;

use backstop::{
    core::{entry::PlanOutcome, event::Request, name::IncidentId, policy::ServicePolicy},
    testing::{Bench, SERVICE},
};

#[path = "engine/afresh.rs"]
mod afresh;
#[path = "engine/approvals.rs"]
mod approvals;
#[path = "engine/around.rs"]
mod around;
#[path = "engine/between.rs"]
mod between;
#[path = "engine/by_hand.rs"]
mod by_hand;
#[path = "engine/clock.rs"]
mod clock;
#[path = "engine/folds.rs"]
mod folds;
#[path = "engine/gathered.rs"]
mod gathered;
#[path = "engine/interrupted.rs"]
mod interrupted;
#[path = "engine/outages.rs"]
mod outages;
#[path = "engine/pages.rs"]
mod pages;
#[path = "engine/partial.rs"]
mod partial;
#[path = "engine/rollbacks.rs"]
mod rollbacks;
#[path = "engine/soak.rs"]
mod soak;
#[path = "engine/standing.rs"]
mod standing;
#[path = "engine/steps.rs"]
mod steps;
#[path = "engine/store.rs"]
mod store;
#[path = "engine/synced.rs"]
mod synced;
#[path = "engine/trial.rs"]
mod trial;
#[path = "engine/troubles.rs"]
mod troubles;
#[path = "engine/unbegun.rs"]
mod unbegun;
#[path = "engine/waiting.rs"]
mod waiting;
#[path = "engine/witnesses.rs"]
mod witnesses;
#[path = "engine/words.rs"]
mod words;

const fn as_it_is(_: &mut ServicePolicy) {}

/// No release soaks for long enough to be known good.
const fn nothing_soaks(policy: &mut ServicePolicy) {
    policy.gates.known_good_after = Duration::from_secs(86_400);
}

fn first() -> IncidentId {
    IncidentId::from(format!("{SERVICE}-1"))
}

fn deny() -> Request {
    Request::Deny { incident: first(), approval: None, reason: Some("a campaign runs".to_owned()) }
}

fn outcome(bench: &Bench) -> Option<PlanOutcome> {
    let incident = bench.state.durable().incidents.get(first().as_str())?;
    incident.plans.last()?.ended.map(|(_, outcome)| outcome)
}
