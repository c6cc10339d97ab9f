//! The history of rollbacks: one JSON file in the runbook's own form, which people and their tools read and fill in.
//!
//! ```json
//! {"rollbacks": [{"date": "2026-01-07T10:30:00Z", "version_from": "v1.2.4", "version_to": "v1.2.3", "reason": "…",
//!                 "duration_minutes": 8, "root_cause": "…", "post_mortem_link": "…"}]}
//! ```
//!
//! The file belongs to people as much as to us: what they added, and the order of things, stays as it is, and a file that
//! is not understood is never written over.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::atomic;
use crate::core::operation::HistoryRecord;

/// Largest file that is read. At a kilobyte each these are more rollbacks than anyone made.
const LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// What people fill in, and what therefore an empty value of ours does not replace.
const FILLED_IN: [&str; 2] = ["root_cause", "post_mortem_link"];

/// Why the history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("read the history {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("write the history {path}: {source}; its directory must be there and writable for this user")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("understand the history {path}: {reason}; mend it or move it away, it is not written over")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
}

/// The history's file. One value for each file, shared: it keeps two records from being written at once.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    writing: Mutex<()>,
}

impl History {
    /// The history in `path`, which need not be there yet; its directory must be.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), writing: Mutex::new(()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every rollback, in the file's order. What an older or hand-made entry lacks is empty.
    pub fn read(&self) -> Result<Vec<HistoryRecord>, HistoryError> {
        let mut document = self.load()?;
        let rollbacks = self.rollbacks(&mut document)?;
        rollbacks.iter().enumerate().map(|(place, entry)| self.understand(place, entry)).collect()
    }

    /// Adds a rollback durably, or completes the one that is there. What people filled in stays, unless `record` has
    /// something to put there.
    pub fn record(&self, record: &HistoryRecord) -> Result<(), HistoryError> {
        self.change(std::slice::from_ref(record), complete)
    }

    /// Adds those that are not there yet, durably. What is there stays as it is.
    pub fn keep(&self, records: &[HistoryRecord]) -> Result<(), HistoryError> {
        self.change(records, |_there, _new| {})
    }

    /// Checks that a rollback could be put on record: what is there is a history, and a file can be made beside it, which
    /// is then removed. A full disk is no mistake of the configuration: there will be room again.
    pub fn check(&self) -> Result<(), HistoryError> {
        self.check_by(atomic::check_replaceable)
    }

    /// The same without making anything, as far as that can be told: for whoever only asks.
    pub fn looks_fit(&self) -> Result<(), HistoryError> {
        self.check_by(atomic::looks_replaceable)
    }

    fn check_by(&self, look: impl Fn(&Path) -> io::Result<()>) -> Result<(), HistoryError> {
        let mut document = self.load()?;
        self.rollbacks(&mut document)?;
        match self.real().and_then(|real| look(&real)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            Err(source) => Err(HistoryError::Write { path: self.path.clone(), source }),
            Ok(()) => Ok(()),
        }
    }

    fn change(
        &self,
        records: &[HistoryRecord],
        meet: impl Fn(&mut Map<String, Value>, Map<String, Value>),
    ) -> Result<(), HistoryError> {
        // Nothing that panics leaves the file half-written.
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut document = self.load()?;
        let before = document.clone();
        let rollbacks = self.rollbacks(&mut document)?;
        for record in records {
            let Ok(Value::Object(new)) = serde_json::to_value(record) else {
                return Err(self.damaged("a record of ours is no object".to_owned()));
            };
            match rollbacks.iter_mut().filter_map(Value::as_object_mut).find(|entry| is_same(entry, record)) {
                Some(entry) => meet(entry, new),
                None => rollbacks.push(Value::Object(new)),
            }
        }
        if document == before {
            return Ok(());
        }
        let failed = |source| HistoryError::Write { path: self.path.clone(), source };
        let mut text = serde_json::to_vec_pretty(&document).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        atomic::replace(&self.real().map_err(failed)?, &text).map_err(failed)
    }

    /// What is replaced. A link stays a link.
    fn real(&self) -> io::Result<PathBuf> {
        match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.path.clone()),
            found => found,
        }
    }

    fn load(&self) -> Result<Value, HistoryError> {
        let failed = |source| HistoryError::Read { path: self.path.clone(), source };
        let text = match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > LIMIT_BYTES => {
                return Err(self.damaged(format!("it has more than {LIMIT_BYTES} bytes")));
            }
            Ok(_) => fs::read_to_string(&self.path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        if text.trim().is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        serde_json::from_str(&text).map_err(|error| self.damaged(error.to_string()))
    }

    fn rollbacks<'a>(&self, document: &'a mut Value) -> Result<&'a mut Vec<Value>, HistoryError> {
        let object = document.as_object_mut().ok_or_else(|| self.damaged("it is no object".to_owned()))?;
        let rollbacks = object.entry("rollbacks").or_insert_with(|| Value::Array(Vec::new()));
        rollbacks.as_array_mut().ok_or_else(|| self.damaged("`rollbacks` is no list".to_owned()))
    }

    fn understand(&self, place: usize, entry: &Value) -> Result<HistoryRecord, HistoryError> {
        let wrong = |key: &str, wanted: &str| self.damaged(format!("`rollbacks[{place}]{key}` is no {wanted}"));
        let object = entry.as_object().ok_or_else(|| wrong("", "object"))?;
        let text = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong(&format!(".{key}"), "text")),
        };
        let duration_minutes = match object.get("duration_minutes") {
            None | Some(Value::Null) => 0,
            Some(value) => whole_minutes(value).ok_or_else(|| wrong(".duration_minutes", "number of minutes"))?,
        };
        Ok(HistoryRecord {
            date: text("date")?,
            version_from: text("version_from")?,
            version_to: text("version_to")?,
            reason: text("reason")?,
            duration_minutes,
            root_cause: text("root_cause")?,
            post_mortem_link: text("post_mortem_link")?,
            service: text("service")?,
            incident: text("incident")?,
            outcome: text("outcome")?,
        })
    }

    fn damaged(&self, reason: String) -> HistoryError {
        HistoryError::Damaged { path: self.path.clone(), reason }
    }
}

/// Whether an entry is about the same rollback: its service and incident, its beginning, and its versions. An incident may
/// have several between the same versions, and incidents count from 1 again in a new store.
fn is_same(entry: &Map<String, Value>, record: &HistoryRecord) -> bool {
    let has = |key: &str, value: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default() == value;
    // What names no service is a person's own.
    !record.service.is_empty()
        && has("service", &record.service)
        && has("incident", &record.incident)
        && has("date", &record.date)
        && has("version_from", &record.version_from)
        && has("version_to", &record.version_to)
}

fn complete(entry: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        let is_empty = value.as_str().is_some_and(str::is_empty);
        if is_empty && FILLED_IN.contains(&key.as_str()) && entry.contains_key(&key) {
            continue;
        }
        entry.insert(key, value);
    }
}

/// People also write 7.5; we round up, as our own are.
fn whole_minutes(value: &Value) -> Option<u64> {
    if let Some(whole) = value.as_u64() {
        return Some(whole);
    }
    let minutes = value.as_f64()?.ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range checked")]
    (0.0..1e9).contains(&minutes).then_some(minutes as u64)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
