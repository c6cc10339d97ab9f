//! A source of requests that has something new less often than it is polled, as a Prometheus server does.

use std::{sync::Arc, time::Duration};

use super::{
    Facts, RolloutState, Watch,
    tests::{REQUESTS, policy},
};
use crate::core::{
    answer::Answer,
    name::{ServiceIndex, SignalIndex},
    sample::{Measurement, RequestCounts, Sample},
    time::{BootTime, Now, WallTime},
};

/// Polls come every 5 s; counts of 40 requests a second, scraped every `scrape_seconds`. Gives the answers to "error rate
/// above 5% over a minute" once the window is full, each together with whether the signal counts as lost.
fn answers(scrape_seconds: u64) -> Vec<(Answer, bool)> {
    let mut now = Now { boot: BootTime::from_nanos(1_000_000_000_000), wall: WallTime::from_millis(1_767_781_800_000) };
    let mut watch = Watch::new(Arc::new(policy()), now);
    let (began, mut counted) = (now.boot, 0);
    let mut answers = Vec::new();
    for poll in 1..=120_u64 {
        now = now.after(Duration::from_secs(5));
        let scrapes = poll * 5 / scrape_seconds;
        let total = scrapes * scrape_seconds * 40;
        let counts = RequestCounts { total: total - counted, errors: 0, latency: None };
        counted = total;
        let sample = Sample {
            service: ServiceIndex(0),
            signal: SignalIndex(REQUESTS),
            taken_at: began.after(Duration::from_secs(scrapes * scrape_seconds)),
            lag: Duration::ZERO,
            measurement: Measurement::Requests(counts),
        };
        watch.record(now, &sample);
        watch.evaluate(
            now,
            Facts { rollout: RolloutState::Settled, reports: &[], operators_reports: &[], baseline: &[] },
        );
        if poll > 30 {
            let answer = watch.condition_answers().find(|(name, _)| name.as_str() == "error_rate_critical");
            let lost = watch.lost(now).iter().any(|(name, _)| name.as_str() == "requests");
            answers.push((answer.expect("a condition").1, lost));
        }
    }
    answers
}

#[test]
fn between_two_scrapes_nothing_is_blind() {
    for scrape_seconds in [1, 5, 15, 30] {
        for (poll, (answer, lost)) in answers(scrape_seconds).into_iter().enumerate() {
            assert_eq!((answer, lost), (Answer::No, false), "scrapes every {scrape_seconds} s, poll {poll}");
        }
    }
}
