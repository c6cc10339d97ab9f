//! Asks every gate. All are asked, also after a no: on-call wants to see each reason at once.

use std::time::Duration;

use super::{Dependency, Gate, GateReport, Neighbours, Wellness};
use crate::core::{
    answer::Answer,
    durable::{DeployRecord, IncidentRecord, PauseRecord, Rollout, ServiceRecord},
    entry::PlanOutcome,
    name::{ServiceIndex, Version},
    policy::{KnownGoodPolicy, ServicePolicy},
    release::{DeploySource, Observation, Standing},
    time::{Now, SteadyTime},
    verdict::{PlanKind, VerdictKind},
};

/// A deploy is noticed a little after it was made, and tools stop the old release before they switch to the new one: a
/// fault that began at most so long before the notice is put down to it. The first failed probe makes the target be looked
/// at, so more than this would be a look that failed.
pub const NOTICE_LAG: Duration = Duration::from_secs(10);

/// Everything that the gates look at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The service's policy.
    pub policy: &'a ServicePolicy,
    /// What is known of the service.
    pub record: &'a ServiceRecord,
    /// The incident, if one is open; without one the gates say what they would say tonight.
    pub incident: Option<&'a IncidentRecord>,
    /// The last look at the target.
    pub observation: Option<&'a Observation>,
    /// Why the last look failed, if it did.
    pub blind: Option<&'a str>,
    /// The pause of all services.
    pub paused_all: Option<&'a PauseRecord>,
    /// How the watchdog's own network is ill, if it is.
    pub observer_impaired: Option<Impaired<'a>>,
    /// Why the journal cannot be written, if it cannot.
    pub store_failing: Option<&'a str>,
    /// The other services.
    pub neighbours: &'a Neighbours,
    /// This one's place among them.
    pub index: ServiceIndex,
    /// Now.
    pub now: Now,
    /// The same on the journal's time line.
    pub steady: SteadyTime,
}

/// How the watchdog's own network is ill.
#[derive(Debug, Clone, Copy)]
pub struct Impaired<'a> {
    /// Why.
    pub why: &'a str,
    /// It has been so for long enough to be told; before that it may be one lost packet.
    pub certain: bool,
}

/// Services that a gate names; the others are counted.
const NAMED_LIMIT: usize = 8;

impl<'a> Situation<'a> {
    /// Every gate's answer, in order.
    pub fn reports(&self) -> Vec<GateReport> {
        self.reports_for(self.candidate().as_ref())
    }

    /// Every gate's answer to going back to that release.
    pub fn reports_for(&self, to: Option<&Version>) -> Vec<GateReport> {
        self.reports_before(PlanKind::Quick, to)
    }

    /// The answers of every gate that is asked before a plan, which goes back to that release where it goes back at all.
    pub fn reports_before(&self, plan: PlanKind, to: Option<&Version>) -> Vec<GateReport> {
        Gate::ALL
            .iter()
            .filter(|gate| gate.is_asked_before(plan) && (self.policy.on_platform || !gate.is_of_platforms()))
            .map(|&gate| {
                let (answer, why) = self.ask(gate, plan, to);
                GateReport { gate, answer, why }
            })
            .collect()
    }

    /// The release that would be gone back to.
    pub fn candidate(&self) -> Option<Version> {
        let live = &self.record.live()?.deploy.release.version;
        let observation = self.observation?;
        let is_there = |version: &Version| observation.available.iter().any(|release| release.version == *version);
        let mut before = self.record.deploys.iter().rev().map(|record| &record.deploy.release.version);
        match self.policy.gates.known_good {
            KnownGoodPolicy::Soaked => {
                let good = |version: &&Version| {
                    *version != live && self.record.standing(version) == Standing::KnownGood && is_there(version)
                };
                let deployed = before.find(good);
                let marked = || observation.available.iter().map(|release| &release.version).find(good);
                deployed.or_else(marked).cloned()
            }
            KnownGoodPolicy::Previous => {
                // Only what was seen to run here: what merely lies at the target may be anything.
                before.find(|version| *version != live).filter(|version| is_there(version)).cloned()
            }
        }
    }

    fn ask(&self, gate: Gate, plan: PlanKind, to: Option<&Version>) -> (Answer, String) {
        match gate {
            Gate::Accused => self.accused(),
            Gate::DeployedRecently => self.deployed_recently(),
            Gate::FaultAfterDeploy => self.fault_after_deploy(),
            Gate::KnownGood => self.known_good(to),
            Gate::NotKnownBad => self.not_known_bad(to),
            Gate::OneRollbackForADeploy => self.one_rollback(),
            Gate::NotDenied => self.not_denied(),
            Gate::Budget => self.budget(plan),
            Gate::Cooldown => self.cooldown(),
            Gate::NotPaused => self.not_paused(),
            Gate::NotInMaintenance => self.not_in_maintenance(),
            Gate::NoSharedCause => self.no_shared_cause(),
            Gate::DependenciesWell => self.dependencies_well(),
            Gate::NotPinned => self.not_pinned(),
            Gate::NotOwned => self.not_owned(),
            Gate::Undoable => self.undoable(to),
            Gate::OnlyTheNewFails => self.only_the_new_fails(),
            Gate::SelfCheck => match self.observer_impaired {
                Some(Impaired { why, certain: true }) => {
                    (Answer::No, format!("the watchdog's own network is ill: {why}"))
                }
                Some(Impaired { why, certain: false }) => {
                    (Answer::Unknown, format!("the watchdog's own network may be ill: {why}"))
                }
                None => (Answer::Yes, "the watchdog's own network is well, as far as it is checked".to_owned()),
            },
            Gate::Store => match self.store_failing {
                Some(why) => (Answer::Unknown, format!("the journal cannot be written just now: {why}")),
                None => (Answer::Yes, "the journal can be written".to_owned()),
            },
        }
    }

    fn live(&self) -> Option<&'a DeployRecord> {
        self.record.live()
    }

    fn accused(&self) -> (Answer, String) {
        let Some(live) = self.live() else {
            return (Answer::Unknown, "what is live is not known yet".to_owned());
        };
        let version = &live.deploy.release.version;
        if let Some(incident) = self.incident {
            match &incident.accused {
                None => return (Answer::Unknown, "nothing was known to be live when the incident began".to_owned()),
                Some((number, accused)) if *number != live.deploy.number => {
                    return (Answer::No, format!("{version} was deployed since; the incident accuses {accused}"));
                }
                Some(_) => {}
            }
        }
        match self.observation.map(|observation| &observation.current) {
            Some(Some(current)) if current.version == *version => (Answer::Yes, format!("{version} is live")),
            Some(Some(current)) => {
                (Answer::Unknown, format!("the target says that {current} is live, the journal says {version}"))
            }
            Some(None) => {
                let why = self.observation.and_then(|seen| seen.untold.as_deref());
                let why = why.map(|why| format!(": failed to {why}")).unwrap_or_default();
                (Answer::Unknown, format!("the target cannot tell what is live{why}"))
            }
            None => (Answer::Unknown, self.not_seen()),
        }
    }

    pub(super) fn not_seen(&self) -> String {
        match self.blind {
            Some(why) => format!("the target could not be looked at: {why}"),
            None => "the target has not been looked at yet".to_owned(),
        }
    }

    fn deployed_recently(&self) -> (Answer, String) {
        let within = self.policy.gates.deployed_within;
        let Some(live) = self.live() else {
            return (Answer::Unknown, "no deploy is known".to_owned());
        };
        let age = self.steady.since(live.noticed);
        match live.deploy.source {
            DeploySource::FirstSeen if age <= within => {
                (Answer::Unknown, "it was live already when the watch first began: its deploy was not seen".to_owned())
            }
            _ if age <= within => (Answer::Yes, format!("deployed {} ago, within {}", words(age), words(within))),
            _ => (Answer::No, format!("deployed {} ago, more than {}", words(age), words(within))),
        }
    }

    fn fault_after_deploy(&self) -> (Answer, String) {
        let Some(incident) = self.incident else {
            let is_settled = self.live().is_none_or(|live| live.rollout == Rollout::Settled);
            let what = if is_settled { "a fault that begins from now on" } else { "what fails in the rollout" };
            return (Answer::Yes, format!("no incident is open; {what} comes after the deploy"));
        };
        let deploy = incident.accused.as_ref().and_then(|(number, _)| self.record.deploy(*number));
        let Some(deploy) = deploy else {
            return (Answer::Unknown, "no deploy is known that it could have come after".to_owned());
        };
        let Some(onset) = incident.began else {
            let why =
                "since when it is so is not known: since the watch began nothing that was seen says that it was not";
            return (Answer::Unknown, why.to_owned());
        };
        let noticed = deploy.noticed;
        if onset.after(NOTICE_LAG) >= noticed {
            (Answer::Yes, format!("it began {} after the deploy was noticed", words(onset.since(noticed))))
        } else {
            (Answer::No, format!("it began {} before the deploy", words(noticed.since(onset))))
        }
    }

    fn known_good(&self, to: Option<&Version>) -> (Answer, String) {
        if let Some(to) = to {
            let is_trusted = self.policy.gates.known_good == KnownGoodPolicy::Previous
                || self.record.standing(to) == Standing::KnownGood;
            if !is_trusted {
                return (Answer::No, self.standing_words(to));
            }
            let why = self.record.standings.get(to).map_or("it ran before", |record| record.why.as_str());
            return (Answer::Yes, format!("{to}: {why}"));
        }
        match self.observation {
            None => (Answer::Unknown, self.not_seen()),
            Some(observation) if let Some(gone) = self.known_good_and_gone(observation) => {
                let service = &self.policy.name;
                let why = format!(
                    "{gone} is known to be good, and is no longer at the target: let another one soak, or say `backstop \
                     deploys mark {service} VERSION good`"
                );
                (Answer::No, why)
            }
            Some(observation) if observation.available.is_empty() => {
                (Answer::No, "the target has no other release".to_owned())
            }
            Some(_) if self.policy.gates.known_good == KnownGoodPolicy::Previous => {
                (Answer::No, "no release that ran here before is at the target".to_owned())
            }
            Some(_) => {
                let service = &self.policy.name;
                let live = self.live().map(|live| &live.deploy.release.version);
                let which = match live.filter(|live| self.record.standing(live) == Standing::KnownGood) {
                    Some(live) => format!("no other release at the target than {live}, which is live,"),
                    None => "no release at the target".to_owned(),
                };
                let why = format!(
                    "{which} is known to be good: let one soak, or say `backstop deploys mark {service} VERSION good`"
                );
                (Answer::No, why)
            }
        }
    }

    /// The last release before this one that is known to be good, where it cannot be gone back to since the target does not
    /// have it any more.
    fn known_good_and_gone(&self, observation: &Observation) -> Option<&'a Version> {
        let live = &self.live()?.deploy.release.version;
        let is_there = |version: &Version| observation.available.iter().any(|release| release.version == *version);
        let mut before = self.record.deploys.iter().rev().map(|record| &record.deploy.release.version);
        before.find(|version| {
            *version != live && self.record.standing(version) == Standing::KnownGood && !is_there(version)
        })
    }

    /// What is known of a release that is no place to go back to.
    fn standing_words(&self, version: &Version) -> String {
        let standing = self.record.standing(version).as_str().replace('_', " ");
        match self.record.standings.get(version) {
            Some(known) => format!("{version} is {standing}: {}", known.why),
            None => format!("{version} is {standing}: it was not seen healthy here for long enough, nor marked good"),
        }
    }

    fn not_known_bad(&self, to: Option<&Version>) -> (Answer, String) {
        let Some(to) = to else { return (Answer::Yes, "there is none to go back to".to_owned()) };
        match self.record.standing(to) {
            Standing::KnownBad | Standing::Suspect => (Answer::No, self.standing_words(to)),
            Standing::KnownGood | Standing::Unproven => (Answer::Yes, format!("nothing bad is known of {to}")),
        }
    }

    fn one_rollback(&self) -> (Answer, String) {
        let Some(live) = self.live() else { return (Answer::Unknown, "no deploy is known".to_owned()) };
        if live.deploy.source == DeploySource::Rollback {
            let version = &live.deploy.release.version;
            return (Answer::No, format!("a rollback made {version} live, and no second hop follows by itself"));
        }
        let accused = self.incident.and_then(|incident| incident.accused.as_ref());
        let deploy = accused.and_then(|(number, _)| self.record.deploy(*number)).unwrap_or(live);
        let plans = || self.incident.iter().flat_map(|incident| &incident.plans);
        let last = plans().rfind(|plan| plan.deploy == deploy.deploy.number);
        let is_stuck = last.and_then(|plan| plan.ended).is_some_and(|(_, outcome)| outcome == PlanOutcome::Stuck);
        if deploy.rolled_back && is_stuck {
            (Answer::No, "a rollback from this deploy was begun already, and got stuck".to_owned())
        } else if deploy.rolled_back {
            (Answer::No, "this deploy was rolled back from already".to_owned())
        } else {
            (Answer::Yes, "the first for this deploy".to_owned())
        }
    }

    fn not_denied(&self) -> (Answer, String) {
        let Some(denied) = self.live().and_then(|live| live.denied) else {
            return (Answer::Yes, "nobody denied it".to_owned());
        };
        let verdict = self.incident.map_or(VerdictKind::Consider, |incident| incident.verdict);
        if verdict > denied {
            (Answer::Yes, format!("a human denied it at {denied}; at {verdict} it is asked for again"))
        } else {
            (Answer::No, "a human denied the rollback of this deploy".to_owned())
        }
    }

    /// Rollbacks and restarts have as much each, and are counted apart: what a restart could not mend may still be rolled
    /// back, and what fails again and again is not restarted for ever.
    fn budget(&self, plan: PlanKind) -> (Answer, String) {
        let budget = self.policy.gates.rollbacks;
        let since = self.steady.before(budget.over);
        let (all, what) = match plan {
            PlanKind::RestartFailing => (&self.record.restarts, " restarts"),
            _ => (&self.record.rollbacks, ""),
        };
        let made = all.iter().filter(|&&began| began > since).count();
        let answer = Answer::from(made < budget.at_most as usize);
        (answer, format!("{made} of {}{what} in the last {}", budget.at_most, words(budget.over)))
    }

    fn cooldown(&self) -> (Answer, String) {
        let cooldown = self.policy.gates.cooldown;
        match self.record.last_rollback_ended {
            None => (Answer::Yes, "no rollback before".to_owned()),
            Some(ended) => {
                let ago = self.steady.since(ended);
                let why = format!("the last rollback ended {} ago; cooldown {}", words(ago), words(cooldown));
                (Answer::from(ago >= cooldown), why)
            }
        }
    }

    fn not_paused(&self) -> (Answer, String) {
        let holds = |pause: &&PauseRecord| !pause.is_over(self.steady);
        match self.record.paused.as_ref().filter(holds).or(self.paused_all.filter(holds)) {
            None => (Answer::Yes, "not paused".to_owned()),
            Some(pause) => (Answer::No, format!("paused by {}: {}", pause.by, pause.reason)),
        }
    }
}

impl Situation<'_> {
    fn not_in_maintenance(&self) -> (Answer, String) {
        let now = self.now.wall;
        match self.policy.maintenance.iter().find(|time| time.is_on(now)) {
            Some(time) => (Answer::No, format!("in maintenance until {}: {}", time.to, time.why)),
            None => (Answer::Yes, "no maintenance time is on".to_owned()),
        }
    }

    fn no_shared_cause(&self) -> (Answer, String) {
        let policy = self.policy.gates.shared_cause;
        let together = self.neighbours.together(self.now, self.index, policy);
        let limit = usize::try_from(policy.services).unwrap_or(usize::MAX);
        let (bad, unknown) = (together.bad.len(), together.unknown.len());
        let within = words(policy.within);
        let names = |all: &[ServiceIndex]| list(all.iter().map(|one| self.neighbours.name(*one).as_str()));
        if bad >= limit {
            let why = format!("{bad} services turned bad within {within}: {}", names(&together.bad));
            return (Answer::No, why);
        }
        if bad + unknown >= limit {
            let why = format!(
                "{bad} of {limit} services turned bad within {within}, and nothing is known of {}",
                names(&together.unknown)
            );
            return (Answer::Unknown, why);
        }
        let others = bad.saturating_sub(1);
        (Answer::Yes, format!("{others} others turned bad within {within}; {limit} together would be too many"))
    }

    fn dependencies_well(&self) -> (Answer, String) {
        let all = || self.neighbours.dependencies(self.now, self.index);
        let those = |which| {
            let names: Vec<&str> = all().filter(|one| one.wellness == which).map(|one| one.name.as_str()).collect();
            (!names.is_empty()).then(|| list(names.into_iter()))
        };
        if let Some(names) = those(Wellness::NotWell) {
            return (Answer::No, format!("depends on {names}, which is not well"));
        }
        // What it did is still in this one's windows for a while.
        let lingers = |one: &Dependency<'_>| one.ill_ago.is_some_and(|ago| ago < self.policy.verify.healthy_for);
        if let Some(one) = all().find(lingers) {
            let ago = words(one.ill_ago.unwrap_or_default());
            return (Answer::No, format!("depends on {}, which was not well until {ago} ago", one.name));
        }
        if let Some(names) = those(Wellness::Unknown) {
            return (Answer::Unknown, format!("depends on {names}, of which it is not known whether it is down"));
        }
        let why = if all().next().is_none() { "it depends on nothing here" } else { "what it depends on is well" };
        (Answer::Yes, why.to_owned())
    }

    fn not_pinned(&self) -> (Answer, String) {
        let Some(live) = self.live() else { return (Answer::Unknown, "what is live is not known yet".to_owned()) };
        let version = &live.deploy.release.version;
        match self.record.pins.get(version) {
            None => (Answer::Yes, format!("{version} is not pinned")),
            Some(pin) => {
                let reason = pin.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                (Answer::No, format!("{version} is pinned by {}{reason}", pin.by))
            }
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names[..names.len().min(NAMED_LIMIT)].join(", ");
    match names.len().saturating_sub(NAMED_LIMIT) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A duration as people write it, to the second.
pub fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, 0) if !duration.is_zero() => format!("{} ms", duration.as_millis()),
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, 0, _) => format!("{hours}h"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, 0, ..) => format!("{days}d"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}
