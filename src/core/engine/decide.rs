//! From a verdict to a plan: what is due, whether the gates allow it, and whom to ask.

use std::time::Duration;

use super::{incident::write_evidence, outlook, page::Draft, service::Service, surroundings::told_first, turn::Turn};
use crate::core::{
    answer::Answer,
    durable::{ApprovalState, IncidentRecord},
    entry::{ByHand, Fact},
    gate::{Gate, GateReport, together, words},
    name::{IncidentId, Version},
    page::PageKind,
    plan,
    policy::{Atom, ConsiderThen, Expression, Finding, Mode, Question},
    release::Observation,
    verdict::{PlanKind, VerdictKind},
};

/// A gate that cannot tell holds a rollback that is due; after this the refusal is told. Longer than a look at the
/// target takes, short enough for someone who waits.
pub(super) const UNKNOWN_HOLDS_FOR: Duration = Duration::from_secs(10);

/// The longest that acting waits for other services to be seen failing too, however seldom they are sampled: an outage
/// must last ten seconds anyway where nothing else is configured.
const WAIT_FOR_OTHERS_LIMIT: Duration = Duration::from_secs(10);

/// How long an approval stays open. When it expires and the situation is still so, a new one is asked for.
const APPROVAL_OPEN_FOR: Duration = Duration::from_secs(30 * 60);

/// Rollbacks that a human approved are not bound by these.
pub(super) const NOT_FOR_HUMANS: [Gate; 2] = [Gate::Budget, Gate::Cooldown];

/// What is due for the open incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Ask a human.
    Ask,
    /// Do it.
    Act,
}

/// A plan that is about to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin<'a> {
    pub(super) plan: PlanKind,
    pub(super) from: &'a Version,
    /// The same version where nothing is gone back to.
    pub(super) to: &'a Version,
    /// Who approved it.
    pub(super) approved_by: Option<&'a str>,
    /// Whose order it is, if it is a person's.
    pub(super) by_hand: Option<&'a ByHand>,
}

impl<'a> Begin<'a> {
    /// One that nobody was asked about.
    pub(super) const fn of(plan: PlanKind, from: &'a Version, to: &'a Version) -> Self {
        Self { plan, from, to, approved_by: None, by_hand: None }
    }
}

impl Service {
    /// Goes on with the open incident: drives its plan, or decides whether one is to begin.
    pub(super) fn act(&mut self, turn: &mut Turn<'_>) {
        if turn.observer.closing {
            return;
        }
        self.follow_gather(turn);
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if incident.active_plan().is_some() {
            if self.page_only {
                self.abandon(turn, "Backstop's own state was restored after an error: it only watches from here on");
            } else {
                self.drive(turn);
            }
            return;
        }
        // One rollback for an incident: no second hop, whatever came of the first.
        if incident.is_through() || self.page_only {
            return;
        }
        self.expire_approval(turn);
        let due = self.due(turn);
        if self.policy.mode == Mode::Observe {
            self.tell_would_have(turn, due);
            return;
        }
        if due == Due::Nothing {
            self.held_since = None;
            return;
        }
        match (self.chosen(turn), due) {
            (PlanKind::Gather, _) => self.gather_and_leave(turn),
            (plan, _) if !plan.is_available() => self.leave_to_people(turn, plan),
            (plan, Due::Ask) => self.ask(turn, plan),
            (PlanKind::RestartFailing, _) => self.restart_if_allowed(turn),
            (plan, _) if self.leaves_rollback_to_people(turn) => self.ask(turn, plan),
            _ => self.roll_back_if_allowed(turn),
        }
    }

    /// The tree wants a plan that this version cannot carry out: another one in its place could make things worse.
    fn leave_to_people(&mut self, turn: &mut Turn<'_>, plan: PlanKind) {
        let detail = format!("the tree wants the plan {plan}, which this version cannot carry out: do it by hand");
        self.leave_undone(turn, &detail);
    }

    /// What is due is left to people, whom it is told once.
    pub(super) fn leave_undone(&mut self, turn: &mut Turn<'_>, detail: &str) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if incident.refused {
            return;
        }
        let id = incident.id.clone();
        self.find(turn, Finding::RollbackRefused, detail, None);
        let incident = turn.incident(&id);
        let summary = format!("{}: not acted on: {detail}. {}", self.name, incident.path.because);
        let draft = Draft::about(PageKind::RollbackRefused, incident, summary).found(Finding::RollbackRefused);
        turn.page(draft);
        write_evidence(turn, &id);
    }

    fn due(&mut self, turn: &Turn<'_>) -> Due {
        let Some(incident) = turn.open_incident(&self.name) else { return Due::Nothing };
        let kind = self.watch.verdict().kind;
        if kind < VerdictKind::Consider {
            return Due::Nothing;
        }
        // A denial holds the deploy, whichever incident it was said in.
        let denied = denied_at(incident).max(turn.record(&self.name).live().and_then(|live| live.denied));
        let by_human_only = self.policy.mode == Mode::Ask || incident.refused || denied.is_some();
        match kind {
            VerdictKind::RollBack if !self.is_unbroken(turn) => Due::Nothing,
            VerdictKind::RollBack if denied == Some(kind) => Due::Nothing,
            VerdictKind::RollBack if by_human_only => Due::Ask,
            // What was seen and is not surely over keeps the incident open; it is no ground for doing anything.
            VerdictKind::RollBack if !self.watch.may_act() => Due::Nothing,
            VerdictKind::RollBack => Due::Act,
            _ if denied.is_some() => Due::Nothing,
            _ if by_human_only || self.policy.consider.then == ConsiderThen::Ask => Due::Ask,
            _ => {
                // What reporters alone say is never acted on: a human is asked when the window has passed. It does not
                // count towards the window of what others say later, either.
                let (since, then) = match self.considered_without_reporters_since {
                    Some(since) => (since, Due::Act),
                    None => (self.considered_since.unwrap_or(turn.now.boot), Due::Ask),
                };
                let until = since.after(self.policy.consider.window);
                self.wake_by(until);
                if turn.now.boot >= until && (then == Due::Ask || self.watch.may_act()) { then } else { Due::Nothing }
            }
        }
    }

    /// Whether the verdict has stood long enough, and an outage has lasted `down_for` unbroken.
    fn is_unbroken(&mut self, turn: &Turn<'_>) -> bool {
        let waited = self.due_since.unwrap_or(turn.now.boot).after(self.acting_wait(turn));
        if turn.now.boot < waited {
            self.wake_by(waited);
            return false;
        }
        if !self.decided_by_outage() {
            return true;
        }
        // What was seen counts, not what passed: missed samples do not make an outage longer.
        self.watch.failing_for().is_some_and(|lasted| lasted >= self.policy.thresholds.down_for)
    }

    /// How long a verdict to roll back must have stood before it is acted on: as configured, and where other services
    /// could show what all of them share, long enough for the slowest of them to be seen failing.
    pub(super) fn acting_wait(&self, turn: &Turn<'_>) -> Duration {
        let configured = self.policy.gates.acting_wait;
        let others = || turn.policy.services.iter().filter(|other| other.name != self.name);
        let needed = usize::try_from(self.policy.gates.shared_cause.services).unwrap_or(usize::MAX);
        if others().count() + 1 < needed {
            return configured;
        }
        let slowest = others().filter_map(|other| other.seen_failing_within()).max().unwrap_or_default();
        configured.max(slowest.min(WAIT_FOR_OTHERS_LIMIT))
    }

    /// Whether the verdict rests on an outage: on the built-in question, or on an own one about a critical probe that
    /// fails just now.
    fn decided_by_outage(&self) -> bool {
        let Some(question) = self.deciding_question() else { return false };
        let condition = &self.policy.conditions[usize::from(question.when)];
        condition.name.as_str() == "system_down"
            || (self.watch.failing_since().is_some() && self.asks_of_a_critical_probe(&condition.expression))
    }

    fn asks_of_a_critical_probe(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Atom(atom) => match self.policy.atoms[usize::from(*atom)] {
                Atom::Failing { signal, .. } => self.is_critical(signal),
                _ => false,
            },
            Expression::Condition(place) => {
                self.asks_of_a_critical_probe(&self.policy.conditions[usize::from(*place)].expression)
            }
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().any(|part| self.asks_of_a_critical_probe(part))
            }
            Expression::Not(inner) | Expression::Sustained { inner, .. } => self.asks_of_a_critical_probe(inner),
        }
    }

    fn deciding_question(&self) -> Option<&Question> {
        nth_question(&self.policy.tree, &mut { self.watch.verdict().decided_by? })
    }

    /// The name of the condition behind the question that decided.
    pub(super) fn deciding_condition(&self) -> Option<&str> {
        let question = self.deciding_question()?;
        Some(self.policy.conditions[usize::from(question.when)].name.as_str())
    }

    fn ask(&mut self, turn: &mut Turn<'_>, plan: PlanKind) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if let Some(open) = incident.open_approval() {
            let versions = self.versions(turn, plan);
            if open.plan != plan && versions.is_some() {
                self.void_approval(turn, &format!("the plan that is due is {plan} by now"));
            } else if versions.is_some_and(|(_, to)| to != open.to) {
                self.void_approval(turn, "the release to go back to is another by now");
            }
            return;
        }
        let gates = self.gates_for_people(turn, plan);
        let Some((from, to)) = self.versions(turn, plan).filter(|_| together(&gates) == Answer::Yes) else {
            // Consider asks; a rollback that was due and is held has to be told, and so has what several services share.
            let is_shared = told_first(&gates).is_some_and(|held| held.gate == Gate::NoSharedCause);
            if self.watch.verdict().kind == VerdictKind::RollBack || is_shared {
                if plan == PlanKind::RestartFailing {
                    self.refuse_restart(turn, &gates);
                } else {
                    self.refuse_when_held(turn, plan, &gates);
                }
            }
            return;
        };
        let incident = turn.open_incident(&self.name).expect("it was open above");
        let id = incident.id.clone();
        let approval = incident.approvals.last().map_or(1, |last| last.number + 1);
        let expires = turn.now.wall.after(APPROVAL_OPEN_FOR);
        let verdict = self.watch.verdict().kind;
        let (asked_from, asked_to) = (from.clone(), to.clone());
        let fact = Fact::ApprovalRequested {
            incident: id.clone(),
            approval,
            plan,
            verdict,
            from: asked_from,
            to: asked_to,
            expires,
        };
        turn.append(Some(&self.name), fact);
        let (detail, what) = if plan.rolls_back() {
            (format!("{plan} from {from} to {to}"), format!("rolling back from {from} to {to}"))
        } else {
            (format!("{plan} of {from}"), format!("restarting what fails of {from}"))
        };
        self.find(turn, Finding::ApprovalRequested, &detail, None);
        let incident = turn.incident(&id);
        let summary = format!("{}: approve {what}? {}", self.name, incident.path.because);
        let draft = Draft::about(PageKind::ApprovalRequested, incident, summary).found(Finding::ApprovalRequested);
        let draft =
            if plan.rolls_back() { draft.versions(&from, &to) } else { draft.action("Approve or deny the restart.") };
        let draft = draft.details([
            format!("Approve: backstop incident approve {id} --approval {approval}"),
            format!("Deny: backstop incident deny {id} --approval {approval}"),
            format!("Open until {expires}."),
        ]);
        let draft = draft.details(self.leaves(&to).filter(|_| plan.rolls_back()));
        turn.page(draft);
    }

    fn roll_back_if_allowed(&mut self, turn: &mut Turn<'_>) {
        let plan = PlanKind::Quick;
        let gates = self.gates_before(turn, plan, &[]);
        match self.versions(turn, plan) {
            Some((from, to)) if together(&gates) == Answer::Yes => self.start(turn, &Begin::of(plan, &from, &to)),
            _ => self.refuse_when_held(turn, plan, &gates),
        }
    }

    /// What is asked before a plan that Backstop would begin now.
    pub(super) fn gates_before(&self, turn: &Turn<'_>, plan: PlanKind, left_out: &[Gate]) -> Vec<GateReport> {
        let situation = self.situation(turn);
        let mut gates = situation.reports_before(plan, situation.candidate().as_ref());
        gates.retain(|report| !left_out.contains(&report.gate));
        gates
    }

    /// What the gates say to whoever is asked: people may decide where nobody knows since when it is so.
    pub(super) fn gates_for_people(&self, turn: &Turn<'_>, plan: PlanKind) -> Vec<GateReport> {
        let mut gates = self.gates_before(turn, plan, &NOT_FOR_HUMANS);
        gates.retain(|report| !(report.gate == Gate::FaultAfterDeploy && report.answer == Answer::Unknown));
        gates
    }

    /// The live version and the one that will be: where nothing is gone back to they are one.
    pub(super) fn versions(&self, turn: &Turn<'_>, plan: PlanKind) -> Option<(Version, Version)> {
        if plan == PlanKind::RestartFailing {
            return self.restartable(turn).map(|(version, _)| (version.clone(), version));
        }
        let from = turn.record(&self.name).live()?.deploy.release.version.clone();
        Some((from, self.situation(turn).candidate()?))
    }

    /// Tells a refusal once: at once if a gate says no, after a while if one cannot tell.
    pub(super) fn refuse_when_held(&mut self, turn: &mut Turn<'_>, plan: PlanKind, gates: &[GateReport]) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if incident.refused {
            return;
        }
        let id = incident.id.clone();
        let Some(held) = self.held_by(turn, gates) else { return };
        match (held.gate, held.answer) {
            (Gate::NoSharedCause, Answer::No) => return self.tell_shared_cause(turn, held),
            (Gate::DependenciesWell, Answer::No) => return self.tell_held_by_dependency(turn, held),
            _ => {}
        }
        let finding = Self::held_as(plan, held);
        let detail = format!("{}: {}", held.gate, held.why);
        self.find(turn, finding, &detail, Some(held.gate));
        let lines = gates.iter().filter(|report| report.answer != Answer::Yes);
        let lines: Vec<String> =
            lines.map(|report| format!("{} says {}: {}", report.gate, report.answer, report.why)).collect();
        let incident = turn.incident(&id);
        let not = if plan.rolls_back() { "not rolled back" } else { "what fails is not restarted" };
        let summary = format!("{}: {not}: {}. {}", self.name, held.why, incident.path.because);
        let draft = Draft::about(PageKind::RollbackRefused, incident, summary).found(finding).details(lines);
        let draft = if plan.rolls_back() {
            draft
        } else {
            draft.action("A restart of what fails was due and a gate held it. Decide by hand.")
        };
        turn.page(draft);
        write_evidence(turn, &id);
    }

    /// What holds a plan that is due: at once if a gate says no, after a while if one cannot tell.
    pub(super) fn held_by<'a>(&mut self, turn: &mut Turn<'_>, gates: &'a [GateReport]) -> Option<&'a GateReport> {
        let no = told_first(gates);
        if no.is_none() && !self.has_held_long(turn) {
            return None;
        }
        no.or_else(|| gates.iter().find(|report| report.answer != Answer::Yes))
    }

    /// Whether a plan that is due has been held long enough for that to be told, though no gate says no; until then it is
    /// looked at the target again.
    pub(super) fn has_held_long(&mut self, turn: &mut Turn<'_>) -> bool {
        let since = *self.held_since.get_or_insert(turn.now.boot);
        let until = since.after(UNKNOWN_HOLDS_FOR);
        if turn.now.boot >= until {
            return true;
        }
        self.look(turn);
        self.wake_by(until);
        false
    }

    /// Begins a plan.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, begin: &Begin<'_>) {
        let Begin { plan, from, to, approved_by, by_hand } = *begin;
        let incident = turn.open_incident(&self.name).expect("a plan belongs to an open incident");
        assert!(incident.active_plan().is_none(), "one plan at a time for a service");
        assert!(from != to || !plan.rolls_back(), "a rollback leads to another version");
        let id = incident.id.clone();
        let number = u16::try_from(incident.plans.len() + 1).expect("an incident has few plans");
        let deploy = turn.record(&self.name).live().expect("the gates looked at it").deploy.number;
        let steps = if plan.rolls_back() {
            plan::quick(&self.policy, from, to, self.suspends(turn).as_ref())
        } else {
            let (_, live) = self.restartable(turn).expect("what fails was seen");
            plan::restart_failing(&self.policy, from, &live.to_restart)
        };
        self.void_approval(turn, if plan.rolls_back() { "a rollback began" } else { "a restart of what fails began" });
        let fact = Fact::PlanStarted {
            incident: id.clone(),
            number,
            plan,
            from: from.clone(),
            to: to.clone(),
            deploy,
            object: self.sight.observation().and_then(Observation::object).map(str::to_owned),
            steps,
            approved_by: approved_by.map(str::to_owned),
            by_hand: by_hand.cloned(),
        };
        turn.append(Some(&self.name), fact);
        // A sync that was about to be turned on waits for this plan's end.
        self.leave_flying(turn);
        self.sight.plan_begins();
        self.held_since = None;
        self.calm_since = None;
        self.told_at = Some(turn.now.boot);
        if plan.rolls_back() {
            self.tell_rollback(turn, &id, begin);
        } else {
            self.tell_restart(turn, &id, from, approved_by, by_hand);
        }
        self.drive(turn);
    }

    /// Tells people that a rollback begins.
    fn tell_rollback(&self, turn: &mut Turn<'_>, id: &IncidentId, begin: &Begin<'_>) {
        let Begin { from, to, approved_by, by_hand, .. } = *begin;
        let incident = turn.incident(id);
        let ordered = by_hand.map(|order| format!(", ordered by {}", order.by)).unwrap_or_default();
        let summary = format!("{}: rollback in progress: {from} to {to}{ordered}", self.name);
        let draft = Draft::about(PageKind::RollbackStarted, incident, summary)
            .versions(from, to)
            .action("Rolling back to the previous version. Updates will follow.")
            .details([
                format!("Issue: {}", outlook::because(incident)),
                format!("Action: rolling back from {from} to {to}"),
                "ETA: under 5 minutes, verification included if it clears at once".to_owned(),
            ])
            .details(self.leaves(to))
            .details(approved_by.map(|by| format!("Approved by {by}.")))
            .details(by_hand.map(|order| format!("It was {}.", order.words())));
        turn.page(draft);
    }

    /// What a rollback to that release leaves as it is, in words.
    fn leaves(&self, to: &Version) -> Option<String> {
        let leaves = self.sight.observation()?.way_back(to)?.leaves.as_ref()?;
        Some(format!("Not with it: {leaves}."))
    }

    fn expire_approval(&mut self, turn: &mut Turn<'_>) {
        let open = turn.open_incident(&self.name).and_then(IncidentRecord::open_approval);
        let Some(lapses) = open.map(|approval| approval.lapses) else { return };
        if turn.steady() >= lapses {
            self.void_approval(turn, &format!("it was not answered within {}", words(APPROVAL_OPEN_FOR)));
        } else if self.watch.verdict().kind == VerdictKind::Healthy {
            self.void_approval(turn, "every answer is no by now");
        }
    }

    /// Voids the open approval, if there is one.
    pub(super) fn void_approval(&self, turn: &mut Turn<'_>, why: &str) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let Some(approval) = incident.open_approval().map(|approval| approval.number) else { return };
        let incident = incident.id.clone();
        turn.append(Some(&self.name), Fact::ApprovalVoided { incident, approval, why: why.to_owned() });
    }

    /// Whether a human denied what the verdict asks for just now.
    pub(super) fn is_denied(&self, turn: &Turn<'_>) -> bool {
        let verdict = self.watch.verdict().kind;
        let incident = turn.open_incident(&self.name).and_then(denied_at);
        let deploy = turn.record(&self.name).live().and_then(|live| live.denied);
        incident.max(deploy).is_some_and(|at| at == verdict || verdict < VerdictKind::RollBack)
    }
}

/// The gravest verdict at which a human denied this incident's rollback.
pub(super) fn denied_at(incident: &IncidentRecord) -> Option<VerdictKind> {
    let denied = incident.approvals.iter().filter(|one| matches!(one.state, ApprovalState::Denied(_)));
    denied.map(|one| one.verdict).max()
}

fn nth_question<'a>(questions: &'a [Question], left: &mut u16) -> Option<&'a Question> {
    for question in questions {
        if *left == 0 {
            return Some(question);
        }
        *left -= 1;
        if let crate::core::policy::Then::AskNext(next) = &question.then
            && let Some(found) = nth_question(next, left)
        {
            return Some(found);
        }
    }
    None
}
