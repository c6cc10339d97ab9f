//! What concerns no single service: pauses that run out, and what need not be kept any more.

use std::{collections::BTreeSet, time::Duration};

use super::State;
use crate::core::{
    action::Actions,
    durable::{KEPT_AT_LEAST, PauseRecord},
    entry::Fact,
    name::ServiceName,
    time::Now,
};

/// What concerns no single service is looked after so often.
const KEEP_HOUSE_EVERY: Duration = Duration::from_secs(1);

/// What need not be kept any more is looked for so often: it was kept for days.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

impl State {
    /// What runs out for the daemon as a whole, whatever its services are busy with.
    pub(super) fn keep_house(&mut self, now: Now, actions: &mut Actions) {
        if now.boot < self.keep_house_at {
            return;
        }
        self.keep_house_at = now.boot.after(KEEP_HOUSE_EVERY);
        self.tell_impaired(now, actions);
        self.notice_hanging_store(now, actions);
        self.tell_store_failing(now, actions);
        self.tell_incidents_from_memory(now, actions);
        self.tell_store_works(now, actions);
        self.end_pauses(now, actions);
        self.forget(now, actions);
    }

    /// What is over for longer than it is kept, or the evidence of it, goes.
    fn forget(&mut self, now: Now, actions: &mut Actions) {
        if now.boot < self.forget_at || self.ledger.is_full() {
            return;
        }
        self.forget_at = now.boot.after(FORGET_EVERY);
        let keep = self.policy.keep.max(KEPT_AT_LEAST);
        let before = self.ledger.steady(now).before(keep);
        let watched: BTreeSet<_> = self.policy.services.iter().map(|service| &service.name).collect();
        let services = self.ledger.durable.former_services(before, |name| watched.contains(name));
        if !services.is_empty() || self.ledger.durable.keeps_from_before(before) {
            self.ledger.append(now, None, Fact::Forgotten { before: now.wall.before(keep), services }, actions);
        }
    }

    fn end_pauses(&mut self, now: Now, actions: &mut Actions) {
        let steady = self.ledger.steady(now);
        let is_over = |pause: &Option<PauseRecord>| pause.as_ref().is_some_and(|pause| pause.is_over(steady));
        let durable = &self.ledger.durable;
        let all = is_over(&durable.paused);
        let ended: Vec<ServiceName> = self
            .services
            .iter()
            .map(|service| &service.name)
            .filter(|name| is_over(&durable.service(name).paused))
            .cloned()
            .collect();
        let by = "its own end";
        for name in ended {
            self.ledger.append(now, Some(&name), Fact::Resumed { by: by.to_owned() }, actions);
        }
        if all {
            self.ledger.append(now, None, Fact::Resumed { by: by.to_owned() }, actions);
        }
    }
}
