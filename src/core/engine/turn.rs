//! What one step works with besides the service itself.

use std::time::Duration;

use super::{Observer, clocks::Clocks, ledger::Ledger, page};
use crate::core::{
    action::{Action, Actions},
    durable::{IncidentRecord, ServiceRecord},
    entry::Fact,
    gate::Neighbours,
    name::{IncidentId, ServiceName},
    policy::Policy,
    time::{Now, SteadyTime},
};

/// One step's surroundings.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) clocks: &'a Clocks,
    pub(super) policy: &'a Policy,
    pub(super) installation: &'a str,
    pub(super) ledger: &'a mut Ledger,
    pub(super) observer: &'a Observer,
    pub(super) neighbours: &'a mut Neighbours,
    pub(super) actions: &'a mut Actions,
}

impl Turn<'_> {
    pub(super) fn append(&mut self, service: Option<&ServiceName>, fact: Fact) {
        self.ledger.append(self.now, service, fact, self.actions);
    }

    pub(super) fn after_commit(&mut self, action: Action) {
        self.ledger.after_commit(action, self.actions);
    }

    /// Now on the journal's time line.
    pub(super) fn steady(&self) -> SteadyTime {
        self.ledger.steady(self.now)
    }

    /// How long ago something was, by the journal's time line.
    pub(super) fn ago(&self, then: SteadyTime) -> Duration {
        self.steady().since(then)
    }

    pub(super) fn record(&self, service: &ServiceName) -> &ServiceRecord {
        self.ledger.durable.service(service)
    }

    pub(super) fn open_incident(&self, service: &ServiceName) -> Option<&IncidentRecord> {
        self.ledger.durable.open_incident(service)
    }

    pub(super) fn incident(&self, id: &IncidentId) -> &IncidentRecord {
        self.ledger.durable.incidents.get(id).expect("an open incident is never forgotten")
    }

    /// Queues a page for the channels of its severity; a repeat only for those that have the one before.
    pub(super) fn page(&mut self, draft: page::Draft) {
        let Some(fact) = draft.into_fact(self) else { return };
        let service = match &fact {
            Fact::PageQueued { page, .. } => page.service.clone(),
            _ => None,
        };
        self.append(service.as_ref(), fact);
    }
}
