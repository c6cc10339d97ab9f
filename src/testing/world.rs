//! The simulated world of one service: which release is live, which one runs, and how it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    instances::Platform,
    invariants::Violation,
    owner::{GitOps, Owner},
    random::Random,
    scenario::{Fault, PartialFailure},
};
use crate::core::{
    name::{IncidentId, Version},
    operation::{Operation, OperationOutcome, Receipt, StepKey},
    release::{Observation, Release, Workload},
    sample::{Outcome, Reason, RequestCounts},
    time::BootTime,
};

/// Requests that a service gets in a tenth of a second.
const REQUESTS_A_SLICE: u64 = 2;
/// A release that goes down later does so after this.
const DOWN_LATER_AFTER: Duration = Duration::from_secs(25);

/// How an operation will go, unknown to whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeds,
    /// What is live changes, and then the restart fails.
    FailsHalfway,
    /// What is live changes, and nothing more is heard.
    Hangs,
    /// It says that it is done, and has not even begun.
    LiesThatItSwitched,
    /// What is live changes, and it says that it restarted the service, which it has not.
    LiesThatItRestarted,
}

/// One service's truth.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts about different things, which change apart from each other")]
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
    /// When a person last made something live.
    pub(super) deployed_at: BootTime,
    /// The plan that made live what is live; absent where a person did.
    live_by: Option<(IncidentId, u16)>,
    /// The target said that it switched, and had not even begun, since a person last made something live: what it shows
    /// afterwards cannot be told from a deploy.
    pub(super) is_mistold: bool,
    /// Switches away from what another plan had made live.
    pub(super) hops: BTreeSet<StepKey>,
    /// It was restarted although nothing new was deployed: an outage that no release explains.
    restarted_by_hand: bool,
    /// Something that it shares with others broke once.
    was_out: bool,
    /// A release with which something is wrong has run.
    ran_bad: bool,
    /// When the fault that no release explains began.
    broken_since: Option<BootTime>,
    probes: u64,
    /// Its instances, where it runs on a platform.
    pub(super) platform: Option<Platform>,
    /// Some of them failed once while the others served.
    was_partial: bool,
    /// Receipts left by attempts.
    receipts: BTreeMap<StepKey, Receipt>,
    /// How often each switch really restarted the service, by its key: never more than once.
    pub(super) restarts: BTreeMap<StepKey, u32>,
    /// The GitOps controller that owns it, if one does.
    pub(super) owner: Option<Owner>,
}

impl World {
    pub(super) fn new(second: Fault, third: Fault, on_platform: bool, gitops: Option<GitOps>, now: BootTime) -> Self {
        Self {
            releases: vec![("v1".into(), Fault::None), ("v2".into(), second), ("v3".into(), third)],
            current: 0,
            running: 0,
            running_since: now,
            restarting_since: now,
            restarting_until: now,
            deployed_at: now,
            live_by: None,
            is_mistold: false,
            hops: BTreeSet::new(),
            restarted_by_hand: false,
            was_out: false,
            ran_bad: false,
            broken_since: None,
            probes: 0,
            platform: on_platform.then(|| Platform::new(now)),
            was_partial: false,
            receipts: BTreeMap::new(),
            restarts: BTreeMap::new(),
            owner: gitops.map(Owner::new),
        }
    }

    /// A person deploys a release: where a controller owns the target, by a commit.
    pub(super) fn deploy_by_people(&mut self, release: usize, now: BootTime, random: &mut Random) {
        if let Some(owner) = &mut self.owner {
            owner.pass(now);
            owner.commit(release);
            if !owner.syncs() {
                return;
            }
        }
        self.deploy(release, now, random);
    }

    /// The controller that owns it puts back what Git holds. Whether it had to.
    pub(super) fn reconcile(&mut self, now: BootTime, random: &mut Random) -> bool {
        let Some(owner) = &mut self.owner else { return false };
        owner.pass(now);
        let Some(release) = owner.puts_back(self.current) else { return false };
        self.deploy(release, now, random);
        true
    }

    /// A person deploys a release: the target changes, and the service restarts.
    pub(super) fn deploy(&mut self, release: usize, now: BootTime, random: &mut Random) {
        if self.current != release {
            self.deployed_at = now;
            self.live_by = None;
            self.is_mistold = false;
        }
        self.current = release;
        self.restart(now, random);
        if self.releases[release].1 == Fault::NotTheRelease {
            self.broken_since = Some(now.after(DOWN_LATER_AFTER));
        }
    }

    fn restart(&mut self, now: BootTime, random: &mut Random) {
        self.restarted_by_hand |= self.running == self.current && now > self.running_since;
        self.running = self.current;
        self.ran_bad |= !matches!(self.fault(), Fault::None | Fault::FewErrors);
        let takes = random.between(Duration::from_millis(300), Duration::from_secs(4));
        self.restarting_since = now;
        self.restarting_until = now.after(takes);
        self.running_since = self.restarting_until;
        if let Some(platform) = &mut self.platform {
            platform.replace(self.restarting_until);
        }
    }

    /// Some of its instances begin to fail.
    pub(super) fn begin_partial_failure(&mut self, partial: PartialFailure) {
        if let Some(platform) = &mut self.platform {
            platform.fail(partial.failing, partial.cure);
            self.was_partial = true;
        }
    }

    /// What it needs breaks.
    pub(super) fn begin_outage(&mut self, now: BootTime) {
        self.was_out = true;
        self.broken_since = Some(now);
    }

    /// What no release explains is over.
    pub(super) fn end_outage(&mut self) {
        self.broken_since = None;
        if let Some(platform) = &mut self.platform {
            platform.mend();
        }
    }

    /// Whether the target has that version live.
    pub(super) fn is_live(&self, version: &Version) -> bool {
        self.releases[self.current].0 == *version
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
            _ => true,
        }
    }

    pub(super) fn probe(&mut self, now: BootTime) -> Outcome {
        self.probes += 1;
        if self.is_up(now) { Outcome::Passed } else { Outcome::Failed(Reason::new("connection refused")) }
    }

    /// The smoke test of its feature.
    pub(super) fn smoke_test(&self, now: BootTime) -> Outcome {
        let is_broken = matches!(self.fault(), Fault::Contradictory | Fault::FeatureBroken);
        if is_broken || !self.is_up(now) { Outcome::Failed(Reason::new("exit status 1")) } else { Outcome::Passed }
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
                Fault::SomeErrors => 0.025,
                Fault::Contradictory => 0.4,
                _ => 0.0,
            };
            counts.total += REQUESTS_A_SLICE;
            counts.errors += if chance > 0.0 { random.binomial(REQUESTS_A_SLICE, chance) } else { 0 };
        }
        counts
    }

    /// What its version endpoint says; nothing while it is down.
    pub(super) fn version(&self, now: BootTime) -> Option<Version> {
        self.is_up(now).then(|| self.releases[self.running].0.clone())
    }

    /// What an instance of another release says, or an endpoint that lies.
    pub(super) fn other_version(&self) -> Version {
        self.releases[usize::from(self.running == 0)].0.clone()
    }

    pub(super) fn observation(&mut self, now: BootTime) -> Observation {
        let rolls_out = self.is_torn() || now < self.restarting_until;
        let current = self.current;
        let sync = self.owner.as_mut().map(|owner| owner.look(current, now));
        let shown = self.platform.as_ref().map(|platform| platform.observed(now, rolls_out));
        let rolls_out = shown.is_some() && rolls_out;
        let workload =
            (shown.is_some() || sync.is_some()).then(|| Box::new(Workload { sync, ..shown.unwrap_or_default() }));
        let others = self.releases.iter().enumerate().filter(|(place, _)| *place != self.current);
        Observation {
            current: Some(Release::of(self.releases[self.current].0.clone())),
            untold: None,
            gone: None,
            available: others.map(|(_, (version, _))| Release::of(version.clone())).collect(),
            rolling_out: rolls_out,
            failing: None,
            workload,
        }
    }

    pub(super) fn receipt(&self, key: &StepKey) -> Receipt {
        self.receipts.get(key).copied().unwrap_or(Receipt::Nothing)
    }

    fn place(&self, version: &Version) -> usize {
        self.releases.iter().position(|(known, _)| known == version).expect("the core knows only versions it was told")
    }

    /// An operation begins: what changes at once changes now.
    pub(super) fn begin(
        &mut self,
        key: &StepKey,
        operation: &Operation,
        fate: Fate,
        now: BootTime,
    ) -> Result<(), OperationOutcome> {
        if let Some(owner) = &mut self.owner {
            owner.operate(key, operation, self.current, now)?;
        }
        let Operation::Switch { from, to } = operation else { return Ok(()) };
        let (from, to) = (self.place(from), self.place(to));
        if self.current != from && self.current != to {
            let why = format!("{} is live", self.releases[self.current].0);
            return Err(OperationOutcome::Overtaken(Reason::new(&format!("switch: {why}"))));
        }
        self.receipts.insert(key.clone(), Receipt::Interrupted);
        self.is_mistold |= fate == Fate::LiesThatItSwitched && self.current != to;
        if fate != Fate::LiesThatItSwitched && self.current != to {
            self.current = to;
            let plan = (key.incident.clone(), key.plan);
            self.live_by = match self.live_by.take() {
                // Its own undo: what people had made live is live again.
                Some(by) if by == plan => None,
                None => Some(plan),
                Some(_) => {
                    self.hops.insert(key.clone());
                    Some(plan)
                }
            };
        }
        Ok(())
    }

    /// An operation comes to its end.
    pub(super) fn finish(
        &mut self,
        key: &StepKey,
        operation: &Operation,
        fate: Fate,
        now: BootTime,
        random: &mut Random,
    ) -> Result<OperationOutcome, Violation> {
        if let (Operation::RestartFailing { instances, .. }, Some(platform)) = (operation, self.platform.as_mut())
            && !matches!(fate, Fate::LiesThatItSwitched | Fate::LiesThatItRestarted)
        {
            let all = fate == Fate::Succeeds || (fate == Fate::Hangs && random.per_mille(500));
            platform.restart(key, instances, all, now, random)?;
        }
        if matches!(operation, Operation::Switch { .. }) {
            let receipt = match fate {
                Fate::FailsHalfway => Receipt::Failed,
                Fate::Hangs => Receipt::Interrupted,
                _ => Receipt::Succeeded,
            };
            self.receipts.insert(key.clone(), receipt);
            if fate == Fate::Succeeds {
                *self.restarts.entry(key.clone()).or_default() += 1;
                self.restart(now, random);
            }
        }
        Ok(match fate {
            Fate::FailsHalfway => OperationOutcome::Failed(Reason::new("exit status 1")),
            Fate::Hangs => OperationOutcome::Unknown(Reason::new("no answer within its deadline")),
            _ => OperationOutcome::Done(String::new()),
        })
    }

    /// Whether what runs is well just now: what a verified rollback has to have reached.
    /// What broke in these very moments may be younger than the proof.
    pub(super) fn is_well(&self, now: BootTime) -> bool {
        let only_now = self.broken_since.is_some_and(|since| now.since(since) < Duration::from_secs(10));
        let now = if only_now { self.broken_since.unwrap_or(now).before(Duration::from_millis(1)) } else { now };
        let is_sound = !matches!(self.fault(), Fault::Errors | Fault::Contradictory | Fault::FeatureBroken);
        let is_whole = self.platform.as_ref().is_none_or(Platform::is_well);
        self.running == self.current && self.is_up(now) && is_sound && is_whole
    }

    /// Whether what runs is not what the target says is live.
    pub(super) fn is_torn(&self) -> bool {
        self.running != self.current
    }

    /// Whether anything was ever really wrong with it.
    pub(super) fn ever_bad(&self) -> bool {
        self.restarted_by_hand || self.was_out || self.ran_bad || self.was_partial
    }
}
