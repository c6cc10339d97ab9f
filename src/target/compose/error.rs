//! Why an engine or a project could not be seen or changed.

use std::{path::PathBuf, time::Duration};

/// Why an engine or a project could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The address of the engine cannot be used.
    #[error("use {host} as the address of a Docker engine: {why}")]
    Address {
        /// The address.
        host: String,
        /// Why.
        why: String,
    },
    /// A certificate or key cannot be used.
    #[error("use {path} to speak to the Docker engine: {why}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no engine, or it lets nobody in.
    #[error("{what} at {place}: {why}")]
    Unreachable {
        /// What was wanted.
        what: String,
        /// Where.
        place: String,
        /// Why.
        why: String,
    },
    /// It does not answer.
    #[error("{what} at {place}: no answer within {limit:?}: the engine hangs")]
    Hangs {
        /// What was wanted.
        what: String,
        /// Where.
        place: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It says no.
    #[error("{what}: {said} ({status})")]
    Refused {
        /// What was wanted.
        what: String,
        /// The status.
        status: u16,
        /// What it says.
        said: String,
    },
    /// Its answer is none.
    #[error("{what}: the engine's answer is not understood: {why}")]
    Answer {
        /// What was wanted.
        what: String,
        /// Why.
        why: String,
    },
    /// The project's files cannot be used.
    #[error("read the Compose project in {directory}: {said}")]
    Project {
        /// Where it is.
        directory: PathBuf,
        /// What is wrong.
        said: String,
    },
    /// The project has no such service.
    #[error("find the service {service} in the Compose project {project}: it has {there}")]
    NoService {
        /// The service.
        service: String,
        /// The project.
        project: String,
        /// The services that there are.
        there: String,
    },
    /// The service has no container.
    #[error("see what is live: the service {service} of the Compose project {project} has no container")]
    NoContainer {
        /// The service.
        service: String,
        /// The project.
        project: String,
    },
}

impl ComposeError {
    /// Whether it is certain that nothing was changed by what was asked.
    pub(in crate::target) const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Hangs { .. } | Self::Answer { .. })
    }

    /// Whether the engine says that there is no such thing.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}
