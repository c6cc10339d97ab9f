//! The history file while the daemon runs. It belongs to people, so it may be damaged, or away, at any time: the watch goes
//! on, rollbacks are made, and what could not be put on record is once it can.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::spawn_blocking;

use crate::{
    core::{
        operation::{HistoryRecord, OperationOutcome},
        sample::Reason,
    },
    record::history::{History, HistoryError},
    serve::metrics::Metrics,
};

/// How often it is looked whether a rollback could be put on record. Reading it costs a millisecond, and whoever has just
/// mended it need not wait for long.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Records that wait for the file to be mended. More rollbacks nobody makes in that time; and a start puts on record what
/// the journal has of them.
const WAITING_LIMIT: usize = 1024;

/// The history file, and what it did not take.
#[derive(Debug)]
pub(super) struct HistoryKeeper {
    file: History,
    waiting: Mutex<Vec<HistoryRecord>>,
    metrics: Arc<Metrics>,
}

impl HistoryKeeper {
    pub(super) fn new(file: History, metrics: Arc<Metrics>) -> Self {
        Self { file, waiting: Mutex::default(), metrics }
    }

    /// Puts a rollback on record, as a step of its plan. The step fails if that cannot be done now; it is done once the file
    /// takes it all the same.
    pub(super) async fn record(self: Arc<Self>, record: HistoryRecord) -> OperationOutcome {
        let recorded = spawn_blocking(move || {
            let recorded = self.file.record(&record);
            if recorded.is_err() {
                self.wait_with(vec![record]);
            }
            recorded
        });
        match recorded.await {
            Ok(Ok(())) => OperationOutcome::Done(String::new()),
            Ok(Err(error)) => OperationOutcome::Failed(Reason::new(&error.to_string())),
            Err(error) => OperationOutcome::Failed(Reason::new(&error.to_string())),
        }
    }

    /// Puts on record what is not there yet, now or once the file takes it.
    pub(super) async fn keep(self: Arc<Self>, records: Vec<HistoryRecord>) {
        let kept = spawn_blocking(move || {
            let kept = self.file.keep(&records);
            if kept.is_err() {
                self.wait_with(records);
            }
            kept
        });
        if let Ok(Err(error)) = kept.await {
            tracing::error!("failed to {error}; it is tried again");
        }
    }

    fn wait_with(&self, records: Vec<HistoryRecord>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(records);
        let too_many = waiting.len().saturating_sub(WAITING_LIMIT);
        if too_many > 0 {
            tracing::error!("{too_many} rollbacks wait for the next start to be put on record");
            waiting.drain(..too_many);
        }
    }

    /// Looks at the file for as long as this is polled, and tells when that changes. A file system that hangs holds up
    /// nothing but this.
    pub(super) async fn watch(self: Arc<Self>) {
        self.watch_every(LOOK_EVERY).await;
    }

    async fn watch_every(self: Arc<Self>, every: Duration) {
        let mut was_fit = None;
        loop {
            let keeper = Arc::clone(&self);
            let looked = spawn_blocking(move || keeper.look(was_fit == Some(true))).await;
            // Only a panic, or the end of the process.
            let Ok(looked) = looked else { return };
            self.metrics.history_fit(looked.is_ok());
            match &looked {
                Err(error) if was_fit != Some(false) => {
                    tracing::error!("failed to {error}; until then no rollback can be put on record");
                }
                Ok(()) if was_fit == Some(false) => tracing::info!("rollbacks can be put on record again"),
                _ => {}
            }
            was_fit = Some(looked.is_ok());
            tokio::time::sleep(every).await;
        }
    }

    /// Whether a rollback could be put on record. Of a file that was fit it is asked without making anything.
    fn look(&self, was_fit: bool) -> Result<(), HistoryError> {
        if was_fit {
            self.file.looks_fit()?;
        } else {
            self.file.check()?;
        }
        let records = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if records.is_empty() {
            return Ok(());
        }
        let kept = self.file.keep(&records);
        if kept.is_err() {
            self.wait_with(records);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::core::policy::{Escalation, Policy};

    fn keeper(path: &Path) -> Arc<HistoryKeeper> {
        let policy = Policy {
            services: Vec::new(),
            channels: Vec::new(),
            escalation: Escalation::default(),
            keep: Duration::from_secs(90 * 86_400),
            checks_itself: false,
        };
        Arc::new(HistoryKeeper::new(History::new(path), Arc::new(Metrics::new(&policy).expect("metrics"))))
    }

    fn says(keeper: &HistoryKeeper, line: &str) -> bool {
        keeper.metrics.render().lines().any(|there| there == line)
    }

    async fn until_it_says(keeper: &HistoryKeeper, line: &str) {
        let says = async {
            while !says(keeper, line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let said = tokio::time::timeout(Duration::from_secs(60), says).await;
        assert!(said.is_ok(), "{line}: {}", keeper.metrics.render());
    }

    #[tokio::test]
    async fn what_a_damaged_history_did_not_take_is_put_on_record_once_it_is_mended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("history.json");
        fs::write(&path, "{\"rollbacks\": [").expect("written");
        let keeper = keeper(&path);
        let watch = tokio::spawn(Arc::clone(&keeper).watch_every(Duration::from_millis(5)));
        let record = HistoryRecord {
            date: "2026-05-28T20:26:40Z".to_owned(),
            version_from: "v2".to_owned(),
            version_to: "v1".to_owned(),
            reason: "it was down".to_owned(),
            duration_minutes: 2,
            root_cause: String::new(),
            post_mortem_link: String::new(),
            service: "shop".to_owned(),
            incident: "shop-1".to_owned(),
            outcome: "verified".to_owned(),
        };
        let outcome = Arc::clone(&keeper).record(record.clone()).await;
        assert!(matches!(&outcome, OperationOutcome::Failed(why) if why.as_str().contains("mend it")), "{outcome:?}");
        // A plan that came to no step of this kind.
        let other = HistoryRecord { incident: "shop-2".to_owned(), ..record.clone() };
        Arc::clone(&keeper).keep(vec![other.clone()]).await;
        until_it_says(&keeper, "backstop_history_writable 0").await;
        assert_eq!(fs::read_to_string(&path).expect("read"), "{\"rollbacks\": [", "it is not written over");

        fs::write(&path, "{\"rollbacks\": []}").expect("mended");
        until_it_says(&keeper, "backstop_history_writable 1").await;
        assert_eq!(keeper.file.read().expect("a history"), [record, other]);
        watch.abort();
    }
}
