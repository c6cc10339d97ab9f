//! A store that is there and cannot be read: it is owned and left alone, and nothing is written.

use std::{path::Path, sync::Arc};

use super::{Journal, StoreError, owner::Owner};
use crate::core::{entry::Entry, event::Sequence};

/// Stands in for a damaged store, so that watching goes on while people restore it. Every append fails with the reason.
#[derive(Debug)]
pub struct DamagedStore {
    _owner: Owner,
    reason: String,
}

impl DamagedStore {
    /// Owns the store at `path`, which cannot be read for `reason`.
    pub fn own(path: &Path, reason: String) -> Result<Self, StoreError> {
        Ok(Self { _owner: Owner::of(path)?, reason })
    }

    fn damage(&self) -> StoreError {
        StoreError::Damaged { reason: self.reason.clone() }
    }
}

impl Journal for DamagedStore {
    fn append(&mut self, _batch: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
        Err(self.damage())
    }

    fn prove_writable(&mut self) -> Result<(), StoreError> {
        Err(self.damage())
    }

    fn inspect(&mut self) -> Result<(), StoreError> {
        Err(self.damage())
    }
}
