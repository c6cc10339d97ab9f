//! What the world really handed out: no plan rests on what nobody saw.

use std::{collections::VecDeque, time::Duration};

use super::{Violation, violated};
use crate::{
    core::{
        durable::ReportRecord,
        event::Authority,
        name::ServiceName,
        policy::{ConsiderThen, ReportKind, ServicePolicy},
        sample::{Measurement, Outcome, Sample},
        time::BootTime,
    },
    testing::{
        policy::{READY, SMOKE},
        world::World,
    },
};

/// Longer than any window of the simulated policy, however wide.
const KEPT_FOR: Duration = Duration::from_secs(75);
/// What once said yes to a rate clears only below this share of it.
const CLEARS_BELOW: f64 = 0.8;
/// A sample takes no longer: what is more than this and the pace at which samples are taken was not seen.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// Of a signal that is taken every two seconds nothing is known after this.
const STALE_AFTER: Duration = Duration::from_secs(7);
/// What a look showed is acted on for so long: the next one comes after a second, and may take six, or fail.
const SHOWN_FOR: Duration = Duration::from_secs(20);
/// A fault that began so long before its deploy was noticed is not put down to it.
const NOTICE_LAG: Duration = Duration::from_secs(10);

/// What one service's running process was told.
#[derive(Debug, Default)]
struct Seen {
    /// Probes in a row that failed, and when the first of them did.
    probes_failing: u32,
    failing_since: Option<BootTime>,
    /// Failures that were seen without a break, from the first to the last.
    unbroken_failures: Option<(BootTime, BootTime)>,
    /// How much of the time between those was seen.
    watched_failing: Duration,
    passed_at: Option<BootTime>,
    counted_at: Option<BootTime>,
    features_failing: u32,
    counts: VecDeque<(BootTime, u64, u64)>,
    /// Every failed probe, whichever process was told of it.
    failed_probes: Vec<BootTime>,
}

#[derive(Debug)]
pub(in crate::testing) struct Evidence(Vec<Seen>);

impl Evidence {
    pub(super) fn new(services: usize) -> Self {
        Self((0..services).map(|_| Seen::default()).collect())
    }

    /// A process that begins knows nothing of what another one saw.
    pub(in crate::testing) fn clear(&mut self) {
        for service in 0..self.0.len() {
            self.clear_of(service);
        }
    }

    /// After a panic in its step, what was seen of a service is not to be trusted.
    pub(in crate::testing) fn clear_of(&mut self, service: usize) {
        let seen = &mut self.0[service];
        *seen = Seen { failed_probes: std::mem::take(&mut seen.failed_probes), ..Seen::default() };
    }

    /// A sample is given to a process that takes it for what it is, of a signal that is taken `every` so often just then.
    pub(in crate::testing) fn handed_out(&mut self, sample: &Sample, every: Duration, now: BootTime) {
        let seen = &mut self.0[sample.service.get()];
        match &sample.measurement {
            Measurement::Check(Outcome::Failed(_)) if sample.signal == READY => {
                seen.probes_failing += 1;
                seen.failing_since.get_or_insert(sample.taken_at);
                let at = sample.taken_at;
                let before = seen.unbroken_failures.filter(|(_, last)| at.since(*last) <= STALE_AFTER);
                seen.watched_failing = match before {
                    Some((_, last)) => seen.watched_failing + at.since(last).min(every + LONGEST_LOOK),
                    None => Duration::ZERO,
                };
                seen.unbroken_failures = Some((before.map_or(at, |(first, _)| first), at));
                seen.failed_probes.push(sample.taken_at);
            }
            Measurement::Check(Outcome::Passed) if sample.signal == READY => {
                seen.probes_failing = 0;
                seen.failing_since = None;
                seen.unbroken_failures = None;
                seen.passed_at = Some(sample.taken_at);
            }
            Measurement::Check(Outcome::Failed(_)) if sample.signal == SMOKE => seen.features_failing += 1,
            Measurement::Check(Outcome::Passed) if sample.signal == SMOKE => seen.features_failing = 0,
            Measurement::Requests(counts) => {
                seen.counted_at = Some(sample.taken_at);
                seen.counts.push_back((sample.taken_at, counts.total, counts.errors));
                while seen.counts.front().is_some_and(|(at, ..)| now.since(*at) > KEPT_FOR) {
                    seen.counts.pop_front();
                }
            }
            _ => {}
        }
    }

    /// A plan begins by itself: something that leads so far was really seen, and not before the deploy.
    pub(in crate::testing) fn supports(
        &self,
        service: &ServicePolicy,
        reports: &[ReportRecord],
        place: usize,
        world: &World,
        now: BootTime,
    ) -> Result<(), Violation> {
        let name = &service.name;
        let acts_on_consider = service.consider.then == ConsiderThen::RollBack;
        let down_for = service.thresholds.down_for;
        let seen = &self.0[place];
        // What reporters say is asked about, and never acted on.
        let is_operators = |report: &&ReportRecord| report.authority == Authority::Operator;
        let reported =
            |kind, count| reports.iter().filter(is_operators).filter(|report| report.kind == kind).count() >= count;
        let failed_since = seen.failed_probes.iter().filter(|at| **at >= world.deployed_at).count();
        let shown = world.platform.as_ref().and_then(|platform| platform.shown_failing_at);
        let rolls_back = seen.is_down_since(world.deployed_at, down_for)
            || failed_since >= 3
            || shown.is_some_and(|at| now.since(at) <= SHOWN_FOR)
            || seen.had_rate(0.05)
            || reported(ReportKind::DataCorruption, 1);
        let is_considered = seen.had_rate(0.01) || seen.features_failing >= 2 || reported(ReportKind::Complaint, 2);
        if rolls_back || (acts_on_consider && is_considered) {
            return Ok(());
        }
        violated(format!("{name}: a plan begins by itself, and what leads there was not seen: {seen:?}"))
    }
}

impl Evidence {
    /// A rollout fails at that moment: probes were seen to fail just before, and not only at its beginning.
    pub(in crate::testing) fn fails_now(
        &self,
        place: usize,
        name: &ServiceName,
        at: BootTime,
    ) -> Result<(), Violation> {
        let seen = &self.0[place];
        if seen.unbroken_failures.is_some_and(|(_, last)| at.since(last) <= STALE_AFTER) {
            return Ok(());
        }
        violated(format!("{name}: its rollout fails, and nothing was seen to fail lately: {seen:?}"))
    }

    /// A rollback is proved at that moment: by a probe that passed and requests that were counted just before.
    pub(in crate::testing) fn proves(&self, place: usize, name: &ServiceName, at: BootTime) -> Result<(), Violation> {
        let seen = &self.0[place];
        let is_fresh = |moment: Option<BootTime>| moment.is_some_and(|moment| at.since(moment) <= STALE_AFTER);
        if is_fresh(seen.passed_at) && is_fresh(seen.counted_at) {
            return Ok(());
        }
        violated(format!("{name}: verified, and nothing was seen lately: {seen:?}"))
    }
}

impl Seen {
    /// Whether probes failed three times in a row and were watched failing for `down_for`, the first of them no
    /// earlier than the deploy could be noticed.
    fn is_down_since(&self, deployed_at: BootTime, down_for: Duration) -> bool {
        self.probes_failing >= 3
            && self.unbroken_failures.is_some()
            && self.watched_failing >= down_for
            && self.failing_since.is_some_and(|since| since.after(NOTICE_LAG) >= deployed_at)
    }

    /// Whether the latest requests, over any time, had about that rate of errors.
    fn had_rate(&self, rate: f64) -> bool {
        let (mut total, mut errors) = (0, 0);
        self.counts.iter().rev().any(|(_, more, failed)| {
            total += more;
            errors += failed;
            errors >= 3 && errors as f64 > rate * CLEARS_BELOW * total as f64
        })
    }
}
