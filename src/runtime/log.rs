//! What an operator finds in the log: each decision as it goes into the journal, and trouble once for each change.

use std::collections::BTreeMap;

use crate::core::{
    entry::{Entry, Fact, PlanOutcome, StepEvent},
    name::{ChannelName, IncidentId, PageId},
    operation::Look,
    page::DeliveryOutcome,
    sample::Reason,
};

/// Tells of one entry as it is appended. What only moves numbers (soaking, baselines, pages in the outbox) is not told.
pub(super) fn entry(entry: &Entry) {
    let service = entry.service.as_ref().map_or("", |name| name.as_str());
    match &entry.fact {
        Fact::Deployed { .. }
        | Fact::RolloutEnded { .. }
        | Fact::StandingChanged { .. }
        | Fact::Marked { .. }
        | Fact::Paused { .. }
        | Fact::Resumed { .. } => release(service, &entry.fact),
        Fact::IncidentOpened { incident, verdict, path, .. } => {
            tracing::warn!(service, %incident, %verdict, "incident opened: {}", path.because);
        }
        Fact::VerdictRose { incident, verdict, path } => {
            tracing::warn!(service, %incident, %verdict, "the verdict rose: {}", path.because);
        }
        Fact::Found { incident, finding, severity, detail, gate } => {
            let incident = incident.as_ref().map(tracing::field::display);
            tracing::warn!(service, incident, ?finding, ?severity, gate = gate.map(tracing::field::debug), "{detail}");
        }
        Fact::WouldHave { incident, verdict, what, .. } => {
            tracing::warn!(service, %incident, %verdict, "only observed: {what}");
        }
        Fact::FindingOver { finding } => tracing::info!(service, ?finding, "over"),
        Fact::IncidentResolved { incident, how } => tracing::info!(service, %incident, "resolved: {how}"),
        Fact::ApprovalRequested { .. } | Fact::Approved { .. } | Fact::Denied { .. } | Fact::ApprovalVoided { .. } => {
            approval(service, &entry.fact);
        }
        Fact::PlanStarted { .. } | Fact::Step { .. } | Fact::PlanEnded { .. } => plan(service, &entry.fact),
        Fact::GatherBegun { incident, why, by } => {
            tracing::info!(service, %incident, by = by.as_deref(), "evidence is being gathered: {why}");
        }
        Fact::Gathered { incident, why_not: Some(why), .. } => {
            tracing::warn!(service, %incident, "nothing could be gathered: failed to {why}");
        }
        Fact::SyncNotHeld { incident, why } => {
            tracing::error!(service, %incident, "the suspension did not hold: {why}");
        }
        Fact::SyncLeft { incident, why } => {
            tracing::warn!(service, %incident, "its sync is left to people: {why}");
        }
        Fact::SyncResuming { incident } => tracing::info!(service, %incident, "resuming the suspended sync"),
        Fact::SyncResumed { incident, how } => {
            tracing::info!(service, %incident, "no sync is suspended for it any more: {how}");
        }
        Fact::Forgotten { before, .. } => {
            tracing::info!(before = %before.rfc3339(), "what was over before this is no longer kept");
        }
        Fact::PageSettled { page, channel, delivered: false, why } => {
            tracing::error!(%page, %channel, "gave up delivering a page: {why}");
        }
        _ => {}
    }
}

fn release(service: &str, fact: &Fact) {
    match fact {
        Fact::Deployed { deploy } => {
            tracing::info!(service, version = %deploy.release, deploy = deploy.number, source = ?deploy.source, "deploy");
        }
        Fact::RolloutEnded { deploy, healthy: true } => tracing::info!(service, deploy, "the rollout ended, healthy"),
        Fact::RolloutEnded { deploy, healthy: false } => {
            tracing::warn!(service, deploy, "the rollout ended without a healthy answer");
        }
        Fact::StandingChanged { version, standing, why } => {
            tracing::info!(service, %version, standing = standing.as_str(), "the release's standing changed: {why}");
        }
        Fact::Marked { version, mark, by } => tracing::info!(service, %version, ?mark, by, "marked"),
        Fact::Paused { until, by, reason } => {
            tracing::info!(
                service,
                until = until.map(|until| tracing::field::display(until.rfc3339())),
                by,
                "paused: {reason}"
            );
        }
        Fact::Resumed { by } => tracing::info!(service, by, "resumed"),
        _ => {}
    }
}

fn approval(service: &str, fact: &Fact) {
    match fact {
        Fact::ApprovalRequested { incident, approval, plan, from, to, expires, .. } => {
            tracing::warn!(service, %incident, approval, %plan, %from, %to, expires = %expires.rfc3339(), "waits for approval");
        }
        Fact::Approved { incident, approval, by } => tracing::info!(service, %incident, approval, by, "approved"),
        Fact::Denied { incident, approval, by, reason } => {
            let reason = reason.as_deref().unwrap_or("no reason given");
            tracing::info!(service, %incident, approval, by, "denied: {reason}");
        }
        Fact::ApprovalVoided { incident, approval, why } => {
            tracing::info!(service, %incident, approval, "the approval is void: {why}");
        }
        _ => {}
    }
}

fn plan(service: &str, fact: &Fact) {
    match fact {
        Fact::PlanStarted { incident, number, plan, from, to, approved_by, .. } => {
            let approved_by = approved_by.as_deref();
            tracing::warn!(service, %incident, number, %plan, %from, %to, approved_by, "plan started");
        }
        Fact::Step { incident, plan, step, event, note } => step_of(service, incident, *plan, step + 1, *event, note),
        Fact::PlanEnded { incident, plan, outcome, detail } => {
            let word = outcome.as_str();
            match outcome {
                PlanOutcome::Verified => {
                    tracing::info!(service, %incident, plan, outcome = word, "plan ended: {detail}");
                }
                PlanOutcome::Failed | PlanOutcome::Stuck => {
                    tracing::error!(service, %incident, plan, outcome = word, "plan ended: {detail}");
                }
                _ => tracing::warn!(service, %incident, plan, outcome = word, "plan ended: {detail}"),
            }
        }
        _ => {}
    }
}

/// `step` counts from 1, as on pages.
fn step_of(service: &str, incident: &IncidentId, plan: u16, step: u16, event: StepEvent, note: &str) {
    let said = step_words(event, note);
    match event {
        StepEvent::Failed | StepEvent::BecameUnknown | StepEvent::UndoStarted => {
            tracing::warn!(service, %incident, plan, step, ?event, "{said}");
        }
        StepEvent::UndoFailed => tracing::error!(service, %incident, plan, step, ?event, "{said}"),
        _ => tracing::info!(service, %incident, plan, step, ?event, "{said}"),
    }
}

/// What became of a step, in words, and what is noted of it if anything is.
fn step_words(event: StepEvent, note: &str) -> String {
    let word = match event {
        StepEvent::Started => "step begun",
        StepEvent::Succeeded => "step done",
        StepEvent::Failed => "step failed",
        StepEvent::BecameUnknown => "what became of the step is not known",
        StepEvent::Skipped => "step left out",
        StepEvent::UndoStarted => "step being undone",
        StepEvent::Undone => "step undone",
        StepEvent::UndoFailed => "step not undone",
    };
    if note.is_empty() { word.to_owned() } else { format!("{word}: {note}") }
}

/// Tells of one try at delivering a page that did not succeed. What is refused for good is told as it is given up.
pub(super) fn delivery(page: &PageId, channel: &ChannelName, attempt: u32, outcome: &DeliveryOutcome) {
    if let DeliveryOutcome::Retry { reason, .. } = outcome {
        tracing::warn!(%page, %channel, attempt, "failed to deliver a page: {reason}");
    }
}

/// Which targets cannot be seen, so that each change is told once.
#[derive(Debug, Default)]
pub(super) struct TargetTrouble(BTreeMap<u32, Reason>);

impl TargetTrouble {
    /// Tells if a look is the first that fails, or the first that works again. True if it told.
    pub(super) fn looked(&mut self, place: u32, service: &str, look: &Look) -> bool {
        match &look.observation {
            Ok(_) => {
                let was = self.0.remove(&place);
                if was.is_some() {
                    tracing::info!(service, "the target can be seen again");
                }
                was.is_some()
            }
            Err(reason) => {
                let is_new = self.0.insert(place, reason.clone()).is_none();
                if is_new {
                    tracing::warn!(service, "the target cannot be seen: failed to {reason}");
                }
                is_new
            }
        }
    }
}

/// Why the store cannot be written, as it was told last: each try fails, and the log says so once until it changes.
#[derive(Debug, Default)]
pub(super) struct StoreTrouble(Option<Reason>);

impl StoreTrouble {
    /// Tells of a failure unless it was told last. True if it told.
    pub(super) fn failing(&mut self, reason: &Reason) -> bool {
        let is_new = self.0.as_ref() != Some(reason);
        if is_new {
            tracing::error!(%reason, "the journal cannot be written");
            self.0 = Some(reason.clone());
        }
        is_new
    }

    /// It was written. True if it told.
    pub(super) fn works(&mut self) -> bool {
        let was = self.0.take();
        if was.is_some() {
            tracing::info!("the journal can be written again");
        }
        was.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::release::Observation;

    #[test]
    fn no_step_is_told_without_a_word() {
        assert_eq!(step_words(StepEvent::Started, ""), "step begun");
        assert_eq!(step_words(StepEvent::Failed, "exit status 1"), "step failed: exit status 1");
    }

    #[test]
    fn a_stores_trouble_is_told_once_until_it_changes() {
        let (full, gone) = (Reason::new("it is full"), Reason::new("it is gone"));
        let mut trouble = StoreTrouble::default();
        assert!(!trouble.works());
        assert_eq!([&full, &full, &gone, &gone].map(|reason| trouble.failing(reason)), [true, false, true, false]);
        assert_eq!([trouble.works(), trouble.works(), trouble.failing(&gone)], [true, false, true]);
    }

    #[test]
    fn a_targets_trouble_is_told_once_for_each_change() {
        let seen = Observation {
            current: None,
            untold: None,
            gone: None,
            available: Vec::new(),
            rolling_out: false,
            ..Observation::default()
        };
        let good = Look { observation: Ok(seen), receipt: None, began: crate::core::time::BootTime::from_nanos(0) };
        let bad = Look {
            observation: Err(Reason::new("read the link")),
            receipt: None,
            began: crate::core::time::BootTime::from_nanos(0),
        };
        let mut trouble = TargetTrouble::default();
        let told = [&good, &bad, &bad, &good, &good, &bad].map(|look| trouble.looked(0, "api", look));
        assert_eq!(told, [false, true, false, true, false, true]);
        assert!(trouble.looked(1, "web", &bad), "each target by itself");
    }
}
