//! The simulated world of one service: which release is live, which one runs, and how it answers.

use std::time::Duration;

use super::{random::Random, scenario::Fault};
use crate::core::{
    name::Version,
    operation::{Operation, OperationOutcome, Receipt, StepKey},
    release::{Observation, Release},
    sample::{Outcome, Reason, RequestCounts},
    time::BootTime,
};

/// Requests that a service gets in a tenth of a second.
const REQUESTS_A_SLICE: u64 = 2;
/// A release that goes down later does so after this.
const DOWN_LATER_AFTER: Duration = Duration::from_secs(25);

/// One service's truth.
#[derive(Debug)]
pub(super) struct World {
    /// The releases, with what is wrong with each; the first one is well.
    releases: Vec<(Version, Fault)>,
    /// What the target says is live.
    pub(super) current: usize,
    /// What runs, and since when.
    running: usize,
    running_since: BootTime,
    /// It restarts, or did last, from then until then.
    restarting_since: BootTime,
    restarting_until: BootTime,
    /// What ran before.
    before: usize,
    /// It was restarted although nothing new was deployed: an outage that no release explains.
    restarted_by_hand: bool,
    /// Something that it shares with others broke once.
    was_out: bool,
    /// When the fault that no release explains began.
    broken_since: Option<BootTime>,
    probes: u64,
    /// Receipts left by attempts.
    receipts: std::collections::BTreeMap<StepKey, Receipt>,
    /// How often each switch really restarted the service, by its key: never more than once.
    pub(super) restarts: std::collections::BTreeMap<StepKey, u32>,
}

impl World {
    pub(super) fn new(fault: Fault, now: BootTime) -> Self {
        Self {
            releases: vec![("v1".into(), Fault::None), ("v2".into(), fault), ("v3".into(), Fault::None)],
            current: 0,
            running: 0,
            running_since: now,
            restarting_since: now,
            restarting_until: now,
            before: 0,
            restarted_by_hand: false,
            was_out: false,
            broken_since: None,
            probes: 0,
            receipts: std::collections::BTreeMap::new(),
            restarts: std::collections::BTreeMap::new(),
        }
    }

    /// A person deploys a release: the target changes, and the service restarts.
    pub(super) fn deploy(&mut self, release: usize, now: BootTime, random: &mut Random) {
        self.current = release;
        self.restart(now, random);
        if self.releases[release].1 == Fault::NotTheRelease {
            self.broken_since = Some(now.after(DOWN_LATER_AFTER));
        }
    }

    fn restart(&mut self, now: BootTime, random: &mut Random) {
        self.restarted_by_hand |= self.running == self.current && now > self.running_since;
        self.before = self.running;
        self.running = self.current;
        let takes = random.between(Duration::from_millis(300), Duration::from_secs(4));
        self.restarting_since = now;
        self.restarting_until = now.after(takes);
        self.running_since = self.restarting_until;
    }

    /// What it needs breaks.
    pub(super) fn begin_outage(&mut self, now: BootTime) {
        self.was_out = true;
        self.broken_since = Some(now);
    }

    /// What no release explains is over.
    pub(super) fn end_outage(&mut self) {
        self.broken_since = None;
    }

    fn fault(&self) -> Fault {
        self.releases[self.running].1
    }

    fn is_up(&self, now: BootTime) -> bool {
        if (self.restarting_since <= now && now < self.restarting_until)
            || self.broken_since.is_some_and(|since| now >= since)
        {
            return false;
        }
        match self.fault() {
            Fault::DeadOnArrival => false,
            Fault::DownLater => now < self.running_since.after(DOWN_LATER_AFTER),
            Fault::Flapping => self.probes.is_multiple_of(2),
            Fault::None | Fault::Errors | Fault::FewErrors | Fault::NotTheRelease => true,
        }
    }

    pub(super) fn probe(&mut self, now: BootTime) -> Outcome {
        self.probes += 1;
        if self.is_up(now) { Outcome::Passed } else { Outcome::Failed(Reason::new("connection refused")) }
    }

    /// Requests of the last `span`: those of the time in which it was down failed.
    pub(super) fn requests(&self, now: BootTime, span: Duration, random: &mut Random) -> RequestCounts {
        let slices = (span.as_millis() / 100).max(1);
        let mut counts = RequestCounts::default();
        for slice in 0..slices {
            let at = now.before(Duration::from_millis(u64::try_from(slice).unwrap_or(0) * 100));
            let chance = match self.fault() {
                _ if !self.is_up(at) => 1.0,
                Fault::Errors => 0.12,
                Fault::FewErrors => 0.008,
                _ => 0.0,
            };
            counts.total += REQUESTS_A_SLICE;
            counts.errors += random.binomial(REQUESTS_A_SLICE, chance);
        }
        counts
    }

    pub(super) fn observation(&self) -> Observation {
        let others = self.releases.iter().enumerate().filter(|(place, _)| *place != self.current);
        Observation {
            current: Some(Release::of(self.releases[self.current].0.clone())),
            available: others.map(|(_, (version, _))| Release::of(version.clone())).collect(),
            rolling_out: false,
            failing: None,
        }
    }

    pub(super) fn receipt(&self, key: &StepKey) -> Receipt {
        self.receipts.get(key).copied().unwrap_or(Receipt::Nothing)
    }

    fn place(&self, version: &Version) -> usize {
        self.releases.iter().position(|(known, _)| known == version).expect("the core knows only versions it was told")
    }

    /// An operation begins: what changes at once changes now.
    pub(super) fn begin(&mut self, key: &StepKey, operation: &Operation) -> Result<(), OperationOutcome> {
        if let Operation::Switch { from, to } = operation {
            let (from, to) = (self.place(from), self.place(to));
            if self.current != from && self.current != to {
                let why = format!("{} is live", self.releases[self.current].0);
                return Err(OperationOutcome::Failed(Reason::new(&why)));
            }
            self.current = to;
            self.receipts.insert(key.clone(), Receipt::Interrupted);
        }
        Ok(())
    }

    /// An operation comes to its end.
    pub(super) fn finish(
        &mut self,
        key: &StepKey,
        operation: &Operation,
        fails: bool,
        now: BootTime,
        random: &mut Random,
    ) -> OperationOutcome {
        let receipt = if fails { Receipt::Failed } else { Receipt::Succeeded };
        if let Operation::Switch { .. } = operation {
            self.receipts.insert(key.clone(), receipt);
            if !fails {
                *self.restarts.entry(key.clone()).or_default() += 1;
                self.restart(now, random);
            }
        }
        if fails {
            OperationOutcome::Failed(Reason::new("exit status 1"))
        } else {
            OperationOutcome::Done(String::new())
        }
    }

    /// Whether what runs is well just now: what a verified rollback has to have reached.
    /// What broke in these very moments may be younger than the proof.
    pub(super) fn is_well(&self, now: BootTime) -> bool {
        let only_now = self.broken_since.is_some_and(|since| now.since(since) < Duration::from_secs(10));
        let now = if only_now { self.broken_since.unwrap_or(now).before(Duration::from_millis(1)) } else { now };
        self.running == self.current && self.is_up(now) && self.fault() != Fault::Errors
    }

    /// Whether anything was ever really wrong with it.
    pub(super) fn ever_bad(&self) -> bool {
        self.restarted_by_hand
            || self.was_out
            || self.releases.iter().any(|(_, fault)| !matches!(fault, Fault::None | Fault::FewErrors))
    }
}
