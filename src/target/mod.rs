//! What is rolled back: releases directories and the user's own tools.

mod blocking;
mod command;
mod error;
mod link;
mod releases;
mod tool;

use std::{path::PathBuf, time::Duration};

pub use blocking::BlockingCalls;
use command::CommandTarget;
pub use error::TargetError;
use releases::ReleasesTarget;
use tool::Toolbox;

use crate::{
    config::form,
    core::{
        name::ServiceName,
        operation::{Attempt, OperationOutcome, Receipt, StepKey},
        release::Observation,
        sample::Reason,
    },
    runtime::child,
};

/// Most versions to go back to that are told, newest first: far more than any plan considers.
pub const AVAILABLE_LIMIT: usize = 100;

/// What is rolled back, of one service.
#[derive(Debug)]
pub struct Target {
    tools: Toolbox,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Releases(ReleasesTarget),
    Command(CommandTarget),
}

impl Target {
    /// The target of `service`. Locks and receipts of its steps go to `run_directory`, which is made when needed; a
    /// step's key is unique within one store only, so the store's installation has to be part of that path. What may hang is
    /// called where `calls` are made.
    pub fn new(form: &form::Target, service: ServiceName, run_directory: PathBuf, calls: &BlockingCalls) -> Self {
        let tools = Toolbox::new(service, run_directory);
        let kind = match form {
            form::Target::Releases(form) => Kind::Releases(ReleasesTarget::new(form.clone(), calls.clone())),
            form::Target::Command(form) => Kind::Command(CommandTarget::new(form.clone())),
        };
        Self { tools, kind }
    }

    /// What is live, and what could be gone back to. Bounded in time.
    ///
    /// # Errors
    /// Why it could not be seen; this is neither health nor failure.
    pub async fn observe(&self) -> Result<Observation, Reason> {
        let observed = match &self.kind {
            Kind::Releases(releases) => releases.observe().await,
            Kind::Command(command) => command.observe(&self.tools).await,
        };
        observed.map_err(|error| error.reason())
    }

    /// Whether [`Self::observe`] would find anything else than last time, as far as that can be told at almost no cost:
    /// a command would have to be run. Blocks, and may hang as its file system does; meanwhile further calls say no.
    pub fn has_changed(&self) -> bool {
        match &self.kind {
            Kind::Releases(releases) => releases.has_changed(),
            Kind::Command(_) => false,
        }
    }

    /// Carries out `EnsureAvailable`, `Switch` or `WaitRollout`. An attempt runs a command under its key at most once; to
    /// try again is another attempt.
    pub async fn operate(&self, attempt: &Attempt) -> OperationOutcome {
        let outcome = match &self.kind {
            Kind::Releases(releases) => releases.operate(&self.tools, attempt).await,
            Kind::Command(command) => command.operate(&self.tools, attempt).await,
        };
        outcome.map_or_else(|error| error.outcome(), OperationOutcome::Done)
    }

    /// Waits until no child of the attempt runs any more, and says what it came to.
    pub async fn receipt(&self, key: &StepKey) -> Result<Receipt, Reason> {
        child::receipt(self.tools.run_directory(), key).await.map_err(|error| Reason::new(&error.to_string()))
    }

    /// Stops traffic by the configured command.
    pub async fn stop_traffic(&self, key: &StepKey, deadline: Duration) -> OperationOutcome {
        let (stop, timeout) = match &self.kind {
            Kind::Releases(releases) => (&releases.form().stop, releases.form().rollout_timeout),
            Kind::Command(command) => (&command.form().stop, command.form().rollout_timeout),
        };
        self.tools.traffic("stop", stop.as_ref(), key, deadline.min(timeout)).await
    }

    /// Restores traffic by the configured command.
    pub async fn start_traffic(&self, key: &StepKey, deadline: Duration) -> OperationOutcome {
        let (start, timeout) = match &self.kind {
            Kind::Releases(releases) => (&releases.form().start, releases.form().rollout_timeout),
            Kind::Command(command) => (&command.form().start, command.form().rollout_timeout),
        };
        self.tools.traffic("start", start.as_ref(), key, deadline.min(timeout)).await
    }
}
