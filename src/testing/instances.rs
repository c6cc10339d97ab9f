//! The instances of a simulated service that runs on a platform: some of them may begin to fail while the others serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{invariants::Violation, random::Random, scenario::Cure};
use crate::core::{
    name::IncidentId,
    operation::StepKey,
    release::{Instance, Instances, LiveInstances, Workload},
    time::BootTime,
};

/// Instances of each service.
const COUNT: usize = 4;
/// One plan may delete so many of them.
const RESTART_LIMIT: usize = 2;
/// An instance that fails shows it so long after it was made.
const SHOWS_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
struct Truth {
    id: String,
    fails: bool,
    /// Whether it ever did.
    failed: bool,
    /// It is starting until then.
    starts_until: BootTime,
}

/// What is so of them.
#[derive(Debug)]
pub(super) struct Platform {
    all: Vec<Truth>,
    made: u64,
    /// How many fail, and what mends them.
    fault: Option<(usize, Cure)>,
    /// When a look last showed that some fail.
    pub(super) shown_failing_at: Option<BootTime>,
    /// Deleted by each plan.
    deleted: BTreeMap<(IncidentId, u16), BTreeSet<String>>,
}

impl Platform {
    pub(super) fn new(now: BootTime) -> Self {
        let mut platform =
            Self { all: Vec::new(), made: 0, fault: None, shown_failing_at: None, deleted: BTreeMap::new() };
        platform.replace(now);
        platform
    }

    fn make(&mut self, fails: bool, starts_until: BootTime) -> Truth {
        self.made += 1;
        Truth { id: format!("uid-{}", self.made), fails, failed: fails, starts_until }
    }

    /// Another release, or the same one anew: every instance is another.
    pub(super) fn replace(&mut self, starts_until: BootTime) {
        if let Some((_, Cure::Restart | Cure::Rollback)) = self.fault {
            self.fault = None;
        }
        let failing = self.fault.map_or(0, |(count, _)| count);
        self.all = (0..COUNT).map(|place| self.make(place < failing, starts_until)).collect();
    }

    /// Some begin to fail.
    pub(super) fn fail(&mut self, count: usize, cure: Cure) {
        self.fault = Some((count, cure));
        for one in self.all.iter_mut().take(count) {
            (one.fails, one.failed) = (true, true);
        }
    }

    /// What made them fail is over.
    pub(super) fn mend(&mut self) {
        self.fault = None;
        for one in &mut self.all {
            one.fails = false;
        }
    }

    fn is_failing(one: &Truth, now: BootTime) -> bool {
        one.fails && now >= one.starts_until.after(SHOWS_AFTER)
    }

    fn serves(one: &Truth, now: BootTime) -> bool {
        !one.fails && now >= one.starts_until
    }

    /// Whether each of them serves, or will once it has started.
    pub(super) fn is_well(&self) -> bool {
        self.all.iter().all(|one| !one.fails)
    }

    pub(super) fn observed(&self, now: BootTime, rolls_out: bool) -> Workload {
        let counted = |is: fn(&Truth, BootTime) -> bool| {
            u32::try_from(self.all.iter().filter(|one| is(one, now)).count()).expect("a few")
        };
        let (ready, failing) = (counted(Self::serves), counted(Self::is_failing));
        let failed = self.all.iter().filter(|one| Self::is_failing(one, now)).take(RESTART_LIMIT);
        let to_restart = failed.map(|one| Instance {
            name: one.id.replace("uid", "shop"),
            id: one.id.clone(),
            why: "CrashLoopBackOff".to_owned(),
        });
        let all = u32::try_from(COUNT).expect("a few");
        let exceeds_restart = usize::try_from(failing).expect("a few") > RESTART_LIMIT;
        let live = LiveInstances { all, ready, failing, exceeds_restart, to_restart: to_restart.collect() };
        let instances = Instances { wanted: all, ready, failing, why: None, live: (!rolls_out).then_some(live) };
        Workload { instances, ..Workload::default() }
    }

    /// Deletes these, as a platform does; `all` of them or only the first.
    pub(super) fn restart(
        &mut self,
        key: &StepKey,
        chosen: &[Instance],
        all: bool,
        now: BootTime,
        random: &mut Random,
    ) -> Result<(), Violation> {
        for instance in chosen.iter().take(if all { chosen.len() } else { 1 }) {
            let Some(place) = self.all.iter().position(|one| one.id == instance.id) else { continue };
            if !self.all[place].failed {
                return Err(Violation(format!("{key} deletes {}, which never failed", instance.id)));
            }
            // The target looks at each once more.
            if Self::serves(&self.all[place], now) {
                continue;
            }
            let deleted = self.deleted.entry((key.incident.clone(), key.plan)).or_default();
            deleted.insert(instance.id.clone());
            if deleted.len() > RESTART_LIMIT {
                return Err(Violation(format!("{key}: its plan deleted {deleted:?}, more than {RESTART_LIMIT}")));
            }
            let fails = self.fault.is_some_and(|(_, cure)| cure != Cure::Restart);
            let takes = random.between(Duration::from_millis(300), Duration::from_secs(4));
            self.all[place] = self.make(fails, now.after(takes));
        }
        Ok(())
    }
}
