//! The engine: takes events, one after another, and says what is to be done. It owns all state and never waits.

mod abort;
mod afresh;
mod anew;
mod by_hand;
mod certificate;
mod check;
mod clocks;
mod courier;
mod decide;
mod deploys;
mod discord;
mod drive;
mod gather;
mod history;
mod house;
mod incident;
mod known_bad;
mod ledger;
mod look;
mod nightly;
mod observe;
mod observer;
mod outlook;
mod overtaken;
mod page;
mod preview;
mod reload;
mod report;
mod request;
mod restart;
mod service;
mod sight;
mod surroundings;
mod suspension;
mod turn;
mod unbegun;
mod unwatched;
mod verification;
mod view;

pub use certificate::{TOLD_WITHIN_DAYS, is_expiring};
pub use clocks::ClockStep;
pub use gather::GATHER_DEADLINE;
#[cfg(feature = "testing")]
pub(crate) use incident::AS_IT_STANDS;
pub(crate) use incident::LOOK_FIRST_FOR;
pub use ledger::UNCOMMITTED_LIMIT;
pub use reload::{PlansUnderWay, Reload, Reloaded};
pub use view::incident_view;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    afresh::Waiting, clocks::Clocks, courier::Courier, ledger::Ledger, observer::Observer, service::Service, turn::Turn,
};
use super::{
    action::{Action, Actions},
    durable::{Durable, ServiceRecord},
    entry::Fact,
    event::{Event, Refusal, Reply, Request},
    gate::Neighbours,
    name::{IncidentId, ServiceIndex, ServiceName},
    operation::{Look, StepKey},
    policy::Policy,
    sample::Sample,
    time::{BootTime, MachineStart, Now},
};

/// Everything the core knows.
#[derive(Debug)]
pub struct State {
    policy: Arc<Policy>,
    installation: String,
    ledger: Ledger,
    services: Vec<Service>,
    observer: Observer,
    clocks: Clocks,
    neighbours: Neighbours,
    courier: Courier,
    wakes: BTreeSet<(BootTime, ServiceIndex)>,
    /// Services of which readers have not seen the latest.
    stirred: BTreeSet<ServiceIndex>,
    /// Requests that wait for a look at a target, in the order in which they came.
    waiting: VecDeque<Waiting>,
    late_samples: u64,
    store_pages: u64,
    /// When people were last told that the journal cannot be written.
    store_told: Option<BootTime>,
    /// Since when it has been written again, while that was not told yet.
    store_well_since: Option<BootTime>,
    /// Incidents that were told while the journal could not be written.
    told_from_memory: BTreeSet<IncidentId>,
    /// When the daemon as a whole is looked after next.
    keep_house_at: BootTime,
    /// When it is asked next what need not be kept.
    forget_at: BootTime,
    /// The service whose step is under way: the one that is not to be trusted after a panic.
    in_hand: Option<ServiceIndex>,
}

impl State {
    /// Begins with a folded journal. `installation` makes page identities unique among stores; `machine_start` tells
    /// whether the boot clock of `now` is the one that the journal's entries were written by.
    pub fn new(
        policy: Arc<Policy>,
        installation: &str,
        machine_start: MachineStart,
        durable: Durable,
        now: Now,
    ) -> Self {
        let ledger = Ledger::folded(durable, machine_start);
        let durable = &ledger.durable;
        let mut services = Vec::with_capacity(policy.services.len());
        for (place, service) in policy.services.iter().enumerate() {
            let index = ServiceIndex(u32::try_from(place).expect("the configuration bounds services"));
            let mut service = Service::new(index, Arc::clone(service), now);
            let open = durable.open_incident(&service.name);
            service.drive.recovering = open.is_some_and(|incident| incident.active_plan().is_some());
            services.push(service);
        }
        let wakes = services.iter().map(|service| (service.wake, service.index)).collect();
        let observer = Observer::new(&policy);
        Self {
            neighbours: Neighbours::new(&policy, durable, now, ledger.steady(now)),
            policy,
            installation: installation.to_owned(),
            ledger,
            services,
            observer,
            clocks: Clocks::new(now),
            courier: Courier::default(),
            wakes,
            stirred: BTreeSet::new(),
            waiting: VecDeque::new(),
            late_samples: 0,
            store_pages: 0,
            store_told: None,
            store_well_since: None,
            told_from_memory: BTreeSet::new(),
            keep_house_at: now.boot,
            forget_at: now.boot,
            in_hand: None,
        }
    }

    /// The durable half.
    pub fn durable(&self) -> &Durable {
        &self.ledger.durable
    }

    /// When it wants an [`Event::Woke`], at the latest.
    pub fn next_wake(&self) -> Option<BootTime> {
        let service = self.wakes.first().map(|(at, _)| *at);
        service.into_iter().chain(self.courier.wake()).chain(self.answers_by()).min()
    }

    /// The service whose step is under way, or was when the core panicked.
    pub const fn in_hand(&self) -> Option<ServiceIndex> {
        self.in_hand
    }

    /// Whether pages are on their way.
    pub fn delivers(&self) -> bool {
        self.courier.delivers()
    }

    /// Whether the watchdog's own network is ill, or was not checked yet, so that each sample counts as missed whatever it
    /// saw.
    pub fn misses_every_sample(&self) -> bool {
        self.observer.impaired().is_some()
    }

    /// A step of the wall clock that was noticed since this was last asked. It moves nothing.
    pub const fn take_clock_step(&mut self) -> Option<ClockStep> {
        self.clocks.take_step()
    }

    /// For how long the process stood still before its last step, if it did.
    pub fn stood_still(&self, now: Now) -> Option<Duration> {
        self.clocks.stood_still(now, Duration::ZERO)
    }

    /// Whether something waits for a store that can be written, as far as is known.
    pub fn waits_for_store(&self) -> bool {
        !self.is_settled() && self.observer.store_failing().is_none()
    }

    /// Whether everything appended is durable.
    pub fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    /// Takes one event in, and pushes what is to be done to `actions`.
    pub fn step(&mut self, now: Now, event: Event, actions: &mut Actions) {
        let before = self.ledger.durable.last;
        self.clocks.read(now);
        match event {
            Event::Started => self.started(now, actions),
            Event::Sample(sample) => self.sample(now, &sample, actions),
            Event::CertificateSeen { service, signal, expires } => {
                self.services[service.get()].certificates.seen(now.boot, signal, expires);
            }
            Event::SelfCheck(outcome) => self.self_checked(now, outcome, actions),
            Event::Woke => self.woke(now, actions),
            Event::Looked { service, key, look } => {
                self.looked(now, service, key.as_ref(), &look, actions);
                self.answer_seen(now, service, look.began, actions);
            }
            Event::VersionSeen { service, version } => self.with(now, service, actions, |service, turn| {
                service.sight.version_seen(turn.now, version.clone());
                if let Ok(version) = version {
                    service.notice_version(turn, &version);
                }
                service.assess(turn);
            }),
            Event::OperationEnded { key, outcome } => {
                if let Some(service) = self.operated_by(&key.incident) {
                    self.with(now, service, actions, |service, turn| {
                        service.ended(turn, &key, outcome);
                        service.assess(turn);
                    });
                }
            }
            Event::Gathered { incident, outcome } => {
                if let Some(service) = self.service_of(&incident) {
                    self.with(now, service, actions, |service, turn| {
                        service.gathered(turn, &incident, outcome);
                        service.assess(turn);
                    });
                }
            }
            Event::Committed(sequence) => {
                self.judge_unbegun(now, actions);
                let released = actions.len();
                self.ledger.committed(now, sequence, self.observer.closing, actions);
                for action in &actions[released..] {
                    if let Action::Operate { service, attempt } = action {
                        self.services[service.get()].begins_now(now, attempt);
                    }
                }
                self.store_works(now);
            }
            Event::StoreFailing(reason) => self.store_fails(now, &reason, actions),
            Event::StoreWorks => self.store_works(now),
            Event::DeliveryEnded { page, channel, outcome } => {
                let mut courier = std::mem::take(&mut self.courier);
                courier.ended(&mut self.turn(now, actions), &page, &channel, outcome);
                // A pause begins now: what is due next has changed, whether anything was put into the journal or not.
                courier.pump(&mut self.turn(now, actions));
                self.courier = courier;
            }
            Event::Closing => self.close(now, actions),
            Event::Requested { id, by, request } => self.ask(now, id, by, request, actions),
        }
        self.answer_overdue(now, actions);
        self.keep_house(now, actions);
        let is_due = self.courier.wake().is_some_and(|wake| wake <= now.boot);
        if is_due || self.ledger.durable.last != before {
            self.pump(now, actions);
        }
    }

    /// The services, and a turn that each of them may take.
    fn parts<'a>(&'a mut self, now: Now, actions: &'a mut Actions) -> (&'a mut [Service], Turn<'a>) {
        let turn = Turn {
            now,
            clocks: &self.clocks,
            policy: &self.policy,
            installation: &self.installation,
            ledger: &mut self.ledger,
            observer: &self.observer,
            neighbours: &mut self.neighbours,
            actions,
        };
        (&mut self.services, turn)
    }

    fn turn<'a>(&'a mut self, now: Now, actions: &'a mut Actions) -> Turn<'a> {
        self.parts(now, actions).1
    }

    fn split<'a>(&'a mut self, now: Now, index: ServiceIndex, actions: &'a mut Actions) -> (&'a mut Service, Turn<'a>) {
        let (services, turn) = self.parts(now, actions);
        (&mut services[index.get()], turn)
    }

    /// Does something with one service, and keeps its alarm clock right.
    fn with<R>(
        &mut self,
        now: Now,
        index: ServiceIndex,
        actions: &mut Actions,
        what: impl FnOnce(&mut Service, &mut Turn<'_>) -> R,
    ) -> R {
        self.in_hand = Some(index);
        let last = self.ledger.durable.last;
        let (service, mut turn) = self.split(now, index, actions);
        let (before, verdict) = (service.wake, service.watch.verdict());
        let result = what(service, &mut turn);
        let (after, is_other) = (service.wake, service.watch.verdict() != verdict);
        self.in_hand = None;
        if is_other || self.ledger.durable.last != last {
            self.stirred.insert(index);
        }
        if before != after {
            self.wakes.remove(&(before, index));
            self.wakes.insert((after, index));
        }
        result
    }

    fn service_of(&self, incident: &IncidentId) -> Option<ServiceIndex> {
        let name = &self.ledger.durable.incidents.get(incident)?.service;
        self.policy.service_index(name.as_str())
    }

    /// The service whose operation that is. Its incident may be over for so long that it is forgotten, while what it
    /// suspended is not resumed yet.
    fn operated_by(&self, incident: &IncidentId) -> Option<ServiceIndex> {
        let has_suspended =
            |record: &ServiceRecord| record.suspension.as_ref().is_some_and(|one| one.incident == *incident);
        self.service_of(incident).or_else(|| {
            let mut services = self.ledger.durable.services.iter();
            let (name, _) = services.find(|(_, record)| has_suspended(record))?;
            self.policy.service_index(name.as_str())
        })
    }

    fn started(&mut self, now: Now, actions: &mut Actions) {
        self.keep_history_of_before(actions);
        self.keep_evidence_of_before(actions);
        let policy = Arc::clone(&self.policy);
        self.end_unwatched(now, actions, |name| policy.service_index(name.as_str()).is_some());
        for place in 0..self.services.len() {
            let index = self.services[place].index;
            self.with(now, index, actions, |service, turn| {
                service.look(turn);
                service.assess(turn);
            });
        }
        self.tell_page_only(now, actions);
        self.pump(now, actions);
    }

    /// From here on no plan and no step of one begins. What is in flight may still come back and is put into the journal; the
    /// next start goes on from there.
    fn close(&mut self, now: Now, actions: &mut Actions) {
        self.observer.closing = true;
        for place in 0..self.services.len() {
            let index = self.services[place].index;
            self.with(now, index, actions, Service::tell_stopping);
        }
    }

    fn sample(&mut self, now: Now, sample: &Sample, actions: &mut Actions) {
        let missed = self.observer.impaired().and_then(|why| observer::missed(sample, why));
        let sample = missed.as_ref().unwrap_or(sample);
        self.in_hand = Some(sample.service);
        let (service, mut turn) = self.split(now, sample.service, actions);
        let recorded = service.sample(&mut turn, sample);
        self.in_hand = None;
        self.late_samples += u64::from(recorded.late);
        if recorded.changed || recorded.first_failure || recorded.first_pass {
            self.stirred.insert(sample.service);
            self.with(now, sample.service, actions, Service::assess);
        }
    }

    fn woke(&mut self, now: Now, actions: &mut Actions) {
        // Each service that is due is assessed once and then wants to be woken later than now.
        for _ in 0..self.services.len() {
            let Some(&(at, index)) = self.wakes.first() else { break };
            if at > now.boot {
                break;
            }
            self.with(now, index, actions, Service::assess);
            assert!(self.services[index.get()].wake > at, "an assessed service wakes later");
        }
    }

    fn looked(&mut self, now: Now, index: ServiceIndex, key: Option<&StepKey>, look: &Look, actions: &mut Actions) {
        let is_news = self.with(now, index, actions, |service, turn| {
            // A look that was under way while we switched shows what was before: nobody else did that. And one that began
            // before another that came back already shows what was, too.
            let known = service.changed_at.max(service.sight.looked_at());
            if key.is_none() && known.is_some_and(|known| look.began < known) {
                service.sight.overtaken();
                service.assess(turn);
                return true;
            }
            let is_news = service.sight.looked(turn.now, look.observation.clone(), look.began);
            service.looked_for_plan(turn, key, look);
            let is_driven = turn.open_incident(&service.name).is_some_and(|one| one.active_plan().is_some());
            if let (Ok(observation), false) = (&look.observation, is_driven) {
                service.notice_deploys(turn, observation);
            }
            // A regular look that found everything as it was: the next assessment, a second away at most, is enough.
            let is_news = is_news || is_driven || key.is_some();
            if is_news {
                service.assess(turn);
            }
            is_news
        });
        if is_news {
            self.stirred.insert(index);
        }
    }

    fn requested(&mut self, now: Now, by: &str, request: Request, actions: &mut Actions) -> Reply {
        if self.ledger.is_full() {
            return Err(Refusal::Busy("the journal cannot be written just now".to_owned()));
        }
        if self.observer.closing {
            return Err(Refusal::Busy("the daemon is stopping; ask again once it runs again".to_owned()));
        }
        match request {
            Request::Approve { incident, approval } => {
                let index = self.service_of(&incident).ok_or_else(|| no_incident(&incident))?;
                self.with(now, index, actions, |service, turn| service.approve(turn, &incident, approval, by))
            }
            Request::Deny { incident, approval, reason } => {
                let index = self.service_of(&incident).ok_or_else(|| no_incident(&incident))?;
                self.with(now, index, actions, |service, turn| service.deny(turn, &incident, approval, by, reason))
            }
            Request::MarkRelease { service, version, mark } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.mark(turn, version, mark, by))
            }
            Request::ReportDeploy { service, version } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| Ok(service.report_deploy(turn, version, by)))
            }
            Request::Pause { service: Some(service), for_seconds, reason } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| Ok(service.pause(turn, for_seconds, by, reason)))
            }
            Request::Pause { service: None, for_seconds, reason } => {
                let until = for_seconds.map(|seconds| now.wall.after(Duration::from_secs(seconds)));
                let reply = request::paused("everything", until, self.ledger.durable.paused.as_ref());
                self.ledger.append(now, None, Fact::Paused { until, by: by.to_owned(), reason }, actions);
                Ok(reply)
            }
            Request::Resume { service: Some(service) } => {
                let index = self.index_of(&service)?;
                self.with(now, index, actions, |service, turn| service.resume(turn, by))
            }
            Request::Resume { service: None } => {
                if self.ledger.durable.paused.is_none() {
                    return Err(Refusal::Conflict("nothing is paused as a whole".to_owned()));
                }
                self.ledger.append(now, None, Fact::Resumed { by: by.to_owned() }, actions);
                Ok(self.all_resumed(now, actions))
            }
            request => self.by_hand(now, by, request, actions),
        }
    }

    pub(super) fn index_of(&self, service: &ServiceName) -> Result<ServiceIndex, Refusal> {
        let index = self.policy.service_index(service.as_str());
        index.ok_or_else(|| {
            Refusal::NotFound(format!("there is no service {:?} in the configuration", service.as_str()))
        })
    }

    fn pump(&mut self, now: Now, actions: &mut Actions) {
        let mut courier = std::mem::take(&mut self.courier);
        courier.pump(&mut self.turn(now, actions));
        self.courier = courier;
    }
}

fn no_incident(incident: &IncidentId) -> Refusal {
    Refusal::NotFound(format!("there is no incident {:?}", incident.as_str()))
}
