//! What a service tells the others, and what it is told through them: shared causes and dependencies.

use super::{page::Draft, service::Service, turn::Turn};
use crate::core::{
    answer::Answer,
    durable::IncidentRecord,
    entry::Fact,
    gate::{Gate, GateReport, Wellness, last_incident, was_its_own},
    name::ServiceName,
    page::PageKind,
    policy::{Finding, Severity},
    verdict::VerdictKind,
};

/// Services that the page about a shared cause has a line for.
const LINES_LIMIT: usize = 30;

impl Service {
    /// Lets the others know how this service is. A service turns bad when its incident opens: what a look at the target
    /// can still explain by a deploy does not count.
    pub(super) fn tell_neighbours(&self, turn: &mut Turn<'_>) {
        let is_bad = turn.open_incident(&self.name).is_some();
        let wellness = self.wellness(is_bad);
        if !turn.neighbours.update(turn.now, self.index, wellness, is_bad) || is_bad {
            return;
        }
        let durable = &turn.ledger.durable;
        let last = last_incident(durable, durable.service(&self.name), &self.name);
        if last.is_some_and(was_its_own) {
            turn.neighbours.was_its_own(self.index);
        }
        let finding = Finding::SharedCause;
        if durable.findings.contains(&finding) && !shares_a_cause(turn).any(|_| true) {
            turn.append(None, Fact::FindingOver { finding });
        }
    }

    fn wellness(&self, is_bad: bool) -> Wellness {
        let verdict = self.watch.verdict().kind;
        if is_bad || verdict >= VerdictKind::Consider {
            return Wellness::NotWell;
        }
        let mut conditions = self.watch.condition_answers();
        match conditions.find(|(name, _)| name.as_str() == "system_down") {
            Some((_, Answer::Unknown)) => Wellness::Unknown,
            None if verdict == VerdictKind::Monitor => Wellness::Unknown,
            _ => Wellness::Well,
        }
    }

    /// What this service depends on and is not well, in words for a page: theirs is the alarm.
    pub(super) fn ill_dependency(&self, turn: &Turn<'_>) -> Option<ServiceName> {
        turn.neighbours.ill_dependency(turn.now, self.index).cloned()
    }

    /// A page about an incident, at lower noise where what the service depends on has pages of its own.
    pub(super) fn quieten(&self, turn: &Turn<'_>, draft: Draft) -> Draft {
        match self.ill_dependency(turn) {
            Some(name) => draft
                .at(Severity::S3)
                .action(format!("Look at {name} first; nothing is rolled back here meanwhile."))
                .details([format!("Depends on {name}, which is not well.")]),
            None => draft,
        }
    }

    /// Notes that several services turned bad at once, and tells it once for all of them.
    pub(super) fn tell_shared_cause(&mut self, turn: &mut Turn<'_>, held: &GateReport) {
        let finding = Finding::SharedCause;
        let told = turn.ledger.durable.findings.contains(&finding);
        let policy = self.policy.gates.shared_cause;
        let together = turn.neighbours.together(turn.now, self.index, policy);
        self.find(turn, finding, &format!("{}: {}", held.gate, held.why), Some(held.gate));
        if told {
            return;
        }
        let severity = turn.policy.escalation.severity(finding);
        let fact = Fact::Found { incident: None, finding, severity, detail: held.why.clone(), gate: None };
        turn.append(None, fact);
        let lines: Vec<String> = together
            .bad
            .iter()
            .take(LINES_LIMIT)
            .map(|one| {
                let name = turn.neighbours.name(*one);
                match turn.open_incident(name) {
                    Some(incident) => format!("{name} ({}): {}", incident.id, incident.path.because),
                    None => format!("{name}: it cleared meanwhile"),
                }
            })
            .collect();
        let summary = format!("{}; nothing is rolled back", held.why);
        turn.page(Draft::finding(PageKind::IncidentEscalated, None, finding, summary).details(lines));
    }

    /// Notes that a rollback is held because of what the service depends on, at lower noise.
    pub(super) fn tell_held_by_dependency(&mut self, turn: &mut Turn<'_>, held: &GateReport) {
        let Some(id) = turn.open_incident(&self.name).map(|incident| incident.id.clone()) else { return };
        let detail = format!("{}: {}", held.gate, held.why);
        self.find(turn, Finding::RollbackRefused, &detail, Some(held.gate));
        let incident = turn.incident(&id);
        let summary = format!("{}: not rolled back: {}. {}", self.name, held.why, incident.path.because);
        let draft = self.quieten(turn, Draft::about(PageKind::RollbackRefused, incident, summary));
        turn.page(draft);
    }

    /// Whether another open incident of the same shared cause is repeated for all of them.
    pub(super) fn is_repeated_elsewhere(&self, turn: &Turn<'_>) -> bool {
        let Some(own) = turn.open_incident(&self.name) else { return false };
        let key = |incident: &IncidentRecord| (incident.opened, incident.id.clone());
        own.found(Finding::SharedCause) && shares_a_cause(turn).any(|other| key(other) < key(own))
    }
}

/// The gate whose no is told, where several say no: one that speaks of other services makes for fewer pages.
pub(super) fn told_first(gates: &[GateReport]) -> Option<&GateReport> {
    let says_no = |report: &&GateReport| report.answer == Answer::No;
    let of = |gate: Gate| gates.iter().filter(says_no).find(|report| report.gate == gate);
    of(Gate::NoSharedCause).or_else(|| of(Gate::DependenciesWell)).or_else(|| gates.iter().find(says_no))
}

/// Open incidents that are put down to a shared cause.
fn shares_a_cause<'a>(turn: &'a Turn<'_>) -> impl Iterator<Item = &'a IncidentRecord> {
    let all = turn.ledger.durable.incidents.values();
    all.filter(|incident| incident.is_open() && incident.found(Finding::SharedCause))
}
