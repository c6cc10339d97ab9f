//! The durable state as one text: a start then folds only what came after it.
//!
//! It is read by the same version or a later one. A field that comes later has a default; whatever changes the meaning
//! of one that is there makes another [`SNAPSHOT_FORM`], which reads the forms before it too.

use super::Durable;

/// The form that this version writes.
pub const SNAPSHOT_FORM: u32 = 1;

/// Why a snapshot cannot be gone on from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A later version wrote it.
    #[error("it is of form {found}, and this version of Backstop knows up to {SNAPSHOT_FORM}")]
    NewerForm {
        /// Its form.
        found: u32,
    },
    /// It cannot be read.
    #[error("{0}")]
    Content(String),
    /// Its parts do not belong together.
    #[error("it contradicts itself: {0}")]
    Inconsistent(String),
}

impl Durable {
    /// The whole state, as JSON of the form [`SNAPSHOT_FORM`].
    ///
    /// # Panics
    /// Never: every map in it has text for keys.
    pub fn to_snapshot(&self) -> String {
        serde_json::to_string(self).expect("every key is text")
    }

    /// The state that [`Durable::to_snapshot`] wrote, in this form or in an earlier one.
    pub fn from_snapshot(form: u32, text: &str) -> Result<Self, SnapshotError> {
        if form == 0 || form > SNAPSHOT_FORM {
            return Err(SnapshotError::NewerForm { found: form });
        }
        let read: Self = serde_json::from_str(text).map_err(|error| SnapshotError::Content(error.to_string()))?;
        read.check().map_err(SnapshotError::Inconsistent)?;
        Ok(read)
    }

    /// What holds of every fold.
    fn check(&self) -> Result<(), String> {
        for (name, service) in &self.services {
            let Some(open) = &service.open_incident else { continue };
            if !self.incidents.get(open).is_some_and(super::IncidentRecord::is_open) {
                return Err(format!("incident {open}, open for {name}, is not there"));
            }
        }
        let ended = self.incidents.values().filter(|incident| !incident.is_open()).count();
        if ended != self.ended.len() {
            return Err(format!("{ended} ended incidents are there, and {} are listed", self.ended.len()));
        }
        for id in &self.ended {
            if self.incidents.get(id).is_none_or(super::IncidentRecord::is_open) {
                return Err(format!("incident {id}, listed as ended, is not"));
            }
        }
        self.outbox.check()
    }
}
