//! Carries effects out, each in a task of its own, and brings the result back as an event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinSet};

use super::{
    announce::Uncommitted,
    child::{KILL_WAIT, TERMINATE_GRACE},
    clock::Clock,
    completions::Completions,
    edges::Edges,
    files::Files,
    gathering,
    history::HistoryKeeper,
    log, looks,
};
use crate::{
    core::{
        action::{Action, Actions},
        entry::Entry,
        event::{Event, Reply, RequestId, Sequence},
        name::{ChannelName, IncidentId, ServiceIndex},
        operation::{Attempt, HistoryRecord, Operation, OperationOutcome, StepKey},
        page::Page,
        sample::Reason,
    },
    serve::metrics::Metrics,
    store::StoreHandle,
};

/// A target keeps an operation's deadline by itself. A command that runs into it is then ended, which takes so long, and
/// a second for the answer's way back: so what is told is how it ended, and nothing runs any more.
const ENDING_TAKES: Duration = Duration::from_secs(TERMINATE_GRACE.as_secs() + KILL_WAIT.as_secs() + 1);

/// What effects are carried out with.
pub(super) struct Hands {
    pub(super) clock: Clock,
    pub(super) store: StoreHandle,
    pub(super) edges: Edges,
    pub(super) history: Arc<HistoryKeeper>,
    pub(super) files: Files,
    pub(super) uncommitted: Uncommitted,
    pub(super) metrics: Arc<Metrics>,
    pub(super) completions: Completions,
    pub(super) replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    pub(super) tasks: JoinSet<()>,
    /// Operations that have not come back.
    pub(super) operating: BTreeSet<StepKey>,
}

impl Hands {
    /// Carries out one step's effects. Its entries go to the store as one batch, before anything else.
    pub(super) fn carry_out(&mut self, actions: &mut Actions) {
        let entries: Vec<(Sequence, Arc<Entry>)> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Append { sequence, entry } => Some((*sequence, Arc::clone(entry))),
                _ => None,
            })
            .collect();
        if !entries.is_empty() {
            for (sequence, entry) in &entries {
                tracing::debug!(sequence = sequence.0, service = ?entry.service, fact = ?entry.fact, "append");
                log::entry(entry);
                self.uncommitted.hold(*sequence, entry);
                self.metrics.entry_appended(entry);
            }
            if let Err(error) = self.store.append(entries) {
                // The store's thread is gone: nothing that depends on it will ever leave.
                self.completions.send(Event::StoreFailing(Reason::new(&error.to_string())));
            }
        }
        for action in actions.drain(..) {
            self.carry_out_one(action);
        }
        // Results are events; what is left here are only the empty ends of tasks.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Entries up to this one are durable: what waited for that leaves.
    pub(super) fn committed(&mut self, committed: Sequence) {
        while let Some(entry) = self.uncommitted.next(committed) {
            self.edges.announcer.tell(&entry);
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::Append { .. } => {}
            Action::SetCadence { service, signal, every } => self.edges.prober.set_cadence(service, signal, every),
            Action::Look { service, key: None } => self.edges.lookers[service.get()].notify_one(),
            Action::Look { service, key: Some(key) } => self.look_after(service, key),
            Action::Operate { service, attempt } => self.operate(service, attempt),
            Action::Gather { service, incident } => self.gather(service, incident),
            Action::Deliver { page, channel, attempt } => self.deliver(page, channel, attempt),
            Action::Reply { id, reply } => {
                if let Some(waiting) = self.replies.remove(&id) {
                    // Whoever asked may have gone away meanwhile.
                    let _ = waiting.send(reply);
                }
            }
            Action::KeepHistory { records } => self.keep_history(records),
            Action::WriteEvidence { incident, name, content } => self.files.write(incident, name, content),
        }
    }

    fn look_after(&mut self, service: ServiceIndex, key: StepKey) {
        let target = Arc::clone(&self.edges.targets[service.get()]);
        let name = Arc::new(self.edges.config.services[service.get()].name.clone());
        let completions = self.completions.clone();
        let clock = self.clock.clone();
        self.tasks.spawn(async move {
            let look = looks::look_after(&target, &key, &clock).await;
            completions.looked(&name, Some(key), look);
        });
    }

    fn operate(&mut self, service: ServiceIndex, attempt: Attempt) {
        tracing::info!(operation = attempt.operation.as_str(), "carry out step {}", attempt.key);
        let completions = self.completions.clone();
        let key = attempt.key.clone();
        self.operating.insert(key.clone());
        if let Operation::Record { history } = attempt.operation {
            let keeper = Arc::clone(&self.history);
            self.tasks.spawn(async move {
                let outcome = keeper.record(history).await;
                completions.send(Event::OperationEnded { key, outcome });
            });
            return;
        }
        let target = Arc::clone(&self.edges.targets[service.get()]);
        let files = self.files.another();
        self.tasks.spawn(async move {
            if matches!(attempt.operation, Operation::Switch { .. }) {
                gathering::keep_last_words(&target, &files, &key.incident).await;
            }
            let limit = attempt.deadline + ENDING_TAKES;
            let outcome = match tokio::time::timeout(limit, target.operate(&attempt)).await {
                Ok(outcome) => outcome,
                Err(_) => OperationOutcome::Unknown(Reason::new(&format!("no end within {limit:?}"))),
            };
            tracing::info!(?outcome, "ended: step {key}");
            completions.send(Event::OperationEnded { key, outcome });
        });
    }

    /// Beside everything else: what it takes holds up nothing.
    fn gather(&mut self, service: ServiceIndex, incident: IncidentId) {
        tracing::info!(%incident, "gather evidence");
        let target = Arc::clone(&self.edges.targets[service.get()]);
        let (files, completions) = (self.files.another(), self.completions.clone());
        self.tasks.spawn(async move {
            let outcome = gathering::gather(&target, &files, &incident).await;
            tracing::info!(%incident, ?outcome, "gathered");
            completions.send(Event::Gathered { incident, outcome });
        });
    }

    fn keep_history(&mut self, records: Vec<HistoryRecord>) {
        self.tasks.spawn(Arc::clone(&self.history).keep(records));
    }

    fn deliver(&mut self, page: Arc<Page>, channel: ChannelName, attempt: u32) {
        let channels = Arc::clone(&self.edges.channels);
        let external_url = Arc::clone(&self.edges.external_url);
        let completions = self.completions.clone();
        let metrics = Arc::clone(&self.metrics);
        self.tasks.spawn(async move {
            let outcome = channels.deliver(&channel, &page, attempt, &external_url).await;
            metrics.delivery(&channel, &outcome);
            log::delivery(&page.id, &channel, attempt, &outcome);
            completions.send(Event::DeliveryEnded { page: page.id.clone(), channel, outcome });
        });
    }
}
