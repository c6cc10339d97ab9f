//! A service of a Docker Compose project.
//!
//! What is read comes from the engine's API ([`engine`]), and its events tell when to look ([`engines`]); what changes the
//! project goes through `docker compose`, because what its files mean is known there alone ([`project`], [`switch`]).

mod address;
mod configuration;
mod container;
mod engine;
mod engines;
mod error;
mod files;
mod gather;
mod health;
mod images;
mod kept;
mod project;
mod restart;
mod seen;
mod sight;
mod switch;
mod traffic;
mod wait;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) use engines::Engines;
pub use error::ComposeError;
use tokio::{
    sync::{Mutex as WaitingMutex, MutexGuard as WaitingGuard},
    time::Instant,
};

use self::{
    address::Address,
    health::Watched,
    images::Shelf,
    kept::Kept,
    project::{Cached, Project},
};
use super::{
    TargetError,
    blocking::{self, BlockingCalls, OneAtATime},
    names::Names,
    tool::Toolbox,
};
use crate::{
    config::form,
    core::{
        operation::{Attempt, Operation},
        release::{Observation, Release},
    },
};

/// What pins the service to an image; laid over the project's files.
const OVERRIDE: &str = "override.yaml";

/// A service of a Docker Compose project.
#[derive(Debug)]
pub(super) struct ComposeTarget {
    form: form::ComposeTarget,
    address: Address,
    engines: Arc<Engines>,
    /// Where our own files are; none: nothing is written, and so nothing changed.
    directory: Option<PathBuf>,
    calls: OneAtATime,
    /// What the journal knows, oldest first.
    journal: Vec<Release>,
    names: Mutex<Names>,
    kept: WaitingMutex<Option<Kept>>,
    shelf: WaitingMutex<Shelf>,
    project: WaitingMutex<Option<Cached<Result<Project, String>>>>,
    edit: WaitingMutex<Option<Cached<Option<bool>>>>,
    watched: Mutex<Watched>,
    /// Changes that the last look has taken in.
    taken_in: AtomicU64,
    /// When another look would find it otherwise, though nothing happens.
    due: Mutex<Option<Instant>>,
}

impl ComposeTarget {
    /// `directory` is where our own files of the service are kept, and made when needed.
    pub(super) fn new<'a>(
        form: form::ComposeTarget,
        engines: Arc<Engines>,
        (directory, calls): (Option<PathBuf>, BlockingCalls),
        known: impl Iterator<Item = &'a Release> + Clone,
    ) -> Self {
        let address = Address::of(&form, |name| std::env::var(name).ok());
        Self {
            form,
            address,
            engines,
            directory,
            calls: OneAtATime::new(blocking::LIMIT, calls),
            names: Mutex::new(Names::known(known.clone())),
            journal: known.cloned().collect(),
            kept: WaitingMutex::default(),
            shelf: WaitingMutex::default(),
            project: WaitingMutex::default(),
            edit: WaitingMutex::default(),
            watched: Mutex::default(),
            taken_in: AtomicU64::new(0),
            due: Mutex::default(),
        }
    }

    /// Whether the engine told of a change since the last look, or what was seen then is otherwise by now.
    pub(super) fn has_changed(&self) -> bool {
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes() != self.taken_in.load(Ordering::Acquire) || due.is_some_and(|due| due <= Instant::now())
    }

    fn changes(&self) -> u64 {
        self.engines.at(&self.address).map_or(0, |engine| engine.changes(&self.form.service))
    }

    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        // Before anything is read: what changes meanwhile is noticed by the next glance.
        let changes = self.changes();
        let sight = self.sight().await?;
        let observation = self.understand(&sight).await?;
        self.taken_in.store(changes, Ordering::Release);
        Ok(observation)
    }

    pub(super) async fn operate(&self, tools: &Toolbox, attempt: &Attempt) -> Result<String, TargetError> {
        match &attempt.operation {
            Operation::EnsureAvailable { version } => self.ensure_available(tools, version, attempt).await,
            Operation::Switch { from, to } => self.switch(tools, attempt, from, to).await,
            Operation::WaitRollout { version } => self.wait_rollout(version, attempt.deadline).await,
            Operation::RestartFailing { instances, .. } => self.restart_failing(tools, attempt, instances).await,
            other @ (Operation::SuspendSync { .. } | Operation::ResumeSync { .. } | Operation::Record { .. }) => {
                Err(TargetError::Foreign(other.as_str()))
            }
        }
    }

    const fn address(&self) -> &Address {
        &self.address
    }

    /// What this lock guards is whole after every statement.
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn cached_project(&self) -> WaitingGuard<'_, Option<Cached<Result<Project, String>>>> {
        self.project.lock().await
    }

    async fn cached_edit(&self) -> WaitingGuard<'_, Option<Cached<Option<bool>>>> {
        self.edit.lock().await
    }

    /// What is kept of earlier releases, to be looked at.
    async fn kept(&self) -> Result<Kept, TargetError> {
        Ok(self.loaded(&mut *self.kept.lock().await).await?.clone())
    }

    async fn loaded<'a>(&self, kept: &'a mut Option<Kept>) -> Result<&'a mut Kept, TargetError> {
        let found = match (kept.take(), &self.directory) {
            (Some(known), _) => known,
            (None, None) => Kept::default(),
            (None, Some(directory)) => {
                let path = directory.clone();
                let read = move || Kept::load(&path).map_err(|source| TargetError::Read { path, source });
                self.calls.run(directory, read).await?
            }
        };
        Ok(kept.insert(found))
    }

    /// Changes what is kept, durably, where `change` says that anything changed. One change after another: what a look and
    /// a step keep at once is both kept.
    async fn keep(&self, change: impl FnOnce(&mut Kept) -> bool) -> Result<(), TargetError> {
        let mut place = self.kept.lock().await;
        let known = self.loaded(&mut place).await?;
        let mut changed = known.clone();
        if !change(&mut changed) {
            return Ok(());
        }
        if let Some(directory) = &self.directory {
            let (path, kept) = (directory.clone(), changed.clone());
            let write = move || kept.save(&path).map_err(|source| TargetError::Keep { path, source });
            self.calls.run(directory, write).await?;
        }
        *known = changed;
        Ok(())
    }
}
