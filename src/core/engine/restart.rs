//! Restart of what fails while the rest serves: what is chosen, begun and told. It takes no release away, and accuses none;
//! where it does not help, the incident goes on to a rollback under that one's own gates.

use super::{
    decide::{Begin, UNKNOWN_HOLDS_FOR},
    drive::Current,
    history::keep_plan,
    incident::write_evidence,
    outlook,
    page::Draft,
    service::Service,
    turn::Turn,
};
use crate::core::{
    answer::Answer,
    durable::IncidentRecord,
    entry::{ByHand, Fact, PlanOutcome, StepEvent},
    gate::{Gate, GateReport, together, words},
    name::{IncidentId, Version},
    page::PageKind,
    plan::{Circumstances, choose},
    policy::{Finding, Severity},
    release::{LiveInstances, Observation, Standing},
    verdict::PlanKind,
};

/// What follows where a restart did not help.
const THEN: &str = "A rollback comes next, if every gate allows it.";
/// The same where the release is proven, and few of its instances fail.
const THEN_ASKED: &str = "Approval for a rollback is asked for next, if every gate allows it.";
/// Why a restart that is due is left undone where no gate holds it.
pub(super) const NOTHING_TO_RESTART: &str =
    "the plan restart_failing is due, and no instance is seen that could be restarted";

impl Service {
    /// The plan that the open incident gets now, or one that opened now would.
    pub(super) fn chosen(&self, turn: &Turn<'_>) -> PlanKind {
        let unseen = self.sight.out_of_sight(turn.now, UNKNOWN_HOLDS_FOR);
        let seen = self.sight.observation();
        choose(&Circumstances {
            named: self.watch.verdict().plan,
            condition: self.deciding_condition(),
            is_out_of_sight: self.policy.on_platform && unseen.is_some(),
            is_partial: seen.is_some_and(|seen| seen.partial_failure().is_some()),
            was_restarted: turn.open_incident(&self.name).is_some_and(IncidentRecord::was_restarted)
                || (self.policy.on_platform && self.has_spent_restarts(turn)),
        })
    }

    /// Whether a rollback is for people to decide, though what fails was restarted and goes on failing: a few instances of a
    /// release that is known to be good fail, no more than a plan may restart, and nothing else accuses it. A node that is ill
    /// looks like that, and the release is not exchanged for it everywhere. Where the tree wants a rollback by name it has been
    /// decided.
    pub(super) fn leaves_rollback_to_people(&self, turn: &Turn<'_>) -> bool {
        let Some(live) = self.sight.observation().and_then(Observation::partial_failure) else { return false };
        let record = turn.record(&self.name);
        let is_proven =
            record.live().is_some_and(|live| record.standing(&live.deploy.release.version) == Standing::KnownGood);
        is_proven
            && !live.exceeds_restart
            && !self.watch.stands_without_instances()
            && self.watch.verdict().plan != Some(PlanKind::Quick)
    }

    /// What follows where a restart does not help, in words.
    fn then(&self, turn: &Turn<'_>) -> &'static str {
        if self.leaves_rollback_to_people(turn) { THEN_ASKED } else { THEN }
    }

    /// What is asked before a restart of what fails, where that would come now or comes; nothing otherwise.
    pub(super) fn gates_of_restart(&self, turn: &Turn<'_>) -> Vec<GateReport> {
        let comes = self.policy.on_platform && self.chosen(turn) == PlanKind::RestartFailing;
        if comes { self.gates_before(turn, PlanKind::RestartFailing, &[]) } else { Vec::new() }
    }

    /// Whether no further restart is allowed for now. That holds no rollback: what fails again and again goes on to it.
    fn has_spent_restarts(&self, turn: &Turn<'_>) -> bool {
        let gates = self.gates_before(turn, PlanKind::RestartFailing, &[]);
        gates.iter().any(|report| report.gate == Gate::Budget && report.answer == Answer::No)
    }

    /// The live release and its instances, where there are some that a restart would delete.
    pub(super) fn restartable(&self, turn: &Turn<'_>) -> Option<(Version, &LiveInstances)> {
        let version = turn.record(&self.name).live()?.deploy.release.version.clone();
        let live = self.sight.observation()?.live_instances().filter(|live| !live.to_restart.is_empty())?;
        Some((version, live))
    }

    pub(super) fn restart_if_allowed(&mut self, turn: &mut Turn<'_>) {
        let plan = PlanKind::RestartFailing;
        let gates = self.gates_before(turn, plan, &[]);
        let version = self.restartable(turn).map(|(version, _)| version);
        match version {
            Some(version) if together(&gates) == Answer::Yes => self.start(turn, &Begin::of(plan, &version, &version)),
            _ => self.refuse_restart(turn, &gates),
        }
    }

    /// Tells that nothing is restarted: because a gate holds it, or because nothing is seen that could be.
    pub(super) fn refuse_restart(&mut self, turn: &mut Turn<'_>, gates: &[GateReport]) {
        if together(gates) == Answer::Yes && self.restartable(turn).is_none() {
            if self.has_held_long(turn) {
                self.leave_undone(turn, NOTHING_TO_RESTART);
            }
            return;
        }
        self.refuse_when_held(turn, PlanKind::RestartFailing, gates);
    }

    /// Tells people that a restart begins.
    pub(super) fn tell_restart(
        &self,
        turn: &mut Turn<'_>,
        id: &IncidentId,
        version: &Version,
        approved_by: Option<&str>,
        by_hand: Option<&ByHand>,
    ) {
        let live = self.sight.observation().and_then(|seen| seen.live_instances());
        let what = live.map(LiveInstances::words).unwrap_or_default();
        let count = live.map_or(0, |live| live.to_restart.len());
        let incident = turn.incident(id);
        let ordered = by_hand.map(|order| format!(", ordered by {}", order.by)).unwrap_or_default();
        let summary = format!("{}: restart in progress: what fails of {version}{ordered}: {what}", self.name);
        let draft = Draft::about(PageKind::IncidentEscalated, incident, summary)
            .action("Restarting what fails; what serves is left alone. Updates will follow.")
            .details([
                format!("Issue: {}", outlook::because(incident)),
                format!(
                    "Action: deleting {count} of the instances that fail; the platform makes others in their place"
                ),
                format!("{version} stays live. If that does not help: {}", self.then(turn)),
            ])
            .details(approved_by.map(|by| format!("Approved by {by}.")))
            .details(by_hand.map(|order| format!("It was {}.", order.words())));
        turn.page(draft);
    }

    /// A step of it failed for good: nothing is undone, since nothing needs to be.
    pub(super) fn give_up_restart(&mut self, turn: &mut Turn<'_>, current: &Current) {
        let plan = turn.incident(&current.incident).active_plan().expect("the plan under way");
        let note = plan.steps[usize::from(current.step)].note.clone();
        self.leave_rest(turn, current);
        let version = &current.from;
        let summary = format!("{}: the restart of what fails of {version} failed: {note}", self.name);
        let draft = Draft::about(PageKind::IncidentEscalated, turn.incident(&current.incident), summary);
        let draft = draft.action(self.then(turn));
        turn.page(draft);
    }

    /// What the restart came to. The release stands as it stood.
    pub(super) fn conclude_restart(
        &mut self,
        turn: &mut Turn<'_>,
        current: &Current,
        event: StepEvent,
        note: &str,
    ) -> bool {
        self.step(turn, current, event, note.to_owned());
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        let (lasted, whose) = (words(turn.ago(plan.started)), outlook::whose(plan));
        let (version, then) = (&current.from, self.then(turn));
        let about = |summary| Draft::about(PageKind::IncidentEscalated, incident, summary);
        let draft = match event {
            StepEvent::Succeeded => {
                about(format!("{}: restart complete: {version} is healthy again ({note})", self.name))
                    .at(Severity::S3)
                    .brief()
                    .action("Nothing to do now. Why the instances failed is still to be found out.")
                    .ended(PlanOutcome::Verified)
            }
            StepEvent::Failed => {
                about(format!("{}: what failed of {version} was restarted, and the issue persists: {note}", self.name))
                    .action(then)
                    .ended(PlanOutcome::Persists)
            }
            _ => about(format!(
                "{}: what failed of {version} was restarted, and whether that helped could not be verified: {note}",
                self.name
            ))
            .action(then)
            .ended(PlanOutcome::Unverified),
        };
        let draft = draft.details([format!("Duration: {lasted}")]).details(whose);
        turn.page(draft);
        true
    }

    /// A restart that was found unfinished and is not gone on with.
    pub(super) fn abandon_restart(&mut self, turn: &mut Turn<'_>, why: &str) {
        let Some((id, number, version)) = self.active(turn) else { return };
        let (outcome, detail) = (PlanOutcome::Failed, why.to_owned());
        turn.append(Some(&self.name), Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail });
        let summary = format!("{}: the restart of what fails of {version} is not gone on with: {why}", self.name);
        let draft = Draft::about(PageKind::IncidentEscalated, turn.incident(&id), summary)
            .action(if self.page_only {
                "Backstop does nothing more in this incident: people decide."
            } else {
                self.then(turn)
            })
            .details([format!("{version} is live, as before; some of its instances may have been restarted.")]);
        turn.page(draft);
        self.left(turn, &id, number);
    }

    /// Somebody put another release live while what failed was being restarted.
    pub(super) fn end_overtaken_restart(&mut self, turn: &mut Turn<'_>, why: &str) {
        let Some((id, number, version)) = self.active(turn) else { return };
        let (outcome, detail) = (PlanOutcome::Overtaken, why.to_owned());
        turn.append(Some(&self.name), Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail });
        let summary = format!("{}: the restart of what fails of {version} stopped: {why}", self.name);
        let draft = Draft::about(PageKind::IncidentEscalated, turn.incident(&id), summary).action(outlook::OVERTAKEN);
        turn.page(draft);
        self.left(turn, &id, number);
    }

    fn active(&self, turn: &Turn<'_>) -> Option<(IncidentId, u16, Version)> {
        let incident = turn.open_incident(&self.name)?;
        let plan = incident.active_plan()?;
        Some((incident.id.clone(), plan.number, plan.from.clone()))
    }

    /// A plan ended before its steps did.
    pub(super) fn left(&mut self, turn: &mut Turn<'_>, id: &IncidentId, number: u16) {
        self.leave_flying(turn);
        self.drive = super::drive::Drive::default();
        keep_plan(turn, id, number);
        write_evidence(turn, id);
    }

    /// What is wrong with the choice of a restart by hand, if anything.
    pub(super) fn no_restart(&self, turn: &Turn<'_>) -> Option<String> {
        if self.restartable(turn).is_some() {
            return None;
        }
        let name = &self.name;
        Some(match self.sight.observation() {
            _ if !self.policy.on_platform => {
                format!("{name}: plan restart_failing: its target has no instances that could be restarted one by one")
            }
            None => {
                format!("{name}: the target could not be seen: {}", self.sight.unseen().unwrap_or("not looked at yet"))
            }
            Some(seen) if seen.live_instances().is_none() => {
                format!("{name}: plan restart_failing: a rollout is under way, so that what fails is the rollout's")
            }
            Some(_) => format!("{name}: plan restart_failing: no instance of what is live is seen to fail"),
        })
    }

    /// The finding that tells of a plan that a gate holds.
    pub(super) fn held_as(plan: PlanKind, held: &GateReport) -> Finding {
        match held.gate {
            // Nobody knows is no word on the deploy, for it or against it.
            Gate::FaultAfterDeploy if held.answer == Answer::Unknown => Finding::RollbackRefused,
            Gate::DeployedRecently | Gate::FaultAfterDeploy | Gate::OnlyTheNewFails if plan.rolls_back() => {
                Finding::NoDeployToBlame
            }
            _ => Finding::RollbackRefused,
        }
    }
}
