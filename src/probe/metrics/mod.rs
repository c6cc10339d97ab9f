//! Request counts from the service's own exposition page: no Prometheus server is needed.

pub mod exposition;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, time::Duration};

use secrecy::SecretString;

use self::exposition::{ExpositionError, Series};
use super::{
    SetupError,
    http::{HttpError, HttpProbe},
    net::Network,
    requests::{self, Latency, Selectors},
};
use crate::{
    config::form::{HttpCheck, MetricsSource},
    core::{
        counter::{
            BucketValue, Counted, CounterError, CounterTracker, SERIES_LIMIT, SeriesKey, SeriesValue, TargetKey,
        },
        sample::Reason,
        time::BootTime,
    },
    runtime::clock::Clock,
};

/// Biggest page that is read, in bytes: ten thousand series with long labels.
pub const PAGE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// What is asked for: the older text format, which every exporter speaks, before anything else.
const ACCEPT: &str = "text/plain;version=0.0.4,*/*;q=0.1";

/// Why a poll brought no counts: it is *missed*, whoever's fault it is. Availability probes say whether the service is down.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The page cannot be had.
    #[error("metrics page: {0}")]
    Fetch(HttpError),
    /// It is no exposition page.
    #[error(transparent)]
    Page(#[from] ExpositionError),
    /// Its counters cannot be counted.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// More series are selected than are counted.
    #[error("count requests: more than {SERIES_LIMIT} series are selected; narrow the selectors by labels")]
    TooManySeries,
}

/// The page, and what was last seen on it.
#[derive(Debug)]
pub struct MetricsProbe {
    http: HttpProbe,
    selectors: Selectors,
    tracker: CounterTracker,
}

/// What one page holds of the selected series.
#[derive(Debug, Default)]
struct Points {
    total: Vec<SeriesValue>,
    errors: Vec<SeriesValue>,
    latency: Latency,
}

impl MetricsProbe {
    /// Prepares the request and reads the selectors.
    pub fn new(source: &MetricsSource, every: Duration, network: &Network) -> Result<Self, SetupError> {
        let mut check: HttpCheck = source.http.clone();
        if !check.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            check.headers.push(("accept".into(), SecretString::from(ACCEPT)));
        }
        Ok(Self {
            http: HttpProbe::new(&check, network)?,
            selectors: Selectors::parse(&source.total, &source.errors, source.latency.as_deref())?,
            tracker: CounterTracker::new(every),
        })
    }

    /// How the page is asked for.
    pub const fn http(&self) -> &HttpProbe {
        &self.http
    }

    /// Reads the page once. Counts are of the moment at which the poll began.
    pub async fn poll(&mut self, timeout: Duration, clock: &Clock) -> Result<Vec<(BootTime, Counted)>, MetricsError> {
        let at = clock.boot();
        let at_millis = i64::try_from(at.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let page = self.http.fetch(timeout, PAGE_LIMIT_BYTES).await.map_err(MetricsError::Fetch)?;
        let selectors = self.selectors.clone();
        let points = requests::off_the_loop(page, move |page| points_of(&page, &selectors, at_millis)).await?;
        let counted = requests::observe(&mut self.tracker, &points.total, &points.errors, points.latency)?;
        Ok(counted.into_iter().map(|counted| (at, counted)).collect())
    }
}

fn points_of(page: &[u8], selectors: &Selectors, at_millis: i64) -> Result<Points, MetricsError> {
    // One page is one target.
    let target = TargetKey::of("page", "page");
    let mut points = Points { latency: selectors.latency.as_ref().map(|_| Ok(Vec::new())), ..Points::default() };
    let mut count = 0;
    exposition::read(page, |series| {
        if count > SERIES_LIMIT {
            return;
        }
        for (selector, found) in [(&selectors.total, &mut points.total), (&selectors.errors, &mut points.errors)] {
            if selects(selector, series) {
                count += 1;
                let series_key = SeriesKey::of(labels(series));
                found.push(SeriesValue { series: series_key, target, at_millis, value: series.value });
            }
        }
        if let Some(selector) = &selectors.latency
            && selects(selector, series)
        {
            count += 1;
            match (requests::bound(label(series, requests::BOUND_LABEL)), &mut points.latency) {
                (Ok(le), Some(Ok(buckets))) => buckets.push(BucketValue {
                    series: SeriesKey::of(labels(series).filter(|(label, _)| *label != requests::BOUND_LABEL)),
                    target,
                    le,
                    at_millis,
                    value: series.value,
                }),
                (Err(error), latency) => *latency = Some(Err(Reason::new(&error.to_string()))),
                (Ok(_), _) => {}
            }
        }
    })?;
    if count > SERIES_LIMIT { Err(MetricsError::TooManySeries) } else { Ok(points) }
}

fn selects(selector: &super::selector::Selector, series: &Series<'_, '_>) -> bool {
    selector.selects(series.name, |wanted| label(series, wanted))
}

fn label<'labels>(series: &Series<'_, 'labels>, wanted: &str) -> Option<&'labels str> {
    series.labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| value.as_ref())
}

fn labels<'labels>(series: &Series<'labels, 'labels>) -> impl Iterator<Item = (&'labels str, &'labels str)> {
    let name = (super::selector::NAME_LABEL, series.name);
    series.labels.iter().map(|(label, value): &(&str, Cow<'_, str>)| (*label, value.as_ref())).chain([name])
}
