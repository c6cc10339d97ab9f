//! What people ask of the release that is live is answered after a look at the target: a release that was linked a moment
//! ago, before any regular look, is the one that they speak of.

use std::time::Duration;

use super::State;
use crate::core::{
    action::{Action, Actions},
    event::{Request, RequestId},
    name::{ServiceIndex, ServiceName},
    time::{BootTime, Now},
};

/// An answer waits for a look no longer than this: a person waits for it, and a target that hangs is told beside.
const WAITS_AT_MOST: Duration = Duration::from_secs(5);

/// Requests that wait at once; what is asked beyond them is answered by what was seen last. People ask by ones.
const WAITING_LIMIT: usize = 64;

/// A request that waits for a look.
#[derive(Debug)]
pub(super) struct Waiting {
    id: RequestId,
    by: String,
    request: Request,
    service: ServiceName,
    asked: BootTime,
}

impl Waiting {
    fn until(&self) -> BootTime {
        self.asked.after(WAITS_AT_MOST)
    }
}

/// The service whose live release the request is about.
fn asks_of_live(request: &Request) -> Option<&ServiceName> {
    match request {
        Request::Verify { service } | Request::RollBack { service, .. } | Request::Report { service, .. } => {
            Some(service)
        }
        Request::Approve { .. }
        | Request::Deny { .. }
        | Request::MarkRelease { .. }
        | Request::ReportDeploy { .. }
        | Request::Pause { .. }
        | Request::Resume { .. }
        | Request::RetractReport { .. }
        | Request::Pin { .. }
        | Request::Unpin { .. }
        | Request::Abort { .. } => None,
    }
}

/// What people are told whose request is not durable.
const IN_MEMORY_ONLY: &str = "The journal cannot be written just now: until it is, this holds in memory only, and a daemon that \
                              is started again does not know of it.";

impl State {
    /// Takes a request in: it is answered at once, or after a look at the target that began no sooner than now.
    pub(super) fn ask(&mut self, now: Now, id: RequestId, by: String, request: Request, actions: &mut Actions) {
        let index = asks_of_live(&request).and_then(|service| self.policy.service_index(service.as_str()));
        let may_wait = !self.ledger.is_full() && !self.observer.closing && self.waiting.len() < WAITING_LIMIT;
        let Some(index) = index.filter(|_| may_wait) else {
            self.answer(now, id, &by, request, actions);
            return;
        };
        let service = self.services[index.get()].name.clone();
        self.waiting.push_back(Waiting { id, by, request, service, asked: now.boot });
        // One that is under way may have read the target already: whoever carries this out looks again after that one.
        actions.push(Action::Look { service: index, key: None });
    }

    /// A look that began then came back: whoever asked before that is answered.
    pub(super) fn answer_seen(&mut self, now: Now, index: ServiceIndex, began: BootTime, actions: &mut Actions) {
        let name = self.services[index.get()].name.clone();
        self.answer_those(now, actions, |waiting| waiting.service == name && waiting.asked <= began);
    }

    /// Whoever has waited long enough is answered by what was seen last.
    pub(super) fn answer_overdue(&mut self, now: Now, actions: &mut Actions) {
        if self.answers_by().is_some_and(|until| until <= now.boot) {
            self.answer_those(now, actions, |waiting| waiting.until() <= now.boot);
        }
    }

    /// When the first of those who wait is answered, whatever comes.
    pub(super) fn answers_by(&self) -> Option<BootTime> {
        self.waiting.front().map(Waiting::until)
    }

    fn answer_those(&mut self, now: Now, actions: &mut Actions, is_due: impl Fn(&Waiting) -> bool) {
        let (due, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = left.into();
        for Waiting { id, by, request, .. } in due {
            self.answer(now, id, &by, request, actions);
        }
    }

    fn answer(&mut self, now: Now, id: RequestId, by: &str, request: Request, actions: &mut Actions) {
        let before = self.ledger.durable.last;
        let only_stops = request.only_stops();
        let reply = self.requested(now, by, request, actions);
        // Whoever keeps something from being done hears at once that it is: it holds, though it is not on record yet.
        if only_stops && self.observer.store_failing().is_some() {
            let reply = reply.map(|done| format!("{done} {IN_MEMORY_ONLY}"));
            actions.push(Action::Reply { id, reply });
            return;
        }
        let reply = Action::Reply { id, reply };
        if self.ledger.durable.last == before {
            // What changed nothing waits for no store: a refusal comes also while the store is down.
            actions.push(reply);
        } else {
            self.ledger.after_commit(reply, actions);
        }
    }
}
