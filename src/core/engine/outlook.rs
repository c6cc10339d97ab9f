//! What is about to happen in an incident, and what it leaves behind: in words that are true when they are sent, and that
//! say what earlier pages are worth by then.

use super::{decide::denied_at, service::Service, surroundings::told_first, turn::Turn};
use crate::core::{
    durable::{IncidentRecord, PlanRecord},
    entry::PlanOutcome,
    gate::words,
    name::Version,
    policy::{ConsiderThen, Finding, Mode},
    release::Observation,
    verdict::{PlanKind, VerdictKind},
};

/// What is left when an incident is over.
pub(super) struct Aftermath {
    /// How the page begins.
    pub(super) word: &'static str,
    /// What is to be done.
    pub(super) action: String,
    /// What earlier pages are worth by now.
    pub(super) details: Vec<String>,
    /// A rollback hangs half-way.
    pub(super) is_stuck: bool,
}

/// A plan, as in "the rollback from v2 to v1 failed".
pub(super) fn named(plan: &PlanRecord) -> String {
    named_by(plan.plan, &plan.from, &plan.to)
}

/// The same by its kind and versions.
pub(super) fn named_by(plan: PlanKind, from: &Version, to: &Version) -> String {
    if plan.rolls_back() {
        format!("the rollback from {from} to {to}")
    } else {
        format!("the restart of what fails of {from}")
    }
}

/// What a plan does, as in "rolling back from v2 to v1".
pub(super) fn doing(plan: PlanKind, from: &Version, to: &Version) -> String {
    if plan.rolls_back() {
        format!("rolling back from {from} to {to}")
    } else {
        format!("restarting what fails of {from}")
    }
}

/// The same at the beginning of a sentence.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// What is left of an incident that is over. `replaced_by` is a version that was just deployed, of which nothing is known
/// yet; `seen` what the target said last.
pub(super) fn aftermath(
    incident: &IncidentRecord,
    replaced_by: Option<&Version>,
    seen: Option<&Observation>,
) -> Aftermath {
    let plan = incident.plans.last();
    let outcome = plan.and_then(|plan| plan.ended.as_ref().map(|(_, outcome)| (plan, *outcome)));
    let is_stuck = matches!(outcome, Some((_, PlanOutcome::Stuck)));
    let watch = replaced_by.map(|version| format!("Watch {version}: whether it is well is not known yet."));
    let action = match outcome {
        Some((plan, PlanOutcome::Stuck)) => {
            let live = match (replaced_by, seen.and_then(|seen| seen.current.as_ref())) {
                (Some(version), _) => format!("{version} was deployed since; see that it is whole"),
                (None, Some(current)) => {
                    format!("the target says that {} is live; see that it is whole", current.version)
                }
                (None, None) => "the target does not tell what is live; look at it by hand".to_owned(),
            };
            format!("{} is still stuck half-way: {live}.", capital(&named(plan)))
        }
        _ if watch.is_some() => watch.unwrap_or_default(),
        Some((plan, PlanOutcome::Failed)) => format!(
            "What fired is over without {}, which failed. Find out why it failed before the next one is needed.",
            named(plan)
        ),
        Some((plan, PlanOutcome::Persists | PlanOutcome::Unverified)) => format!(
            "What fired is over by now. That {} helped was not proved in its time: look for the cause.",
            named(plan)
        ),
        Some((_, PlanOutcome::Overtaken)) => "Nothing more to do now: what was put live meanwhile is well.".to_owned(),
        Some((_, PlanOutcome::Aborted)) => "Nothing more to do now: what is live stays.".to_owned(),
        Some((_, PlanOutcome::Verified)) | None => "Nothing more to do now.".to_owned(),
    };
    let mut over: Vec<&str> = Vec::new();
    for found in &incident.findings {
        let name = found.finding.as_str();
        // That a signal is lost is told, and taken back, outside incidents.
        if found.finding == Finding::SignalLost {
            continue;
        }
        let stays = is_stuck && matches!(found.finding, Finding::StepStuck | Finding::RollbackFailed);
        if !stays && !over.contains(&name) {
            over.push(name);
        }
    }
    let mut details = Vec::new();
    if !over.is_empty() {
        details.push(format!("What earlier pages of it asked for is not needed any more ({}).", over.join(", ")));
    }
    if is_stuck {
        details.push("The page that a step is stuck holds until somebody has looked.".to_owned());
    }
    let word = if is_stuck { "over, but for a rollback that is stuck" } else { "resolved" };
    Aftermath { word, action, details, is_stuck }
}

/// Why an incident is open: what fired, or who ordered the rollback for which it was opened.
pub(super) fn because(incident: &IncidentRecord) -> String {
    let ordered = incident.plans.first().and_then(|plan| plan.by_hand.as_ref());
    match (&incident.opened_by, ordered) {
        (Some(_), Some(order)) if incident.fired.is_empty() => {
            let rolls_back = incident.plans.first().is_some_and(|plan| plan.plan.rolls_back());
            format!("{} {}", if rolls_back { "a rollback" } else { "a restart of what fails" }, order.words())
        }
        (Some(by), None) if incident.fired.is_empty() => format!("{by} opened it by hand"),
        _ => incident.path.because.clone(),
    }
}

/// What an open incident asks of people after a plan that Backstop left to them, whatever the escalation table says of how
/// it ended.
pub(super) fn left_to_people(incident: &IncidentRecord) -> Option<&'static str> {
    let (_, outcome) = incident.plans.last()?.ended.as_ref()?;
    match outcome {
        PlanOutcome::Overtaken => Some(OVERTAKEN),
        PlanOutcome::Aborted => {
            Some("The plan was aborted, and Backstop does nothing more in this incident: people decide.")
        }
        _ => None,
    }
}

/// What is to be done when somebody came between.
pub(super) const OVERTAKEN: &str =
    "Whoever came between decides: Backstop does nothing more in this incident. How it ends is told.";

/// What a rollback that is stuck half-way asks of people.
pub(super) fn after_stuck(incident: &IncidentRecord, from: &Version, to: &Version) -> String {
    let (id, service) = (&incident.id, &incident.service);
    format!(
        "See `backstop incident show {id}` and what the target has live. To go on to {to}: `backstop rollback {service} \
         --override one_rollback_for_a_deploy --reason TEXT`; to stay with {from}, once it is whole: `backstop deploys mark \
         {service} {from} good`."
    )
}

/// Who wanted a plan, where it was not Backstop.
pub(super) fn whose(plan: &PlanRecord) -> Option<String> {
    let what = if plan.plan.rolls_back() { "This rollback" } else { "This restart" };
    let order = plan.by_hand.as_ref().map(|order| format!("{what} was {}.", order.words()));
    order.or_else(|| plan.approved_by.as_ref().map(|by| format!("{what} was approved by {by}.")))
}

/// There is one rollback in an incident, whatever came of it.
fn one_plan_only(plan: &PlanRecord) -> String {
    let what = capital(&named(plan));
    let order = plan.by_hand.as_ref().map(|order| format!(", {},", order.words())).unwrap_or_default();
    match (&plan.ended, &plan.aborted) {
        (None, Some((by, _))) => {
            format!("{what}{order} is being ended, as {by} wanted; what it leaves is told.")
        }
        (None, None) => format!("{what}{order} goes on; what becomes of it is told."),
        (Some((_, outcome)), _) => format!(
            "{what}{order} has ended already ({}), and Backstop begins no {} in this incident: decide by hand.",
            outcome.as_str(),
            if plan.plan.rolls_back() { "second one" } else { "further plan" }
        ),
    }
}

impl Service {
    /// What Backstop is about to do, in words.
    pub(super) fn intention(&self, turn: &Turn<'_>, verdict: VerdictKind) -> String {
        let to = self.situation(turn).candidate();
        let to = to.map_or_else(|| "an older release".to_owned(), |version| version.to_string());
        if self.page_only {
            return "Backstop only watches this service: its state was restored after an error of its own.".to_owned();
        }
        let incident = turn.open_incident(&self.name);
        let is_last = |incident: &&IncidentRecord| incident.is_through() || incident.active_plan().is_some();
        if let Some(plan) = incident.filter(is_last).and_then(|incident| incident.plans.last()) {
            return one_plan_only(plan);
        }
        let plan = self.chosen(turn);
        if !plan.is_available() && self.policy.mode != Mode::Observe {
            return format!("The tree wants the plan {plan}, which this version cannot carry out: do it by hand.");
        }
        if plan == PlanKind::Gather {
            return if self.policy.mode == Mode::Observe {
                "Observing only. Otherwise Backstop would leave it to people, with what they would look at first."
            } else {
                "Backstop gathers what a human would look at first, and leaves the rest to people."
            }
            .to_owned();
        }
        let gates = self.gates_before(turn, plan, &[]);
        let restarts = plan == PlanKind::RestartFailing;
        if let Some(held) = told_first(&gates).filter(|_| self.policy.mode != Mode::Observe) {
            let done = if restarts { "restarted" } else { "rolled back" };
            return format!("As it is now nothing is {done}: {}.", held.why);
        }
        let asks = self.leaves_rollback_to_people(turn);
        let (to_do, does, done) = if restarts {
            let count = self.restartable(turn).map_or(0, |(_, live)| live.to_restart.len());
            let what = format!("{count} of the instances that fail");
            let then = if asks { "asks for approval to roll back" } else { "rolls back" };
            let does = format!("restarts {what}, and {then} if that does not help");
            (format!("restart {what}"), does, format!("restarted {what}"))
        } else {
            (format!("roll back to {to}"), format!("rolls back to {to}"), format!("rolled back to {to}"))
        };
        let denied = incident.and_then(denied_at).max(turn.record(&self.name).live().and_then(|live| live.denied));
        let is_refused = incident.is_some_and(|incident| incident.refused);
        match (self.policy.mode, verdict) {
            (Mode::Act | Mode::Ask, _) if denied.is_some_and(|at| at == verdict || verdict < VerdictKind::RollBack) => {
                "What was asked for this deploy was denied, so Backstop does not ask again: decide by hand.".to_owned()
            }
            (Mode::Act, _) if is_refused || denied.is_some() || (asks && !restarts) => {
                format!("Backstop asks for approval to {to_do}, if every gate allows it.")
            }
            (Mode::Observe, _) => {
                format!("Observing only. Whether Backstop would have {done} is told once that is clear.")
            }
            (Mode::Act, VerdictKind::RollBack) => {
                let wait = match self.deciding_condition() {
                    Some("system_down") => format!("after {} unbroken", words(self.policy.thresholds.down_for)),
                    _ => format!("in {}", words(self.acting_wait(turn))),
                };
                format!("If it is still so {wait} and every gate allows it, Backstop {does}.")
            }
            (Mode::Ask, VerdictKind::RollBack) => format!("Backstop asks for approval to {to_do}."),
            _ if self.policy.consider.then == ConsiderThen::RollBack && self.watch.stands_without_reporters() => {
                let window = words(self.policy.consider.window);
                format!("If it is still so in {window}, Backstop {does}.")
            }
            _ => format!("Backstop asks for approval to {to_do}, if every gate allows it."),
        }
    }
}
