//! What a rollback by hand comes to before it is begun: gate by gate, step by step, and in what words it is refused.

use super::{gather::GATHER_DEADLINE, outlook, service::Service, turn::Turn};
use crate::core::{
    answer::Answer,
    durable::{DeployRecord, PauseRecord},
    event::{Refusal, RollbackOrder},
    gate::{Gate, GateReport, Situation},
    name::{ServiceName, Version},
    operation::Operation,
    plan,
    release::DeploySource,
    verdict::PlanKind,
    view::{GatePreview, PlanUnderWay, RollbackPreview, StepPreview},
};

/// Releases of the target that a refusal names; the others are counted.
const NAMED_LIMIT: usize = 8;

impl Service {
    /// What the order comes to, gate by gate and step by step.
    pub(super) fn preview(&self, turn: &Turn<'_>, order: &RollbackOrder) -> Result<RollbackPreview, Refusal> {
        let plan = order.plan.unwrap_or(PlanKind::Quick);
        if !plan.is_available() {
            return Err(Refusal::Conflict(format!("plan {plan} is not in this version yet; quick is")));
        }
        if let Some(gate) = order.overrides.iter().find(|gate| !gate.is_asked_before(plan)) {
            return Err(Refusal::Conflict(format!(
                "gate {gate} is not asked before the plan {plan}: it needs no override"
            )));
        }
        if let Some(gate) = order.overrides.iter().find(|gate| !gate.can_be_overridden()) {
            return Err(Refusal::Conflict(if gate.binds_people() {
                format!("gate {gate} cannot be overridden: without it nothing can be begun")
            } else {
                format!("gate {gate} does not bind a rollback by hand, and needs no override")
            }));
        }
        if !order.overrides.is_empty() && order.reason.is_none() {
            return Err(Refusal::Conflict("an override needs a reason, which is kept".to_owned()));
        }
        let plan_under_way = self.plan_under_way(turn).filter(|_| plan != PlanKind::Gather);
        if let Some(running) = plan_under_way.as_ref().filter(|_| !order.dry_run) {
            let PlanUnderWay { plan, version_from: from, version_to: to, incident: id, .. } = running;
            let what = outlook::named_by(*plan, from, to);
            let why =
                format!("{}: {what} is under way already; `backstop incident show {id}` tells how it goes", self.name);
            return Err(Refusal::Conflict(why));
        }
        if plan == PlanKind::RestartFailing {
            let why = order
                .to
                .is_some()
                .then(|| format!("{}: plan restart_failing goes back to no version: leave --to out", self.name));
            if let Some(why) = why.or_else(|| self.no_restart(turn)) {
                return Err(Refusal::Conflict(why));
            }
        }
        let situation = self.situation(turn);
        let Some(live) = situation.record.live() else {
            let why = self.sight.unseen().map(|why| format!(": failed to {why}")).unwrap_or_default();
            return Err(Refusal::Conflict(format!("{}: what is live is not known yet{why}", self.name)));
        };
        // Whoever orders a rollback accuses what is live, whatever an open incident accuses.
        let accuses_live = |accused: &Option<(u64, Version)>| {
            accused.as_ref().is_some_and(|(number, _)| *number == live.deploy.number)
        };
        let incident = situation.incident.filter(|incident| accuses_live(&incident.accused));
        let situation = Situation { incident, ..situation };
        // While a rollback is under way what it does is what another comes to, wherever the target stands in between.
        let is_meant = |running: &&PlanUnderWay| {
            running.plan.rolls_back() && order.to.as_ref().is_none_or(|to| *to == running.version_to)
        };
        let (from, to) = if !plan.rolls_back() {
            let from = live.deploy.release.version.clone();
            (from.clone(), Some(from))
        } else if let Some(running) = plan_under_way.as_ref().filter(is_meant) {
            (running.version_from.clone(), Some(running.version_to.clone()))
        } else {
            let from = live.deploy.release.version.clone();
            let to = self.destination(&situation, &from, order)?;
            (from, to)
        };
        let reports = situation.reports_before(plan, to.as_ref());
        let gates: Vec<_> = reports.into_iter().map(|report| self.asked_by_hand(turn, live, report, order)).collect();
        let steps = match (plan, &to) {
            (PlanKind::Gather, _) => vec![plan::gather(GATHER_DEADLINE)],
            (PlanKind::RestartFailing, _) => {
                let (_, seen) = self.restartable(turn).expect("it was looked for above");
                plan::restart_failing(&self.policy, &from, &seen.to_restart)
            }
            (_, Some(to)) => plan::quick(&self.policy, &from, to, self.suspends(turn).as_ref()),
            (_, None) => Vec::new(),
        };
        let steps = steps
            .into_iter()
            .map(|step| StepPreview {
                title: step.title,
                deadline_seconds: step.deadline.as_secs_f64(),
                undo: step.undo.as_ref().map(undone),
                optional: step.optional,
            })
            .collect();
        let is_held = gates.iter().any(GatePreview::holds);
        let possible = to.is_some() && !is_held && plan_under_way.is_none();
        let available = if to.is_none() { available(&situation) } else { Vec::new() };
        let can_be_named = plan_under_way.is_none() && (to.is_some() || !available.is_empty());
        let all_the_same =
            (!possible && can_be_named).then(|| all_the_same(&self.name, plan, order, &gates, to.is_some())).flatten();
        Ok(RollbackPreview {
            service: self.name.clone(),
            version_from: from,
            version_to: to,
            plan,
            possible,
            plan_under_way,
            all_the_same,
            available,
            gates,
            steps,
        })
    }

    /// What a gate says to a person, and whether it holds one here.
    fn asked_by_hand(
        &self,
        turn: &Turn<'_>,
        live: &DeployRecord,
        report: GateReport,
        order: &RollbackOrder,
    ) -> GatePreview {
        let GateReport { gate, answer, mut why } = report;
        // After a rollback that failed the runbook wants people to intervene. Where all that it changed was undone, it is
        // as if it had not been: trying again is no second hop.
        let tries_again = gate == Gate::OneRollbackForADeploy
            && answer != Answer::Yes
            && live.deploy.source != DeploySource::Rollback
            && turn.ledger.durable.was_undone(&self.name, live.deploy.number);
        if tries_again {
            why += ", and what that changed was undone: a person may try again";
        }
        GatePreview {
            gate,
            answer,
            why,
            binds: gate.binds_people() && !tries_again,
            can_be_overridden: gate.can_be_overridden(),
            overridden: order.overrides.contains(&gate),
        }
    }

    /// Where it leads: to what was named, else to what Backstop itself would go back to, if there is any.
    fn destination(
        &self,
        situation: &Situation<'_>,
        from: &Version,
        order: &RollbackOrder,
    ) -> Result<Option<Version>, Refusal> {
        let Some(to) = &order.to else { return Ok(situation.candidate()) };
        if to == from {
            return Err(Refusal::Conflict(format!("{}: {to} is live already", self.name)));
        }
        let Some(observation) = situation.observation else {
            let why = situation.blind.unwrap_or("it has not been looked at yet");
            return Err(Refusal::Conflict(format!("{}: the target could not be seen: {why}", self.name)));
        };
        if !observation.available.iter().any(|release| release.version == *to) {
            let there = named(&available(situation));
            return Err(Refusal::Conflict(format!("{}: the target has no release {to}; it has {there}", self.name)));
        }
        Ok(Some(to.clone()))
    }
}

impl Service {
    /// How to take back the pause that holds this service, in words; nothing where none does.
    pub(super) fn resuming(&self, turn: &Turn<'_>) -> Option<String> {
        let situation = self.situation(turn);
        let holds = |pause: &&PauseRecord| !pause.is_over(situation.steady);
        let own = situation.record.paused.as_ref().filter(holds);
        let own = own.map(|_| format!("`backstop resume {}`", word(self.name.as_str())));
        let command = own.or_else(|| situation.paused_all.filter(holds).map(|_| "`backstop resume`".to_owned()))?;
        Some(format!("to take the pause back first: {command}"))
    }
}

/// Why an order is refused, and by which command it would begin all the same, if by any. `resuming` says how to take a
/// pause back that holds it.
pub(super) fn refused(preview: &RollbackPreview, resuming: Option<String>) -> String {
    let held = preview.gates.iter().filter(|gate| gate.holds());
    let mut parts: Vec<String> = held
        .map(|gate| {
            let said = format!("gate {} says {}: {}", gate.gate, gate.answer, gate.why);
            if gate.can_be_overridden { said } else { format!("{said} (it cannot be overridden)") }
        })
        .collect();
    if preview.gates.iter().any(|gate| gate.holds() && gate.gate == Gate::NotPaused) {
        parts.extend(resuming);
    }
    if preview.version_to.is_none() {
        parts.push(format!("there is nothing to go back to; the target has {}", named(&preview.available)));
    }
    if let Some(command) = &preview.all_the_same {
        parts.push(format!("to go ahead all the same: `{command}`"));
    }
    parts.join("; ")
}

/// The command by which an order that is refused would begin; none where a gate holds that cannot be overridden.
fn all_the_same(
    service: &ServiceName,
    plan: PlanKind,
    order: &RollbackOrder,
    gates: &[GatePreview],
    leads: bool,
) -> Option<String> {
    if gates.iter().any(|gate| gate.holds() && !gate.can_be_overridden) {
        return None;
    }
    let named = order.to.as_ref().map(|to| word(to.as_str()));
    let to = named.or_else(|| (!leads).then(|| "VERSION".to_owned()));
    let overrides = gates.iter().filter(|gate| gate.overridden || gate.holds()).map(|gate| gate.gate);
    Some(command(service, plan, to.as_deref(), overrides, order.reason.as_deref()))
}

/// The command that begins the plan with these gates set aside.
pub(super) fn command(
    service: &ServiceName,
    plan: PlanKind,
    to: Option<&str>,
    overrides: impl Iterator<Item = Gate>,
    reason: Option<&str>,
) -> String {
    let mut command = format!("backstop rollback {}", word(service.as_str()));
    if !plan.rolls_back() {
        command += &format!(" --plan {plan}");
    }
    if let Some(to) = to {
        command += &format!(" --to {to}");
    }
    let before = command.len();
    for gate in overrides {
        command += &format!(" --override {gate}");
    }
    match reason {
        Some(reason) => command += &format!(" --reason {}", word(reason)),
        None if command.len() > before => command += " --reason TEXT",
        None => {}
    }
    command
}

/// What the target has beside what is live.
fn available(situation: &Situation<'_>) -> Vec<Version> {
    let releases = situation.observation.map(|seen| seen.available.as_slice()).unwrap_or_default();
    releases.iter().map(|release| release.version.clone()).collect()
}

fn named(versions: &[Version]) -> String {
    let named: Vec<&str> = versions.iter().take(NAMED_LIMIT).map(Version::as_str).collect();
    match (named.len(), versions.len().saturating_sub(NAMED_LIMIT)) {
        (0, _) => "none".to_owned(),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

/// One word for a shell: quoted where it must be.
fn word(text: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_./:@+=,%".contains(one);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn undone(undo: &Operation) -> String {
    match undo {
        Operation::Switch { from, to } => format!("switch back from {from} to {to}"),
        other => other.as_str().replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn words_stay_one_word_in_a_shell() {
        for (text, written) in [
            ("v1.2.3", "v1.2.3"),
            ("team/api:v1@sha256", "team/api:v1@sha256"),
            ("", "''"),
            ("the shop is empty", "'the shop is empty'"),
            ("$(id)", "'$(id)'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(word(text), written);
        }
    }
}
