//! The user's own tools.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{self, Instant};

use super::{
    TargetError,
    tool::{self, Tool, Toolbox},
};
use crate::{
    config::form,
    core::{
        name::Version,
        operation::{Attempt, Operation},
        release::{Observation, Release},
    },
};

/// How long a command that only looks may take, where the configuration allows its commands more.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the live version is asked for while a rollout is waited for.
const ROLLOUT_POLL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct CommandTarget {
    form: form::CommandTarget,
    /// Whether `previous` failed when it was last run, so that this is logged once.
    previous_failing: AtomicBool,
}

impl CommandTarget {
    pub(super) fn new(form: form::CommandTarget) -> Self {
        Self { form, previous_failing: AtomicBool::new(false) }
    }

    pub(super) fn form(&self) -> &form::CommandTarget {
        &self.form
    }

    async fn current(&self, tools: &Toolbox, within: Duration) -> Result<Version, TargetError> {
        let deadline = within.min(LOOK_TIMEOUT).min(self.form.rollout_timeout);
        let current = Tool { name: "current", command: &self.form.current, versions: None, deadline };
        tool::first_version("current", &tools.ask(current).await?)
    }

    async fn previous(&self, tools: &Toolbox, within: Duration) -> Result<Vec<Version>, TargetError> {
        let deadline = within.min(LOOK_TIMEOUT).min(self.form.rollout_timeout);
        let previous = Tool { name: "previous", command: &self.form.previous, versions: None, deadline };
        tool::versions("previous", &tools.ask(previous).await?)
    }

    pub(super) async fn observe(&self, tools: &Toolbox) -> Result<Observation, TargetError> {
        let (current, previous) = tokio::join!(self.current(tools, LOOK_TIMEOUT), self.previous(tools, LOOK_TIMEOUT));
        let current = current?;
        let failing = previous.is_err();
        let failed_before = self.previous_failing.swap(failing, Ordering::Relaxed);
        let mut available: Vec<Version> = Vec::new();
        match previous {
            Ok(versions) => {
                for version in versions {
                    if version != current && !available.contains(&version) {
                        available.push(version);
                    }
                }
            }
            // What is live is known, and that there is nowhere to go back to is what follows.
            Err(error) if !failed_before => {
                tracing::warn!(service = tools.service().as_str(), "nothing to go back to is known: failed to {error}");
            }
            Err(_) => {}
        }
        let available = available.into_iter().map(Release::of).collect();
        Ok(Observation {
            current: Some(Release::of(current)),
            untold: None,
            gone: None,
            available,
            rolling_out: false,
            failing: None,
            ..Observation::default()
        })
    }

    pub(super) async fn operate(&self, tools: &Toolbox, attempt: &Attempt) -> Result<String, TargetError> {
        match &attempt.operation {
            Operation::EnsureAvailable { version } => self.ensure_available(tools, version, attempt.deadline).await,
            Operation::Switch { from, to } => self.switch(tools, attempt, from, to).await,
            Operation::WaitRollout { version } => self.wait_rollout(tools, version, attempt.deadline).await,
            other @ (Operation::RestartFailing { .. }
            | Operation::SuspendSync { .. }
            | Operation::ResumeSync { .. }
            | Operation::Record { .. }) => Err(TargetError::Foreign(other.as_str())),
        }
    }

    async fn ensure_available(
        &self,
        tools: &Toolbox,
        version: &Version,
        within: Duration,
    ) -> Result<String, TargetError> {
        // What is live need not be known here: the version is either seen live, or found among the older ones.
        let (current, previous) = tokio::join!(self.current(tools, within), self.previous(tools, within));
        if current.is_ok_and(|current| current == *version) {
            return Ok(format!("{version} is live already"));
        }
        if previous?.contains(version) {
            return Ok(format!("{version} is there"));
        }
        Err(TargetError::Unavailable {
            version: version.clone(),
            why: "it is not among what `previous` prints".to_owned(),
        })
    }

    async fn switch(
        &self,
        tools: &Toolbox,
        attempt: &Attempt,
        from: &Version,
        to: &Version,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        // A quarter for the look, so that most of the time is left for what matters. Where what is live cannot be told,
        // nothing is changed: somebody's new deploy would be undone unseen. The core looks again, and decides.
        let live = self.current(tools, attempt.deadline / 4).await.map_err(|error| TargetError::Unseen {
            from: from.clone(),
            to: to.clone(),
            why: Box::new(error),
        })?;
        if live != *from && live != *to {
            return Err(TargetError::Overtaken { from: from.clone(), to: to.clone(), live });
        }
        let roll_back = Tool {
            name: "roll_back",
            command: &self.form.roll_back,
            versions: Some((from, to)),
            deadline: until.saturating_duration_since(Instant::now()).min(self.form.rollout_timeout),
        };
        tools.change(roll_back, &attempt.key).await?;
        Ok(format!("`roll_back` to {to} succeeded; {live} was live"))
    }

    async fn wait_rollout(&self, tools: &Toolbox, wanted: &Version, within: Duration) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        // Bounded by `until`.
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let last = match self.current(tools, left).await {
                Ok(live) if live == *wanted => return Ok(format!("{wanted} is live")),
                Ok(live) => format!("{live} is"),
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + ROLLOUT_POLL >= until {
                return Err(TargetError::NotYetLive { wanted: wanted.clone(), last });
            }
            time::sleep(ROLLOUT_POLL).await;
        }
    }
}
