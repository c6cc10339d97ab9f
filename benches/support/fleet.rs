//! Many services' samples in random order, through window, conditions and tree.

use std::{hint::black_box, sync::Arc, time::Duration};

use backstop::core::{
    name::{ServiceIndex, SignalIndex},
    sample::{LatencyCounts, Measurement, Outcome, RequestCounts, Sample},
    time::{BootTime, Now, WallTime},
    watch::{Facts, RolloutState, Watch},
};
use rustix::time::{ClockId, clock_gettime};

use super::{Random, SIGNALS, policy};

/// Samples in one round.
pub(crate) const ROUND: usize = 100_000;

/// Time between two samples of one signal, on average.
const EVERY: Duration = Duration::from_secs(2);

/// Processor time that this thread has used, so that a busy machine does not count (its cold caches do).
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time since the thread began")
}

/// Services with a probe, a feature and requests each, watched as the loop does it.
pub(crate) struct Fleet {
    watches: Vec<Watch>,
    /// A service and one of its samples each, in random order.
    order: Vec<(u32, u8)>,
    samples: [Sample; SIGNALS],
    now: Now,
    step: Duration,
}

impl Fleet {
    /// So many signals, with or without histograms.
    pub(crate) fn new(signals: usize, histogram: bool) -> Self {
        let now = Now { boot: BootTime::from_nanos(1 << 50), wall: WallTime::from_millis(1_767_781_800_000) };
        let services = signals.div_ceil(SIGNALS);
        let watches = (0..services).map(|place| Watch::new(policy(&format!("service-{place}")), now));
        let mut random = Random(7);
        let order = (0..ROUND).map(|_| {
            let drawn = usize::try_from(random.next() >> 1).expect("63 bits") % (services * SIGNALS);
            let service = u32::try_from(drawn / SIGNALS).expect("few services");
            (service, u8::try_from(drawn % SIGNALS).expect("three signals"))
        });
        let latency = histogram.then(|| {
            Ok(LatencyCounts {
                bounds: Arc::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY]),
                counts: Box::new([10, 10, 10, 8, 5, 3, 2, 1, 1, 0, 0, 0]),
            })
        });
        let passed = Measurement::Check(Outcome::Passed);
        let counted = Measurement::Requests(RequestCounts { total: 50, errors: 0, latency });
        let samples = [passed.clone(), passed, counted];
        let mut place = 0;
        let samples = samples.map(|measurement| {
            place += 1;
            let signal = SignalIndex(place - 1);
            Sample { service: ServiceIndex(0), signal, taken_at: now.boot, lag: Duration::ZERO, measurement }
        });
        let step = EVERY / u32::try_from(services * SIGNALS).expect("few services");
        Self { watches: watches.collect(), order: order.collect(), samples, now, step }
    }

    /// As the loop does it: record, and evaluate where something may have changed.
    pub(crate) fn round(&mut self) {
        let facts = Facts { rollout: RolloutState::Settled, reports: &[], operators_reports: &[], baseline: &[] };
        for &(service, signal) in &self.order {
            self.now = self.now.after(self.step);
            let sample = &mut self.samples[usize::from(signal)];
            sample.taken_at = self.now.boot;
            let watch = &mut self.watches[service as usize];
            if watch.record(self.now, sample).changed {
                black_box(watch.evaluate(self.now, facts));
            }
        }
    }
}
