//! Samples through window, conditions and tree on one core: `cargo bench --bench core`.
//!
//! Measured in processor time of the thread, so that a busy machine does not count (its cold caches do).

#![expect(missing_docs, reason = "criterion's macros write functions without")]

use std::time::Duration;

use criterion::{
    Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement as Measure, ValueFormatter, WallTime as Formats},
};

use support::fleet::{Fleet, ROUND, thread_time};

#[expect(dead_code, reason = "shared with other benches and an example, which need other parts of it")]
mod support;

/// Processor time of this thread.
struct ProcessorTime;

impl Measure for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        Formats.formatter()
    }
}

fn samples(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("samples");
    group.throughput(Throughput::Elements(ROUND as u64));
    for signals in [100, 10_000] {
        for (histogram, name) in [(false, "counts"), (true, "histograms")] {
            let mut fleet = Fleet::new(signals, histogram);
            group.bench_function(format!("{signals} signals, {name}"), |bencher| bencher.iter(|| fleet.round()));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = samples
}
criterion_main!(benches);
