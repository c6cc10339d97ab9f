//! A directory for each version, and a symlink to the live one.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::Instant;

use super::{
    TargetError,
    blocking::{self, BlockingCalls, OneAtATime},
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

#[derive(Debug)]
pub(super) struct ReleasesTarget {
    form: form::ReleasesTarget,
    link: Link,
    file_system: OneAtATime,
    /// What link and directory were when they were last read; none before, and after a failure.
    seen: Arc<Mutex<Option<Print>>>,
    /// A glance is under way.
    glancing: AtomicBool,
}

impl ReleasesTarget {
    pub(super) fn new(form: form::ReleasesTarget, calls: BlockingCalls) -> Self {
        let link = Link { directory: form.directory.clone(), link: form.current.clone() };
        Self {
            form,
            link,
            file_system: OneAtATime::new(blocking::LIMIT, calls),
            seen: Arc::default(),
            glancing: AtomicBool::new(false),
        }
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
        let seen = Arc::clone(&self.seen);
        self.on_link(move |link| {
            // Before anything is read: what changes meanwhile is noticed by the next glance.
            let print = link.print();
            let observation = read(link);
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = print.filter(|_| observation.is_ok());
            observation
        })
        .await
    }

    /// Whether link or directory have changed since they were last read, or could not be read then. False while an
    /// earlier call hangs. Blocks.
    pub(super) fn has_changed(&self) -> bool {
        if self.glancing.swap(true, Ordering::AcqRel) {
            return false;
        }
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = !seen.is_some_and(|seen| self.link.is_still(&seen));
        self.glancing.store(false, Ordering::Release);
        changed
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
            other @ (Operation::RestartFailing { .. }
            | Operation::SuspendSync { .. }
            | Operation::ResumeSync { .. }
            | Operation::Record { .. }) => Err(TargetError::Foreign(other.as_str())),
        }
    }
}

fn read(link: &Link) -> Result<Observation, TargetError> {
    // Nothing may be live yet; or a deploy is just between removing the link and making it anew.
    let (current, untold) = match link.current() {
        Ok(version) if link.leads_nowhere() => {
            (None, Some(TargetError::Dangling { link: link.link.clone(), version }.to_string()))
        }
        Ok(version) => (Some(version), None),
        Err(error @ TargetError::LinkAbsent(_)) => (None, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let available = link.available(current.as_ref())?.into_iter().map(Release::of).collect();
    Ok(Observation {
        current: current.map(Release::of),
        untold,
        gone: None,
        available,
        rolling_out: false,
        ..Observation::default()
    })
}
