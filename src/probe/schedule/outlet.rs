//! Hands samples to the loop without ever waiting for it.

use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};

use super::sampler::missed;
use crate::core::{
    event::Event,
    name::{ServiceIndex, SignalIndex},
    sample::{Measurement, Reason, Sample},
    time::{BootTime, WallTime},
};

/// A certificate that is still the same is told of again after this: the core may have been folded anew meanwhile.
const CERTIFICATE_TOLD_EVERY: Duration = Duration::from_mins(10);

/// Where samples go: the loop's bounded queue.
pub type Sink = mpsc::Sender<Event>;

/// The loop is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// One signal's way to the loop. What does not fit into the queue is counted and told as missed with the next sample.
#[derive(Debug)]
pub(super) struct Outlet {
    pub sink: Sink,
    pub service: ServiceIndex,
    pub signal: SignalIndex,
    pub counts_requests: bool,
    pub dropped: u64,
    /// The certificate that was told of last, by its end, and when.
    certificate: Option<(WallTime, BootTime)>,
}

impl Outlet {
    pub(super) const fn new(sink: Sink, service: ServiceIndex, signal: SignalIndex, counts_requests: bool) -> Self {
        Self { sink, service, signal, counts_requests, dropped: 0, certificate: None }
    }

    /// Tells until when the certificate holds that was seen, when that is news. What finds no room is told next time.
    pub(super) fn certificate(&mut self, now: BootTime, expires: WallTime) -> Result<(), Closed> {
        let is_told = |(told, at): (WallTime, BootTime)| told == expires && now.since(at) < CERTIFICATE_TOLD_EVERY;
        if self.certificate.is_some_and(is_told) {
            return Ok(());
        }
        if self.put(Event::CertificateSeen { service: self.service, signal: self.signal, expires })? {
            self.certificate = Some((expires, now));
        }
        Ok(())
    }

    pub(super) fn send(&mut self, taken_at: BootTime, lag: Duration, measurement: Measurement) -> Result<(), Closed> {
        if self.dropped > 0 {
            let reason = Reason::new(&format!("the sample queue was full: {} samples were lost", self.dropped));
            if !self.offer(taken_at, lag, missed(self.counts_requests, reason))? {
                self.dropped += 1;
                return Ok(());
            }
            self.dropped = 0;
        }
        if !self.offer(taken_at, lag, measurement)? {
            self.dropped += 1;
        }
        Ok(())
    }

    fn offer(&self, taken_at: BootTime, lag: Duration, measurement: Measurement) -> Result<bool, Closed> {
        let sample = Sample { service: self.service, signal: self.signal, taken_at, lag, measurement };
        self.put(Event::Sample(sample))
    }

    fn put(&self, event: Event) -> Result<bool, Closed> {
        match self.sink.try_send(event) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Closed(_)) => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sample::Outcome;

    #[test]
    fn what_did_not_fit_is_counted_and_told() {
        let (sink, mut queue) = mpsc::channel(1);
        let mut outlet = Outlet::new(sink, ServiceIndex(0), SignalIndex(0), false);
        for nanos in 0..3 {
            let passed = Measurement::Check(Outcome::Passed);
            outlet.send(BootTime::from_nanos(nanos), Duration::ZERO, passed).expect("open");
        }
        let mut next = || match queue.try_recv() {
            Ok(Event::Sample(sample)) => Some((sample.taken_at.as_nanos(), sample.measurement)),
            _ => None,
        };
        assert_eq!(next(), Some((0, Measurement::Check(Outcome::Passed))));
        outlet.send(BootTime::from_nanos(3), Duration::ZERO, Measurement::Check(Outcome::Passed)).expect("open");
        let told = Reason::new("the sample queue was full: 2 samples were lost");
        assert_eq!(next(), Some((3, Measurement::Check(Outcome::Missed(told)))));
        assert_eq!(outlet.dropped, 1, "the telling took the only place");
        drop(queue);
        outlet.send(BootTime::from_nanos(4), Duration::ZERO, Measurement::Check(Outcome::Passed)).expect_err("closed");
    }
}
