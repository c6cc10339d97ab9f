//! What the watchdog sees of the world, and what it misses.

use std::time::Duration;

use super::{Happening, Simulation, turn::SELF_CHECK_EVERY};
use crate::{
    core::{
        event::Event,
        name::{ServiceIndex, SignalIndex},
        sample::{Measurement, Outcome, Reason, Sample},
    },
    testing::{
        invariants::Violation,
        policy::{READY, REQUESTS},
        scenario::VersionEndpoint,
    },
};

/// Checks of the watchdog's own network in a thousand that fail after one that failed.
const SELF_CHECK_GOES_ON_FAILING: u64 = 700;
/// The longest that a sample takes to come back: its timeout.
const SLOWEST_SAMPLE: Duration = Duration::from_secs(1);

impl Simulation<'_> {
    pub(super) fn check_self(&mut self) -> Result<(), Violation> {
        let epoch = self.epoch;
        self.plan(SELF_CHECK_EVERY, Happening::SelfCheck { epoch });
        let chance = match self.scenario.chaos.self_check_fails {
            0 => return Ok(()),
            _ if self.impaired => SELF_CHECK_GOES_ON_FAILING,
            first => first,
        };
        self.impaired = self.chance(chance, "fault: own network ill");
        let ill = || Outcome::Failed(Reason::new("no route to host"));
        self.feed(Event::SelfCheck(if self.impaired { ill() } else { Outcome::Passed }))
    }

    /// Whether nothing can be seen of that signal just now.
    fn is_blind(&mut self, signal: SignalIndex) -> bool {
        let elapsed = self.elapsed();
        let is_blind = self.scenario.blindness.as_ref().is_some_and(|blind| {
            blind.signals.contains(&signal.get()) && blind.after <= elapsed && elapsed < blind.after + blind.lasts
        }) && self.is_chaos();
        if is_blind {
            self.tally.count(match signal {
                READY => "fault: blind to a probe",
                REQUESTS => "fault: blind to requests",
                _ => "fault: blind to a feature",
            });
        }
        is_blind
    }

    pub(super) fn take(&mut self, service: ServiceIndex, signal: SignalIndex) -> Result<(), Violation> {
        let every = self.cadence[service.get()][signal.get()];
        let epoch = self.epoch;
        let missed = self.is_blind(signal) || self.chance(self.scenario.chaos.missed, "fault: sample missed");
        let world = &mut self.worlds[service.get()];
        let measurement = match (signal, missed) {
            (REQUESTS, true) => Measurement::RequestsMissed(Reason::new("Prometheus is away")),
            (_, true) => Measurement::Check(Outcome::Missed(Reason::new("no descriptors left"))),
            (READY, false) => Measurement::Check(world.probe(self.boot)),
            (REQUESTS, false) => {
                let before = self.counted_to[service.get()].replace(self.boot);
                let Some(before) = before else {
                    self.plan_take(every, service, signal);
                    return Ok(());
                };
                Measurement::Requests(world.requests(self.boot, self.boot.since(before), &mut self.random))
            }
            _ => Measurement::Check(world.smoke_test(self.boot)),
        };
        let sample = Sample { service, signal, taken_at: self.boot, lag: Duration::ZERO, measurement };
        if self.chance(self.scenario.chaos.sample_slow, "fault: sample slow") {
            let takes = self.random.between(Duration::from_millis(50), SLOWEST_SAMPLE);
            self.plan(takes, Happening::ToCore { epoch, event: Event::Sample(sample) });
            // A probe does not overlap itself.
            self.plan_take(every.max(takes), service, signal);
            return Ok(());
        }
        self.plan_take(every, service, signal);
        self.feed(Event::Sample(sample))
    }

    pub(super) fn ask_version(&mut self, service: ServiceIndex) {
        let epoch = self.epoch;
        let unanswered = self.chance(self.scenario.chaos.version_unanswered, "fault: version unanswered");
        let contradicts = self.chance(self.scenario.chaos.version_contradicts, "fault: version contradicts");
        let world = &self.worlds[service.get()];
        let honest = world.version(self.boot);
        let version = match (&honest, self.scenario.version) {
            (None, _) => None,
            _ if unanswered => None,
            (_, Some(VersionEndpoint::Lies)) => {
                self.tally.count("fault: version lies");
                Some("v1".into())
            }
            _ if contradicts => Some(world.other_version()),
            _ => honest,
        };
        let version = version.ok_or_else(|| Reason::new("timed out"));
        let takes = self.random.between(Duration::from_millis(5), Duration::from_millis(1500));
        self.plan(takes, Happening::ToCore { epoch, event: Event::VersionSeen { service, version } });
    }
}
