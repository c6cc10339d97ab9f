//! The life of one signal: wait for its place in the grid, take a sample, hand over what was seen.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::{
    grid::{Due, Grid},
    outlet::{Closed, Outlet},
    sampler::{Sampler, Seen, missed},
};
use crate::{
    core::sample::{Measurement, Outcome, Reason},
    probe::{fault::STALL_LIMIT, http::HttpProbe},
    runtime::clock::Clock,
};

/// What a signal's own task and a check asked for by hand share: one sample at a time.
#[derive(Debug)]
pub(super) struct Signal {
    pub sampler: Mutex<Sampler>,
    /// Knows which certificate the last sample saw, where it asks by HTTP.
    pub http: Option<HttpProbe>,
    pub timeout: Duration,
    pub clock: Clock,
}

impl Signal {
    /// Takes one sample. A probe that panics has missed; one during which the machine slept has not failed.
    pub(super) async fn sample(&self) -> Result<Seen, Reason> {
        let mut sampler = self.sampler.lock().await;
        let (boot, instant) = (self.clock.boot(), Instant::now());
        // On the heap, so that ten thousand waiting tasks do not each keep room for a running sample.
        let seen = caught(Box::pin(sampler.sample(self.timeout, &self.clock))).await?;
        let slept = self.clock.boot().since(boot).saturating_sub(instant.elapsed());
        match seen {
            Seen::Check(Outcome::Failed(reason)) if slept > STALL_LIMIT => {
                Err(Reason::new(&format!("the machine slept for {slept:.1?} during the sample: {reason}")))
            }
            seen => Ok(seen),
        }
    }
}

/// Runs `work` to its end, or to its panic.
async fn caught<T>(mut work: Pin<Box<impl Future<Output = T>>>) -> Result<T, Reason> {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(_) => Poll::Ready(Err(Reason::new("the probe panicked; this is a mistake in Backstop"))),
    })
    .await
}

/// Takes samples until the loop or the handle is gone.
pub(super) async fn run(
    signal: Arc<Signal>,
    mut grid: Grid,
    mut cadence: watch::Receiver<Duration>,
    mut outlet: Outlet,
) {
    loop {
        loop {
            let wait = grid.wait(signal.clock.boot());
            if wait.is_zero() && !cadence.has_changed().unwrap_or(true) {
                break;
            }
            tokio::select! {
                biased;
                changed = cadence.changed() => match changed {
                    Ok(()) => grid.set_every(signal.clock.boot(), *cadence.borrow_and_update()),
                    Err(_) => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
        if turn(&signal, &mut grid, &mut outlet).await.is_err() {
            return;
        }
    }
}

async fn turn(signal: &Signal, grid: &mut Grid, outlet: &mut Outlet) -> Result<(), Closed> {
    let began = signal.clock.boot();
    let lag = match grid.begin(began) {
        Due::Sample { lag } => lag,
        Due::Gap { lag } => {
            let reason =
                Reason::new(&format!("nothing was sampled for {lag:.1?}: the watchdog or its machine stood still"));
            return outlet.send(began, lag, missed(outlet.counts_requests, reason));
        }
    };
    let seen = signal.sample().await;
    grid.end(signal.clock.boot());
    if let Some(expires) = signal.http.as_ref().and_then(HttpProbe::certificate_expires) {
        outlet.certificate(began, expires)?;
    }
    match seen {
        Err(reason) => outlet.send(began, lag, missed(outlet.counts_requests, reason)),
        Ok(Seen::Check(outcome)) => outlet.send(began, lag, Measurement::Check(outcome)),
        Ok(Seen::Requests(points)) => {
            points.into_iter().try_for_each(|(taken_at, measurement)| outlet.send(taken_at, lag, measurement))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_miss() {
        let panicking = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "on purpose");
        };
        assert!(caught(Box::pin(panicking)).await.is_err());
        assert_eq!(caught(Box::pin(async { 7 })).await, Ok(7));
    }
}
