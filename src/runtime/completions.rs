//! Results on their way back to the loop, and what becomes of those that were begun under an earlier configuration.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::mpsc;

use crate::core::{
    event::Event,
    name::{ServiceIndex, ServiceName},
    operation::{Look, StepKey},
    policy::Policy,
    release::Observation,
    sample::Reason,
    time::BootTime,
};

/// Counts the configurations that were in force in this process, from 0.
pub(super) type Epoch = u32;

/// A result, and under which configuration its work was begun.
#[derive(Debug)]
pub(super) struct Completion {
    epoch: Epoch,
    /// Whose it is, where the event speaks of a service by its place.
    service: Option<Arc<ServiceName>>,
    event: Event,
}

/// Where results come back. The queue has no bound of its own, so that nothing that completes ever waits for the loop;
/// what can be under way is bounded: one regular look, one plan's operation and one plan's look a service, the core's
/// cap on deliveries, and one answer of the store for each batch.
#[derive(Debug, Clone)]
pub(super) struct Completions {
    sender: mpsc::UnboundedSender<Completion>,
    epoch: Epoch,
}

impl Completions {
    pub(super) const fn new(sender: mpsc::UnboundedSender<Completion>) -> Self {
        Self { sender, epoch: 0 }
    }

    /// For work that is begun under the next configuration.
    pub(super) fn next(&self) -> Self {
        Self { sender: self.sender.clone(), epoch: self.epoch + 1 }
    }

    pub(super) fn send(&self, event: Event) {
        self.tell(None, event);
    }

    /// A service's target was looked at. The place in the event is set when it is taken in.
    pub(super) fn looked(&self, service: &Arc<ServiceName>, key: Option<StepKey>, look: Look) {
        self.tell(Some(service), Event::Looked { service: ServiceIndex(0), key, look });
    }

    /// A regular look, which asks for no receipt.
    pub(super) fn observed(
        &self,
        service: &Arc<ServiceName>,
        observation: Result<Observation, Reason>,
        began: BootTime,
    ) {
        self.looked(service, None, Look { observation, receipt: None, began });
    }

    /// A service's version endpoint was asked.
    pub(super) fn version_seen(&self, service: &Arc<ServiceName>, version: Result<crate::core::name::Version, Reason>) {
        self.tell(Some(service), Event::VersionSeen { service: ServiceIndex(0), version });
    }

    fn tell(&self, service: Option<&Arc<ServiceName>>, event: Event) {
        // The loop is gone only when the process ends.
        let _ = self.sender.send(Completion { epoch: self.epoch, service: service.cloned(), event });
    }
}

/// Knows which results still say something.
#[derive(Debug)]
pub(super) struct Register {
    epoch: Epoch,
    /// Where each service stands, and since which configuration it has been watched just so.
    places: BTreeMap<ServiceName, (ServiceIndex, Epoch)>,
}

impl Register {
    pub(super) fn new(policy: &Policy) -> Self {
        let mut register = Self { epoch: 0, places: BTreeMap::new() };
        register.fill(policy, |_| true);
        register
    }

    /// Another configuration is in force. `kept` says of a service whether nothing of it changed.
    pub(super) fn reload(&mut self, policy: &Policy, kept: impl Fn(&ServiceName) -> bool) {
        self.epoch += 1;
        self.fill(policy, kept);
    }

    fn fill(&mut self, policy: &Policy, kept: impl Fn(&ServiceName) -> bool) {
        let old = std::mem::take(&mut self.places);
        for (index, service) in (0..).map(ServiceIndex).zip(&policy.services) {
            let since = old.get(&service.name).filter(|_| kept(&service.name)).map_or(self.epoch, |(_, since)| *since);
            self.places.insert(service.name.clone(), (index, since));
        }
    }

    /// The event as it is to be taken in; none if it is about what is watched otherwise by now.
    pub(super) fn admit(&self, completion: Completion) -> Option<Event> {
        let Completion { epoch, service, mut event } = completion;
        match &mut event {
            Event::Looked { service: place, .. } | Event::VersionSeen { service: place, .. } => {
                let (index, since) = self.places.get(service?.as_str())?;
                *place = *index;
                (epoch >= *since).then_some(event)
            }
            // Another network is looked at by now, or none.
            Event::SelfCheck(_) => (epoch == self.epoch).then_some(event),
            _ => Some(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{policy::Escalation, sample::Outcome};

    fn policy(names: &[&str]) -> Policy {
        let services = names.iter().map(|name| {
            let mut text = String::from("services:\n");
            text.push_str(&format!(
                "- name: {name}\n  target: {{releases: {{directory: /a/{name}, current: /b/{name}, restart: ['true']}}}}\n  \
                 probes: {{ready: {{tcp: '127.0.0.1:1'}}}}\nnotify: {{channels: {{}}}}\n"
            ));
            let checked = crate::config::check_bytes("a.yaml", text.into_bytes(), None);
            Arc::clone(&checked.config.expect("a good configuration").policy.services[0])
        });
        Policy {
            services: services.collect(),
            channels: Vec::new(),
            escalation: Escalation::default(),
            keep: Duration::from_secs(90 * 86_400),
            checks_itself: false,
        }
    }

    #[test]
    fn results_find_their_service_again_and_stale_ones_are_dropped() {
        let (sender, mut queue) = mpsc::unbounded_channel();
        let before = Completions::new(sender);
        let mut register = Register::new(&policy(&["a", "b", "c"]));
        let name = |name: &str| Arc::new(ServiceName::from(name));
        for service in ["a", "b", "c"] {
            before.observed(&name(service), Err(Reason::new("nothing")), BootTime::from_nanos(0));
        }
        before.send(Event::SelfCheck(Outcome::Passed));
        before.send(Event::Woke);
        let after = before.next();
        after.observed(&name("b"), Err(Reason::new("nothing")), BootTime::from_nanos(0));
        // a is gone, b is watched otherwise, c stays and moves, d is new.
        register.reload(&policy(&["d", "c", "b"]), |name| name.as_str() == "c");
        let mut places = Vec::new();
        while let Ok(completion) = queue.try_recv() {
            places.push(match register.admit(completion) {
                Some(Event::Looked { service, .. }) => format!("{}", service.0),
                Some(event) => format!("{event:?}"),
                None => "dropped".to_owned(),
            });
        }
        assert_eq!(places, ["dropped", "dropped", "1", "dropped", "Woke", "2"]);
    }
}
