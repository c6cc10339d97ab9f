//! One look at one signal, whatever its kind.

use std::time::Duration;

use crate::{
    config::form::SignalSource,
    core::{
        sample::{Measurement, Outcome, Reason},
        time::BootTime,
    },
    probe::{
        command::CommandProbe,
        http::{HttpProbe, SetupError},
        net::Network,
        tcp::TcpProbe,
    },
    runtime::clock::Clock,
};

/// How a signal is taken, prepared.
#[derive(Debug)]
pub(super) enum Look {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Command(CommandProbe),
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Seen {
    /// A probe's or feature's outcome.
    Check(Outcome),
    /// Request counts, each with the source's own time; none if nothing new was there.
    Requests(Vec<(BootTime, Measurement)>),
}

impl Look {
    pub(super) fn new(source: &SignalSource, _every: Duration, network: &Network) -> Result<Self, SetupError> {
        Ok(match source {
            SignalSource::Http(check) => Self::Http(HttpProbe::new(check, network)?),
            SignalSource::Tcp(target) => Self::Tcp(TcpProbe::new(target, network)),
            SignalSource::Command(check) => Self::Command(CommandProbe::new(check)),
            SignalSource::Prometheus(_) | SignalSource::Metrics(_) => todo!(),
        })
    }

    pub(super) async fn look(&mut self, timeout: Duration, _clock: &Clock) -> Seen {
        Seen::Check(match self {
            Self::Http(probe) => probe.look(timeout).await,
            Self::Tcp(probe) => probe.look(timeout).await,
            Self::Command(probe) => probe.look(timeout).await,
        })
    }

    /// A miss in the words of this kind of signal.
    pub(super) const fn counts_requests(&self) -> bool {
        false
    }
}

/// A miss, as a check or as a request source has it.
pub(super) fn missed(counts_requests: bool, reason: Reason) -> Measurement {
    if counts_requests { Measurement::RequestsMissed(reason) } else { Measurement::Check(Outcome::Missed(reason)) }
}
