//! What disturbs the core: kills, starts, panics, clocks that are set, and other configurations.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::{Bench, SERVICE};
use crate::core::{
    action::Actions,
    durable::Durable,
    engine::{Reload, State},
    event::Event,
    name::{ServiceIndex, ServiceName, SignalName},
    sample::{Measurement, Outcome},
    time::{BootTime, MachineStart, WallTime},
};

impl Bench {
    /// kill -9, and a start after `seconds`.
    pub fn restart(&mut self, seconds: u64) {
        self.silent.clear();
        self.delivered.clear();
        self.now = self.now.after(Duration::from_secs(seconds));
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable.apply(*sequence, entry).expect("the journal folds");
        }
        self.state = State::new(Arc::clone(&self.policy), "bench", self.machine_start, durable, self.now);
        self.feed(Event::Started);
    }

    /// The daemon is ended, and started after `seconds` with a configuration by which it checks its own network.
    pub fn restart_with_self_check(&mut self, seconds: u64) {
        let mut policy = (*self.policy).clone();
        policy.checks_itself = true;
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The daemon is ended, and started after `seconds` with a configuration that has another service in this one's place.
    pub fn restart_with_another_service(&mut self, seconds: u64) {
        let mut policy = (*self.policy).clone();
        let mut service = (*policy.services[0]).clone();
        service.name = "another".into();
        policy.services[0] = Arc::new(service);
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The daemon is ended, and started after `seconds` with a configuration by which another channel hears of everything too.
    pub fn restart_with_another_channel(&mut self, seconds: u64, channel: &str) {
        let mut policy = (*self.policy).clone();
        policy.channels.push(channel.into());
        for severity in policy.escalation.severities.values_mut() {
            severity.notify.push(channel.into());
        }
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The machine is switched off, and is up again after `seconds`.
    pub fn restart_the_machine(&mut self, seconds: u64) {
        self.machine_start = MachineStart(self.machine_start.0 + 1);
        self.now.wall = self.now.wall.after(Duration::from_secs(seconds));
        self.now.boot = BootTime::from_nanos(20_000_000_000);
        self.restart(0);
    }

    /// Somebody sets the wall clock forward, or back.
    pub fn step_wall_clock(&mut self, by_seconds: i64) {
        self.now.wall = WallTime::from_millis(self.now.wall.as_millis() + by_seconds * 1000);
    }

    /// A step of the service panics, since it is told of a signal that it does not have, and the state is made anew.
    ///
    /// # Panics
    /// If that step does not.
    pub fn panic(&mut self) {
        self.panic_in(ServiceIndex(0));
    }

    /// The same in a step of that service.
    ///
    /// # Panics
    /// If that step does not.
    pub fn panic_in(&mut self, service: ServiceIndex) {
        let no_signal = u16::MAX;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.sample(service, no_signal, Measurement::Check(Outcome::Passed));
        }));
        assert!(outcome.is_err(), "the step went well");
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable.apply(*sequence, entry).expect("the journal folds");
        }
        let empty = State::new(Arc::clone(&self.policy), "bench", self.machine_start, Durable::default(), self.now);
        let broken = std::mem::replace(&mut self.state, empty);
        let mut actions = Actions::new();
        let in_hand = broken.in_hand();
        self.state =
            broken.folded_anew(in_hand, Arc::clone(&self.policy), self.machine_start, durable, self.now, &mut actions);
        self.feed(Event::Started);
    }

    /// Another policy is put in force, by which the signals of these names look at something else.
    ///
    /// # Panics
    /// If a plan is under way.
    pub fn reload(&mut self, redefined: &[&str]) {
        let signals = redefined.iter().map(|name| SignalName::from(*name)).collect();
        let reload = Reload {
            policy: Arc::clone(&self.policy),
            retargeted: BTreeSet::new(),
            redefined: BTreeMap::from([(ServiceName::from(SERVICE), signals)]),
        };
        let mut actions = Actions::new();
        self.state.reload(self.now, &reload, &mut actions).expect("no plan is under way");
        self.carry_out(actions);
    }
}
