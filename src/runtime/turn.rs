//! The loop: it alone owns the state, takes one event after another, and never waits for an effect.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    completions::{Completion, Register},
    effects::Hands,
    log::{StoreTrouble, TargetTrouble},
    manager::Signs,
    publish::Press,
    reload::Exchange,
    start::RunError,
};
use crate::{
    core::{
        action::{Action, Actions},
        engine::State,
        event::{Event, RequestId},
        name::{ServiceIndex, SignalIndex},
        time::{BootTime, MachineStart, Now},
        view::ConfigurationTrouble,
    },
    notify::Heartbeat,
    serve::{Asked, Tokens},
    store::{SqliteStore, StoreError},
};

/// Samples that may wait for the loop: several seconds of ten thousand probes. What does not fit is counted as missed.
pub(super) const SAMPLE_QUEUE_LIMIT: usize = 16 * 1024;
/// Samples taken in before the other queues and the board get their turn.
const SAMPLES_A_TURN: usize = 256;
/// The loop turns at least so often, whether anything happens or not.
const TURN_EVERY: Duration = Duration::from_millis(250);
/// Alarms of services that ring within so long of each other are one: a thousand services want to be assessed each second,
/// and the process would wake for each of them. None is due more precisely than a probe is.
const ALARMS_APART: Duration = Duration::from_millis(10);
/// After a panic the loop waits so long for the store to write what is queued, before it folds the journal anew.
const SETTLE_AFTER_PANIC: Duration = Duration::from_secs(5);

/// An operation in flight when the daemon is asked to end has so long to come back, so that its outcome is in the
/// journal: a restart command usually takes less, and service managers wait for longer (90 s where nothing is said).
const CLOSING_GRACE: Duration = Duration::from_secs(20);

/// Pages that are on their way when the daemon is asked to end have so long to arrive; the next start sends what did not. A
/// receiver that is well takes a page in far less, and one that hangs does not hold the end up for longer.
const PAGES_GRACE: Duration = Duration::from_secs(5);

/// What is queued for the journal is waited for so long: with what comes before it the end takes less than the 45 s after
/// which systemd kills.
const STORE_CLOSING_LIMIT: Duration = Duration::from_secs(15);

/// The loop and all that it owns.
pub(super) struct Loop {
    pub(super) state: State,
    pub(super) installation: String,
    pub(super) machine_start: MachineStart,
    pub(super) steps: PathBuf,
    pub(super) register: Register,
    pub(super) hands: Hands,
    pub(super) tokens: Arc<Tokens>,
    pub(super) press: Press,
    pub(super) signs: Signs,
    pub(super) trouble: watch::Receiver<Option<ConfigurationTrouble>>,
    pub(super) samples: mpsc::Receiver<Event>,
    pub(super) completions: mpsc::UnboundedReceiver<Completion>,
    pub(super) asked: mpsc::Receiver<Asked>,
    pub(super) exchanges: mpsc::Receiver<Exchange>,
    pub(super) target_trouble: TargetTrouble,
    pub(super) store_trouble: StoreTrouble,
    pub(super) panicked: bool,
}

impl Loop {
    /// Turns until `shutdown`, and then until what is in flight has come back, or its time is over.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), RunError> {
        let mut actions = Actions::new();
        let mut requests = 0;
        // Only after it has turned for so long: a process that ends again and again within it must not pass for a watchdog.
        let every = self.hands.edges.heartbeat.as_ref().map_or(Duration::ZERO, |(_, every)| *every);
        let mut next_beat = self.hands.clock.boot().after(every);
        let mut ends_by: Option<BootTime> = None;
        let mut pages_leave_until = next_beat;
        let mut woke_at = self.hands.clock.boot();
        // One timer for many turns: only one that would ring too late is set anew. When it rings; none once it has.
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut rings_at: Option<BootTime> = None;
        self.take(Event::Started, &mut actions)?;
        loop {
            let now = self.hands.clock.now();
            let wake = self.alarm(woke_at).map_or(TURN_EVERY, |alarm| alarm.since(now.boot)).min(TURN_EVERY);
            let wake = self.press.due_in(now).map_or(wake, |due| due.min(wake));
            let due = now.boot.after(wake);
            if rings_at.is_none_or(|at| due < at) {
                timer.set(tokio::time::sleep(wake));
                rings_at = Some(due);
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if ends_by.is_none() => {
                    pages_leave_until = now.boot.after(PAGES_GRACE);
                    ends_by = Some(self.begin_to_end(now, &mut actions)?);
                }
                Some(completion) = self.completions.recv() => {
                    if let Some(event) = self.register.admit(completion) {
                        self.take(event, &mut actions)?;
                    }
                }
                Some(asked) = self.asked.recv() => {
                    // Whoever was told that it took too long must not have it done afterwards.
                    if !asked.reply.is_closed() {
                        requests += 1;
                        let id = RequestId(requests);
                        self.hands.replies.insert(id, asked.reply);
                        self.take(Event::Requested { id, by: asked.by, request: asked.request }, &mut actions)?;
                    }
                }
                Some(exchange) = self.exchanges.recv(), if ends_by.is_none() => {
                    self.exchange(exchange, &mut actions)?;
                }
                Some(sample) = self.samples.recv() => {
                    self.take(sample, &mut actions)?;
                    self.take_samples(SAMPLES_A_TURN, &mut actions)?;
                }
                () = timer.as_mut() => rings_at = None,
            }
            if self.hands.store.has_ended() {
                // Nothing could be done any more; a new process can.
                return Err(StoreError::Gone.into());
            }
            let now = self.hands.clock.now();
            if self.alarm(woke_at).is_some_and(|alarm| alarm <= now.boot) {
                woke_at = now.boot;
                self.take(Event::Woke, &mut actions)?;
            }
            self.show(now);
            if let Some((heartbeat, every)) = &self.hands.edges.heartbeat
                && now.boot >= next_beat
            {
                next_beat = now.boot.after(*every);
                let heartbeat = Arc::clone(heartbeat);
                beat(&mut self.hands, heartbeat);
            }
            let pages_leave = self.state.delivers() && now.boot < pages_leave_until;
            let is_at_rest = self.hands.operating.is_empty() && !self.state.waits_for_store() && !pages_leave;
            if ends_by.is_some_and(|by| is_at_rest || now.boot >= by) {
                break;
            }
        }
        if let Some(key) = self.hands.operating.first() {
            tracing::warn!("ended while step {key} was being carried out; the next start looks at what became of it");
        }
        let store = self.hands.store;
        // What is queued is written before the process ends.
        let closed = tokio::task::spawn_blocking(move || store.close());
        if tokio::time::timeout(STORE_CLOSING_LIMIT, closed).await.is_err() {
            tracing::error!(
                "ended without the end of the journal: its disk hangs; nothing that depended on it was done"
            );
        }
        Ok(())
    }

    /// Nothing new is begun from here on. Returns until when it may take.
    fn begin_to_end(&mut self, now: Now, actions: &mut Actions) -> Result<BootTime, RunError> {
        tracing::info!("ending: nothing new is begun");
        self.signs.manager().stopping();
        self.press.ending();
        self.take(Event::Closing, actions)?;
        Ok(now.boot.after(CLOSING_GRACE))
    }

    /// When the core is woken next, after it was at `woke_at`.
    fn alarm(&self, woke_at: BootTime) -> Option<BootTime> {
        self.state.next_wake().map(|wake| wake.max(woke_at.after(ALARMS_APART)))
    }

    /// Renews what readers and the service manager see, as often as they need it: the loop turns for every sample.
    fn show(&mut self, now: Now) {
        self.signs.turned(now.boot);
        if !self.press.is_due(now) {
            return;
        }
        let is_first = !self.press.has_begun();
        let trouble = self.trouble.borrow().clone();
        let incidents = self.state.durable().services.values().filter(|one| one.open_incident.is_some()).count();
        let mut status = format!("watching {} services, {incidents} incidents open", self.state.service_count());
        if trouble.is_some() {
            status.push_str("; the configuration on disk is not the one in force");
        }
        self.press.publish(&mut self.state, trouble, now);
        self.signs.status(status);
        if is_first {
            self.signs.manager().ready();
        }
    }

    pub(super) fn take_samples(&mut self, limit: usize, actions: &mut Actions) -> Result<(), RunError> {
        for _ in 0..limit {
            let Ok(sample) = self.samples.try_recv() else { break };
            self.take(sample, actions)?;
        }
        Ok(())
    }

    /// Takes one event in. A panic of the core is caught once; a second one ends the process.
    pub(super) fn take(&mut self, event: Event, actions: &mut Actions) -> Result<(), RunError> {
        let now = self.hands.clock.now();
        self.measure(&event);
        if let Event::OperationEnded { key, .. } = &event {
            self.hands.operating.remove(key);
        }
        let counts = matches!(event, Event::Sample(_));
        let committed = if let Event::Committed(sequence) = &event { Some(*sequence) } else { None };
        let state = &mut self.state;
        let stepped = catch_unwind(AssertUnwindSafe(|| state.step(now, event, actions)));
        if stepped.is_err() {
            actions.clear();
            return self.fold_anew();
        }
        if let Some(sequence) = committed {
            self.press.committed(sequence);
            self.hands.committed(sequence);
        }
        if let Some(stood) = self.state.stood_still(now) {
            tracing::warn!(?stood, "the watchdog stood still; what was not seen meanwhile is missed");
        }
        if let Some(step) = self.state.take_clock_step() {
            let direction = if step.forward { "forward" } else { "back" };
            tracing::warn!(direction, by = ?step.by, "the wall clock was stepped; nothing is judged by it");
        }
        if counts {
            let took = self.hands.clock.boot().since(now.boot);
            self.hands.metrics.evaluation_duration(took);
        }
        if !actions.is_empty() {
            self.press.appended(actions);
            if actions.iter().any(|action| matches!(action, Action::Reply { .. })) {
                self.show(now);
            }
            self.hands.carry_out(actions);
        }
        Ok(())
    }

    fn measure(&mut self, event: &Event) {
        match event {
            Event::Sample(sample) => {
                // As the core counts it.
                let misses_all = self.state.misses_every_sample();
                self.hands.metrics.sample(sample.service, sample.signal, &sample.measurement, misses_all);
                self.hands.metrics.lag(sample.lag);
            }
            Event::Looked { service, look, .. } => {
                let name = self.hands.edges.config.policy.services[service.get()].name.as_str();
                self.target_trouble.looked(service.0, name, look);
            }
            Event::StoreFailing(reason) => drop(self.store_trouble.failing(reason)),
            Event::Committed(_) | Event::StoreWorks => drop(self.store_trouble.works()),
            _ => {}
        }
    }

    /// The new state knows nothing of the cadences that the old one asked for.
    fn reset_cadences(&self) {
        for (service, policy) in (0..).map(ServiceIndex).zip(&self.hands.edges.config.policy.services) {
            for (signal, described) in (0..).map(SignalIndex).zip(&policy.signals) {
                self.hands.edges.prober.set_cadence(service, signal, described.every);
            }
        }
    }

    /// The state is not to be trusted after a panic: it is folded anew from what is durable, and the service whose step
    /// panicked may only page from here on.
    pub(super) fn fold_anew(&mut self) -> Result<(), RunError> {
        survived(|| self.fold())
    }

    fn fold(&mut self) -> Result<(), RunError> {
        let suspect = self.state.in_hand();
        tracing::error!(service = ?suspect, "the core panicked; its state is folded anew from the journal");
        if std::mem::replace(&mut self.panicked, true) {
            return Err(RunError::PanickedTwice);
        }
        let give_up = self.hands.clock.boot().after(SETTLE_AFTER_PANIC);
        while self.hands.store.waiting() > 0 && self.hands.clock.boot() < give_up {
            // The one place where the loop waits: nothing may be decided before it is known what is durable.
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.hands.store.waiting() > 0 {
            // What is still queued would become durable later, behind the back of a state that does not know of it.
            return Err(RunError::Unsettled(SETTLE_AFTER_PANIC));
        }
        // Whoever waits for an answer is told that there is none: their requests went with the state.
        self.hands.replies.clear();
        self.reset_cadences();
        let durable = SqliteStore::open_read_only(&self.hands.edges.config.store)?.recover()?;
        // Everything that was queued is written by now.
        self.press.committed(durable.last);
        self.hands.committed(durable.last);
        let now = self.hands.clock.now();
        let mut actions = Actions::new();
        let policy = &self.hands.edges.config.policy;
        let empty = State::new(
            Arc::clone(policy),
            &self.installation,
            self.machine_start,
            crate::core::durable::Durable::default(),
            now,
        );
        let broken = std::mem::replace(&mut self.state, empty);
        self.state = broken.folded_anew(suspect, Arc::clone(policy), self.machine_start, durable, now, &mut actions);
        self.press.folded_anew();
        self.state.step(now, Event::Started, &mut actions);
        self.press.appended(&actions);
        self.hands.carry_out(&mut actions);
        Ok(())
    }
}

/// A panic while the state is folded anew, the first step of it included, is the second one.
fn survived(fold: impl FnOnce() -> Result<(), RunError>) -> Result<(), RunError> {
    catch_unwind(AssertUnwindSafe(fold)).unwrap_or(Err(RunError::PanickedTwice))
}

/// Says that the loop turns. One beat at a time would be enough; each has a deadline of its own.
fn beat(hands: &mut Hands, heartbeat: Arc<Heartbeat>) {
    let metrics = Arc::clone(&hands.metrics);
    let clock = hands.clock.clone();
    hands.tasks.spawn(async move {
        match heartbeat.beat().await {
            Ok(()) => metrics.heartbeat_succeeded(clock.now().wall),
            Err(error) => tracing::warn!(%error, "failed to send the heartbeat"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_the_way_out_of_a_panic_ends_the_process() {
        assert!(matches!(survived(|| panic!("a mistake in the first step")), Err(RunError::PanickedTwice)));
        assert!(survived(|| Ok(())).is_ok());
        assert!(matches!(survived(|| Err(StoreError::Gone.into())), Err(RunError::Store(StoreError::Gone))));
    }
}
