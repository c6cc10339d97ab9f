//! Who only observes says what would have been done: once it is clear, and again only if the verdict rises.

use super::{
    decide::{Due, NOT_FOR_HUMANS},
    incident::write_evidence,
    page::Draft,
    restart::NOTHING_TO_RESTART,
    service::Service,
    surroundings::told_first,
    turn::Turn,
};
use crate::core::{
    answer::Answer,
    entry::{Decision, Fact},
    gate::{Gate, together},
    name::Version,
    page::PageKind,
    verdict::{PlanKind, VerdictKind},
};

/// What would be done.
struct WouldHave {
    decision: Decision,
    /// The gate that would hold it.
    gate: Option<Gate>,
    /// In words.
    what: String,
    /// From and to which version it would be gone back.
    versions: Option<(Version, Version)>,
}

impl WouldHave {
    const fn hold(gate: Option<Gate>, what: String) -> Self {
        Self { decision: Decision::Hold, gate, what, versions: None }
    }
}

impl Service {
    /// Tells what would be done just now if Backstop acted here.
    pub(super) fn tell_would_have(&mut self, turn: &mut Turn<'_>, due: Due) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if due == Due::Nothing {
            self.held_since = None;
            return;
        }
        let verdict = self.watch.verdict().kind;
        if incident.would_have.as_ref().is_some_and(|told| told.verdict >= verdict) {
            return;
        }
        let id = incident.id.clone();
        let Some(told) = self.would_have(turn, due) else { return };
        let WouldHave { decision, gate, what, versions } = told;
        let fact = Fact::WouldHave { incident: id.clone(), verdict, decision, gate, what: what.clone() };
        turn.append(Some(&self.name), fact);
        self.held_since = None;
        self.told_at = Some(turn.now.boot);
        let incident = turn.incident(&id);
        let summary = format!("{}: only observed: {what}. {}", self.name, incident.path.because);
        let draft = Draft::about(PageKind::IncidentEscalated, incident, summary);
        let draft = match versions {
            Some((from, to)) => draft.versions(&from, &to),
            None => draft,
        };
        let draft = self.quieten(turn, draft.action("Backstop only observes this service: decide by hand."));
        turn.page(draft);
        write_evidence(turn, &id);
    }

    /// What would be done; nothing while that is not clear, or where nobody would hear of it.
    fn would_have(&mut self, turn: &mut Turn<'_>, due: Due) -> Option<WouldHave> {
        let plan = self.chosen(turn);
        if plan == PlanKind::Gather {
            let why = self.why_gathered();
            return Some(WouldHave::hold(None, format!("would have left it to people: {why}")));
        }
        if !plan.is_available() {
            return Some(WouldHave::hold(
                None,
                format!(
                    "would have left it to people: the tree wants the plan {plan}, which this version cannot carry out"
                ),
            ));
        }
        let asks = due == Due::Ask || (plan != PlanKind::RestartFailing && self.leaves_rollback_to_people(turn));
        let gates = self.gates_before(turn, plan, if asks { &NOT_FOR_HUMANS } else { &[] });
        let versions = self.versions(turn, plan);
        if let Some((from, to)) = versions.as_ref().filter(|_| together(&gates) == Answer::Yes) {
            let (decision, what) = match (plan.rolls_back(), asks) {
                (true, true) => (Decision::Ask, format!("would have asked for approval to roll back {from} to {to}")),
                (true, false) => (Decision::RollBack, format!("would have rolled back {from} to {to}")),
                (false, true) => {
                    (Decision::Ask, format!("would have asked for approval to restart what fails of {from}"))
                }
                (false, false) => (Decision::Restart, format!("would have restarted what fails of {from}")),
            };
            return Some(WouldHave { decision, gate: None, what, versions: versions.filter(|_| plan.rolls_back()) });
        }
        // Where it would only be asked, what holds is no news, but for what several services share.
        let is_shared = told_first(&gates).is_some_and(|held| held.gate == Gate::NoSharedCause);
        if asks && self.watch.verdict().kind < VerdictKind::RollBack && !is_shared {
            return None;
        }
        if together(&gates) == Answer::Yes && plan == PlanKind::RestartFailing {
            let what = format!("would have left it to people: {NOTHING_TO_RESTART}");
            return self.has_held_long(turn).then(|| WouldHave::hold(None, what));
        }
        let held = self.held_by(turn, &gates)?;
        let done = if plan.rolls_back() { "a rollback" } else { "a restart of what fails" };
        Some(WouldHave::hold(Some(held.gate), format!("{done} would have been held: {}: {}", held.gate, held.why)))
    }
}
