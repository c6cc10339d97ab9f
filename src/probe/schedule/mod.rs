//! The prober: one task for each signal, on a fixed grid, that never overlaps itself and never waits for the loop.

mod grid;
mod outlet;
mod sampler;
mod task;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

pub use self::{grid::GAP_FLOOR, outlet::Sink};
use self::{
    grid::{Grid, offset},
    outlet::Outlet,
    sampler::{Sampler, Seen},
    task::Signal,
};
use super::{SetupError, net::Network};
use crate::{
    config::form,
    core::{
        name::{ServiceIndex, ServiceName, SignalIndex, SignalName},
        policy::Policy,
        sample::{Measurement, Outcome, Reason},
    },
    runtime::clock::Clock,
};

/// One signal that cannot be taken as it is configured. Follows "failed to".
#[derive(Debug, thiserror::Error)]
#[error("prepare {signal} of {service}: {error}")]
pub struct SignalError {
    /// Whose.
    pub service: ServiceName,
    /// Which.
    pub signal: SignalName,
    /// Why.
    pub error: SetupError,
}

/// Every signal that cannot be taken as it is configured. Follows "failed to".
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct SpawnError(pub Vec<SignalError>);

/// All signals of all services, prepared and not yet running.
#[derive(Debug)]
pub struct Prober {
    services: Vec<Vec<Prepared>>,
    clock: Clock,
}

#[derive(Debug)]
struct Prepared {
    signal: Arc<Signal>,
    every: Duration,
    offset: Duration,
    counts_requests: bool,
}

impl Prober {
    /// Prepares every signal; services and signals stand in the order of the policy's. All mistakes come at once.
    pub fn new(
        services: &[form::Service],
        policy: &Policy,
        network: &Network,
        clock: &Clock,
    ) -> Result<Self, SpawnError> {
        // Both are compiled from one configuration; a signal without its policy would never be sampled.
        assert_eq!(services.len(), policy.services.len(), "each service has its policy");
        let mut errors = Vec::new();
        let mut prepared = Vec::with_capacity(services.len());
        for (service, service_policy) in services.iter().zip(&policy.services) {
            assert_eq!(service.signals.len(), service_policy.signals.len(), "each signal has its policy");
            let mut signals = Vec::with_capacity(service.signals.len());
            for (source, signal) in service.signals.iter().zip(&service_policy.signals) {
                let name = format!("{}/{}", service.name, signal.name);
                match Sampler::new(source, name, signal.every, network) {
                    Ok(sampler) => signals.push(Prepared {
                        counts_requests: sampler.counts_requests(),
                        signal: Arc::new(Signal {
                            http: sampler.http().cloned(),
                            sampler: Mutex::new(sampler),
                            timeout: signal.timeout,
                            clock: clock.clone(),
                        }),
                        every: signal.every,
                        offset: offset(&service.name, &signal.name, signal.every),
                    }),
                    Err(error) => {
                        errors.push(SignalError { service: service.name.clone(), signal: signal.name.clone(), error });
                    }
                }
            }
            prepared.push(signals);
        }
        if errors.is_empty() { Ok(Self { services: prepared, clock: clock.clone() }) } else { Err(SpawnError(errors)) }
    }

    /// Goes on with what an earlier prober knows (the last values of counters, above all) wherever `kept` says that a
    /// signal is taken just as it was, and in which place it was then.
    pub fn adopt(
        &mut self,
        old: &Checker,
        kept: impl Fn(ServiceIndex, SignalIndex) -> Option<(ServiceIndex, SignalIndex)>,
    ) {
        for (service, signals) in (0..).map(ServiceIndex).zip(&mut self.services) {
            for (index, prepared) in (0..).map(SignalIndex).zip(signals) {
                let before =
                    kept(service, index).and_then(|(service, signal)| old.0.get(service.get())?.get(signal.get()));
                if let Some(signal) = before {
                    prepared.signal = Arc::clone(signal);
                }
            }
        }
    }

    /// Samples asked for by hand, of signals that nothing takes on a schedule.
    pub fn checker(&self) -> Checker {
        let signals = |of: &Vec<Prepared>| of.iter().map(|prepared| Arc::clone(&prepared.signal)).collect();
        Checker(self.services.iter().map(signals).collect())
    }

    /// Begins to take samples. They go to `sink`; it is never waited for.
    pub fn spawn(self, sink: &Sink) -> Handle {
        let mut tasks = JoinSet::new();
        let now = self.clock.boot();
        let mut cadences = Vec::with_capacity(self.services.len());
        let mut signals = Vec::with_capacity(self.services.len());
        for (service, prepared) in (0..).map(ServiceIndex).zip(self.services) {
            let mut of_service = (Vec::with_capacity(prepared.len()), Vec::with_capacity(prepared.len()));
            for (index, prepared) in (0..).map(SignalIndex).zip(prepared) {
                let Prepared { signal, every, offset, counts_requests } = prepared;
                let (cadence, told) = watch::channel(every);
                let outlet = Outlet::new(sink.clone(), service, index, counts_requests);
                tasks.spawn(task::run(Arc::clone(&signal), Grid::new(now, every, offset), told, outlet));
                of_service.0.push(cadence);
                of_service.1.push(signal);
            }
            cadences.push(of_service.0);
            signals.push(of_service.1);
        }
        Handle { _tasks: tasks, cadences, checker: Checker(signals.into()) }
    }
}

/// The running prober. Dropping it ends every sample.
#[derive(Debug)]
pub struct Handle {
    _tasks: JoinSet<()>,
    cadences: Vec<Vec<watch::Sender<Duration>>>,
    checker: Checker,
}

impl Handle {
    /// From now on this signal is sampled so often; the next sample comes one such interval after the last one began.
    pub fn set_cadence(&self, service: ServiceIndex, signal: SignalIndex, every: Duration) {
        if let Some(cadence) = self.cadences.get(service.get()).and_then(|signals| signals.get(signal.get())) {
            cadence.send_if_modified(|current| std::mem::replace(current, every) != every);
        }
    }

    /// Samples asked for by hand.
    pub fn checker(&self) -> Checker {
        self.checker.clone()
    }
}

/// What request counts lack, if they lack anything.
fn missing(counts: &Measurement) -> Option<Outcome> {
    match counts {
        Measurement::RequestsMissed(reason) => Some(Outcome::Missed(reason.clone())),
        Measurement::Requests(counts) => match &counts.latency {
            Some(Err(reason)) => Some(Outcome::Missed(Reason::new(&format!("latency: {reason}")))),
            _ => None,
        },
        Measurement::Check(outcome) => Some(outcome.clone()),
    }
}

/// Takes samples of a probe beside its schedule, as a plan's health check does. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checker(Arc<[Vec<Arc<Signal>>]>);

impl Checker {
    /// Takes one sample of any signal; request counts that come pass, with their latency where that is asked for.
    pub async fn try_once(&self, service: ServiceIndex, signal: SignalIndex) -> Outcome {
        let Some(signal) = self.0.get(service.get()).and_then(|signals| signals.get(signal.get())) else {
            return Outcome::Missed(Reason::new("there is no such signal"));
        };
        match signal.sample().await {
            Ok(Seen::Check(outcome)) => outcome,
            Ok(Seen::Requests(points)) => {
                points.iter().find_map(|(_, counts)| missing(counts)).unwrap_or(Outcome::Passed)
            }
            Err(reason) => Outcome::Missed(reason),
        }
    }

    /// Takes one sample, after one that is under way. The sample is the caller's; the schedule goes on by itself.
    pub async fn check(&self, service: ServiceIndex, signal: SignalIndex) -> Outcome {
        let Some(signal) = self.0.get(service.get()).and_then(|signals| signals.get(signal.get())) else {
            return Outcome::Missed(Reason::new("there is no such signal"));
        };
        match signal.sample().await {
            Ok(Seen::Check(outcome)) => outcome,
            Ok(Seen::Requests(_)) => Outcome::Missed(Reason::new("request counts neither pass nor fail")),
            Err(reason) => Outcome::Missed(reason),
        }
    }
}
