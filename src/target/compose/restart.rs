//! Restarts containers that fail while others serve: a bounded share, and never one that serves.

use tokio::time::Instant;

use super::{ComposeTarget, container::Container, health::Health, images::short};
use crate::{
    config::form::CommandLine,
    core::{operation::Attempt, release::Instance},
    target::{
        TargetError,
        tool::{Tool, Toolbox},
    },
};

/// Containers of one plan, whatever the share allows.
const CONTAINERS_LIMIT: usize = 20;

impl ComposeTarget {
    /// Restarts these containers and no others, and none that serves or has gone by then.
    pub(super) async fn restart_failing(
        &self,
        tools: &Toolbox,
        attempt: &Attempt,
        instances: &[Instance],
    ) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        let sight = self.sight().await?;
        let mut notes = Vec::new();
        let mut failing = Vec::new();
        {
            let mut watched = self.watched();
            watched.see(&sight.containers, Instant::now());
            for Instance { name, id, .. } in instances {
                match sight.containers.iter().find(|one| one.id == *id) {
                    None => notes.push(format!("{name} is gone already")),
                    Some(one) if watched.health(one, Instant::now()) == Health::Ready => {
                        notes.push(format!("{name} serves by now"));
                    }
                    Some(one) => {
                        notes.push(format!("{name} restarted"));
                        failing.push(one.id.clone());
                    }
                }
            }
        }
        if !failing.is_empty() {
            // Which container it is means something to the engine alone: Compose would restart all of the service.
            let mut command = vec!["docker".to_owned()];
            command.extend(self.address().arguments());
            command.push("restart".to_owned());
            command.extend(failing);
            let tool = Tool {
                name: "docker restart",
                command: &CommandLine(command),
                versions: None,
                deadline: until.saturating_duration_since(Instant::now()),
            };
            tools.change(tool, &attempt.key).await?;
        }
        Ok(notes.join(", "))
    }
}

/// Which containers would be restarted, and why: the first of those that fail, no more than `share` of all of them and at
/// least one.
pub(super) fn chosen(
    containers: &[Container],
    is_ready: impl Fn(&Container) -> bool,
    fails: impl Fn(&Container) -> Option<String>,
    share: f64,
) -> Vec<Instance> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let limit = ((containers.len() as f64 * share.clamp(0.0, 1.0)) as usize).clamp(1, CONTAINERS_LIMIT);
    let failing = containers.iter().filter(|one| !is_ready(one)).filter_map(|one| {
        let why = fails(one)?;
        Some(Instance { name: format!("{} ({})", one.name, short(&one.id)), id: one.id.clone(), why })
    });
    failing.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::container::tests::container, *};

    #[test]
    fn a_bounded_share_and_never_one_that_serves() {
        let all: Vec<Container> = (0..10).map(|number| container(number, "a", &[])).collect();
        let is_ready = |one: &Container| one.name.ends_with('0');
        let fails = |_: &Container| Some("it is ill".to_owned());
        for (count, share, expected) in [(10, 0.3, 3), (3, 0.3, 1), (2, 1.0, 1), (1, 1.0, 0)] {
            let chosen = chosen(&all[..count], is_ready, fails, share);
            assert_eq!(chosen.len(), expected, "{count} {share}");
            assert!(chosen.iter().all(|one| !one.name.starts_with("shop-api-0")));
        }
    }
}
