//! Gathering what a human would look at first when all is down: beside whatever else is done, and changing nothing.

use std::time::Duration;

use super::{incident::write_evidence, page::Draft, service::Service, turn::Turn};
use crate::core::{
    action::Action,
    entry::{ByHand, Fact},
    event::{Refusal, RollbackOrder},
    name::IncidentId,
    operation::Gathering,
    page::PageKind,
    policy::{Finding, Severity},
    sample::Reason,
    time::BootTime,
};

/// How long gathering may take. The runtime ends it then, with what there is.
pub const GATHER_DEADLINE: Duration = Duration::from_secs(60);
/// This much later the core stops waiting for it.
const LOST_AFTER_DEADLINE: Duration = Duration::from_secs(30);
/// Why nothing came of what an earlier process began.
const CUT_SHORT: &str =
    "end it: Backstop was started anew meanwhile; `backstop rollback SERVICE --plan gather` gathers again";
/// The condition with which evidence is gathered beside, once in an incident.
const SYSTEM_DOWN: &str = "system_down";

impl Service {
    /// Begins to gather where the system is down, and sees to it that what was begun comes to an end.
    pub(super) fn follow_gather(&mut self, turn: &mut Turn<'_>) {
        if self.page_only || !self.policy.on_platform {
            return;
        }
        let Some(incident) = turn.open_incident(&self.name) else {
            self.gathering_until = None;
            return;
        };
        let id = incident.id.clone();
        match &incident.gather {
            Some(gather) if gather.ended.is_some() => self.gathering_until = None,
            Some(_) => match self.gathering_until {
                Some(until) if turn.now.boot < until => self.wake_by(until),
                Some(_) => self.gathered(turn, &id, Err(Reason::new("hear what was gathered: no answer came back"))),
                // An earlier process began it, and may have ended by it: nothing is begun again by itself.
                None => self.gathered(turn, &id, Err(Reason::new(CUT_SHORT))),
            },
            None if incident.fired.iter().any(|condition| condition.as_str() == SYSTEM_DOWN) => {
                self.begin_gather(turn, &id, "the system is down", None);
            }
            None => {}
        }
    }

    fn begin_gather(&mut self, turn: &mut Turn<'_>, id: &IncidentId, why: &str, by: Option<&str>) {
        let (why, by) = (why.to_owned(), by.map(str::to_owned));
        turn.append(Some(&self.name), Fact::GatherBegun { incident: id.clone(), why, by });
        let until: BootTime = turn.now.boot.after(GATHER_DEADLINE + LOST_AFTER_DEADLINE);
        self.gathering_until = Some(until);
        self.wake_by(until);
        turn.after_commit(Action::Gather { service: self.index, incident: id.clone() });
    }

    /// It came to its end, or is taken as lost.
    pub(super) fn gathered(&mut self, turn: &mut Turn<'_>, id: &IncidentId, outcome: Result<Gathering, Reason>) {
        let Some(incident) = turn.ledger.durable.incidents.get(id) else { return };
        if incident.gather.as_ref().is_none_or(|gather| gather.ended.is_some()) {
            return;
        }
        self.gathering_until = None;
        let (found, why_not) = match outcome {
            Ok(found) => (Some(found), None),
            Err(reason) => (None, Some(reason.to_string())),
        };
        let (summary, lines) = match (&found, &why_not) {
            (Some(found), _) => (found.words(), found.seen.clone()),
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                (format!("nothing could be gathered for the evidence: failed to {why}"), Vec::new())
            }
        };
        turn.append(Some(&self.name), Fact::Gathered { incident: id.clone(), found, why_not });
        let incident = turn.incident(id);
        if incident.is_open() {
            let draft = Draft::about(PageKind::IncidentEscalated, incident, format!("{}: {summary}", self.name))
                .at(Severity::S3)
                .brief()
                .action("For whoever looks for the cause.")
                .details(lines);
            turn.page(draft);
        }
        write_evidence(turn, id);
    }

    /// The plan is to gather, because the tree says so or because the platform cannot be seen: then people decide.
    pub(super) fn gather_and_leave(&mut self, turn: &mut Turn<'_>) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if incident.refused {
            return;
        }
        let id = incident.id.clone();
        let why = self.why_gathered();
        let lines = match &incident.gather {
            None if self.policy.on_platform => return self.begin_gather(turn, &id, &why, None),
            None => vec!["This target has nothing that could be gathered.".to_owned()],
            Some(gather) => match &gather.ended {
                None => return,
                Some(Ok(found)) => std::iter::once(found.words()).chain(found.seen.clone()).collect(),
                Some(Err(why)) => vec![format!("Nothing could be gathered: failed to {why}")],
            },
        };
        self.find(turn, Finding::RollbackRefused, &format!("not acted on: {why}"), None);
        let incident = turn.incident(&id);
        let summary = format!("{}: not acted on: {why}. {}", self.name, incident.path.because);
        let draft = Draft::about(PageKind::RollbackRefused, incident, summary).found(Finding::RollbackRefused);
        turn.page(draft.details(lines));
        write_evidence(turn, &id);
    }

    /// Why the plan is to gather, in words.
    pub(super) fn why_gathered(&self) -> String {
        let unseen = self.sight.unseen().map(|why| format!("the target cannot be seen: failed to {why}"));
        unseen.unwrap_or_else(|| "the tree wants the plan gather".to_owned())
    }

    /// Why nothing can be gathered by hand, if so.
    pub(super) fn no_gather(&self, turn: &Turn<'_>, order: &RollbackOrder) -> Option<Refusal> {
        let name = &self.name;
        let under_way = turn.open_incident(name).filter(|incident| {
            let gather = incident.gather.as_ref();
            gather.is_some_and(|gather| gather.ended.is_none())
        });
        let why = if !self.policy.on_platform {
            format!(
                "{name}: plan gather: its target has nothing to gather; what Backstop saw is in each incident's evidence"
            )
        } else if order.to.is_some() || !order.overrides.is_empty() {
            format!("{name}: plan gather changes nothing: it takes neither --to nor --override")
        } else if let Some(incident) = under_way {
            format!(
                "{name}: it is being gathered already; `backstop incident show {}` tells what comes of it",
                incident.id
            )
        } else {
            return None;
        };
        Some(Refusal::Conflict(why))
    }

    /// Gathers because a person wants it.
    pub(super) fn gather_by_hand(&mut self, turn: &mut Turn<'_>, reason: Option<String>, by: &str) -> String {
        if turn.open_incident(&self.name).is_none() {
            let order = ByHand { by: by.to_owned(), reason: reason.clone(), overridden: Vec::new() };
            self.open_by_hand(turn, &order, "gathering evidence", "Backstop gathers, and changes nothing.");
        }
        let id = turn.open_incident(&self.name).expect("it is open").id.clone();
        let why = reason.unwrap_or_else(|| "somebody wants it".to_owned());
        self.begin_gather(turn, &id, &why, Some(by));
        format!("{}: gathering into the evidence of {id}; `backstop incident show {id}` tells where it is", self.name)
    }
}
