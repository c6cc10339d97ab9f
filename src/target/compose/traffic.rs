//! Traffic is stopped by stopping services of the project, and restored to what ran.
//!
//! What ran is written down, durably, before anything is stopped: whoever goes on after a crash finds it there.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{
    ComposeTarget,
    container::{Container, State},
    files,
    kept::{Ran, Stopped},
    project::no_service,
};
use crate::{
    config::form::CommandLine,
    core::operation::StepKey,
    target::{
        TargetError,
        tool::{Tool, Toolbox},
    },
};

impl Stopped {
    /// Whether that service is among those that were stopped.
    pub(super) fn stops(&self, service: &str) -> bool {
        self.services.iter().any(|stopped| stopped == service)
    }
}

impl ComposeTarget {
    /// Stops the services by which traffic comes.
    pub(in crate::target) async fn stop_traffic(
        &self,
        tools: &Toolbox,
        key: &StepKey,
        within: Duration,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        let project = self.project().await?;
        if self.kept().await?.stopped.is_none() {
            let mut containers = Vec::new();
            for service in &self.form.stop_traffic {
                let found = self.containers(&project.name, service).await?;
                let ran = |one: &&Container| matches!(one.state, State::Running(_) | State::Restarting(_));
                containers.extend(found.iter().filter(ran).map(|one| Ran {
                    service: service.clone(),
                    id: one.id.clone(),
                    name: one.name.clone(),
                }));
            }
            let incident = key.incident.as_str().to_owned();
            let stopped = Stopped { incident, services: self.form.stop_traffic.clone(), containers };
            let put = |kept: &mut super::Kept| {
                kept.stopped = Some(stopped);
                true
            };
            self.keep(put).await?;
        }
        let mut rest = vec!["stop"];
        rest.extend(self.form.stop_traffic.iter().map(String::as_str));
        let command = CommandLine(files::command(&self.form, self.address(), &project.files, &rest));
        let deadline = until.saturating_duration_since(Instant::now()).min(self.form.rollout_timeout);
        let tool = Tool { name: "docker compose stop", command: &command, versions: None, deadline };
        tools.change_in(tool, &self.form.project_directory, key).await?;
        Ok(format!("stopped {}", self.form.stop_traffic.join(", ")))
    }

    /// Starts again what ran.
    pub(in crate::target) async fn start_traffic(
        &self,
        tools: &Toolbox,
        key: &StepKey,
        within: Duration,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        let Some(stopped) = self.kept().await?.stopped else {
            return Ok("nothing of ours is to be restored".to_owned());
        };
        let project = self.project().await?;
        let mut found = Vec::new();
        for service in &stopped.services {
            found.push((service.clone(), self.containers(&project.name, service).await?));
        }
        let to_start = to_start(&stopped, &found);
        if !to_start.is_empty() {
            let all: Vec<&Container> = found.iter().flat_map(|(_, all)| all).filter(|one| is_still(one)).collect();
            let command = if all.len() == to_start.len() {
                let mut rest = vec!["start"];
                rest.extend(stopped.services.iter().map(String::as_str));
                files::command(&self.form, self.address(), &project.files, &rest)
            } else {
                // Some had been stopped before: they stay so.
                let mut command = vec!["docker".to_owned()];
                command.extend(self.address().arguments());
                command.push("start".to_owned());
                command.extend(to_start.iter().cloned());
                command
            };
            let deadline = until.saturating_duration_since(Instant::now()).min(self.form.rollout_timeout);
            let tool = Tool { name: "docker compose start", command: &CommandLine(command), versions: None, deadline };
            tools.change_in(tool, &self.form.project_directory, key).await?;
        }
        self.keep(|kept| kept.stopped.take().is_some()).await?;
        Ok(format!("started {} again", stopped.services.join(", ")))
    }

    /// Whether the services that traffic is stopped by are there.
    pub(in crate::target) async fn can_stop_traffic(&self) -> Result<(), TargetError> {
        let project = self.project().await?;
        let there = self.services(&project.files).await?;
        match self.form.stop_traffic.iter().find(|service| !there.contains(service)) {
            Some(missing) => Err(no_service(missing, project.name, &there)),
            None => Ok(()),
        }
    }
}

fn is_still(one: &Container) -> bool {
    matches!(one.state, State::Made(_) | State::Ended { .. })
}

/// Which containers are to be started: those that ran, and of a service whose containers were made anew meanwhile, all.
fn to_start(stopped: &Stopped, found: &[(String, Vec<Container>)]) -> BTreeSet<String> {
    let mut chosen = BTreeSet::new();
    for (service, containers) in found {
        let ran: BTreeSet<&str> =
            stopped.containers.iter().filter(|ran| ran.service == *service).map(|ran| ran.id.as_str()).collect();
        let are_new = !ran.is_empty() && !containers.iter().any(|one| ran.contains(one.id.as_str()));
        let wanted = containers.iter().filter(|one| is_still(one) && (are_new || ran.contains(one.id.as_str())));
        chosen.extend(wanted.map(|one| one.id.clone()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::container::tests::container, *};

    #[test]
    fn what_ran_is_started_and_what_stood_still_is_not() {
        let at = |number: u32, state: &str| container(number, "a", &[("/State/Status", json!(state))]);
        let ran = |numbers: &[u32]| Stopped {
            incident: "shop-1".to_owned(),
            services: vec!["api".to_owned()],
            containers: numbers
                .iter()
                .map(|&number| Ran { service: "api".to_owned(), id: at(number, "exited").id, name: String::new() })
                .collect(),
        };
        for (ran_before, now, expected) in [
            (vec![1, 2], vec![at(1, "exited"), at(2, "exited")], vec![1, 2]),
            (vec![1], vec![at(1, "exited"), at(2, "exited")], vec![1]),
            (vec![1, 2], vec![at(1, "running"), at(2, "exited")], vec![2]),
            // Made anew by a rollback.
            (vec![1, 2], vec![at(3, "created"), at(4, "created")], vec![3, 4]),
            (vec![], vec![at(1, "exited")], vec![]),
        ] {
            let chosen = to_start(&ran(&ran_before), &[("api".to_owned(), now)]);
            let expected: BTreeSet<String> = expected.into_iter().map(|number| at(number, "exited").id).collect();
            assert_eq!(chosen, expected, "{ran_before:?}");
        }
    }
}
