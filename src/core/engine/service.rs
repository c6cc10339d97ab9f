//! One service while the process lives: its watch, what was seen of its target, and what is going on.

use std::{sync::Arc, time::Duration};

use super::{
    clocks::STOOD_STILL_AT_LEAST, drive::Drive, report::Counted, sight::Sight, turn::Turn, verification::Verification,
};
use crate::core::{
    action::Action,
    durable::{DeployRecord, IncidentRecord, Rollout},
    entry::StepAction,
    gate::Situation,
    name::{ServiceIndex, ServiceName, SignalIndex},
    operation::StepKey,
    policy::{ServicePolicy, SignalKind},
    saga::StepStatus,
    sample::{Measurement, Outcome, Sample},
    time::{BootTime, Now, SteadyTime},
    verdict::Verdict,
    watch::{Facts, Recorded, RolloutState, Watch},
};

/// Each service is assessed at least so often, whether anything happened or not: what runs out without a sample (soaks,
/// approvals, deadlines) needs no alarm clock of its own.
pub(super) const ASSESS_EVERY: Duration = Duration::from_secs(1);

/// And woken no sooner than this: an alarm that is due already must not make the loop spin.
const ASSESS_NOT_BEFORE: Duration = Duration::from_millis(10);

/// A failing probe is confirmed at the quick pace for at most so many times `down_for`; an outage of hours is then
/// watched at its ordinary pace.
const CONFIRM_FOR_DOWN_FOR: u32 = 3;

/// One service's volatile state.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) index: ServiceIndex,
    pub(super) name: ServiceName,
    pub(super) policy: Arc<ServicePolicy>,
    pub(super) watch: Watch,
    /// Since when this process watches it.
    pub(super) begun_at: BootTime,
    pub(super) sight: Sight,
    pub(super) rollout: RolloutWatch,
    pub(super) soak: Soak,
    /// Signals that are taken at the quick pace, and since when.
    pub(super) confirming: Vec<Option<BootTime>>,
    /// Since when everything that fired has been clear.
    pub(super) calm_since: Option<BootTime>,
    /// Since when a gate's unknown has held a rollback that is due.
    pub(super) held_since: Option<BootTime>,
    /// Since when something has been wrong.
    pub(super) suspected_since: Option<BootTime>,
    /// Lost signals that people were told of.
    pub(super) lost_told: std::collections::BTreeSet<String>,
    /// Lost signals that the open incident explains, and why each is lost.
    pub(super) lost_in_incident: std::collections::BTreeMap<String, String>,
    /// When the outage that the open incident is about was last not known to be over.
    pub(super) outage_at: Option<BootTime>,
    /// When the service was last restarted on purpose: in a rollout, as announced, or by a plan.
    pub(super) restarted_at: Option<BootTime>,
    /// Since when no signal has been lost.
    pub(super) seen_since: Option<BootTime>,
    /// Since when the verdict has been to roll back.
    pub(super) due_since: Option<BootTime>,
    /// Since when the verdict has been consider.
    pub(super) considered_since: Option<BootTime>,
    /// Since when it has been so whatever reporters say.
    pub(super) considered_without_reporters_since: Option<BootTime>,
    /// When people were last told of the open incident.
    pub(super) told_at: Option<BootTime>,
    /// When lost signals were last looked for.
    pub(super) lost_checked_at: Option<BootTime>,
    pub(super) drive: Drive,
    pub(super) night: super::nightly::Night,
    pub(super) certificates: super::certificate::Certificates,
    /// A verification without a plan: its number, since when this process watches, and what it has seen.
    pub(super) verifying: Option<(u64, BootTime, Verification)>,
    /// Its state was folded anew after a panic: it may only page.
    pub(super) page_only: bool,
    /// That was told.
    pub(super) page_only_told: bool,
    /// The operation at the target that was begun last and has not come back, and when it is given up as lost. It outlives
    /// its plan where a person came between.
    pub(super) flying: Option<(StepKey, BootTime)>,
    /// Until when it is waited for what is being gathered.
    pub(super) gathering_until: Option<BootTime>,
    pub(super) syncing: super::suspension::Syncing,
    /// When a switch of ours last came to its end: a look that began before shows what was.
    pub(super) changed_at: Option<BootTime>,
    /// Since when the version endpoint says another version than the target.
    pub(super) contradicted_since: Option<BootTime>,
    /// When it was last assessed: while too much waits for the store nothing is judged.
    pub(super) assessed_at: BootTime,
    /// When it wants to be assessed next.
    pub(super) wake: BootTime,
}

/// A rollout under way, as far as it is not in the journal.
#[derive(Debug, Default)]
pub(super) struct RolloutWatch {
    /// The deploy whose rollout this is, and when it was noticed.
    pub(super) since: Option<(u64, BootTime)>,
    /// A failure was seen in it; a healthy answer counts only when it came after this.
    pub(super) failed_at: Option<BootTime>,
    /// When things were last held back for an announcement.
    pub(super) announced_at: Option<BootTime>,
    /// Someone announced a deploy or restart.
    pub(super) announced: Option<super::deploys::Announced>,
}

/// Progress towards known-good that is not in the journal yet.
#[derive(Debug, Default)]
pub(super) struct Soak {
    /// Up to when healthy time was counted.
    pub(super) counted_to: Option<BootTime>,
    /// Healthy time since it was last saved.
    pub(super) unsaved: Duration,
    /// Requests served since it was last saved.
    pub(super) unsaved_requests: u64,
    /// Up to where the watch's own count of requests was counted.
    pub(super) counted_requests: u64,
}

impl Service {
    pub(super) fn new(index: ServiceIndex, policy: Arc<ServicePolicy>, now: Now) -> Self {
        let signals = policy.signals.len();
        Self {
            index,
            name: policy.name.clone(),
            watch: Watch::new(Arc::clone(&policy), now),
            policy,
            begun_at: now.boot,
            sight: Sight::default(),
            rollout: RolloutWatch::default(),
            soak: Soak::default(),
            confirming: vec![None; signals],
            calm_since: None,
            held_since: None,
            suspected_since: None,
            lost_told: std::collections::BTreeSet::new(),
            lost_in_incident: std::collections::BTreeMap::new(),
            outage_at: None,
            restarted_at: None,
            seen_since: None,
            due_since: None,
            considered_since: None,
            considered_without_reporters_since: None,
            told_at: None,
            lost_checked_at: None,
            drive: Drive::default(),
            night: super::nightly::Night::default(),
            certificates: super::certificate::Certificates::default(),
            verifying: None,
            page_only: false,
            page_only_told: false,
            flying: None,
            gathering_until: None,
            syncing: super::suspension::Syncing::default(),
            changed_at: None,
            contradicted_since: None,
            assessed_at: now.boot,
            wake: now.boot,
        }
    }

    /// What it goes on with under another policy, and when the state is made anew: what is under way, and what was done and
    /// told. How long something has lasted begins anew: waiting longer is the safe side.
    pub(super) fn go_on_from(&mut self, before: &mut Self) {
        self.rollout = std::mem::take(&mut before.rollout);
        self.soak = std::mem::take(&mut before.soak);
        self.night = std::mem::take(&mut before.night);
        self.flying = before.flying.take();
        self.gathering_until = before.gathering_until;
        self.syncing = std::mem::take(&mut before.syncing);
        self.changed_at = before.changed_at;
        self.told_at = before.told_at;
        self.page_only = before.page_only;
        self.page_only_told = before.page_only_told;
    }

    /// Takes a sample in. Returns whether the service has to be assessed.
    pub(super) fn sample(&mut self, turn: &mut Turn<'_>, sample: &Sample) -> Recorded {
        let recorded = self.watch.record(turn.now, sample);
        if recorded.first_failure || recorded.first_pass {
            self.pace(turn, sample.signal, recorded.first_failure);
        }
        if let Measurement::Check(Outcome::Failed(_)) = sample.measurement
            && self.is_critical(sample.signal)
        {
            self.rollout.failed_at = Some(sample.taken_at);
            if recorded.first_failure {
                self.look(turn);
            }
        }
        recorded
    }

    pub(super) fn is_critical(&self, signal: SignalIndex) -> bool {
        matches!(self.policy.signals[signal.get()].kind, SignalKind::Probe { critical: true })
    }

    /// Quickens a probe after its first failure, and slows it down again.
    fn pace(&mut self, turn: &mut Turn<'_>, signal: SignalIndex, quick: bool) {
        let policy = &self.policy.signals[signal.get()];
        if !matches!(policy.kind, SignalKind::Probe { .. }) || self.confirming[signal.get()].is_some() == quick {
            return;
        }
        self.confirming[signal.get()] = quick.then_some(turn.now.boot);
        let every = self.cadence(signal);
        self.watch.set_cadence(signal, every);
        turn.actions.push(Action::SetCadence { service: self.index, signal, every });
    }

    /// How often that signal is taken just now.
    pub(super) fn cadence(&self, signal: SignalIndex) -> Duration {
        let every = self.policy.signals[signal.get()].every;
        if self.confirming[signal.get()].is_some() { self.policy.thresholds.confirm_every.min(every) } else { every }
    }

    fn slow_down_long_confirmations(&mut self, turn: &mut Turn<'_>) {
        let longest = self.policy.thresholds.down_for * CONFIRM_FOR_DOWN_FOR;
        for place in 0..self.confirming.len() {
            if self.confirming[place].is_some_and(|since| turn.now.boot.since(since) > longest) {
                let signal = SignalIndex(u16::try_from(place).expect("the configuration bounds signals"));
                self.pace(turn, signal, false);
            }
        }
    }

    /// Decides everything that follows from what is known now.
    pub(super) fn assess(&mut self, turn: &mut Turn<'_>) {
        self.wake = turn.now.boot.after(ASSESS_EVERY);
        if turn.ledger.is_full() {
            return;
        }
        let assessed_at = std::mem::replace(&mut self.assessed_at, turn.now.boot);
        if turn.now.boot.since(assessed_at) >= STOOD_STILL_AT_LEAST {
            self.restart_durations(turn.now.boot);
        }
        self.evaluate(turn);
        self.slow_down_long_confirmations(turn);
        self.follow_rollout(turn);
        self.follow_contradiction(turn);
        self.follow_soak(turn);
        self.follow_signals(turn);
        self.follow_incident(turn);
        self.tell_neighbours(turn);
        self.act(turn);
        self.follow_suspension(turn);
        self.dry_run_tonight(turn);
        self.follow_certificates(turn);
        self.follow_verification(turn);
        if let Some(wake) = self.watch.next_wake(turn.now) {
            self.wake_by(wake);
        }
        self.wake = self.wake.max(turn.now.boot.after(ASSESS_NOT_BEFORE));
    }

    /// Nobody judged for a while: nothing has lasted, neither trouble nor health, and no time for a proof has run out.
    fn restart_durations(&mut self, now: BootTime) {
        self.calm_since = None;
        self.held_since = None;
        self.due_since = None;
        self.considered_since = None;
        self.considered_without_reporters_since = None;
        self.drive.watched_since = None;
        self.drive.verification = Verification::default();
        if let Some((_, since, verification)) = &mut self.verifying {
            *since = now;
            *verification = Verification::default();
        }
    }

    pub(super) fn evaluate(&mut self, turn: &Turn<'_>) -> Verdict {
        let restarts = self.restarts_until(turn);
        let live = turn.record(&self.name).live();
        let reports = self.counted_reports(turn);
        let since = live.map(|live| rollout_since(&self.rollout, live, turn.now, turn.steady()));
        let facts = facts(&self.policy, &self.sight, live.zip(since), restarts, &reports);
        self.watch.evaluate(turn.now, facts)
    }

    pub(super) fn path(&self, turn: &Turn<'_>) -> crate::core::verdict::Path {
        let restarts = self.restarts_until(turn);
        let live = turn.record(&self.name).live();
        let reports = self.counted_reports(turn);
        let since = live.map(|live| rollout_since(&self.rollout, live, turn.now, turn.steady()));
        let facts = facts(&self.policy, &self.sight, live.zip(since), restarts, &reports);
        self.watch.path(turn.now, facts)
    }

    /// Until when a restart that was announced may take, or one that a plan makes itself, while it does.
    fn restarts_until(&self, turn: &Turn<'_>) -> Option<BootTime> {
        let plan = turn.open_incident(&self.name).and_then(IncidentRecord::active_plan);
        let switch = plan.and_then(|plan| Some((plan, plan.switch_under_way()?)));
        let switched_by = switch.map(|(plan, step)| {
            let touched = turn.now.boot.before(turn.ago(plan.touched_at));
            touched.after(step.planned.deadline).max(turn.now.boot)
        });
        switched_by.into_iter().chain(self.announced_until(turn.now)).max()
    }

    /// Whether the service may be away because it is restarted on purpose: within a rollout's settling time, as announced, or
    /// by a plan until that has seen it answer. Each of them ends by itself.
    pub(super) fn is_restarting(&self, turn: &Turn<'_>) -> bool {
        let plan = turn.open_incident(&self.name).and_then(IncidentRecord::active_plan);
        let by_plan = plan.is_some_and(|plan| {
            plan.switch_status().may_have_changed_the_world()
                && plan.status_of(|action| *action == StepAction::Verify) == Some(StepStatus::Pending)
        });
        let rolling_out = turn.record(&self.name).live().is_some_and(|live| {
            let since = rollout_since(&self.rollout, live, turn.now, turn.steady());
            live.rollout == Rollout::UnderWay && turn.now.boot < since.after(self.policy.gates.settle)
        });
        by_plan || rolling_out || self.restarts_until(turn).is_some()
    }

    /// Asks to be assessed by `wake`.
    pub(super) fn wake_by(&mut self, wake: BootTime) {
        self.wake = self.wake.min(wake);
    }

    /// Asks for a look at the target, unless one is under way.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>) {
        if self.sight.ask(turn.now) {
            turn.actions.push(Action::Look { service: self.index, key: None });
        }
    }

    /// What the gates look at.
    pub(super) fn situation<'a>(&'a self, turn: &'a Turn<'_>) -> Situation<'a> {
        let durable = &turn.ledger.durable;
        Situation {
            policy: &self.policy,
            record: durable.service(&self.name),
            incident: durable.open_incident(&self.name),
            observation: self.sight.observation(),
            blind: self.sight.trouble().map(crate::core::sample::Reason::as_str),
            paused_all: durable.paused.as_ref(),
            observer_impaired: turn.observer.impairment(turn.now),
            store_failing: turn.observer.store_failing(),
            neighbours: turn.neighbours,
            index: self.index,
            now: turn.now,
            steady: turn.steady(),
        }
    }
}

/// `live` is the live deploy, and since when its rollout is known. While the service is restarted on purpose what fails
/// accuses nobody.
fn facts<'a>(
    policy: &ServicePolicy,
    sight: &'a Sight,
    live: Option<(&'a DeployRecord, BootTime)>,
    restarts_until: Option<BootTime>,
    reports: &'a Counted,
) -> Facts<'a> {
    let state = match live {
        Some((live, since)) if live.rollout == Rollout::UnderWay => {
            RolloutState::UnderWay { until: since.after(policy.gates.settle) }
        }
        Some((live, _)) if live.rollout == Rollout::Failing => {
            let why = sight.observation().and_then(|observation| observation.failing.as_deref());
            RolloutState::Failing { why: why.unwrap_or("no healthy answer within the settling time") }
        }
        _ => match (restarts_until, sight.instances_failing()) {
            (Some(until), _) => RolloutState::UnderWay { until },
            (None, Some((why, is_seen))) => RolloutState::InstancesFailing { why, is_seen },
            (None, None) => RolloutState::Settled,
        },
    };
    Facts {
        rollout: state,
        reports: &reports.all,
        operators_reports: &reports.operators,
        baseline: live.map_or(&[], |(live, _)| live.baseline.as_slice()),
    }
}

/// When a deploy's rollout was noticed: as remembered, or after a restart as the journal's time line has it.
pub(super) fn rollout_since(rollout: &RolloutWatch, live: &DeployRecord, now: Now, steady: SteadyTime) -> BootTime {
    match rollout.since {
        Some((number, since)) if number == live.deploy.number => since,
        _ => now.boot.before(steady.since(live.noticed)),
    }
}
