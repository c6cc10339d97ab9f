//! Backstop's own metrics; the README lists them.
//!
//! Every label's values come from the configuration or from a closed list, so their number is bounded. What belongs to
//! services is kept as plain numbers (module `services`), what belongs to none by a recorder; handles for what happens on each
//! sample are made beforehand, so that counting a sample neither allocates nor looks anything up.

mod journal;
mod services;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    with_local_recorder,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use services::ServiceMetrics;

use crate::core::{
    durable::IncidentRecord,
    name::{ChannelName, ServiceIndex, ServiceName, SignalIndex},
    page::DeliveryOutcome,
    policy::Policy,
    sample::{Measurement, Outcome},
    time::WallTime,
    view::{DaemonView, ServiceView},
};

const LAG: &str = "backstop_probe_lag_seconds";
const EVALUATION: &str = "backstop_evaluation_duration_seconds";
const ROLLBACK_DURATION: &str = "backstop_rollback_duration_seconds";
const OUTBOX_DEPTH: &str = "backstop_outbox_depth";
const OUTBOX_AGE: &str = "backstop_outbox_oldest_age_seconds";
const DELIVERIES: &str = "backstop_deliveries_total";
const HEARTBEAT: &str = "backstop_heartbeat_last_success_timestamp_seconds";
const HISTORY: &str = "backstop_history_writable";
const LOST_LINES: &str = "backstop_log_lines_lost_total";
const LATE: &str = "backstop_late_samples_total";
const RELOADS: &str = "backstop_config_reloads_total";
const BUILD: &str = "backstop_build_info";

/// From a timer's own grain to a probe that is hopelessly late.
const LAG_BUCKETS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a sample that changes nothing (under a microsecond) to one that renders a path under load.
const EVALUATION_BUCKETS: &[f64] =
    &[0.000_000_5, 0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05];

/// From seconds to an hour; 15 minutes is the runbook's own limit.
const ROLLBACK_BUCKETS: &[f64] = &[5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];

/// Somewhere to record, and what renders it.
struct Recording {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Handles of everything that is not counted by name alone.
struct Handles {
    /// In the policy's order.
    services: Vec<ServiceMetrics>,
    lag: Histogram,
    evaluation: Histogram,
    rollback_duration: Histogram,
    outbox_depth: Gauge,
    outbox_age: Gauge,
    heartbeat: Gauge,
    history: Gauge,
    late: Counter,
    lost_lines: Counter,
}

/// The recorder and its handles. One for each process (tests make several).
pub struct Metrics {
    /// What belongs to no service.
    own: Recording,
    handles: RwLock<Arc<Handles>>,
    plans: Mutex<journal::Plans>,
    /// How many lines of the log were lost until now; not there where nobody counts them.
    lost_lines: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").field("services", &self.handles().services.len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Makes the recorder and every handle that `policy` allows to foresee, so that rare series are there at 0 before
    /// they first count.
    pub fn new(policy: &Policy) -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(LAG.to_owned()), LAG_BUCKETS)?
            .set_buckets_for_metric(Matcher::Full(EVALUATION.to_owned()), EVALUATION_BUCKETS)?
            .set_buckets_for_metric(Matcher::Full(ROLLBACK_DURATION.to_owned()), ROLLBACK_BUCKETS)?
            .build_recorder();
        let own = Recording { handle: recorder.handle(), recorder };
        let handles = own.locally(|| {
            describe();
            foresee(policy);
            let handles = Handles::of(policy, &[]);
            // A series is there from its first value on.
            handles.outbox_depth.set(0.0);
            handles.outbox_age.set(0.0);
            handles.heartbeat.set(0.0);
            // Until it was looked at, nothing speaks against it.
            handles.history.set(1.0);
            handles.late.increment(0);
            handles.lost_lines.increment(0);
            handles
        });
        Ok(Self { own, handles: RwLock::new(Arc::new(handles)), plans: Mutex::default(), lost_lines: OnceLock::new() })
    }

    /// From here on the log's lost lines are those that `lost` tells, each time that the metrics are rendered. The first one stays.
    pub fn count_lost_log_lines(&self, lost: impl Fn() -> u64 + Send + Sync + 'static) {
        let _first_stays = self.lost_lines.set(Box::new(lost));
    }

    /// From here on the services are those of `policy`. Counts go on where services and signals stay, and conditions are
    /// unknown until they are answered; the series of what is gone go.
    pub fn reload(&self, policy: &Policy) {
        let before = self.handles();
        let handles = self.own.locally(|| {
            foresee(policy);
            Handles::of(policy, &before.services)
        });
        *self.handles.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(handles);
    }

    fn handles(&self) -> Arc<Handles> {
        Arc::clone(&self.handles.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A sample came; with `misses_all` it counts as missed, whatever it saw. Durations that are missing beside good counts
    /// are a miss of their own. Allocates nothing.
    pub fn sample(&self, service: ServiceIndex, signal: SignalIndex, measurement: &Measurement, misses_all: bool) {
        let outcome = match measurement {
            _ if misses_all => 2,
            Measurement::Check(Outcome::Passed) | Measurement::Requests(_) => 0,
            Measurement::Check(Outcome::Failed(_)) => 1,
            Measurement::Check(Outcome::Missed(_)) | Measurement::RequestsMissed(_) => 2,
        };
        let handles = self.handles();
        let Some(service) = handles.services.get(service.get()) else { return };
        service.sampled(signal.get(), outcome);
        if outcome == 0
            && matches!(measurement, Measurement::Requests(counts) if matches!(counts.latency, Some(Err(_))))
        {
            service.sampled(signal.get(), 2);
        }
    }

    /// How much later than planned a probe began.
    pub fn lag(&self, lag: Duration) {
        self.handles().lag.record(lag);
    }

    /// How long one step of the core took.
    pub fn evaluation_duration(&self, duration: Duration) {
        self.handles().evaluation.record(duration);
    }

    /// What a service's view shows: every condition's answer, and how it stands with the incident that is open.
    pub fn service(&self, service: ServiceIndex, view: &ServiceView, open: Option<&IncidentRecord>) {
        if let Some(service) = self.handles().services.get(service.get()) {
            service.answered(view);
            service.stands(view, open);
        }
    }

    /// A try at delivering a page ended.
    pub fn delivery(&self, channel: &ChannelName, outcome: &DeliveryOutcome) {
        let outcome = match outcome {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Retry { .. } => "retry",
            DeliveryOutcome::Refused(_) => "refused",
        };
        let channel = channel.to_string();
        self.own.locally(|| counter!(DELIVERIES, "channel" => channel, "outcome" => outcome).increment(1));
    }

    /// The daemon's own state: outbox and late samples.
    pub fn daemon(&self, view: &DaemonView) {
        self.handles().outbox_depth.set(view.outbox_depth as f64);
        self.handles().outbox_age.set(view.outbox_oldest_age_seconds);
        self.handles().late.absolute(view.late_samples);
    }

    /// A heartbeat arrived.
    pub fn heartbeat_succeeded(&self, at: WallTime) {
        self.handles().heartbeat.set(at.as_millis() as f64 / 1000.0);
    }

    /// The history was looked at: whether a rollback could be put on record.
    pub fn history_fit(&self, is_fit: bool) {
        self.handles().history.set(f64::from(u8::from(is_fit)));
    }

    /// A configuration was loaded again, or refused.
    pub fn config_reload(&self, applied: bool) {
        let outcome = if applied { "applied" } else { "refused" };
        self.own.locally(|| counter!(RELOADS, "outcome" => outcome).increment(1));
    }

    /// Folds the histograms; to be called every few seconds, scraped or not.
    pub fn upkeep(&self) {
        self.own.handle.run_upkeep();
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self) -> String {
        if let Some(lost) = self.lost_lines.get() {
            self.handles().lost_lines.absolute(lost());
        }
        // No name is in both.
        let mut text = services::render(&self.handles().services);
        text.push_str(&self.own.handle.render());
        text
    }
}

impl Recording {
    fn locally<T>(&self, count: impl FnOnce() -> T) -> T {
        with_local_recorder(&self.recorder, count)
    }
}

impl Handles {
    /// Made with the recorder at hand. `before` are the services that were watched until now.
    fn of(policy: &Policy, before: &[ServiceMetrics]) -> Self {
        let before: BTreeMap<_, _> = before.iter().map(|known| (&known.policy.name, known)).collect();
        let services = policy.services.iter();
        let services = services.map(|service| ServiceMetrics::following(service, before.get(&service.name).copied()));
        Self {
            services: services.collect(),
            lag: histogram!(LAG),
            evaluation: histogram!(EVALUATION),
            rollback_duration: histogram!(ROLLBACK_DURATION),
            outbox_depth: gauge!(OUTBOX_DEPTH),
            outbox_age: gauge!(OUTBOX_AGE),
            heartbeat: gauge!(HEARTBEAT),
            history: gauge!(HISTORY),
            late: counter!(LATE),
            lost_lines: counter!(LOST_LINES),
        }
    }

    fn service_named(&self, name: &ServiceName) -> Option<&ServiceMetrics> {
        self.services.iter().find(|service| service.policy.name == *name)
    }
}

/// Series that belong to no service, at 0 before they first count.
fn foresee(policy: &Policy) {
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for channel in &policy.channels {
        for outcome in ["delivered", "retry", "refused"] {
            counter!(DELIVERIES, "channel" => channel.to_string(), "outcome" => outcome).increment(0);
        }
    }
    for outcome in ["applied", "refused"] {
        counter!(RELOADS, "outcome" => outcome).increment(0);
    }
}

fn describe() {
    describe_histogram!(LAG, Unit::Seconds, "How much later than planned probes began.");
    describe_histogram!(EVALUATION, Unit::Seconds, "Time from an event to its decision, in the core.");
    describe_histogram!(ROLLBACK_DURATION, Unit::Seconds, "From a plan's start to its end.");
    describe_gauge!(OUTBOX_DEPTH, "Pages that wait for a channel.");
    describe_gauge!(OUTBOX_AGE, Unit::Seconds, "Age of the oldest page that waits for a channel.");
    describe_counter!(DELIVERIES, "Tries at delivering a page, by outcome: delivered, retry, refused.");
    describe_gauge!(HEARTBEAT, Unit::Seconds, "When the last heartbeat arrived, in Unix time; 0 before the first.");
    describe_gauge!(HISTORY, "1 if a rollback could be put on record, 0 if the history file is damaged or away.");
    describe_counter!(LOST_LINES, "Lines of the log that were lost, since standard error took nothing.");
    describe_counter!(LATE, "Samples that came too late for their window.");
    describe_counter!(RELOADS, "Configurations loaded again, by outcome: applied, refused.");
    describe_gauge!(BUILD, "Always 1; the label tells the version.");
}
