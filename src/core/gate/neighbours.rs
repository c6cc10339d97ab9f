//! What services know of each other: who turned bad when, and whether what a service depends on is well.
//!
//! The one thing that services share. It changes only when a service turns, so that a sample costs nothing here, and
//! it is rebuilt from the journal at start. All services of one daemon count together: they may share a host, a network,
//! a platform or a Prometheus server, and nobody has to say which.

use std::{collections::BTreeSet, time::Duration};

use crate::core::{
    durable::{Durable, IncidentRecord, ServiceRecord},
    entry::PlanOutcome,
    name::{IncidentId, ServiceIndex, ServiceName},
    policy::{Policy, SharedCausePolicy},
    time::{Now, SteadyTime},
};

/// Whether a service is well, as far as others are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wellness {
    /// Nothing is wrong.
    Well,
    /// Whether it is down is not known.
    Unknown,
    /// Its verdict is consider or graver, or an incident is open.
    NotWell,
}

/// A moment in milliseconds since the machine started, which a stepped wall clock does not move; negative for what the
/// journal knows from before.
type Moment = i64;

fn moment(now: Now) -> Moment {
    i64::try_from(now.boot.as_nanos() / 1_000_000).unwrap_or(Moment::MAX)
}

fn moment_of(now: Now, steady: SteadyTime, then: SteadyTime) -> Moment {
    moment(now).saturating_add(then.millis_from(steady))
}

fn millis(duration: Duration) -> Moment {
    Moment::try_from(duration.as_millis()).unwrap_or(Moment::MAX)
}

/// One service as the others see it.
#[derive(Debug)]
struct Neighbour {
    name: ServiceName,
    /// What it needs, and what that needs, and so on.
    depends_on: Vec<ServiceIndex>,
    wellness: Wellness,
    /// When it was last seen to be not well.
    ill_until: Option<Moment>,
    /// Since when its wellness has been unknown.
    unknown_since: Option<Moment>,
    /// When it last turned bad, for as long as that counts.
    turned: Option<Moment>,
    /// It is bad now.
    is_bad: bool,
}

/// All services, as they see each other.
#[derive(Debug, Default)]
pub struct Neighbours {
    all: Vec<Neighbour>,
    /// Those that turned bad, by when.
    turned: BTreeSet<(Moment, ServiceIndex)>,
    /// Those of which nothing is known, by since when.
    unknown: BTreeSet<(Moment, ServiceIndex)>,
    /// The longest time within which services count together.
    longest: Moment,
}

/// Services that turned bad together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// Those that turned bad within the policy's time of each other, the asked one among them.
    pub bad: Vec<ServiceIndex>,
    /// Those of which nothing has been known since about then: they may have turned bad too.
    pub unknown: Vec<ServiceIndex>,
}

impl Neighbours {
    /// From what the journal knows.
    pub fn new(policy: &Policy, durable: &Durable, now: Now, steady: SteadyTime) -> Self {
        let longest = policy.services.iter().map(|service| service.gates.shared_cause.within).max();
        let mut neighbours = Self { longest: millis(longest.unwrap_or_default()), ..Self::default() };
        for (place, service) in policy.services.iter().enumerate() {
            let index = ServiceIndex(u32::try_from(place).expect("the configuration bounds services"));
            let record = durable.service(&service.name);
            let open = durable.open_incident(&service.name);
            let last = last_incident(durable, record, &service.name);
            let turned = last
                .filter(|incident| incident.is_open() || !was_its_own(incident))
                .map(|incident| moment_of(now, steady, incident.opened));
            neighbours.all.push(Neighbour {
                name: service.name.clone(),
                depends_on: needed(policy, index),
                wellness: if open.is_some() { Wellness::NotWell } else { Wellness::Unknown },
                ill_until: last.and_then(|incident| incident.ended).map(|at| moment_of(now, steady, at)),
                unknown_since: open.is_none().then_some(moment(now)),
                turned,
                is_bad: open.is_some(),
            });
            neighbours.turned.extend(turned.map(|at| (at, index)));
            neighbours.unknown.extend(open.is_none().then_some((moment(now), index)));
        }
        neighbours.evict(now);
        neighbours
    }

    /// Under another policy: a service that stays is known as it was, wherever it stands now. What turned bad and is no
    /// longer watched counts no more.
    #[must_use]
    pub fn carried_over(self, policy: &Policy, durable: &Durable, now: Now, steady: SteadyTime) -> Self {
        let mut next = Self::new(policy, durable, now, steady);
        for old in self.all {
            let Some(index) = policy.service_index(old.name.as_str()) else { continue };
            let depends_on = std::mem::take(&mut next.all[index.get()].depends_on);
            next.all[index.get()] = Neighbour { depends_on, ..old };
        }
        let places = || (0..).map(ServiceIndex).zip(&next.all);
        next.turned = places().filter_map(|(index, one)| Some((one.turned?, index))).collect();
        next.unknown = places().filter_map(|(index, one)| Some((one.unknown_since?, index))).collect();
        next.evict(now);
        next
    }

    /// A service as it is now. Returns whether it turned, for good or bad.
    pub fn update(&mut self, now: Now, index: ServiceIndex, wellness: Wellness, is_bad: bool) -> bool {
        let one = &mut self.all[index.get()];
        if one.wellness != wellness {
            if one.wellness == Wellness::NotWell {
                one.ill_until = Some(moment(now));
            }
            one.wellness = wellness;
            if let Some(since) = one.unknown_since.take() {
                self.unknown.remove(&(since, index));
            }
            if wellness == Wellness::Unknown {
                one.unknown_since = Some(moment(now));
                self.unknown.insert((moment(now), index));
            }
        }
        if one.is_bad == is_bad {
            return false;
        }
        one.is_bad = is_bad;
        if is_bad {
            if let Some(before) = one.turned.replace(moment(now)) {
                self.turned.remove(&(before, index));
            }
            self.turned.insert((moment(now), index));
        }
        self.evict(now);
        true
    }

    /// A verified rollback proved that the service's own release was to blame: its turning says nothing of others.
    pub fn was_its_own(&mut self, index: ServiceIndex) {
        if let Some(at) = self.all[index.get()].turned.take() {
            self.turned.remove(&(at, index));
        }
    }

    /// Evicts what turned bad, is over, and is too long before now and before everything that is still bad to count.
    fn evict(&mut self, now: Now) {
        let oldest_bad = self.turned.iter().find(|(_, index)| self.all[index.get()].is_bad).map(|(at, _)| *at);
        let kept_from = oldest_bad.unwrap_or(Moment::MAX).min(moment(now)).saturating_sub(self.longest);
        while let Some(&(at, index)) = self.turned.first()
            && at < kept_from
        {
            self.turned.pop_first();
            self.all[index.get()].turned = None;
        }
    }

    /// A service's name.
    pub fn name(&self, index: ServiceIndex) -> &ServiceName {
        &self.all[index.get()].name
    }

    /// Who turned bad together with a service: the most that lie within `within` of each other, this one among them. One
    /// that is not bad is asked as if it turned bad now.
    pub fn together(&self, now: Now, index: ServiceIndex, policy: SharedCausePolicy) -> Together {
        let within = millis(policy.within);
        let own = &self.all[index.get()];
        let at = own.turned.filter(|_| own.is_bad).unwrap_or_else(|| moment(now));
        let around = (at.saturating_sub(within), ServiceIndex(0))..=(at.saturating_add(within), ServiceIndex(u32::MAX));
        let others = self.turned.range(around.clone()).filter(|(_, other)| *other != index);
        let mut turns: Vec<(Moment, ServiceIndex)> = others.copied().collect();
        let place = turns.partition_point(|one| *one < (at, index));
        turns.insert(place, (at, index));
        let mut best = 0..0;
        let mut end = 0;
        for (begin, (first, _)) in turns.iter().enumerate() {
            while end < turns.len() && turns[end].0 <= first.saturating_add(within) {
                end += 1;
            }
            if (begin..end).contains(&place) && end - begin > best.len() {
                best = begin..end;
            }
        }
        let bad = turns[best].iter().map(|(_, one)| *one).collect();
        let unknown = self.unknown.range(around).map(|(_, one)| *one).filter(|one| *one != index).collect();
        Together { bad, unknown }
    }

    /// What a service depends on, directly and by way of others, and how that is.
    pub fn dependencies(&self, now: Now, index: ServiceIndex) -> impl Iterator<Item = Dependency<'_>> {
        self.all[index.get()].depends_on.iter().map(move |one| {
            let one = &self.all[one.get()];
            let ill_ago = one.ill_until.map(|until| moment(now).saturating_sub(until));
            let ill_ago = ill_ago.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
            Dependency { name: &one.name, wellness: one.wellness, ill_ago }
        })
    }

    /// The first thing that a service depends on and that is not well.
    pub fn ill_dependency(&self, now: Now, index: ServiceIndex) -> Option<&ServiceName> {
        self.dependencies(now, index).find(|one| one.wellness == Wellness::NotWell).map(|one| one.name)
    }
}

/// A service that another one depends on.
#[derive(Debug, Clone, Copy)]
pub struct Dependency<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// How it is.
    pub wellness: Wellness,
    /// How long ago it was last not well, if it is well again.
    pub ill_ago: Option<Duration>,
}

/// The incident that a service had last.
pub fn last_incident<'a>(
    durable: &'a Durable,
    record: &ServiceRecord,
    name: &ServiceName,
) -> Option<&'a IncidentRecord> {
    durable.incidents.get(&IncidentId::from(format!("{name}-{}", record.incident_count)))
}

/// Whether a rollback proved that the service's own release was to blame.
pub fn was_its_own(incident: &IncidentRecord) -> bool {
    incident.plans.iter().any(|plan| plan.ended.is_some_and(|(_, outcome)| outcome == PlanOutcome::Verified))
}

/// What a service needs, and what that needs, and so on; each once.
fn needed(policy: &Policy, of: ServiceIndex) -> Vec<ServiceIndex> {
    let mut all = Vec::new();
    let mut waiting = vec![of];
    while let Some(one) = waiting.pop() {
        let names = &policy.services[one.get()].depends_on;
        for next in names.iter().filter_map(|name| policy.service_index(name.as_str())) {
            if next != of && !all.contains(&next) {
                all.push(next);
                waiting.push(next);
            }
        }
    }
    all
}
