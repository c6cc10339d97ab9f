//! One signal: its streak, its windows and its gaps.

use std::{sync::Arc, time::Duration};

use super::{
    Recorded, SignalView,
    failures::Failures,
    gap::{GapBudget, Hearing},
};
use crate::core::{
    policy::{SignalKind, SignalPolicy},
    sample::{Measurement, Outcome, Reason, RequestCounts, Sample},
    time::{BootTime, Now},
    window::{CountWindow, Heard, LatencyWindow, View},
};

/// A signal of which nothing was heard for so many intervals, and one timeout, has no answer any more.
const STALE_INTERVALS: u32 = 3;

/// How the reason begins why a signal is lost, where nothing was heard of it at all.
pub(in crate::core) const NO_ANSWER: &str = "no answer";

/// The last outcome, missed ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    None,
    Passed,
    Failed,
    Missed,
}

/// Failures or passes in a row.
#[derive(Debug, Default)]
pub(super) struct Streak {
    /// Failures in a row since the last pass or cut.
    pub(super) failing: u32,
    /// Passes in a row since the last failure or cut.
    pub(super) passing: u32,
    /// First and last of `failing`.
    pub(super) failed: Option<(BootTime, BootTime)>,
    /// How much of the time between those two was seen, see [`Signal::longest_step`].
    pub(super) seen_failing: Duration,
    /// The last pass, cuts notwithstanding.
    pub(super) passed_at: Option<BootTime>,
    /// First failure since the last pass, cuts notwithstanding, and whether there was such a pass.
    pub(super) fault: Option<(BootTime, bool)>,
}

/// Requests in windows.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) counts: CountWindow,
    pub(super) latency: Option<LatencyWindow>,
    latency_views: Box<[View]>,
    /// What was counted up to here is left out: the watch's start, or the last cut.
    pub(super) since: BootTime,
    /// Polls are expected in the windows from here on, see [`Signal::counted`].
    pub(super) begun: Option<BootTime>,
    /// The same of polls with durations.
    pub(super) latency_begun: Option<BootTime>,
    /// The next sample's counts began before `since`: nobody knows how many belong after it.
    straddles: bool,
    pub(super) since_cut: u64,
    counted_at: Option<BootTime>,
    pub(super) latency_heard_at: Option<BootTime>,
    /// Why durations were missing the last time.
    pub(super) latency_reason: Option<Reason>,
    /// Where durations are asked for.
    latency_gap: Option<GapBudget>,
}

/// One signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) every: Duration,
    /// How often it is taken just now: `every`, or more often while a failure is being confirmed.
    cadence: Duration,
    timeout: Duration,
    stale_after: Duration,
    last: Last,
    pub(super) reason: Option<Reason>,
    last_at: Option<BootTime>,
    /// The last sample that was not missed, since the last cut.
    pub(super) heard_at: Option<BootTime>,
    cut_at: BootTime,
    pub(super) streak: Streak,
    pub(super) failures: Failures,
    gap: GapBudget,
    /// Every atom of this signal was answered no: another pass changes nothing.
    pub(super) quiet: bool,
    pub(super) requests: Option<Box<Requests>>,
}

impl Signal {
    /// `views` are those of all questions about this source of requests, `latency_views` those about its histogram.
    pub(super) fn new(policy: &SignalPolicy, views: &[View], latency_views: &[View], now: BootTime) -> Self {
        let requests = (policy.kind == SignalKind::Requests).then(|| {
            Box::new(Requests {
                counts: CountWindow::new(views, now),
                latency: None,
                latency_views: latency_views.into(),
                since: now,
                begun: None,
                latency_begun: None,
                straddles: false,
                since_cut: 0,
                counted_at: None,
                latency_heard_at: None,
                latency_reason: None,
                latency_gap: None,
            })
        });
        Self {
            every: policy.every,
            cadence: policy.every,
            stale_after: policy.every * STALE_INTERVALS + policy.timeout,
            last: Last::None,
            reason: None,
            last_at: None,
            heard_at: None,
            cut_at: now,
            streak: Streak::default(),
            failures: Failures::default(),
            timeout: policy.timeout,
            gap: GapBudget::new(policy.every, policy.timeout, now),
            quiet: false,
            requests,
        }
    }

    /// From here on it is taken so often.
    pub(super) fn set_cadence(&mut self, every: Duration) {
        self.cadence = every;
    }

    /// No more than this between two failed samples was seen: the next sample begins one cadence after the last one,
    /// and takes its timeout at most. Whatever is longer holds samples that were missed, and nobody knows what those would
    /// have seen.
    fn longest_step(&self) -> Duration {
        self.cadence + self.timeout
    }

    /// When it becomes stale if nothing more is heard; at once if nothing was heard yet.
    pub(super) fn stale_at(&self) -> Option<BootTime> {
        self.heard_at.map(|heard| heard.after(self.stale_after))
    }

    /// Whether there is no present answer to build on.
    pub(super) fn is_stale(&self, now: BootTime) -> bool {
        self.stale_at().is_none_or(|stale| stale <= now)
    }

    /// Whether `time` lies before the last cut.
    pub(super) fn is_before_cut(&self, time: BootTime) -> bool {
        time < self.cut_at
    }

    pub(super) fn stale_after(&self) -> Duration {
        self.stale_after
    }

    pub(super) fn record(&mut self, now: Now, sample: &Sample) -> Recorded {
        // A source whose clock runs ahead of ours measured no later than now.
        let at = sample.taken_at.min(now.boot);
        match &sample.measurement {
            Measurement::Check(Outcome::Passed) => self.passed(at),
            Measurement::Check(Outcome::Failed(reason)) => self.failed(at, reason),
            Measurement::Requests(counts) => self.counted(now.boot, at, counts),
            Measurement::Check(Outcome::Missed(reason)) | Measurement::RequestsMissed(reason) => {
                self.last = Last::Missed;
                self.reason = Some(reason.clone());
                self.last_at = self.last_at.max(Some(at));
                Recorded::default()
            }
        }
    }

    /// Samples from before a cut, and such as were overtaken by a later one, say nothing about now.
    fn is_late(&self, at: BootTime) -> bool {
        at < self.cut_at || self.heard_at.is_some_and(|heard| at < heard)
    }

    fn passed(&mut self, at: BootTime) -> Recorded {
        if self.is_late(at) {
            return Recorded { late: true, ..Recorded::default() };
        }
        self.hear(at, Last::Passed);
        let first_pass = self.streak.failing > 0;
        if first_pass || self.reason.is_some() {
            self.reason = None;
        }
        let streak = &mut self.streak;
        streak.failing = 0;
        streak.failed = None;
        streak.fault = None;
        streak.passed_at = Some(at);
        streak.passing = streak.passing.saturating_add(1);
        Recorded { changed: !self.quiet, first_pass, ..Recorded::default() }
    }

    fn failed(&mut self, at: BootTime, reason: &Reason) -> Recorded {
        if self.is_late(at) {
            return Recorded { late: true, ..Recorded::default() };
        }
        // Where nobody looked in between, as in a suspended machine, what was seen to last begins anew.
        let was_unseen = self.heard_at.is_some_and(|heard| at.since(heard) > self.stale_after);
        let longest_step = self.longest_step();
        self.hear(at, Last::Failed);
        self.reason = Some(reason.clone());
        self.failures.note(at);
        let streak = &mut self.streak;
        let first_failure = streak.failing == 0;
        streak.failing = streak.failing.saturating_add(1);
        streak.passing = 0;
        let before = streak.failed.filter(|_| !was_unseen);
        streak.seen_failing =
            before.map_or(Duration::ZERO, |(_, last)| streak.seen_failing + at.since(last).min(longest_step));
        streak.failed = Some((before.map_or(at, |(first, _)| first), at));
        streak.fault = streak.fault.or(Some((at, streak.passed_at.is_some())));
        Recorded { changed: true, first_failure, ..Recorded::default() }
    }

    fn hear(&mut self, at: BootTime, last: Last) {
        self.gap.hear(at);
        self.last = last;
        self.last_at = Some(at);
        self.heard_at = Some(at);
    }

    /// Takes counts in.
    ///
    /// Polls are expected in a window from the first one on that was heard in it, after the start, after a cut, or after
    /// a lost signal was restored: what nobody could have heard is no gap. The counts of that poll, and so the window,
    /// began one interval before.
    fn counted(&mut self, now: BootTime, at: BootTime, counts: &RequestCounts) -> Recorded {
        // What is expected is that the source answers; its own timestamp may stand still between two scrapes.
        let hearing = self.gap.hear(now);
        self.last = Last::Passed;
        self.reason = None;
        self.last_at = Some(now);
        self.heard_at = Some(now);
        let Some(requests) = self.requests.as_deref_mut() else { return Recorded::default() };
        let latency_hearing = requests.hear_latency(self.every, self.timeout, now, counts);
        if at < requests.since {
            return Recorded { late: counts.total > 0, ..Recorded::default() };
        }
        if std::mem::take(&mut requests.straddles) {
            requests.counted_at = Some(at);
            return Recorded::default();
        }
        // Our polls have our own times: between two scrapes nothing is blind, however far those are apart. And a source
        // that remembers fills in what was not seen when it happened.
        let filled_in = hearing == Hearing::Between
            && requests.counted_at.is_none_or(|counted| at >= counted.after(self.every / 2));
        let heard_at = if filled_in { Some(at) } else { (hearing != Hearing::Between).then_some(now) };
        let measured = matches!(counts.latency, Some(Ok(_)));
        let heard = Heard {
            counts: heard_at,
            latency: if filled_in { Some(at) } else { (latency_hearing != Hearing::Between).then_some(now) }
                .filter(|_| measured),
        };
        if heard_at.is_some() {
            requests.counted_at = Some(at);
        }
        let began = |heard: Option<BootTime>| heard.map(|at| at.before(self.every).max(requests.since));
        begin(&mut requests.begun, hearing, began(heard.counts));
        begin(&mut requests.latency_begun, latency_hearing, began(heard.latency));
        let mut late = !requests.counts.record(at, counts.total, counts.errors.min(counts.total), heard);
        if !late {
            requests.since_cut = requests.since_cut.saturating_add(counts.total);
        }
        if let Some(Ok(latency)) = &counts.latency {
            let window = requests
                .latency
                .get_or_insert_with(|| LatencyWindow::new(&requests.latency_views, Arc::clone(&latency.bounds), now));
            late |= !window.record(at, latency);
            requests.latency_heard_at = Some(now);
        }
        Recorded { changed: true, late, ..Recorded::default() }
    }

    pub(super) fn cut(&mut self, now: BootTime) {
        self.cut_at = now;
        self.heard_at = None;
        self.quiet = false;
        let streak = &mut self.streak;
        (streak.failing, streak.passing, streak.failed) = (0, 0, None);
        if let Some(requests) = self.requests.as_deref_mut() {
            requests.counts.clear();
            if let Some(latency) = &mut requests.latency {
                latency.clear();
            }
            requests.latency_heard_at = None;
            requests.since = now;
            (requests.begun, requests.latency_begun) = (None, None);
            requests.since_cut = 0;
            requests.straddles = true;
        }
    }

    pub(super) fn is_lost(&self, now: BootTime) -> bool {
        self.gap.is_lost(now) || self.is_latency_lost(now)
    }

    fn is_latency_lost(&self, now: BootTime) -> bool {
        let gap = self.requests.as_deref().and_then(|requests| requests.latency_gap.as_ref());
        gap.is_some_and(|gap| gap.is_lost(now))
    }

    /// Why it is lost, in words.
    pub(super) fn lost_reason(&self, now: BootTime) -> String {
        match (&self.reason, self.last_at) {
            (Some(reason), _) if self.last == Last::Missed => reason.to_string(),
            (_, Some(_)) if !self.gap.is_lost(now) => {
                let latency = self.requests.as_deref().and_then(|requests| requests.latency_reason.as_ref());
                latency.map_or_else(|| "no latency is measured".to_owned(), ToString::to_string)
            }
            // It was heard just now; what is missing is before that.
            (_, Some(last)) if now.since(last) < self.every + self.timeout => {
                "of its last samples more than a fifth is missing".to_owned()
            }
            (_, Some(last)) => format!("{NO_ANSWER} for {} s", now.since(last).as_secs()),
            (_, None) => format!("{NO_ANSWER} since the watch began"),
        }
    }

    pub(super) fn view(&self, policy: &SignalPolicy, now: BootTime) -> SignalView {
        let latency = self.requests.as_deref().and_then(|requests| requests.latency_reason.as_ref());
        SignalView {
            name: policy.name.clone(),
            last: match self.last {
                Last::None => "none",
                Last::Passed => "passed",
                Last::Failed => "failed",
                Last::Missed => "missed",
            },
            reason: self.reason.as_ref().or(latency).map(ToString::to_string),
            failing: self.streak.failing,
            age_seconds: self.last_at.map(|at| now.since(at).as_secs_f64()),
            lost: self.is_lost(now),
            // The watch itself sees no certificates.
            certificate_expires: None,
        }
    }
}

impl Requests {
    /// Notes whether durations came with a poll, where they are asked for.
    fn hear_latency(&mut self, every: Duration, timeout: Duration, now: BootTime, counts: &RequestCounts) -> Hearing {
        let Some(latency) = &counts.latency else { return Hearing::Between };
        let gap = self.latency_gap.get_or_insert_with(|| GapBudget::new(every, timeout, now));
        match latency {
            Ok(_) => {
                self.latency_reason = None;
                gap.hear(now)
            }
            Err(reason) => {
                self.latency_reason = Some(reason.clone());
                Hearing::Between
            }
        }
    }
}

/// Windows begin anew where a lost signal was restored, and else with the first poll that was heard.
fn begin(begun: &mut Option<BootTime>, hearing: Hearing, heard: Option<BootTime>) {
    match hearing {
        Hearing::Restoring(at) if begun.is_some() => *begun = (*begun).max(Some(at)),
        _ => *begun = begun.or(heard),
    }
}
