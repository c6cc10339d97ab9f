//! What people ask for.

use std::time::Duration;

use super::{
    State, decide::Begin, deploys::Announced, incident::write_evidence, outlook, page::Draft, preview::command,
    service::Service, sight::same_version, turn::Turn,
};
use crate::core::{
    action::Actions,
    answer::Answer,
    durable::{ApprovalRecord, ApprovalState, IncidentRecord, PauseRecord, StandingRecord, verdict_severity},
    entry::Fact,
    event::{Refusal, Reply},
    gate::{Gate, together, words},
    name::{IncidentId, Version},
    page::PageKind,
    policy::{Finding, Mode},
    release::Mark,
    time::{Now, WallTime},
    verdict::{PlanKind, VerdictKind},
};

/// Versions that people may mark by hand in one service: each is kept for ever.
const STANDINGS_LIMIT: usize = 10_000;

/// An announced deploy or restart holds things back once in this time.
const ANNOUNCED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Services of which the end of a pause tells what follows; the others are counted.
const FOLLOWS_LIMIT: usize = 8;

impl State {
    /// The pause of all services has ended: what comes at once of that, in words.
    pub(super) fn all_resumed(&mut self, now: Now, actions: &mut Actions) -> String {
        let mut follows = Vec::new();
        for place in 0..self.services.len() {
            let index = self.services[place].index;
            if self.ledger.durable.open_incident(&self.services[place].name).is_some() {
                follows.extend(self.with(now, index, actions, |service, turn| {
                    service.follows_resuming(turn).map(|follows| format!("{}: {follows}", service.name))
                }));
            }
        }
        let more = follows.len().saturating_sub(FOLLOWS_LIMIT);
        follows.truncate(FOLLOWS_LIMIT);
        if more > 0 {
            follows.push(format!("and {more} more services with an open incident: `backstop status`"));
        }
        std::iter::once("resumed".to_owned()).chain(follows).collect::<Vec<_>>().join("; ")
    }
}

impl Service {
    #[expect(clippy::unused_self, reason = "everything that an incident needs is asked of its service")]
    fn approval(&self, turn: &Turn<'_>, id: &IncidentId, number: Option<u32>) -> Result<ApprovalRecord, Refusal> {
        let incident = turn.incident(id);
        if let Some((_, how)) = &incident.resolved {
            return Err(Refusal::Conflict(format!("incident {id} is over: {how}")));
        }
        let Some(open) = incident.open_approval() else {
            let last = incident.approvals.last();
            return Err(Refusal::Conflict(match last.map(|last| (&last.state, last.number)) {
                None => format!("incident {id} does not wait for an approval"),
                Some((ApprovalState::Approved(by), number)) => format!("approval {number} was given by {by} already"),
                Some((ApprovalState::Denied(by), number)) => format!("approval {number} was denied by {by} already"),
                Some((ApprovalState::Void(why), number)) => format!("approval {number} is void: {why}"),
                Some((ApprovalState::Open, number)) => format!("approval {number} is not open"),
            }));
        };
        match number {
            Some(number) if number != open.number => Err(Refusal::Conflict(format!(
                "approval {number} is not open any more; approval {} is, for {} from {} to {}",
                open.number, open.plan, open.from, open.to
            ))),
            _ => Ok(open.clone()),
        }
    }

    pub(super) fn approve(&mut self, turn: &mut Turn<'_>, id: &IncidentId, number: Option<u32>, by: &str) -> Reply {
        self.evaluate(turn);
        let open = self.approval(turn, id, number)?;
        if self.page_only || self.policy.mode == Mode::Observe {
            let why = "Backstop only watches this service just now";
            self.void_approval(turn, why);
            return Err(Refusal::Conflict(format!("approval {} is void: {why}", open.number)));
        }
        if turn.steady() >= open.lapses {
            self.void_approval(turn, "it expired");
            return Err(Refusal::Conflict(format!("approval {} expired at {}", open.number, open.expires)));
        }
        let restarts = open.plan == PlanKind::RestartFailing;
        if restarts && self.restartable(turn).is_none() {
            let why = "no instance is seen any more that could be restarted";
            self.void_approval(turn, why);
            return Err(Refusal::Conflict(format!("approval {} is void: {why}", open.number)));
        }
        let situation = self.situation(turn);
        let live = situation.record.live().map(|live| live.deploy.release.version.clone());
        let candidate = if restarts { live.clone() } else { situation.candidate() };
        let gates = self.gates_for_people(turn, open.plan);
        if live.as_ref() != Some(&open.from) || candidate.as_ref() != Some(&open.to) {
            let name = |version: Option<Version>| version.map_or_else(|| "nothing".to_owned(), |one| one.to_string());
            let why = format!(
                "it was for {} to {}; by now {} is live and {} would be gone back to",
                open.from,
                open.to,
                name(live),
                name(candidate)
            );
            self.void_approval(turn, &why);
            return Err(Refusal::Conflict(format!("approval {} is void: {why}", open.number)));
        }
        if together(&gates) != Answer::Yes {
            let held = || gates.iter().filter(|report| report.answer != Answer::Yes);
            let said: Vec<String> =
                held().map(|report| format!("gate {} says {}: {}", report.gate, report.answer, report.why)).collect();
            let mut said = said.join("; ");
            if let Some(resuming) = self.resuming(turn).filter(|_| held().any(|report| report.gate == Gate::NotPaused))
            {
                said += &format!("; {resuming}");
            }
            // What does not bind a person needs no override; where one cannot be overridden there is no way.
            if held().all(|report| report.gate.can_be_overridden() || !report.gate.binds_people()) {
                let overrides = held().map(|report| report.gate).filter(|gate| gate.can_be_overridden());
                said +=
                    &format!("; to go ahead all the same: `{}`", command(&self.name, open.plan, None, overrides, None));
            }
            return Err(Refusal::Gate(said));
        }
        let fact = Fact::Approved { incident: id.clone(), approval: open.number, by: by.to_owned() };
        turn.append(Some(&self.name), fact);
        let begin = Begin { approved_by: Some(by), ..Begin::of(open.plan, &open.from, &open.to) };
        self.start(turn, &begin);
        if restarts {
            return Ok(format!("approved: restarting what fails of {} {}", self.name, open.from));
        }
        Ok(format!("approved: rolling {} back from {} to {}", self.name, open.from, open.to))
    }

    pub(super) fn deny(
        &mut self,
        turn: &mut Turn<'_>,
        id: &IncidentId,
        number: Option<u32>,
        by: &str,
        reason: Option<String>,
    ) -> Reply {
        let open = self.approval(turn, id, number)?;
        let remark = reason.as_ref().map(|reason| format!("Reason: {reason}"));
        let fact = Fact::Denied { incident: id.clone(), approval: open.number, by: by.to_owned(), reason };
        turn.append(Some(&self.name), fact);
        self.tell_denied(turn, id, &open, by, remark);
        write_evidence(turn, id);
        Ok(format!("denied: {} stays at {}; this deploy is held", self.name, open.from))
    }

    /// Whoever was asked for the approval hears that somebody decided.
    fn tell_denied(
        &mut self,
        turn: &mut Turn<'_>,
        id: &IncidentId,
        denied: &ApprovalRecord,
        by: &str,
        remark: Option<String>,
    ) {
        let ApprovalRecord { from, to, verdict, .. } = denied;
        let incident = turn.incident(id);
        let asked_at =
            verdict_severity(incident.verdict).max(turn.policy.escalation.severity(Finding::ApprovalRequested));
        let again = if *verdict < VerdictKind::RollBack { ", unless the verdict rises to roll_back" } else { "" };
        let what = outlook::doing(denied.plan, from, to);
        let summary = format!("{}: {by} denied {what}", self.name);
        let draft = Draft::about(PageKind::RollbackRefused, incident, summary)
            .at(asked_at)
            .versions(from, to)
            .action(format!("{from} stays live, and Backstop does not ask again{again}: people decide."))
            .details(remark)
            .details([format!("To roll back after all: backstop rollback {} --dry-run shows how.", self.name)]);
        self.told_at = Some(turn.now.boot);
        turn.page(draft);
    }

    pub(super) fn mark(&mut self, turn: &mut Turn<'_>, version: Version, mark: Mark, by: &str) -> Reply {
        let record = turn.record(&self.name);
        if record.standings.len() >= STANDINGS_LIMIT && !record.standings.contains_key(&version) {
            return Err(Refusal::Busy(format!("{STANDINGS_LIMIT} versions are marked already")));
        }
        let word = match mark {
            Mark::Good => "marked good".to_owned(),
            Mark::Bad => "marked bad".to_owned(),
            Mark::Clear => {
                let cleared = if record.is_marked(&version) { "cleared" } else { "was not marked" };
                match record.measured(&version) {
                    Some(StandingRecord { standing, why, .. }) => {
                        format!("{cleared}: it is {}: {why}", standing.as_str().replace('_', " "))
                    }
                    None => cleared.to_owned(),
                }
            }
        };
        let mut reply = format!("{} {version} {word}", self.name);
        reply += &self.doubt(turn, &version);
        let before = begun(turn.open_incident(&self.name));
        turn.append(Some(&self.name), Fact::Marked { version, mark, by: by.to_owned() });
        if before.is_none() {
            return Ok(reply);
        }
        let follows = self.follows_resuming(turn);
        if let Some(follows) = follows.filter(|_| begun(turn.open_incident(&self.name)) != before) {
            reply += &format!("; {follows}");
        }
        Ok(reply)
    }

    /// A warning where nobody knows a release of this name; else nothing.
    pub(super) fn doubt(&self, turn: &Turn<'_>, version: &Version) -> String {
        if self.was_seen(turn, version) {
            return String::new();
        }
        let target = if self.sight.observation().is_some() { " or is at the target" } else { "" };
        format!("; warning: no release of this name was live here{target}, so check how it is spelled")
    }

    /// A warning where a release that is to be deployed is not at the target, which has all of them before; else nothing.
    /// A platform gets them with the deploy.
    fn doubt_of_deploy(&self, version: &Version) -> String {
        let Some(seen) = self.sight.observation().filter(|_| !self.policy.on_platform) else { return String::new() };
        let mut there = seen.available.iter().chain(&seen.current);
        if there.any(|release| same_version(&release.version, version)) {
            return String::new();
        }
        " (warning: the target has no release of this name yet, so check how it is spelled)".to_owned()
    }

    /// Whether a release of this name was live here, or is at the target, or was spoken of before.
    fn was_seen(&self, turn: &Turn<'_>, version: &Version) -> bool {
        let record = turn.record(&self.name);
        let at_target = self
            .sight
            .observation()
            .is_some_and(|seen| seen.available.iter().chain(&seen.current).any(|release| release.version == *version));
        at_target
            || record.standings.contains_key(version)
            || record.deploys.iter().any(|one| one.deploy.release.version == *version)
    }

    pub(super) fn report_deploy(&mut self, turn: &mut Turn<'_>, version: Version, by: &str) -> String {
        let settle = self.policy.gates.settle;
        let until = turn.now.boot.after(settle);
        if turn.open_incident(&self.name).is_none_or(|incident| incident.active_plan().is_none()) {
            self.sight.expect(version.clone());
        }
        let live = turn.record(&self.name).live().map(|live| &live.deploy.release.version);
        let is_live = live.is_some_and(|live| same_version(live, &version));
        let doubt = self.doubt_of_deploy(&version);
        let expected =
            if is_live { "is live, and a restart of it is expected" } else { "is expected" }.to_owned() + &doubt;
        // Whoever announces again and again must not keep the watch blind; and an incident that is open stays open.
        if let Some(incident) = turn.open_incident(&self.name) {
            let until = if is_live { "" } else { " until that is live" };
            let reply = format!(
                "{}: {version} {expected}; incident {} is open and goes on as before{until}",
                self.name, incident.id
            );
            self.look(turn);
            return reply;
        }
        let before = self.rollout.announced_at.filter(|at| turn.now.boot.since(*at) < ANNOUNCED_AGAIN_AFTER);
        // A restart of what is live may be announced again once it has answered after the one before.
        let is_over = |at| self.announced_until(turn.now).is_none() && self.answers_since(at);
        if let Some(at) = before.filter(|at| !(is_live && is_over(*at))) {
            self.look(turn);
            let (ago, within) = (words(turn.now.boot.since(at)), words(ANNOUNCED_AGAIN_AFTER));
            let held = match self.announced_until(turn.now) {
                Some(until) if is_live => format!(
                    "one was announced {ago} ago already, and holds incidents back until its first healthy answer, for {} \
                     more at most",
                    words(until.since(turn.now.boot))
                ),
                None if is_live => format!(
                    "one was announced {ago} ago already, and {version} has not answered well since: failures open an \
                     incident as ever"
                ),
                _ => format!(
                    "a deploy was announced {ago} ago already, and within {within} only the first holds incidents back: \
                     until {version} is seen live, failures open one as ever"
                ),
            };
            return format!("{}: {version} {expected}; {held}", self.name);
        }
        self.rollout.announced_at = Some(turn.now.boot);
        let reply = format!(
            "{}: {version} {expected}; until its first healthy answer nothing is opened, for {} at most",
            self.name,
            words(settle)
        );
        self.rollout.announced = Some(Announced { version, at: turn.now.boot, until, by: by.to_owned() });
        self.look(turn);
        self.evaluate(turn);
        reply
    }

    pub(super) fn pause(&mut self, turn: &mut Turn<'_>, for_seconds: Option<u64>, by: &str, reason: String) -> String {
        let until = for_seconds.map(|seconds| turn.now.wall.after(Duration::from_secs(seconds)));
        let reply = paused(self.name.as_str(), until, turn.record(&self.name).paused.as_ref());
        turn.append(Some(&self.name), Fact::Paused { until, by: by.to_owned(), reason });
        reply
    }

    pub(super) fn resume(&mut self, turn: &mut Turn<'_>, by: &str) -> Reply {
        if turn.record(&self.name).paused.is_none() {
            let all = if turn.ledger.durable.paused.is_some() {
                " by itself; every service is: `backstop resume` takes that back"
            } else {
                ""
            };
            return Err(Refusal::Conflict(format!("{} is not paused{all}", self.name)));
        }
        turn.append(Some(&self.name), Fact::Resumed { by: by.to_owned() });
        if turn.ledger.durable.paused.is_some() {
            let name = &self.name;
            return Ok(format!("{name} resumed; every service is still paused: `backstop resume` takes that back"));
        }
        let follows = self.follows_resuming(turn).map(|follows| format!("; {follows}")).unwrap_or_default();
        Ok(format!("{} resumed{follows}", self.name))
    }

    /// What comes at once of an open incident that was held by a pause; nothing where none is open.
    pub(super) fn follows_resuming(&mut self, turn: &mut Turn<'_>) -> Option<String> {
        turn.open_incident(&self.name)?;
        self.assess(turn);
        let incident = turn.open_incident(&self.name)?;
        let id = &incident.id;
        if let Some(plan) = incident.active_plan() {
            let what = outlook::doing(plan.plan, &plan.from, &plan.to);
            return Some(format!("{what}: `backstop incident show {id}`"));
        }
        Some(match incident.open_approval() {
            Some(approval) => {
                let ApprovalRecord { number, plan, from, to, expires, .. } = approval;
                let what = if plan.rolls_back() {
                    format!("to roll back from {from} to {to}")
                } else {
                    format!("to restart what fails of {from}")
                };
                format!(
                    "approval {number} waits until {expires}, {what}: `backstop incident approve {id} --approval {number}`, or `deny`"
                )
            }
            None => format!("incident {id} is open: `backstop incident show {id}`"),
        })
    }
}

/// The plans of an open incident, and the approval that it waits for.
fn begun(incident: Option<&IncidentRecord>) -> Option<(usize, Option<u32>)> {
    incident.map(|one| (one.plans.len(), one.open_approval().map(|approval| approval.number)))
}

/// That something is paused, until when, and what that takes the place of.
pub(super) fn paused(what: &str, until: Option<WallTime>, before: Option<&PauseRecord>) -> String {
    let until = until.map_or_else(|| "until it is resumed".to_owned(), |until| format!("until {until}"));
    let before = before.map(|pause| format!("; this replaces the pause by {}: {}", pause.by, pause.reason));
    format!("{what} paused {until}: no new plan begins{}", before.unwrap_or_default())
}
