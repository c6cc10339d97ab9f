//! Retention: what is over for longer than it is kept is forgotten, so that the state is bounded however long the daemon
//! lives.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Durable, ENDED_INCIDENTS_LIMIT, ServiceRecord,
    service::{DEPLOYS_ALWAYS_KEPT, STANDINGS_LIMIT},
};
use crate::core::{
    name::{ServiceName, Version},
    release::Standing,
    time::SteadyTime,
};

/// What is over is kept for so long whatever the configuration says: gates ask about the last hours.
pub const KEPT_AT_LEAST: Duration = Duration::from_secs(24 * 60 * 60);

/// Services that are watched no more and whose records are kept, since they may come back: half of what one daemon can
/// watch. With names that are made for a while each, there would be ever more of them.
pub const FORMER_SERVICES_LIMIT: usize = 1000;

/// Standings past their limit are cleared so many at a time: looking for the oldest is no work for every entry.
const STANDINGS_SLACK: usize = 100;

impl Durable {
    /// Whether something is kept that was over before this, and need not be.
    pub fn keeps_from_before(&self, before: SteadyTime) -> bool {
        self.ended_before(before).next().is_some() || self.services.values().any(|one| one.keeps_deploys(before))
    }

    /// Services that are watched no more and give way, since there are too many: those whose last deploy is the oldest. One
    /// of which something from after `before` is kept does not, nor one with a kept incident: its numbers may not come again
    /// beside that.
    pub fn former_services(&self, before: SteadyTime, is_watched: impl Fn(&ServiceName) -> bool) -> Vec<ServiceName> {
        let former: Vec<_> = self.services.iter().filter(|(name, _)| !is_watched(name)).collect();
        let too_many = former.len().saturating_sub(FORMER_SERVICES_LIMIT);
        if too_many == 0 {
            return Vec::new();
        }
        let with_incidents: BTreeSet<&ServiceName> =
            self.incidents.values().map(|incident| &incident.service).collect();
        let last = |record: &ServiceRecord| record.live().map(|live| live.noticed);
        let mut oldest: Vec<_> = former
            .into_iter()
            .filter(|(name, record)| last(record) < Some(before) && !with_incidents.contains(name))
            .map(|(name, record)| (last(record), name))
            .collect();
        oldest.sort_unstable();
        oldest.into_iter().take(too_many).map(|(_, name)| name.clone()).collect()
    }

    fn ended_before(&self, before: SteadyTime) -> impl Iterator<Item = &super::IncidentRecord> {
        let ended = self.ended.iter().filter_map(|id| self.incidents.get(id));
        // In the order of their end.
        ended.take_while(move |incident| incident.ended.is_some_and(|ended| ended < before))
    }

    /// Incidents that are open, or to which something was added so short a time before the last entry.
    pub fn incidents_of_the_last(&self, time: Duration) -> impl Iterator<Item = &super::IncidentRecord> {
        let since = self.timeline.last().map(|last| last.before(time));
        let open = self.incidents.values().filter(|incident| incident.is_open());
        let ended = self.ended.iter().filter_map(|id| self.incidents.get(id));
        open.chain(ended.filter(move |incident| incident.ended.max(incident.sync_told) >= since))
    }

    /// Forgets what was over before this.
    pub(super) fn forget(&mut self, before: SteadyTime) {
        let count = self.ended_before(before).count();
        for id in self.ended.drain(..count) {
            self.incidents.remove(&id);
        }
        for service in self.services.values_mut() {
            while service.keeps_deploys(before) {
                service.deploys.pop_front();
            }
        }
    }

    /// The oldest ended incidents give way when there are too many.
    pub(super) fn bound_ended(&mut self) {
        while self.ended.len() > ENDED_INCIDENTS_LIMIT
            && let Some(oldest) = self.ended.pop_front()
        {
            self.incidents.remove(&oldest);
        }
    }
}

impl ServiceRecord {
    fn keeps_deploys(&self, before: SteadyTime) -> bool {
        self.deploys.len() > DEPLOYS_ALWAYS_KEPT && self.deploys.front().is_some_and(|record| record.noticed < before)
    }

    /// What a person said of a version stays; so does what is known of the deploys that are kept. Of the rest the oldest
    /// gives way, and what is known to be bad last.
    pub(super) fn bound_standings(&mut self) {
        let own = self.standings.values().filter(|known| !known.by_hand).count();
        let limit = STANDINGS_LIMIT + self.deploys.len();
        if own <= limit + STANDINGS_SLACK {
            return;
        }
        let deployed: BTreeSet<&Version> = self.deploys.iter().map(|one| &one.deploy.release.version).collect();
        let others = self.standings.iter().filter(|(version, known)| !known.by_hand && !deployed.contains(version));
        let mut oldest: Vec<_> =
            others.map(|(version, known)| (known.standing == Standing::KnownBad, known.at, version.clone())).collect();
        oldest.sort_unstable();
        for (_, _, version) in oldest.iter().take(own - limit) {
            self.standings.remove(version);
        }
    }
}
