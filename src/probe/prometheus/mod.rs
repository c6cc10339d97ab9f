//! Request counts from a Prometheus server, or from anything that speaks its HTTP API.
//!
//! The raw samples are asked for (an instant query over a range selector answers with each sample's own timestamp), so
//! that freshness is the samples' own and counts are exact at any poll interval. A partial, stale or failed answer is
//! missed, and says why.

mod reply;
mod server;
#[cfg(test)]
mod tests;
mod timing;

use std::time::Duration;

pub use self::{
    reply::ReplyError,
    server::{QueryError, REPLY_LIMIT_BYTES, ServerError},
    timing::{LOOKBACK, RANGE_AT_LEAST, StaleError},
};
use self::{
    reply::{Points, RawSeries},
    server::Server,
    timing::Timing,
};
use super::{
    SetupError,
    fault::{Deadline, Late},
    net::Network,
    requests::{self, Latency, Selectors},
    selector::Selector,
};
use crate::{
    config::form::PrometheusSource,
    core::{
        counter::{BucketValue, Counted, CounterError, CounterTracker, SeriesKey, SeriesValue, TargetKey},
        sample::Reason,
        time::BootTime,
    },
    runtime::clock::Clock,
};

/// Why a poll brought no counts: it is *missed*.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// A query had no whole answer.
    #[error("prometheus: {which}: {error}")]
    Query {
        /// Which of the selectors.
        which: &'static str,
        /// Why.
        error: QueryError,
    },
    /// It did not answer in time.
    #[error("prometheus: no answer within {0:?}")]
    TimedOut(Duration),
    /// This process did not run.
    #[error(transparent)]
    Stalled(Late),
    /// The newest sample is not of now.
    #[error("prometheus: {0}")]
    Stale(#[from] StaleError),
    /// The counters cannot be counted.
    #[error("prometheus: {0}")]
    Counter(#[from] CounterError),
}

/// A server, the series that are asked for, and what was last seen of them.
#[derive(Debug)]
pub struct PrometheusProbe {
    server: Server,
    selectors: Selectors,
    tracker: CounterTracker,
    timing: Timing,
}

/// What one poll brought.
struct Answers {
    total: Points,
    errors: Points,
    latency: Latency,
}

impl PrometheusProbe {
    /// Prepares the client and reads the selectors. Nothing is asked yet.
    pub fn new(source: &PrometheusSource, every: Duration, network: &Network) -> Result<Self, SetupError> {
        Ok(Self {
            selectors: Selectors::parse(&source.total, &source.errors, source.latency.as_deref())?,
            server: Server::new(&source.server, network)?,
            tracker: CounterTracker::new(every),
            timing: Timing::new(every),
        })
    }

    /// Asks once. Every count has the boot time at which Prometheus scraped it. If nothing was scraped since the last
    /// poll, and what there is is still fresh, it is zeros at the last scrape's time: the source was heard.
    pub async fn poll(
        &mut self,
        timeout: Duration,
        clock: &Clock,
    ) -> Result<Vec<(BootTime, Counted)>, PrometheusError> {
        let range = self.timing.range(clock.boot());
        let answers = match Deadline::after(timeout).run(self.ask(range, timeout)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                self.timing.failed(matches!(&error, PrometheusError::Query { error: QueryError::TooLarge, .. }));
                return Err(error);
            }
            Err(Late::Other(within)) => {
                // Perhaps it was too much to ask for.
                self.timing.failed(true);
                return Err(PrometheusError::TimedOut(within));
            }
            Err(late @ Late::Stalled(_)) => return Err(PrometheusError::Stalled(late)),
        };
        let now = clock.now();
        if answers.total.is_empty() {
            // The scrapes may be further apart than the range was long.
            self.timing.failed(false);
            return Err(CounterError::NoTotal.into());
        }
        let since = self.timing.take(&answers.total, now)?;
        let total = values(&answers.total, since);
        let errors = values(&answers.errors, since);
        let latency = answers.latency.map(|latency| {
            latency.map(|points| points.into_iter().filter(|point| point.at_millis >= since).collect::<Vec<_>>())
        });
        let counted = requests::observe(&mut self.tracker, &total, &errors, latency)?;
        Ok(counted.into_iter().map(|counted| (self.timing.boot_at(counted.at_millis, now), counted)).collect())
    }

    /// All requests first: a scrape that it shows is then in the other answers too.
    async fn ask(&self, range: Duration, timeout: Duration) -> Result<Answers, PrometheusError> {
        let Selectors { total, errors, latency } = &self.selectors;
        let total = self.series("total", total, range, timeout).await?;
        let latency = async {
            match latency {
                None => None,
                // What is wrong with the histogram alone does not make errors invisible.
                Some(selector) => Some(match self.series("latency", selector, range, timeout).await {
                    Ok(points) => buckets(&points).map_err(|error| Reason::new(&error.to_string())),
                    Err(error) => Err(Reason::new(&error.to_string())),
                }),
            }
        };
        let (errors, latency) = tokio::join!(self.series("errors", errors, range, timeout), latency);
        Ok(Answers { total, errors: errors?, latency })
    }

    async fn series(
        &self,
        which: &'static str,
        selector: &Selector,
        range: Duration,
        timeout: Duration,
    ) -> Result<Points, PrometheusError> {
        let query = format!("{selector}[{}ms]", range.as_millis());
        self.server.ask(&query, timeout).await.map_err(|error| PrometheusError::Query { which, error })
    }
}

fn target(series: &RawSeries) -> TargetKey {
    TargetKey::of(series.label("instance").unwrap_or_default(), series.label("job").unwrap_or_default())
}

fn values(points: &Points, since: i64) -> Vec<SeriesValue> {
    let mut values = Vec::new();
    for series in points {
        let (key, target) = (SeriesKey::of(series.labels()), target(series));
        let new = series.points.iter().filter(|point| point.at_millis >= since);
        values.extend(new.map(|point| SeriesValue {
            series: key,
            target,
            at_millis: point.at_millis,
            value: point.value,
        }));
    }
    values
}

fn buckets(points: &Points) -> Result<Vec<BucketValue>, requests::BucketBoundError> {
    let mut values = Vec::new();
    for series in points {
        let le = requests::bound(series.label(requests::BOUND_LABEL))?;
        let labels = series.labels().filter(|(label, _)| *label != requests::BOUND_LABEL);
        let (key, target) = (SeriesKey::of(labels), target(series));
        values.extend(series.points.iter().map(|point| BucketValue {
            series: key,
            target,
            le,
            at_millis: point.at_millis,
            value: point.value,
        }));
    }
    Ok(values)
}
