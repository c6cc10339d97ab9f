//! Operating by hand: pins, and rollbacks that a person orders.

use super::{State, decide::Begin, no_incident, page::Draft, preview::refused, service::Service, turn::Turn};
use crate::core::{
    action::Actions,
    answer::Answer,
    durable::PINS_LIMIT,
    entry::{ByHand, Fact},
    event::{Refusal, Reply, Request, RollbackOrder},
    name::{IncidentId, Version},
    page::PageKind,
    time::Now,
    verdict::PlanKind,
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
        let mut reply = format!("{}: {version} is pinned: while it is live nothing is rolled back from it", self.name);
        reply += &self.doubt(turn, &version);
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
        if let Some(refusal) = self.no_gather(turn, &order).filter(|_| order.plan == Some(PlanKind::Gather)) {
            return Err(refusal);
        }
        let preview = self.preview(turn, &order)?;
        if order.dry_run {
            return Ok(serde_json::to_string(&preview).expect("a preview is plain data"));
        }
        if self.page_only {
            let why = "its state was restored after an error of Backstop's own: it is only watched until the daemon is \
                       started again";
            return Err(Refusal::Conflict(format!("{}: {why}", self.name)));
        }
        let Some(to) = preview.version_to.clone().filter(|_| preview.possible) else {
            return Err(Refusal::Gate(refused(&preview, self.resuming(turn))));
        };
        if preview.plan == PlanKind::Gather {
            return Ok(self.gather_by_hand(turn, order.reason, by));
        }
        let overridden = preview.gates.iter().filter(|gate| gate.overridden && gate.answer != Answer::Yes);
        let by_hand =
            ByHand { by: by.to_owned(), reason: order.reason, overridden: overridden.map(|gate| gate.gate).collect() };
        let (plan, from) = (preview.plan, preview.version_from);
        let (how, what, then, doing) = if plan.rolls_back() {
            (
                "rolls back",
                format!("a rollback from {from}"),
                format!("Backstop rolls back to {to}."),
                format!("rolling back from {from} to {to}"),
            )
        } else {
            (
                "restarts what fails",
                format!("a restart of what fails of {from}"),
                "Backstop restarts what fails.".to_owned(),
                format!("restarting what fails of {from}"),
            )
        };
        self.void_approval(turn, &format!("{by} {how} by hand"));
        if turn.open_incident(&self.name).is_none() {
            self.open_by_hand(turn, &by_hand, &what, &then);
        }
        self.start(turn, &Begin { by_hand: Some(&by_hand), ..Begin::of(plan, &from, &to) });
        let id = &turn.open_incident(&self.name).expect("the plan just begun belongs to it").id;
        Ok(format!("{}: {doing}; `backstop incident show {id}` tells how it goes", self.name))
    }

    /// An incident of its own for what no verdict asked for; the verdict and its path are as they are.
    pub(super) fn open_by_hand(&mut self, turn: &mut Turn<'_>, order: &ByHand, what: &str, then: &str) {
        let record = turn.record(&self.name);
        let id = IncidentId::from(format!("{}-{}", self.name, record.incident_count + 1));
        let deploy = record.live().map(|live| live.deploy.number);
        let onset = self.onset_boot(turn).map(|boot| turn.now.wall_at(boot));
        let (verdict, path) = (self.watch.verdict().kind, self.path(turn));
        let by = Some(order.by.clone());
        let fact = Fact::IncidentOpened { incident: id.clone(), verdict, path, deploy, onset, by };
        turn.append(Some(&self.name), fact);
        let summary = format!("{}: {what} is {}", self.name, order.words());
        let draft = Draft::about(PageKind::IncidentOpened, turn.incident(&id), summary).action(then);
        turn.page(draft);
        self.keep_opening(turn, &id);
    }
}
