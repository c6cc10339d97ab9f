//! After a panic the state is not to be trusted: it is made anew from the journal. What other services had seen goes on.

use std::{collections::BTreeMap, sync::Arc};

use super::{State, page::Draft, service::Service};
use crate::core::{
    action::Actions,
    durable::Durable,
    entry::Fact,
    name::{ServiceIndex, ServiceName},
    page::PageKind,
    policy::{Finding, Policy},
    time::{MachineStart, Now},
};

impl State {
    /// Begins anew with the journal folded again, under the policy in force. `in_hand` is the service whose step panicked
    /// ([`State::in_hand`]).
    ///
    /// What that service had seen is as little to be trusted as the rest of it: it sees nothing until its signals
    /// are heard again, and may only page. What every other service had seen, and has under way, is not touched by that
    /// step; it goes on, and so does what the watchdog knows of itself. `actions` bring their probes back to the pace at
    /// which they were.
    #[must_use]
    pub fn folded_anew(
        self,
        in_hand: Option<ServiceIndex>,
        policy: Arc<Policy>,
        machine_start: MachineStart,
        durable: Durable,
        now: Now,
        actions: &mut Actions,
    ) -> Self {
        let suspect = in_hand.and_then(|index| Some(self.services.get(index.get())?.name.clone()));
        let mut old: BTreeMap<ServiceName, Service> =
            self.services.into_iter().map(|service| (service.name.clone(), service)).collect();
        let mut next = Self::new(policy, &self.installation, machine_start, durable, now);
        for fresh in &mut next.services {
            let Some(mut old) = old.remove(&fresh.name) else { continue };
            if suspect.as_ref() == Some(&fresh.name) {
                fresh.page_only = true;
            } else if old.policy == fresh.policy {
                fresh.go_on_from(&mut old);
                // What waited for the store went with the ledger: it is not begun.
                fresh.flying.take_if(|(key, _)| self.ledger.holds(key));
                fresh.watch = old.watch;
                fresh.confirming = old.confirming;
                fresh.lost_told = old.lost_told;
                fresh.lost_in_incident = old.lost_in_incident;
                fresh.outage_at = old.outage_at;
                fresh.certificates = old.certificates;
                fresh.sight = old.sight;
                // Whether it was asked for a look that went with the step nobody knows; a second one does no harm.
                fresh.sight.overtaken();
                fresh.pace_again(actions);
            }
        }
        // The process may be about to end, its network ill, its store failing: that is so whoever panicked.
        next.observer = self.observer;
        next.store_told = self.store_told;
        next.store_well_since = self.store_well_since;
        next.told_from_memory = self.told_from_memory;
        next.store_pages = self.store_pages;
        next.courier = self.courier.begun_anew();
        next.clocks = self.clocks;
        next.forget_at = self.forget_at;
        next.late_samples = self.late_samples;
        // Requests that wait for a look are gone with the state: whoever asked was told that there is no answer, and may ask
        // again.
        next
    }
}

impl State {
    /// Says of which services nothing is done any more, since the core panicked over them.
    pub(super) fn tell_page_only(&mut self, now: Now, actions: &mut Actions) {
        let finding = Finding::ObserverImpaired;
        for place in 0..self.services.len() {
            let service = &mut self.services[place];
            if !service.page_only && self.ledger.durable.service(&service.name).findings.contains(&finding) {
                // The process was started again since.
                let name = service.name.clone();
                self.ledger.append(now, Some(&name), Fact::FindingOver { finding }, actions);
                continue;
            }
            if !service.page_only || std::mem::replace(&mut service.page_only_told, true) {
                continue;
            }
            let name = service.name.clone();
            let summary = format!(
                "{name} is watched and paged, and not rolled back until Backstop is started again: Backstop itself failed over it"
            );
            let mut turn = self.turn(now, actions);
            let severity = turn.policy.escalation.severity(finding);
            let detail = "the core panicked in a step of this service, and does nothing for it any more".to_owned();
            turn.append(Some(&name), Fact::Found { incident: None, finding, severity, detail, gate: None });
            let draft = Draft::finding(PageKind::IncidentEscalated, Some(&name), finding, summary);
            let action = "Start Backstop again while nothing is under way (`systemctl restart backstop`), and report the defect with its log.";
            turn.page(draft.action(action));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use super::*;
    use crate::core::{
        action::Action,
        event::Event,
        name::SignalIndex,
        policy::{Escalation, ServicePolicy},
        sample::{Measurement, Outcome, Reason, RequestCounts, Sample},
        time::{BootTime, WallTime},
        verdict::VerdictKind,
        watch::tests::bench::policy,
    };

    /// Places of the signals in that policy.
    const READY: u16 = 0;
    const SMOKE: u16 = 1;
    const REQUESTS: u16 = 2;
    /// No signal has this one; a step that looks for it panics.
    const NO_SIGNAL: u16 = 99;

    const START: MachineStart = MachineStart(1);

    struct Pair {
        state: State,
        policy: Arc<Policy>,
        now: Now,
        actions: Actions,
    }

    impl Pair {
        /// Two services, both seen to be healthy.
        fn healthy() -> Self {
            let mut one = ServicePolicy { name: "one".into(), ..policy() };
            // Nothing measures durations here.
            one.tree
                .retain(|question| one.conditions[usize::from(question.when)].name.as_str() != "performance_degraded");
            let other = ServicePolicy { name: "other".into(), ..one.clone() };
            let policy = Arc::new(Policy {
                services: vec![Arc::new(one), Arc::new(other)],
                channels: Vec::new(),
                escalation: Escalation::default(),
                keep: Duration::from_secs(90 * 86_400),
                checks_itself: false,
            });
            let now = Now { boot: BootTime::from_nanos(1 << 50), wall: WallTime::from_millis(1_767_781_800_000) };
            let state = State::new(Arc::clone(&policy), "pair", START, Durable::default(), now);
            let mut pair = Self { state, policy, now, actions: Actions::new() };
            pair.state.step(now, Event::Started, &mut pair.actions);
            for _ in 0..40 {
                pair.look(0, true);
                pair.look(1, true);
                pair.now = pair.now.after(Duration::from_secs(5));
            }
            pair
        }

        fn sample(&mut self, service: u32, signal: u16, measurement: Measurement) {
            let sample = Sample {
                service: ServiceIndex(service),
                signal: SignalIndex(signal),
                taken_at: self.now.boot,
                lag: Duration::ZERO,
                measurement,
            };
            self.state.step(self.now, Event::Sample(sample), &mut self.actions);
        }

        fn look(&mut self, service: u32, passes: bool) {
            let outcome = if passes { Outcome::Passed } else { Outcome::Failed(Reason::new("connection refused")) };
            self.sample(service, READY, Measurement::Check(outcome));
            self.sample(service, SMOKE, Measurement::Check(Outcome::Passed));
            let counts = RequestCounts { total: 100, errors: 0, latency: None };
            self.sample(service, REQUESTS, Measurement::Requests(counts));
        }

        /// A step of one service panics, and the state is made anew as the runtime does it.
        fn panic(&mut self, service: u32) {
            let stepped = catch_unwind(AssertUnwindSafe(|| {
                self.sample(service, NO_SIGNAL, Measurement::Check(Outcome::Passed));
            }));
            assert!(stepped.is_err(), "nothing panicked");
            self.actions.clear();
            let (policy, nothing) = (Arc::clone(&self.policy), Durable::default());
            let empty = State::new(Arc::clone(&policy), "pair", START, nothing.clone(), self.now);
            let broken = std::mem::replace(&mut self.state, empty);
            let in_hand = broken.in_hand();
            self.state = broken.folded_anew(in_hand, policy, START, nothing, self.now, &mut self.actions);
            self.state.step(self.now, Event::Started, &mut self.actions);
        }

        fn verdicts(&mut self) -> [VerdictKind; 2] {
            [0, 1].map(|place| {
                let service = &self.state.services[place];
                service.watch.verdict().kind
            })
        }
    }

    #[test]
    fn a_panic_blinds_the_service_in_hand_and_no_other() {
        let mut pair = Pair::healthy();
        assert_eq!(pair.verdicts(), [VerdictKind::Healthy; 2]);
        pair.panic(0);
        assert_eq!(pair.verdicts(), [VerdictKind::Monitor, VerdictKind::Healthy], "nobody knows is not healthy");
        let answers: Vec<_> = pair.state.services[0].watch.condition_answers().map(|(_, answer)| answer).collect();
        assert!(answers.contains(&crate::core::answer::Answer::Unknown), "{answers:?}");
        assert_eq!([0, 1].map(|place: usize| pair.state.services[place].page_only), [true, false]);
        let told = pair.actions.iter().filter(|action| {
            matches!(action, Action::Append { entry, .. } if matches!(&entry.fact, Fact::PageQueued { page, .. }
                if page.finding == Some(Finding::ObserverImpaired) && page.summary.contains("one is watched and paged, and not rolled back")))
        });
        assert_eq!(told.count(), 1, "people hear of it at once");
        // It recovers as after a start.
        for _ in 0..3 {
            pair.now = pair.now.after(Duration::from_secs(5));
            pair.look(0, true);
            pair.look(1, true);
        }
        assert_eq!(pair.verdicts(), [VerdictKind::Healthy; 2]);
    }

    #[test]
    fn what_another_service_failed_before_a_panic_still_counts() {
        let mut pair = Pair::healthy();
        for _ in 0..2 {
            pair.look(1, false);
            pair.now = pair.now.after(Duration::from_millis(250));
        }
        pair.panic(0);
        let is_quick = |action: &Action| {
            matches!(action, Action::SetCadence { service, signal, every }
                if (service.0, signal.get(), *every) == (1, usize::from(READY), Duration::from_millis(250)))
        };
        assert_eq!(pair.actions.iter().filter(|action| is_quick(action)).count(), 1, "it is still being confirmed");
        pair.look(1, false);
        assert_eq!(pair.verdicts(), [VerdictKind::Monitor, VerdictKind::RollBack]);
    }

    #[test]
    fn a_panic_makes_the_watchdogs_own_network_no_better_and_begins_nothing_before_the_end() {
        let mut pair = Pair::healthy();
        let ill = Outcome::Failed(Reason::new("no route to host"));
        pair.state.step(pair.now, Event::SelfCheck(ill), &mut pair.actions);
        pair.state.step(pair.now, Event::Closing, &mut pair.actions);
        pair.panic(0);
        assert!(pair.state.misses_every_sample() && pair.state.observer.closing);
        for _ in 0..4 {
            pair.look(1, false);
            pair.now = pair.now.after(Duration::from_secs(5));
        }
        assert!(pair.verdicts()[1] < VerdictKind::Consider, "what was seen may be us");
        pair.state.step(pair.now, Event::SelfCheck(Outcome::Passed), &mut pair.actions);
        assert!(!pair.state.misses_every_sample());
    }
}
