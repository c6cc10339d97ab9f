//! Once a night each service's gates are asked as if something broke: on-call knows beforehand.

use std::time::Duration;

use super::{page::Draft, service::Service, turn::Turn};
use crate::core::{
    answer::Answer,
    durable::Rollout,
    entry::Fact,
    gate::{Gate, holds_tonight, night_of},
    page::PageKind,
    policy::{Finding, Mode},
    time::BootTime,
};

/// A gate that cannot tell is asked again for so long before it is told: a look at the target may fail once.
const PATIENCE: Duration = Duration::from_secs(600);

/// What has not changed is told again after this; a little less than a week, so that it comes in the same night.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(7 * 86_400 - 3600);

/// A wall clock that is set back by less than a night makes no second dry run.
const NIGHTS_AHEAD: i64 = 1;

/// The nightly dry run, as far as it is not in the journal.
#[derive(Debug, Default)]
pub(super) struct Night {
    /// The night in which the process began: where none is in the journal, the next one is the first.
    begun: Option<i64>,
    /// Since when a gate that cannot tell has put the dry run off.
    unsure_since: Option<BootTime>,
}

impl Service {
    /// Asks the gates what they would say tonight, once a night, and tells what is new.
    pub(super) fn dry_run_tonight(&mut self, turn: &mut Turn<'_>) {
        let tonight = night_of(&self.name, turn.now.wall);
        // A night that has not come yet was counted by a clock that was wrong: it must not put off those until then.
        let has_come = |night: &i64| *night <= tonight + NIGHTS_AHEAD;
        let begun = *self.night.begun.insert(self.night.begun.filter(has_come).unwrap_or(tonight));
        let record = turn.record(&self.name);
        let last = record.night.as_ref().map(|night| night_of(&self.name, night.at)).filter(has_come).unwrap_or(begun);
        let is_rolling_out = record.live().is_some_and(|live| live.rollout != Rollout::Settled);
        if tonight <= last || record.open_incident.is_some() || is_rolling_out {
            return;
        }
        if self.policy.mode == Mode::Observe || self.page_only {
            return;
        }
        let reports = self.situation(turn).reports();
        let held = holds_tonight(&reports);
        if held.iter().any(|report| report.answer == Answer::Unknown) {
            let since = *self.night.unsure_since.get_or_insert(turn.now.boot);
            if turn.now.boot.since(since) < PATIENCE {
                return;
            }
        }
        self.night.unsure_since = None;
        let gates: Vec<Gate> = held.iter().map(|report| report.gate).collect();
        let before = turn.record(&self.name).night.as_ref();
        let is_new = gates.iter().any(|gate| before.is_none_or(|night| !night.held.contains(gate)));
        let told_at = before.and_then(|night| night.told_at);
        let is_due = told_at
            .is_none_or(|at| turn.now.wall.since(at) >= TOLD_AGAIN_AFTER || !has_come(&night_of(&self.name, at)));
        let told = !gates.is_empty() && (is_new || is_due);
        turn.append(Some(&self.name), Fact::NightlyDryRun { held: gates, told });
        let Some(first) = held.first().filter(|_| told) else { return };
        let lines = held.iter().map(|report| format!("{} says {}: {}", report.gate, report.answer, report.why));
        let summary = format!("{}: a rollback tonight would be refused: {}", self.name, first.why);
        let finding = Finding::NothingToGoBackTo;
        let draft = Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, summary).details(lines);
        turn.page(match first.gate {
            Gate::Accused => draft.action("See why the target does not tell what is live."),
            Gate::NotPaused => draft.action("Resume it, unless it is paused on purpose."),
            Gate::KnownGood => self.advise(turn, draft),
            _ => draft,
        });
    }
}
