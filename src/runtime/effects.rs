//! Carries effects out, each in a task of its own, and brings the result back as an event.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    child::{KILL_WAIT, TERMINATE_GRACE},
    clock::Clock,
    files::Files,
    log, looks,
};
use crate::{
    core::{
        action::{Action, Actions},
        entry::Entry,
        event::{Event, Reply, RequestId, Sequence},
        name::{ChannelName, ServiceIndex},
        operation::{Attempt, Operation, OperationOutcome, StepKey},
        page::Page,
        sample::Reason,
    },
    notify::Channels,
    probe::schedule,
    record::history::History,
    serve::metrics::Metrics,
    store::StoreHandle,
    target::Target,
};

/// A target keeps an operation's deadline by itself. A command that runs into it is then ended, which takes so long, and
/// a second for the answer's way back: so what is told is how it ended, and nothing runs any more.
const ENDING_TAKES: Duration = Duration::from_secs(TERMINATE_GRACE.as_secs() + KILL_WAIT.as_secs() + 1);

/// Where results come back. The queue has no bound of its own, so that nothing that completes ever waits for the loop;
/// what can be under way is bounded: one regular look, one plan's operation and one plan's look a service, the core's
/// cap on deliveries, and one answer of the store for each batch.
#[derive(Debug, Clone)]
pub(super) struct Completions(pub(super) mpsc::UnboundedSender<Event>);

impl Completions {
    pub(super) fn send(&self, event: Event) {
        // The loop is gone only when the process ends.
        let _ = self.0.send(event);
    }
}

/// What effects are carried out with.
pub(super) struct Hands {
    pub(super) clock: Clock,
    pub(super) store: StoreHandle,
    pub(super) prober: schedule::Handle,
    pub(super) targets: Vec<Arc<Target>>,
    pub(super) lookers: Vec<Arc<Notify>>,
    pub(super) channels: Arc<Channels>,
    pub(super) external_url: Arc<str>,
    pub(super) history: Arc<History>,
    pub(super) files: Files,
    pub(super) metrics: Arc<Metrics>,
    pub(super) completions: Completions,
    pub(super) replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    pub(super) tasks: JoinSet<()>,
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

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::Append { .. } => {}
            Action::SetCadence { service, signal, every } => self.prober.set_cadence(service, signal, every),
            Action::Look { service, key: None } => self.lookers[service.get()].notify_one(),
            Action::Look { service, key: Some(key) } => self.look_after(service, key),
            Action::Operate { service, attempt } => self.operate(service, attempt),
            Action::Deliver { page, channel, attempt } => self.deliver(page, channel, attempt),
            Action::Reply { id, reply } => {
                if let Some(waiting) = self.replies.remove(&id) {
                    // Whoever asked may have gone away meanwhile.
                    let _ = waiting.send(reply);
                }
            }
            Action::WriteEvidence { incident, name, content } => self.files.write(incident, name, content),
        }
    }

    fn look_after(&mut self, service: ServiceIndex, key: StepKey) {
        let target = Arc::clone(&self.targets[service.get()]);
        let completions = self.completions.clone();
        self.tasks.spawn(async move {
            let look = looks::look_after(&target, &key).await;
            completions.send(Event::Looked { service, key: Some(key), look });
        });
    }

    fn operate(&mut self, service: ServiceIndex, attempt: Attempt) {
        tracing::info!(step = %attempt.key, operation = attempt.operation.as_str(), "carry out");
        let completions = self.completions.clone();
        let key = attempt.key.clone();
        if let Operation::Record { history } = attempt.operation {
            let file = Arc::clone(&self.history);
            self.tasks.spawn(async move {
                let written = tokio::task::spawn_blocking(move || file.record(&history)).await;
                let outcome = match written {
                    Ok(Ok(())) => OperationOutcome::Done(String::new()),
                    Ok(Err(error)) => OperationOutcome::Failed(Reason::new(&error.to_string())),
                    Err(error) => OperationOutcome::Failed(Reason::new(&error.to_string())),
                };
                completions.send(Event::OperationEnded { key, outcome });
            });
            return;
        }
        let target = Arc::clone(&self.targets[service.get()]);
        self.tasks.spawn(async move {
            let limit = attempt.deadline + ENDING_TAKES;
            let outcome = match tokio::time::timeout(limit, target.operate(&attempt)).await {
                Ok(outcome) => outcome,
                Err(_) => OperationOutcome::Unknown(Reason::new(&format!("no end within {limit:?}"))),
            };
            tracing::info!(step = %key, ?outcome, "ended");
            completions.send(Event::OperationEnded { key, outcome });
        });
    }

    fn deliver(&mut self, page: Arc<Page>, channel: ChannelName, attempt: u32) {
        let channels = Arc::clone(&self.channels);
        let external_url = Arc::clone(&self.external_url);
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
