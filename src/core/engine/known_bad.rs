//! A release that is known to be bad becomes live again: that is told, and where the policy says so, undone once.

use super::{decide::Begin, page::Draft, service::Service, sight::same_version, turn::Turn};
use crate::core::{
    answer::Answer,
    entry::ByHand,
    gate::{Gate, together},
    name::Version,
    page::PageKind,
    policy::{Finding, Mode},
    verdict::PlanKind,
};

/// Who undoes it.
const BY: &str = "Backstop";
/// Gates that are not asked: nothing has failed yet that they could judge, and once is all that is done.
const NOT_ASKED: [Gate; 5] =
    [Gate::DeployedRecently, Gate::FaultAfterDeploy, Gate::OnlyTheNewFails, Gate::Budget, Gate::Cooldown];

impl Service {
    /// Tells of it, and undoes it where that is wanted, was not done before, and no gate holds it.
    pub(super) fn meet_known_bad(&mut self, turn: &mut Turn<'_>, version: &Version) {
        let why = turn.record(&self.name).standings.get(version).map(|known| known.why.clone()).unwrap_or_default();
        let undoing = self.undoing(turn, version);
        let what_follows = match &undoing {
            Ok((from, to)) => Some(format!("It is undone, this once: from {from} to {to}.")),
            Err(Some(why)) => Some(format!("It is not undone: {why}.")),
            Err(None) => None,
        };
        let summary = format!("{}: {version} is live again, and it is known to be bad ({why})", self.name);
        let finding = Finding::KnownBadDeployed;
        let draft = Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, summary);
        turn.page(draft.details(what_follows));
        let Ok((from, to)) = undoing else { return };
        let reason = Some(format!("{version} was rolled back from before: block_known_bad"));
        let order = ByHand { by: BY.to_owned(), reason, overridden: Vec::new() };
        self.open_by_hand(turn, &order, &format!("a rollback from {from}"), &format!("Backstop rolls back to {to}."));
        self.start(turn, &Begin { by_hand: Some(&order), ..Begin::of(PlanKind::Quick, &from, &to) });
    }

    /// From what to what it is undone; or why not, where there is anything to say of it.
    fn undoing(&self, turn: &Turn<'_>, version: &Version) -> Result<(Version, Version), Option<String>> {
        if !self.policy.blocks_known_bad {
            return Err(None);
        }
        if self.policy.mode != Mode::Act || self.page_only || turn.observer.closing {
            return Err(Some("Backstop only watches this service just now".to_owned()));
        }
        if turn.open_incident(&self.name).is_some() {
            return Err(Some("an incident is open, which goes on".to_owned()));
        }
        let incidents = turn.ledger.durable.incidents.values().filter(|one| one.service == self.name);
        let mut plans = incidents.flat_map(|incident| &incident.plans);
        let was_undone = plans
            .any(|plan| same_version(&plan.from, version) && plan.by_hand.as_ref().is_some_and(|order| order.by == BY));
        if was_undone {
            return Err(Some("that was done once already, and whoever deploys it again may mean it".to_owned()));
        }
        let gates = self.gates_before(turn, PlanKind::Quick, &NOT_ASKED);
        if together(&gates) != Answer::Yes {
            let held = gates.iter().find(|report| report.answer != Answer::Yes);
            return Err(held.map(|report| format!("gate {} says {}: {}", report.gate, report.answer, report.why)));
        }
        self.versions(turn, PlanKind::Quick).ok_or_else(|| Some("there is nothing to go back to".to_owned()))
    }
}
