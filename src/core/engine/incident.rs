//! Incidents: opening, rising, repeating, resolving; and lost signals.

use std::time::Duration;

use super::{State, outlook, page::Draft, service::Service, turn::Turn};
use crate::core::{
    action::{Action, Actions},
    answer::Answer,
    durable::{IncidentRecord, verdict_severity},
    entry::Fact,
    gate::words,
    name::{IncidentId, Version},
    page::PageKind,
    policy::{Finding, Severity, SignalKind},
    time::BootTime,
    verdict::{Onset, VerdictKind},
    watch::NO_ANSWER,
};

/// An incident is not opened before the target has been looked at since things turned bad: a deploy that just began
/// explains it. If no look that tells what is live comes back within this time, the incident is opened without it. Longer
/// than a target takes to tell of a deploy that it sees come in parts.
pub(crate) const LOOK_FIRST_FOR: Duration = Duration::from_secs(8);

/// Lost signals are looked for so often; they are lost over many seconds.
const LOST_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// Signals count as restored after so long without a gap: one that comes and goes is told once.
const RESTORED_AFTER: Duration = Duration::from_secs(30);

/// The conditions that say that a service is down.
const OUTAGES: [&str; 2] = ["system_down", "rollout_failing"];

/// After an outage a signal is given the time to be heard again, that many intervals of its own: five samples in a row restore
/// it, and one more may be on its way.
const HEARD_AGAIN_INTERVALS: u32 = 6;

/// A target that is looked at anew has said of an instance that it fails by then, if it does: ten times as long as one is
/// given to become ready, for those whose own probes are slow.
const INSTANCES_JUDGED_WITHIN: Duration = Duration::from_mins(5);

/// A signal that is found lost so long after the process stood still is put down to that.
const STOOD_STILL_LATELY: Duration = Duration::from_mins(1);

/// The file of an incident's evidence that has all that became of it.
pub(crate) const AS_IT_STANDS: &str = "incident.json";

/// A file that follows from an entry is written within this, long: what is older is on disk.
const WRITTEN_WITHIN: Duration = Duration::from_mins(10);

impl Service {
    pub(super) fn follow_incident(&mut self, turn: &mut Turn<'_>) {
        let verdict = self.watch.verdict();
        let since = |kind, before: Option<BootTime>| (verdict.kind == kind).then(|| before.unwrap_or(turn.now.boot));
        self.considered_since = since(VerdictKind::Consider, self.considered_since);
        self.considered_without_reporters_since = since(VerdictKind::Consider, self.considered_without_reporters_since)
            .filter(|_| self.watch.stands_without_reporters());
        self.due_since = since(VerdictKind::RollBack, self.due_since);
        self.suspected_since = match (self.considered_since, self.due_since, self.watch.failing_since()) {
            (None, None, _) => None,
            // A probe that fails had the target looked at since its first failure.
            (_, _, Some(failing)) => Some(self.suspected_since.map_or(failing, |since| since.min(failing))),
            _ => Some(self.suspected_since.unwrap_or(turn.now.boot)),
        };
        let Some(incident) = turn.open_incident(&self.name) else {
            // While the watchdog's own network is ill nothing new is opened: what was seen may be us.
            let is_us = turn.observer.impaired().is_some();
            if verdict.kind >= VerdictKind::Consider && !is_us && !self.must_look_first(turn) {
                self.open(turn);
            }
            return;
        };
        // In an incident that a person opened nothing may have fired; what cannot be told yet is no rise.
        if verdict.kind > incident.verdict && verdict.kind >= VerdictKind::Consider {
            self.rise(turn);
        } else if incident.active_plan().is_none() {
            self.resolve_when_calm(turn);
            self.repeat(turn);
        }
    }

    /// Whether the target has not been looked at since the verdict turned bad; a look that does not tell what is live does
    /// not count.
    fn must_look_first(&mut self, turn: &mut Turn<'_>) -> bool {
        let since = self.suspected_since.unwrap_or(turn.now.boot);
        let until = since.after(LOOK_FIRST_FOR);
        if self.sight.told_at() > Some(since) || turn.now.boot >= until {
            return false;
        }
        self.look(turn);
        self.wake_by(until);
        true
    }

    pub(super) fn onset_boot(&self, turn: &Turn<'_>) -> Option<BootTime> {
        match self.watch.onset(turn.now) {
            Onset::Ago(duration) => Some(turn.now.boot.before(duration)),
            Onset::Nothing | Onset::Unknown => None,
        }
    }

    fn open(&mut self, turn: &mut Turn<'_>) {
        let record = turn.record(&self.name);
        let id = IncidentId::from(format!("{}-{}", self.name, record.incident_count + 1));
        let deploy = record.live().map(|live| live.deploy.number);
        let onset = self.onset_boot(turn).map(|boot| turn.now.wall_at(boot));
        let path = self.path(turn);
        let verdict = self.watch.verdict().kind;
        let fact = Fact::IncidentOpened { incident: id.clone(), verdict, path, deploy, onset, by: None };
        turn.append(Some(&self.name), fact);
        self.calm_since = None;
        self.held_since = None;
        self.told_at = Some(turn.now.boot);
        let action = self.intention(turn, verdict);
        let draft = Draft::about(PageKind::IncidentOpened, turn.incident(&id), self.headline(turn, &id));
        let draft = draft.action(action).details(self.since_when(turn, &id));
        let draft = self.quieten(turn, draft);
        turn.page(draft);
        self.keep_opening(turn, &id);
        write_evidence(turn, &id);
    }

    /// Puts everything that was seen when the incident opened into its evidence folder.
    pub(super) fn keep_opening(&self, turn: &mut Turn<'_>, id: &IncidentId) {
        let answers: std::collections::BTreeMap<_, _> = self.watch.condition_answers().collect();
        let content = serde_json::json!({
            "at": turn.now.wall,
            "path": turn.incident(id).path,
            "conditions": answers,
            "signals": self.watch.signals(turn.now),
            "target": self.sight.observation(),
            "target_trouble": self.sight.trouble().map(ToString::to_string),
            "gates": self.situation(turn).reports(),
        });
        let content = serde_json::to_string_pretty(&content).expect("plain data");
        let name = "opened.json".to_owned();
        turn.after_commit(Action::WriteEvidence { incident: id.clone(), name, content });
    }

    fn rise(&mut self, turn: &mut Turn<'_>) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let id = incident.id.clone();
        let verdict = self.watch.verdict().kind;
        self.void_approval(turn, &format!("the verdict rose to {verdict}"));
        let path = self.path(turn);
        turn.append(Some(&self.name), Fact::VerdictRose { incident: id.clone(), verdict, path });
        self.calm_since = None;
        self.told_at = Some(turn.now.boot);
        let action = self.intention(turn, verdict);
        let draft = Draft::about(PageKind::IncidentEscalated, turn.incident(&id), self.headline(turn, &id));
        let draft = draft.action(action).details(self.since_when(turn, &id));
        let draft = self.quieten(turn, draft);
        turn.page(draft);
        write_evidence(turn, &id);
    }

    fn headline(&self, turn: &Turn<'_>, id: &IncidentId) -> String {
        format!("{}: {}", self.name, turn.incident(id).path.because)
    }

    fn since_when(&self, turn: &Turn<'_>, id: &IncidentId) -> Vec<String> {
        let incident = turn.incident(id);
        let mut lines = Vec::new();
        // In an incident that a person opened the fault, if there is one, came later or was not the reason.
        let shown = || self.onset_boot(turn).map(|boot| turn.now.wall_at(boot));
        match incident.onset.or_else(|| incident.opened_by.as_ref().and_then(|_| shown())) {
            Some(onset) => lines.push(format!("Since {onset}.")),
            None => lines.push("Since when is not known: it was so when the watch began.".to_owned()),
        }
        if let Some(live) = turn.record(&self.name).live() {
            let age = words(turn.ago(live.noticed));
            lines.push(format!("{} is live; its deploy was noticed {age} ago.", live.deploy.release));
        }
        lines
    }

    /// Whether everything that fired in the incident is clear just now, by evidence.
    pub(super) fn is_calm(&self, turn: &Turn<'_>) -> bool {
        let Some(incident) = turn.open_incident(&self.name) else { return true };
        self.watch.verdict().kind < VerdictKind::Consider
            && !self.awaits_instances(turn, incident)
            && self
                .watch
                .condition_answers()
                .all(|(name, answer)| answer == Answer::No || !incident.fired.contains(name))
    }

    /// Whether what fired may have been instances that fail, and they are not seen to serve by now: a process that has just
    /// begun does not know yet for how long they have not. Later the target's own answer is enough; an instance that is
    /// only starting, or finds no place, keeps no incident open.
    fn awaits_instances(&self, turn: &Turn<'_>, incident: &IncidentRecord) -> bool {
        let may_be = incident.fired.iter().any(|name| name.as_str() == "rollout_failing");
        may_be
            && turn.now.boot < self.begun_at.after(INSTANCES_JUDGED_WITHIN)
            && self
                .sight
                .observation()
                .is_none_or(|seen| seen.live_instances().is_some_and(|live| live.ready < live.all))
    }

    fn resolve_when_calm(&mut self, turn: &mut Turn<'_>) {
        if !self.is_calm(turn) {
            self.calm_since = None;
            return;
        }
        let since = *self.calm_since.get_or_insert(turn.now.boot);
        let enough = since.after(self.policy.verify.healthy_for);
        if turn.now.boot < enough {
            self.wake_by(enough);
            return;
        }
        let how = format!("what fired has been clear for {}", words(self.policy.verify.healthy_for));
        self.void_approval(turn, "it cleared by itself");
        self.resolve(turn, &how, None);
    }

    /// Ends the open incident and tells it. `replaced_by` is the version that was deployed, where that ends it and nothing
    /// is known of how that is.
    pub(super) fn resolve(&mut self, turn: &mut Turn<'_>, how: &str, replaced_by: Option<&Version>) {
        let Some(id) = turn.open_incident(&self.name).map(|incident| incident.id.clone()) else { return };
        turn.append(Some(&self.name), Fact::IncidentResolved { incident: id.clone(), how: how.to_owned() });
        self.calm_since = None;
        self.held_since = None;
        let incident = turn.incident(&id);
        let lasted = words(turn.ago(incident.opened));
        let after = outlook::aftermath(incident, replaced_by, self.sight.observation());
        let draft = Draft::about(PageKind::IncidentResolved, incident, format!("{}: {}: {how}", self.name, after.word))
            .action(after.action)
            .details([format!("The incident lasted {lasted}.")])
            .details(after.details);
        let draft = if after.is_stuck { draft.found(Finding::StepStuck) } else { draft };
        turn.page(draft);
        write_evidence(turn, &id);
    }

    /// Tells an open incident again, as its severity wants it.
    fn repeat(&mut self, turn: &mut Turn<'_>) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let is_quiet = self.ill_dependency(turn).is_some();
        let severity = if is_quiet { Severity::S3 } else { incident.severity() };
        let Some(every) = turn.policy.escalation.severities.get(&severity).and_then(|policy| policy.repeat) else {
            return;
        };
        // After a restart nobody remembers when people were told last. The incident's age says when it was due last, so that
        // who is restarted again and again tells it nevertheless.
        let since_due = turn.ago(incident.opened).as_millis() % every.as_millis().max(1);
        let since_due = Duration::from_millis(u64::try_from(since_due).unwrap_or(u64::MAX));
        let told = *self.told_at.get_or_insert(turn.now.boot.before(since_due));
        if turn.now.boot < told.after(every) {
            return;
        }
        self.told_at = Some(turn.now.boot);
        if self.is_repeated_elsewhere(turn) {
            return;
        }
        let open_for = words(turn.ago(incident.opened));
        let because = outlook::because(incident);
        let summary = format!("{}: still open after {open_for}: {because}", self.name);
        // A signal that the outage explains is no word on what to do about the outage.
        let found = incident.findings.iter().filter(|found| found.finding != Finding::SignalLost);
        let found = found.max_by_key(|found| found.severity).map(|found| found.finding);
        let left = outlook::left_to_people(incident);
        let mut draft = Draft::about(PageKind::IncidentEscalated, incident, summary);
        draft = match found {
            _ if is_quiet => self.quieten(turn, draft),
            Some(finding) => draft.found(finding),
            None => draft.action("It has neither cleared nor been resolved."),
        };
        if let Some(left) = left.filter(|_| !is_quiet) {
            draft = draft.action(left);
        }
        let lost =
            self.lost_in_incident.iter().map(|(signal, reason)| format!("Signal {signal} is lost with it: {reason}"));
        turn.page(draft.details(lost).once_more());
    }

    /// Notes a finding in the open incident.
    pub(super) fn find(
        &mut self,
        turn: &mut Turn<'_>,
        finding: Finding,
        detail: &str,
        gate: Option<crate::core::gate::Gate>,
    ) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let severity = verdict_severity(incident.verdict).max(turn.policy.escalation.severity(finding));
        let incident = Some(incident.id.clone());
        let detail = detail.to_owned();
        self.told_at = Some(turn.now.boot);
        turn.append(Some(&self.name), Fact::Found { incident, finding, severity, detail, gate });
    }

    /// Tells when a signal is lost, and when it is back.
    pub(super) fn follow_signals(&mut self, turn: &mut Turn<'_>) {
        if self.lost_checked_at.is_some_and(|at| turn.now.boot.since(at) < LOST_CHECKED_EVERY)
            || turn.observer.impaired().is_some()
        {
            return;
        }
        self.lost_checked_at = Some(turn.now.boot);
        let mut lost: Vec<(String, String)> =
            self.watch.lost(turn.now).into_iter().map(|(signal, reason)| (signal.to_string(), reason)).collect();
        if let Some(stood) = turn.clocks.stood_still(turn.now, STOOD_STILL_LATELY) {
            // Who did not look may not say that nobody answered.
            let own = format!("the watchdog itself stood still for {}", words(stood));
            for (_, reason) in &mut lost {
                *reason = if reason.starts_with(NO_ANSWER) { own.clone() } else { format!("{reason} ({own})") };
            }
        }
        if let Some(reason) = self.sight.long_trouble(turn.now) {
            lost.push(("the target".to_owned(), reason.to_string()));
        }
        if let Some(reason) = self.told_contradiction(turn) {
            lost.push(("which release runs".to_owned(), reason));
        }
        let finding = Finding::SignalLost;
        let told = turn.record(&self.name).findings.contains(&finding);
        let is_restart = self.leave_lost_to_restart(turn, &mut lost);
        let is_explained = self.keep_lost_with_outage(turn, &mut lost, told) || is_restart;
        let is_news = |(signal, _): &(String, String)| !self.lost_told.contains(signal);
        // After a restart of ours nobody remembers which signals were told of; that some were is in the journal.
        let news = if told && self.lost_told.is_empty() { false } else { lost.iter().any(is_news) };
        if news {
            let each: Vec<String> = lost.iter().map(|(signal, reason)| format!("{signal}: {reason}")).collect();
            let severity = turn.policy.escalation.severity(finding);
            let detail = each.join("; ");
            let summary = format!("{}: signal lost: {detail}", self.name);
            turn.append(Some(&self.name), Fact::Found { incident: None, finding, severity, detail, gate: None });
            turn.page(Draft::finding(PageKind::SignalLost, Some(&self.name), finding, summary).details(each));
        }
        self.lost_told.extend(lost.iter().map(|(signal, _)| signal.clone()));
        if !lost.is_empty() || is_explained {
            self.seen_since = None;
        } else if told {
            let since = *self.seen_since.get_or_insert(turn.now.boot);
            if turn.now.boot < since.after(RESTORED_AFTER) {
                return;
            }
            self.lost_told.clear();
            turn.append(Some(&self.name), Fact::FindingOver { finding });
            let summary = format!("{}: every signal is there again", self.name);
            let draft = Draft::finding(PageKind::SignalRestored, Some(&self.name), finding, summary);
            turn.page(draft.action("Nothing to do."));
        }
    }
}

impl Service {
    /// Takes out of `lost` what is asked of a service that is restarted on purpose, until it had the time to be heard again.
    /// What was told before stays. Whether there is such a signal.
    fn leave_lost_to_restart(&mut self, turn: &Turn<'_>, lost: &mut Vec<(String, String)>) -> bool {
        if self.is_restarting(turn) {
            self.restarted_at = Some(turn.now.boot);
        }
        let Some(restarted_at) = self.restarted_at else { return false };
        let before = lost.len();
        lost.retain(|(signal, _)| {
            let is_away = self.heard_again_by(signal, restarted_at).is_some_and(|until| turn.now.boot < until);
            !is_away || self.lost_told.contains(signal)
        });
        lost.len() < before
    }

    /// Until when a signal that is asked of the service itself may take to be heard again after the service was away; none
    /// where it is what shows that the service is away.
    fn heard_again_by(&self, signal: &str, away_at: BootTime) -> Option<BootTime> {
        let policy = self.policy.signals.iter().find(|one| one.name.as_str() == signal)?;
        let heard_by = away_at.after(policy.every * HEARD_AGAIN_INTERVALS + policy.timeout);
        (!matches!(policy.kind, SignalKind::Probe { .. })).then_some(heard_by)
    }

    /// Takes out of `lost` what an outage that is told already explains: what is asked of a service that is down cannot be
    /// answered. It is noted in the incident and pages on its own only when it outlasts that, whether what else fired in
    /// the incident is clear by then or not. What was told before
    /// (`told`, where a restart of ours forgot of which) stays, and so does what the outage itself is seen by: whether
    /// that is blind is no part of it. Whether there is such a signal.
    fn keep_lost_with_outage(&mut self, turn: &mut Turn<'_>, lost: &mut Vec<(String, String)>, told: bool) -> bool {
        let incident = turn.open_incident(&self.name).filter(|incident| {
            let by_outage = OUTAGES.iter().any(|name| incident.fired.contains(*name));
            by_outage && (self.watch.is_seen_failing(turn.now) || incident.found(Finding::SignalLost))
        });
        // After a restart of ours it is not known to be over until it is seen to be.
        let is_on = incident.is_some_and(|incident| {
            let mut answers = self.watch.condition_answers().filter(|(name, _)| OUTAGES.contains(&name.as_str()));
            answers.any(|(name, answer)| answer != Answer::No && incident.fired.contains(name))
        });
        if is_on {
            self.outage_at = Some(turn.now.boot);
        }
        let Some(id) = incident.filter(|_| !told || !self.lost_told.is_empty()).map(|incident| incident.id.clone())
        else {
            self.lost_in_incident.clear();
            return false;
        };
        let mut news = Vec::new();
        let mut explained = std::collections::BTreeMap::new();
        lost.retain(|(signal, reason)| {
            let heard_by = self.outage_at.and_then(|at| self.heard_again_by(signal, at));
            let is_explained = heard_by.is_some_and(|until| turn.now.boot < until);
            if !is_explained || self.lost_told.contains(signal) {
                return true;
            }
            if !self.lost_in_incident.contains_key(signal) {
                news.push(format!("{signal}: {reason}"));
            }
            explained.insert(signal.clone(), reason.clone());
            false
        });
        self.lost_in_incident = explained;
        if !news.is_empty() {
            let (finding, detail) = (Finding::SignalLost, format!("while it is down: {}", news.join("; ")));
            let severity = turn.policy.escalation.severity(finding);
            let fact = Fact::Found { incident: Some(id.clone()), finding, severity, detail, gate: None };
            turn.append(Some(&self.name), fact);
            write_evidence(turn, &id);
        }
        !self.lost_in_incident.is_empty()
    }
}

/// Puts an incident as it stands into its evidence folder.
pub(super) fn write_evidence(turn: &mut Turn<'_>, id: &IncidentId) {
    let evidence = as_it_stands(turn.incident(id));
    turn.after_commit(evidence);
}

fn as_it_stands(incident: &IncidentRecord) -> Action {
    let view = super::view::incident_view(incident);
    let content = serde_json::to_string_pretty(&view).expect("a view is plain data");
    Action::WriteEvidence { incident: incident.id.clone(), name: AS_IT_STANDS.to_owned(), content }
}

impl State {
    /// Sees to it that the folders tell what the journal does: the process may have ended between a commit and the file
    /// that followed from it.
    pub(super) fn keep_evidence_of_before(&mut self, actions: &mut Actions) {
        let unsure = self.ledger.durable.incidents_of_the_last(WRITTEN_WITHIN);
        for evidence in unsure.map(as_it_stands).collect::<Vec<_>>() {
            self.ledger.after_commit(evidence, actions);
        }
    }
}
