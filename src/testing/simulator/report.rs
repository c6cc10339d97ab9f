//! What a run says of itself.

use std::time::Duration;

use super::{Report, ServiceName, Simulation, Told};
use crate::{
    core::{
        durable::ApprovalState,
        entry::{Entry, Fact, PlanOutcome, StepEvent},
        name::IncidentId,
        operation::Operation,
        policy::Finding,
        verdict::PlanKind,
    },
    testing::{invariants::Violation, policy::CHANNEL},
};

/// Journal entries that are shown with a violation.
const SHOWN_ENTRIES: usize = 60;
/// Restarts of one plan at most without any kill: two attempts, and undoing them.
const RESTARTS_OF_A_PLAN: u64 = 3;

/// Once a look has shown that Git has left, the sync is on again within this, whatever fails: four attempts, the last of them
/// after 210 s, and a process that is started anew.
const RESUMED_WITHIN: Duration = Duration::from_secs(240);

/// That a sync is suspended is told within this after its plan.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

impl Simulation<'_> {
    /// A violation with the end of the journal: what has to be read to mend it.
    pub(super) fn explain(&self, violation: &Violation) -> Violation {
        let at = self.now().wall.since(self.scenario.starts_at).as_secs_f64();
        Violation(format!("{violation} (at {at:.3} s)\n{}", self.lines().join("\n")))
    }

    /// The end of the journal as people read it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .journal
            .iter()
            .rev()
            .filter(|(_, entry)| !matches!(entry.fact, Fact::PageSettled { .. } | Fact::Soaked { .. }))
            .take(SHOWN_ENTRIES)
            .map(|(sequence, entry)| {
                let seconds = entry.at.since(self.scenario.starts_at).as_secs_f64();
                let service = entry.service.as_ref().map_or("", |name| name.as_str());
                let fact = match &entry.fact {
                    Fact::PageQueued { page, .. } => format!("page {}: {}", page.kind.as_str(), page.summary),
                    fact => format!("{fact:?}"),
                };
                let fact: String = fact.chars().take(300).collect();
                format!("{:>5} {seconds:>8.3} {service} {fact}", sequence.0)
            })
            .collect();
        lines.reverse();
        lines
    }

    pub(super) fn report(&mut self) -> Result<Report, Violation> {
        let is_dead = |channel: &str| self.scenario.channel_is_dead && channel == CHANNEL;
        let exists = |channel: &str| channel == CHANNEL || self.scenario.second_channel;
        self.invariants.rest(&self.disk, self.mode, self.now(), |channel| exists(channel) && !is_dead(channel))?;
        self.invariants.evidence_tells(&self.disk, &self.evidence, self.boot)?;
        self.check_against_the_truth()?;
        self.count_outcomes();
        let mut fingerprint = 0xcbf2_9ce4_8422_2325_u64;
        for (_, entry) in &self.journal {
            let text = serde_json::to_string(&**entry).expect("an entry is plain data");
            for byte in text.bytes() {
                fingerprint = (fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Ok(Report {
            effects: self.effects,
            outcomes: self.invariants.plans.iter().filter_map(|(_, outcome)| *outcome).collect(),
            rolled_back: self.invariants.plans.iter().map(|(service, _)| service.clone()).collect(),
            told: self.told(),
            nights: self.nights(),
            open: self.disk.incidents.values().filter(|incident| incident.is_open()).count() as u64,
            incidents: self.disk.services.values().map(|service| service.incident_count).sum(),
            fingerprint,
            kills: self.killed,
            tally: self.tally.clone(),
            journal: self.lines(),
        })
    }

    pub(super) fn told(&self) -> Vec<Told> {
        let queued = self.journal.iter().filter_map(|(_, entry)| match &entry.fact {
            Fact::PageQueued { page, .. } => self.invariants.delivered.get(&page.id),
            _ => None,
        });
        queued
            .map(|page| Told {
                kind: page.kind,
                severity: page.severity,
                finding: page.finding,
                service: page.service.clone(),
                summary: page.summary.clone(),
            })
            .collect()
    }

    pub(super) fn nights(&self) -> Vec<(ServiceName, bool)> {
        let looks = self.journal.iter().filter_map(|(_, entry)| match (&entry.fact, &entry.service) {
            (Fact::NightlyDryRun { told, .. }, Some(service)) => Some((service.clone(), *told)),
            _ => None,
        });
        looks.collect()
    }

    /// A service with which nothing was ever wrong is never rolled back; each attempt restarts at most once, and a plan a
    /// few times; nothing is being carried out any more.
    pub(super) fn check_against_the_truth(&self) -> Result<(), Violation> {
        for (service, world) in self.policy.services.iter().zip(&self.worlds) {
            let rolled_back = self.invariants.plans.iter().any(|(name, _)| *name == service.name);
            let accused = self.invariants.accused_by_people.contains(&service.name);
            if rolled_back && !accused && !world.ever_bad() {
                return Err(Violation(format!("{} was rolled back, and nothing was wrong with it", service.name)));
            }
            if let Some((key, count)) = world.restarts.iter().find(|(_, count)| **count > 1) {
                return Err(Violation(format!("{key} restarted the service {count} times")));
            }
            for key in world.restarts.keys() {
                let is_same = |other: &&crate::core::operation::StepKey| {
                    (&other.incident, other.plan) == (&key.incident, key.plan)
                };
                let count = world.restarts.keys().filter(is_same).count() as u64;
                if count > RESTARTS_OF_A_PLAN + self.interruptions() {
                    return Err(Violation(format!("{}: its plan restarted the service {count} times", key.incident)));
                }
            }
        }
        self.check_owners()?;
        let is_target = |one: &&super::Flying| {
            !matches!(one.attempt.operation, Operation::Record { .. } | Operation::ResumeSync { .. })
        };
        if let Some(one) = self.flying.iter().find(is_target) {
            return Err(Violation(format!("{} is still being carried out", one.attempt.key)));
        }
        Ok(())
    }

    /// A sync that is off is known to be, was told, and is not left off once Git is seen to have left.
    fn check_owners(&self) -> Result<(), Violation> {
        for (service, world) in self.policy.services.iter().zip(&self.worlds) {
            let Some(owner) = &world.owner else { continue };
            let is_not_held = |entry: &Entry| {
                matches!(entry.fact, Fact::SyncNotHeld { .. }) && entry.service.as_ref() == Some(&service.name)
            };
            if !owner.was_reverted() && self.journal.iter().any(|(_, entry)| is_not_held(entry)) {
                return Err(Violation(format!("{}: its sync did not hold, and nobody had turned it on", service.name)));
            }
            if !owner.is_suspended() {
                continue;
            }
            let record = self.disk.service(&service.name);
            if record.suspension.is_none() {
                return Err(Violation(format!("{}: its sync is left suspended, and nobody knows", service.name)));
            }
            // What has only just ended is told in a moment.
            let is_end = |entry: &Entry| {
                matches!(entry.fact, Fact::PlanEnded { .. }) && entry.service.as_ref() == Some(&service.name)
            };
            let ended = self.journal.iter().rfind(|(_, entry)| is_end(entry)).map(|(at, _)| self.appended[at]);
            let is_driven = self.disk.open_incident(&service.name).is_some_and(|one| one.active_plan().is_some());
            if is_driven || ended.is_none_or(|ended| self.boot.since(ended) < TOLD_WITHIN) {
                continue;
            }
            if !record.findings.contains(&Finding::SyncSuspended) {
                return Err(Violation(format!("{}: that its sync is suspended was never told", service.name)));
            }
            let is_distrusted = self.invariants.distrusted.contains_key(&service.name);
            let is_overdue = owner.left_since.is_some_and(|since| self.boot.since(since) > RESUMED_WITHIN);
            if is_overdue && !is_distrusted {
                return Err(Violation(format!("{}: Git has left, and its sync is still suspended", service.name)));
            }
        }
        Ok(())
    }

    /// How often a plan may have been cut short: each time one more attempt is made.
    fn interruptions(&self) -> u64 {
        self.killed + self.tally.of("fault: panicked")
    }

    fn is_restart(&self, incident: &IncidentId, number: u16) -> bool {
        let plans = self.disk.incidents.get(incident).map(|incident| &incident.plans);
        plans.is_some_and(|plans| plans.iter().any(|plan| plan.number == number && !plan.plan.rolls_back()))
    }

    /// What came of it all, by name.
    fn count_outcomes(&mut self) {
        let mut seen = Vec::new();
        for (_, entry) in &self.journal {
            match &entry.fact {
                Fact::PlanStarted { plan: PlanKind::RestartFailing, approved_by: Some(_), .. } => {
                    seen.push("restart: approved");
                }
                Fact::PlanStarted { plan: PlanKind::RestartFailing, by_hand: Some(_), .. } => {
                    seen.push("restart: ordered by hand");
                }
                Fact::PlanStarted { plan: PlanKind::RestartFailing, .. } => seen.push("restart: begun by itself"),
                Fact::PlanEnded { incident, plan, outcome, .. } if self.is_restart(incident, *plan) => {
                    seen.push(match outcome {
                        PlanOutcome::Verified => "restart: verified",
                        PlanOutcome::Persists => "restart: persists",
                        PlanOutcome::Unverified => "restart: unverified",
                        PlanOutcome::Failed => "restart: failed",
                        PlanOutcome::Stuck => "restart: stuck",
                        PlanOutcome::Overtaken => "restart: overtaken",
                        PlanOutcome::Aborted => "restart: aborted",
                    });
                }
                Fact::GatherBegun { by: Some(_), .. } => seen.push("gathering: ordered by hand"),
                Fact::GatherBegun { .. } => seen.push("gathering: begun by itself"),
                Fact::Gathered { found: Some(_), .. } => seen.push("gathering: done"),
                Fact::Gathered { why_not: Some(why), .. } if why.contains("started anew") => {
                    seen.push("gathering: cut short");
                }
                Fact::PlanStarted { approved_by: Some(_), .. } => seen.push("plan: approved"),
                Fact::PlanStarted { by_hand: Some(order), .. } if order.overridden.is_empty() => {
                    seen.push("plan: ordered by hand");
                }
                Fact::PlanStarted { by_hand: Some(_), .. } => seen.push("plan: ordered by hand, with overrides"),
                Fact::PlanStarted { .. } => seen.push("plan: begun by itself"),
                Fact::PlanEnded { detail, .. } if detail.starts_with("found unfinished") => {
                    seen.push("plan: too old to be gone on with");
                }
                Fact::PlanEnded { outcome, .. } => seen.push(match outcome {
                    PlanOutcome::Verified => "plan: verified",
                    PlanOutcome::Persists => "plan: persists",
                    PlanOutcome::Unverified => "plan: unverified",
                    PlanOutcome::Failed => "plan: failed",
                    PlanOutcome::Stuck => "plan: stuck",
                    PlanOutcome::Overtaken => "plan: overtaken",
                    PlanOutcome::Aborted => "plan: aborted",
                }),
                Fact::Step { event: StepEvent::Undone, .. } => seen.push("step: undone"),
                Fact::Step { event: StepEvent::UndoFailed, .. } => seen.push("step: could not be undone"),
                Fact::Step { event: StepEvent::BecameUnknown, .. } => seen.push("step: not known to be done"),
                Fact::Step { event: StepEvent::Succeeded, note, .. } if note.starts_with("found done") => {
                    seen.push("step: found done when looked at");
                }
                Fact::SyncNotHeld { .. } => seen.push("sync: not held"),
                Fact::SyncResumed { .. } => seen.push("sync: resumed"),
                Fact::Denied { .. } => seen.push("approval: denied"),
                Fact::ApprovalRequested { approval, .. } if *approval > 1 => seen.push("approval: asked for again"),
                Fact::Found { finding, .. } => seen.push(finding.as_str()),
                Fact::PageSettled { delivered: false, .. } => seen.push("page: given up"),
                Fact::IncidentResolved { how, .. } if how.starts_with("what fired") => seen.push("incident: cleared"),
                _ => {}
            }
        }
        let voided = self.disk.incidents.values().flat_map(|one| &one.approvals);
        for approval in voided {
            if let ApprovalState::Void(why) = &approval.state {
                seen.push(if why.starts_with("it was not answered") || why == "it expired" {
                    "approval: expired"
                } else {
                    "approval: void"
                });
            }
        }
        for what in seen {
            self.tally.count(what);
        }
    }
}
