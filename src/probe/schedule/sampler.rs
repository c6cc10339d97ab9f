//! One sample of one signal, whatever its kind.

use std::time::Duration;

use crate::{
    config::form::SignalSource,
    core::{
        counter::Counted,
        sample::{Measurement, Outcome, Reason},
        time::BootTime,
    },
    probe::{
        SetupError, command::CommandProbe, http::HttpProbe, metrics::MetricsProbe, net::Network,
        prometheus::PrometheusProbe, requests::Teller, tcp::TcpProbe,
    },
    runtime::clock::Clock,
};

/// How a signal is taken, prepared.
#[derive(Debug)]
pub(super) enum Sampler {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Command(CommandProbe),
    // Boxed: both remember ten thousand series, and most signals are neither.
    Prometheus(Box<(PrometheusProbe, Teller)>),
    Metrics(Box<(MetricsProbe, Teller)>),
}

/// What a sample found.
#[derive(Debug)]
pub(super) enum Seen {
    /// A probe's or feature's outcome.
    Check(Outcome),
    /// Request counts, each with the source's own time; none if nothing new was there.
    Requests(Vec<(BootTime, Measurement)>),
}

impl Sampler {
    /// Prepares the signal called `name`, which is sampled every `every`.
    pub(super) fn new(
        source: &SignalSource,
        name: String,
        every: Duration,
        network: &Network,
    ) -> Result<Self, SetupError> {
        Ok(match source {
            SignalSource::Http(check) => Self::Http(HttpProbe::new(check, network)?),
            SignalSource::Tcp(target) => Self::Tcp(TcpProbe::new(target, network)),
            SignalSource::Command(check) => Self::Command(CommandProbe::new(check)),
            SignalSource::Prometheus(source) => {
                Self::Prometheus(Box::new((PrometheusProbe::new(source, every, network)?, Teller::new(name))))
            }
            SignalSource::Metrics(source) => {
                Self::Metrics(Box::new((MetricsProbe::new(source, every, network)?, Teller::new(name))))
            }
        })
    }

    pub(super) async fn sample(&mut self, timeout: Duration, clock: &Clock) -> Seen {
        // What is rare is on the heap, so that every sample of a probe does not keep room for it.
        Seen::Check(match self {
            Self::Http(probe) => probe.sample(timeout).await,
            Self::Tcp(probe) => probe.sample(timeout).await,
            Self::Command(probe) => Box::pin(probe.sample(timeout)).await,
            Self::Prometheus(source) => {
                let (probe, teller) = &mut **source;
                return counts(Box::pin(probe.poll(timeout, clock)).await, teller, clock);
            }
            Self::Metrics(source) => {
                let (probe, teller) = &mut **source;
                return counts(Box::pin(probe.poll(timeout, clock)).await, teller, clock);
            }
        })
    }

    /// What asks by HTTP, and so may see a certificate.
    pub(super) const fn http(&self) -> Option<&HttpProbe> {
        match self {
            Self::Http(probe) => Some(probe),
            Self::Metrics(source) => Some(source.0.http()),
            Self::Tcp(_) | Self::Command(_) | Self::Prometheus(_) => None,
        }
    }

    /// Whether this is a source of request counts.
    pub(super) const fn counts_requests(&self) -> bool {
        matches!(self, Self::Prometheus(_) | Self::Metrics(_))
    }
}

fn counts<E: std::fmt::Display>(
    counted: Result<Vec<(BootTime, Counted)>, E>,
    teller: &mut Teller,
    clock: &Clock,
) -> Seen {
    Seen::Requests(match counted {
        Ok(counted) => teller.measurements(counted),
        Err(error) => vec![(clock.boot(), Measurement::RequestsMissed(Reason::new(&error.to_string())))],
    })
}

/// A miss, as a check or as a request source has it.
pub(super) fn missed(counts_requests: bool, reason: Reason) -> Measurement {
    if counts_requests { Measurement::RequestsMissed(reason) } else { Measurement::Check(Outcome::Missed(reason)) }
}
