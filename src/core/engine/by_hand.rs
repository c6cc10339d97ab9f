//! Operating by hand: pins, and rollbacks that a person orders.

use super::{State, no_incident, page::Draft, service::Service, turn::Turn};
use crate::core::{
    action::Actions,
    answer::Answer,
    durable::PINS_LIMIT,
    entry::{ByHand, Fact},
    event::{Refusal, Reply, Request, RollbackOrder},
    gate::Situation,
    name::{IncidentId, Version},
    operation::Operation,
    page::PageKind,
    plan,
    time::Now,
    verdict::PlanKind,
    view::{GatePreview, RollbackPreview, StepPreview},
};

impl State {
    /// The requests of people that concern one service or incident, beyond approvals and pauses.
    pub(super) fn by_hand(&mut self, now: Now, by: &str, request: Request, actions: &mut Actions) -> Reply {
        match request {
            Request::Report { service, kind, detail, authority } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.report(turn, kind, detail, authority, by))
            }
            Request::RetractReport { service, kind, authority } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.retract(turn, kind, authority, by))
            }
            Request::Pin { service, version, reason } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.pin(turn, version, by, reason))
            }
            Request::Unpin { service, version } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.unpin(turn, version, by))
            }
            Request::Abort { incident, reason } => {
                let index = self.service_of(&incident).ok_or_else(|| no_incident(&incident))?;
                self.with(now, index, actions, |service, turn| service.abort(turn, &incident, by, reason))
            }
            Request::RollBack { service, order } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.roll_back(turn, order, by))
            }
            Request::Verify { service } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.ask_to_verify(turn, by))
            }
            Request::Approve { .. }
            | Request::Deny { .. }
            | Request::MarkRelease { .. }
            | Request::ReportDeploy { .. }
            | Request::Pause { .. }
            | Request::Resume { .. } => unreachable!("taken by `requested`"),
        }
    }
}

impl Service {
    fn pin(&mut self, turn: &mut Turn<'_>, version: Version, by: &str, reason: Option<String>) -> Reply {
        let pins = &turn.record(&self.name).pins;
        if pins.len() >= PINS_LIMIT && !pins.contains_key(&version) {
            return Err(Refusal::Busy(format!("{PINS_LIMIT} versions of {} are pinned already", self.name)));
        }
        let reply = format!("{}: {version} is pinned: while it is live nothing is rolled back from it", self.name);
        turn.append(Some(&self.name), Fact::Pinned { version, by: by.to_owned(), reason });
        Ok(reply)
    }

    fn unpin(&mut self, turn: &mut Turn<'_>, version: Version, by: &str) -> Reply {
        if !turn.record(&self.name).pins.contains_key(&version) {
            return Err(Refusal::Conflict(format!("{}: {version} is not pinned", self.name)));
        }
        let reply = format!("{}: {version} is not pinned any more", self.name);
        turn.append(Some(&self.name), Fact::Unpinned { version, by: by.to_owned() });
        Ok(reply)
    }

    /// Rolls back because a person wants it, or tells what that would do.
    fn roll_back(&mut self, turn: &mut Turn<'_>, order: RollbackOrder, by: &str) -> Reply {
        self.evaluate(turn);
        let preview = self.preview(turn, &order)?;
        if order.dry_run {
            return Ok(serde_json::to_string(&preview).expect("a preview is plain data"));
        }
        if self.page_only {
            let why = "its state was restored after an error of Backstop's own: it is only watched until the daemon is \
                       started again";
            return Err(Refusal::Conflict(format!("{}: {why}", self.name)));
        }
        let held: Vec<String> = preview.gates.iter().filter(|gate| gate.holds()).map(held).collect();
        if !held.is_empty() {
            return Err(Refusal::Gate(held.join("; ")));
        }
        let overridden = preview.gates.iter().filter(|gate| gate.overridden && gate.answer != Answer::Yes);
        let by_hand =
            ByHand { by: by.to_owned(), reason: order.reason, overridden: overridden.map(|gate| gate.gate).collect() };
        self.void_approval(turn, &format!("{by} rolls back by hand"));
        if turn.open_incident(&self.name).is_none() {
            self.open_by_hand(turn, &by_hand, &preview);
        }
        let (from, to) = (preview.version_from, preview.version_to);
        self.start_by(turn, &from, &to, None, Some(&by_hand));
        let id = &turn.open_incident(&self.name).expect("the plan just begun belongs to it").id;
        Ok(format!("{}: rolling back from {from} to {to}; `backstop incident show {id}` tells how it goes", self.name))
    }

    /// What the order comes to, gate by gate and step by step.
    fn preview(&self, turn: &Turn<'_>, order: &RollbackOrder) -> Result<RollbackPreview, Refusal> {
        let plan = order.plan.unwrap_or(PlanKind::Quick);
        if plan != PlanKind::Quick {
            return Err(Refusal::Conflict(format!("plan {plan} is not in this version yet; quick is")));
        }
        if let Some(gate) = order.overrides.iter().find(|gate| !gate.can_be_overridden()) {
            return Err(Refusal::Conflict(if gate.binds_people() {
                format!("gate {gate} cannot be overridden: without it nothing can be begun")
            } else {
                format!("gate {gate} does not bind a rollback by hand, and needs no override")
            }));
        }
        if !order.overrides.is_empty() && order.reason.is_none() {
            return Err(Refusal::Conflict("an override needs a reason, which is kept".to_owned()));
        }
        if let Some(plan) = turn.open_incident(&self.name).and_then(|incident| incident.active_plan()) {
            let why = format!("{}: a rollback from {} to {} is under way already", self.name, plan.from, plan.to);
            return Err(Refusal::Conflict(why));
        }
        // Whoever orders a rollback accuses what is live, whatever an open incident accuses.
        let situation = Situation { incident: None, ..self.situation(turn) };
        let Some(live) = situation.record.live() else {
            return Err(Refusal::Conflict(format!("{}: what is live is not known yet", self.name)));
        };
        let from = live.deploy.release.version.clone();
        let to = self.destination(&situation, &from, order)?;
        let gates: Vec<GatePreview> = situation
            .reports_for(Some(&to))
            .into_iter()
            .map(|report| GatePreview {
                gate: report.gate,
                answer: report.answer,
                why: report.why,
                binds: report.gate.binds_people(),
                can_be_overridden: report.gate.can_be_overridden(),
                overridden: order.overrides.contains(&report.gate),
            })
            .collect();
        let steps = plan::quick(&self.policy, &from, &to)
            .into_iter()
            .map(|step| StepPreview {
                title: step.title,
                deadline_seconds: step.deadline.as_secs_f64(),
                undo: step.undo.as_ref().map(undone),
                optional: step.optional,
            })
            .collect();
        Ok(RollbackPreview {
            service: self.name.clone(),
            version_from: from,
            version_to: to,
            plan,
            possible: !gates.iter().any(GatePreview::holds),
            gates,
            steps,
        })
    }

    fn destination(
        &self,
        situation: &Situation<'_>,
        from: &Version,
        order: &RollbackOrder,
    ) -> Result<Version, Refusal> {
        let Some(to) = &order.to else {
            return situation.candidate().ok_or_else(|| {
                let known_good =
                    situation.reports().into_iter().find(|one| one.gate == crate::core::gate::Gate::KnownGood);
                let why = known_good.map(|report| report.why).unwrap_or_default();
                Refusal::Gate(format!("gate known_good: {why}; or name a release with --to"))
            });
        };
        if to == from {
            return Err(Refusal::Conflict(format!("{}: {to} is live already", self.name)));
        }
        let Some(observation) = situation.observation else {
            let why = situation.blind.unwrap_or("it has not been looked at yet");
            return Err(Refusal::Conflict(format!("{}: the target could not be seen: {why}", self.name)));
        };
        if !observation.available.iter().any(|release| release.version == *to) {
            let there: Vec<_> = observation.available.iter().map(|release| release.version.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(Refusal::Conflict(format!("{}: the target has no release {to}; it has {there}", self.name)));
        }
        Ok(to.clone())
    }

    /// An incident of its own for a rollback that no verdict asked for; the verdict and its path are as they are.
    fn open_by_hand(&mut self, turn: &mut Turn<'_>, order: &ByHand, preview: &RollbackPreview) {
        let record = turn.record(&self.name);
        let id = IncidentId::from(format!("{}-{}", self.name, record.incident_count + 1));
        let deploy = record.live().map(|live| live.deploy.number);
        let onset = self.onset_boot(turn).map(|boot| turn.now.wall_at(boot));
        let (verdict, path) = (self.watch.verdict().kind, self.path(turn));
        let by = Some(order.by.clone());
        let fact = Fact::IncidentOpened { incident: id.clone(), verdict, path, deploy, onset, by };
        turn.append(Some(&self.name), fact);
        let summary = format!("{}: a rollback from {} is {}", self.name, preview.version_from, order.words());
        let draft = Draft::about(PageKind::IncidentOpened, turn.incident(&id), summary)
            .action(format!("Backstop rolls back to {}.", preview.version_to));
        turn.page(draft);
        self.keep_opening(turn, &id);
    }
}

fn held(gate: &GatePreview) -> String {
    let said = format!("gate {} says {}: {}", gate.gate, gate.answer, gate.why);
    if gate.can_be_overridden { said } else { format!("{said} (it cannot be overridden)") }
}

fn undone(undo: &Operation) -> String {
    match undo {
        Operation::Switch { from, to } => format!("switch back from {from} to {to}"),
        other => other.as_str().replace('_', " "),
    }
}
