//! The durable state with its journal: appends entries, and holds effects back until what they follow from is durable.

use std::{collections::VecDeque, sync::Arc};

use crate::core::{
    action::{Action, Actions},
    durable::{Durable, IncidentRecord},
    entry::{Entry, Fact},
    event::Sequence,
    name::{ServiceIndex, ServiceName},
    operation::StepKey,
    time::{BootStamp, BootTime, MachineStart, Now, SteadyTime},
};

/// Entries that may wait for the store. Past this nothing new is decided until it answers: the watch goes on, but a
/// store that is away for hours must not fill the memory.
pub const UNCOMMITTED_LIMIT: u64 = 4096;

/// The fold, and what waits for the store.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) durable: Durable,
    machine_start: MachineStart,
    committed: Sequence,
    held: VecDeque<(Sequence, Action)>,
    /// Since when nothing of what waits for the store has become durable.
    waits_since: Option<BootTime>,
}

impl Ledger {
    /// A fold of entries that are durable already.
    pub(super) fn folded(durable: Durable, machine_start: MachineStart) -> Self {
        Self { committed: durable.last, durable, machine_start, held: VecDeque::new(), waits_since: None }
    }

    fn stamp(&self, now: Now) -> BootStamp {
        BootStamp::new(self.machine_start, now.boot)
    }

    /// Now on the journal's time line.
    pub(super) fn steady(&self, now: Now) -> SteadyTime {
        self.durable.timeline.at(now.wall, Some(self.stamp(now)))
    }

    /// Whether it is known how long ago the last entry was written.
    pub(super) fn knows_the_time(&self, now: Now) -> bool {
        self.durable.timeline.knows(now.wall, Some(self.stamp(now)))
    }

    /// Appends a fact and folds it in.
    pub(super) fn append(&mut self, now: Now, service: Option<&ServiceName>, fact: Fact, actions: &mut Actions) {
        let sequence = Sequence(self.durable.last.0 + 1);
        let entry = Entry { at: now.wall, boot: Some(self.stamp(now)), service: service.cloned(), fact };
        if let Err(error) = self.durable.apply(sequence, &entry) {
            panic!("an entry of our own does not fold: {error}: {entry:?}");
        }
        self.waits_since.get_or_insert(now.boot);
        actions.push(Action::Append { sequence, entry: Arc::new(entry) });
    }

    /// Hands an effect out once everything appended so far is durable.
    pub(super) fn after_commit(&mut self, action: Action, actions: &mut Actions) {
        if self.committed >= self.durable.last {
            actions.push(action);
        } else if !self.holds_delivery(&action) {
            self.held.push_back((self.durable.last, action));
        }
    }

    /// Whether a delivery of the same page to the same channel waits for the store already. Who counted it as lost since
    /// tries again, and what waited for hours is to leave once.
    fn holds_delivery(&self, action: &Action) -> bool {
        let Action::Deliver { page, channel, .. } = action else { return false };
        let is_same = |held: &Action| matches!(held, Action::Deliver { page: known, channel: to, .. } if known.id == page.id && to == channel);
        self.held.iter().any(|(_, held)| is_same(held))
    }

    /// The journal is durable up to `sequence`. While the process is `closing` no operation leaves.
    pub(super) fn committed(&mut self, now: Now, sequence: Sequence, closing: bool, actions: &mut Actions) {
        assert!(sequence <= self.durable.last, "the store committed an entry that was never appended");
        self.committed = self.committed.max(sequence);
        self.waits_since = (!self.is_settled()).then_some(now.boot);
        while let Some((after, _)) = self.held.front()
            && *after <= self.committed
            && let Some((_, action)) = self.held.pop_front()
        {
            if self.is_still_wanted(&action, closing) {
                actions.push(action);
            }
        }
    }

    /// Whether that attempt waits for the store and was not begun.
    pub(super) fn holds(&self, key: &StepKey) -> bool {
        let is_it = |action: &Action| matches!(action, Action::Operate { attempt, .. } if attempt.key == *key);
        self.held.iter().any(|(_, action)| is_it(action))
    }

    /// While an operation waited for the store, a human may have come between, or the process may have been asked to end:
    /// then it is not begun any more. And a try at a delivery that was taken for lost may have come to its end.
    fn is_still_wanted(&self, action: &Action, closing: bool) -> bool {
        let attempt = match action {
            // The next start finds that the attempt left no trace, and makes another.
            Action::Operate { .. } if closing => return false,
            Action::Operate { attempt, .. } => attempt,
            Action::Gather { incident, .. } => {
                let gather = self.durable.incidents.get(incident).and_then(|incident| incident.gather.as_ref());
                return !closing && gather.is_some_and(|gather| gather.ended.is_none());
            }
            Action::Deliver { page, channel, .. } => {
                return self.durable.outbox.get(&page.id).is_some_and(|pending| pending.channels.contains(channel));
            }
            _ => return true,
        };
        let key = &attempt.key;
        let plan = self.durable.incidents.get(&key.incident).and_then(IncidentRecord::active_plan);
        let step = plan.filter(|plan| plan.number == key.plan).and_then(|plan| plan.steps.get(usize::from(key.step)));
        step.is_some_and(|step| step.status.in_flight() && step.attempts == key.attempt)
            || self.durable.resumes_sync(attempt)
    }

    /// Services stand in other places by now. What was held for one that is gone is let go of.
    pub(super) fn move_services(&mut self, place_of: impl Fn(ServiceIndex) -> Option<ServiceIndex>) {
        self.held.retain_mut(|(_, action)| match action {
            Action::SetCadence { service, .. }
            | Action::Look { service, .. }
            | Action::Operate { service, .. }
            | Action::Gather { service, .. } => place_of(*service).map(|place| *service = place).is_some(),
            Action::Append { .. }
            | Action::Deliver { .. }
            | Action::Reply { .. }
            | Action::KeepHistory { .. }
            | Action::WriteEvidence { .. } => true,
        });
    }

    /// Whether too much waits for the store to decide anything new.
    pub(super) fn is_full(&self) -> bool {
        self.durable.last.0 - self.committed.0 >= UNCOMMITTED_LIMIT
    }

    /// Since when the store has taken nothing of what waits for it.
    pub(super) const fn waits_since(&self) -> Option<BootTime> {
        self.waits_since
    }

    /// Whether everything appended is durable.
    pub(super) fn is_settled(&self) -> bool {
        self.committed == self.durable.last
    }
}
