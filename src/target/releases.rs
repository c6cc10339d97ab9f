//! A directory for each version, and a symlink to the live one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    TargetError,
    blocking::{self, OneAtATime},
    link::{Link, Print},
    tool::{Tool, Toolbox},
};
use crate::{
    config::form,
    core::{
        operation::{Attempt, Operation},
        release::{Observation, Release},
    },
};

/// A glance may find nothing changed for so long; then everything is read again. It notices late only what neither
/// replaces the link nor changes the directory of releases, as another order of their ages, or a link above them.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct ReleasesTarget {
    form: form::ReleasesTarget,
    link: Link,
    file_system: OneAtATime,
    read: Arc<Mutex<Option<Read>>>,
}

/// What was read last.
#[derive(Debug)]
struct Read {
    at: Instant,
    print: Option<Print>,
    observation: Observation,
}

impl ReleasesTarget {
    pub(super) fn new(form: form::ReleasesTarget) -> Self {
        let link = Link { directory: form.directory.clone(), link: form.current.clone() };
        Self { form, link, file_system: OneAtATime::new(blocking::LIMIT), read: Arc::default() }
    }

    pub(super) fn form(&self) -> &form::ReleasesTarget {
        &self.form
    }

    async fn on_link<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Link) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let link = self.link.clone();
        self.file_system.run(&self.form.directory, move || call(&link)).await
    }

    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        let read = Arc::clone(&self.read);
        self.on_link(move |link| read_anew(link, &read)).await
    }

    /// Like [`Self::observe`], but looks only whether anything has changed since, most of the time.
    pub(super) async fn glance(&self) -> Result<Observation, TargetError> {
        let read = Arc::clone(&self.read);
        self.on_link(move |link| {
            let known = read.lock().unwrap_or_else(PoisonError::into_inner).take();
            match known {
                Some(known)
                    if known.print.is_some()
                        && known.at.elapsed() < READ_AGAIN_AFTER
                        && known.print == link.print() =>
                {
                    let observation = known.observation.clone();
                    *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
                    Ok(observation)
                }
                _ => read_anew(link, &read),
            }
        })
        .await
    }

    pub(super) async fn operate(&self, tools: &Toolbox, attempt: &Attempt) -> Result<String, TargetError> {
        match &attempt.operation {
            Operation::EnsureAvailable { version } => {
                let wanted = version.clone();
                self.on_link(move |link| link.ensure_available(&wanted)).await?;
                Ok(format!("{version} is there"))
            }
            Operation::Switch { from, to } => {
                let until = Instant::now() + attempt.deadline;
                let versions = (from.clone(), to.clone());
                let changed = self.on_link(move |link| link.switch(&versions.0, &versions.1)).await?;
                let restart = Tool {
                    name: "restart",
                    command: &self.form.restart,
                    versions: Some((from, to)),
                    deadline: until.saturating_duration_since(Instant::now()).min(self.form.rollout_timeout),
                };
                tools.change(restart, &attempt.key).await?;
                let link = if changed { "leads" } else { "led already" };
                Ok(format!("the link {link} to {to}; restarted"))
            }
            Operation::WaitRollout { version } => {
                let live = self.on_link(Link::current).await?;
                if live != *version {
                    return Err(TargetError::NotLive { wanted: version.clone(), live });
                }
                Ok(format!("{version} is live"))
            }
            other @ Operation::Record { .. } => Err(TargetError::Foreign(other.as_str())),
        }
    }
}

fn read_anew(link: &Link, read: &Mutex<Option<Read>>) -> Result<Observation, TargetError> {
    let at = Instant::now();
    // Before anything is read: what changes meanwhile is noticed by the next glance.
    let print = link.print();
    // Nothing may be live yet; or a deploy is just between removing the link and making it anew.
    let current = match link.current() {
        Ok(version) => Some(version),
        Err(TargetError::LinkAbsent(_)) => None,
        Err(error) => return Err(error),
    };
    let available = link.available(current.as_ref())?.into_iter().map(Release::of).collect();
    let observation = Observation { current: current.map(Release::of), available, rolling_out: false, failing: None };
    *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Read { at, print, observation: observation.clone() });
    Ok(observation)
}
