//! Which containers serve, which fail, and since when.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::container::{Check, Container, State};
use crate::core::engine::LOOK_FIRST_FOR;

/// A container without a HEALTHCHECK serves once it has run for so long: one that exits at once never does.
pub(super) const STEADY_FOR: Duration = Duration::from_secs(3);
/// One that was seen unready for so long, beyond what its own HEALTHCHECK lets it start in, fails.
pub(super) const UNREADY_FOR: Duration = Duration::from_secs(30);
/// A container that was made to take another one's place is started once that has stopped, which may take its grace of ten
/// seconds, and then what is live is another release. An incident waits for that ([`LOOK_FIRST_FOR`]), with a glance (one a
/// second) before and after it; one that was only made, and left so, is told no later.
const COMES_WITHIN: Duration = Duration::from_secs(6);
const _: () = assert!(COMES_WITHIN.as_secs() + 2 <= LOOK_FIRST_FOR.as_secs());
/// Restarts are counted within this time: long enough that one which is started again after growing pauses shows.
const RESTARTS_WITHIN: Duration = Duration::from_secs(10 * 60);
/// One that the engine started again so often fails, whatever it is in between: a release may come up before what it
/// depends on, once or twice.
const RESTARTS_FAIL: i64 = 3;
/// The same of a release that was seen to serve: two may not be somebody's doing.
const OLDER_RESTARTS_FAIL: i64 = 2;

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Ready,
    /// Not ready, perhaps not yet; with why.
    Unready(String),
    /// Why it fails.
    Failing(String),
}

/// What was seen of each container.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<String, Seen>);

#[derive(Debug, Clone)]
struct Seen {
    /// Which start it was seen running since when.
    start: (String, Instant),
    /// Since when it does not serve.
    unready: Option<Instant>,
    /// Why it failed. One that crashes again and again runs in between: until it serves it is not over.
    failed: Option<String>,
    /// Since when restarts are counted, and how many there had been.
    restarts: (Instant, i64),
    /// How many there were when it was last seen.
    restarts_before: i64,
}

impl Watched {
    /// Takes in what is seen now: all containers of the service. Those that are not among them any more are forgotten.
    pub(super) fn see(&mut self, containers: &[Container], now: Instant) {
        let before = std::mem::take(&mut self.0);
        for container in containers {
            let first = Seen {
                start: (container.started_at.clone(), now),
                unready: None,
                failed: None,
                restarts: (now, container.restarts),
                restarts_before: container.restarts,
            };
            let mut seen = before.get(&container.id).cloned().unwrap_or(first);
            if seen.start.0 != container.started_at {
                seen.start = (container.started_at.clone(), now);
                // Not by its restart policy: somebody started it, and it may do better.
                if container.restarts <= seen.restarts_before {
                    (seen.unready, seen.failed) = (None, None);
                }
            }
            seen.restarts_before = container.restarts;
            // One that a person starts again counts from none.
            let is_recent = now.saturating_duration_since(seen.restarts.0) < RESTARTS_WITHIN;
            if !is_recent || container.restarts < seen.restarts.1 {
                seen.restarts = (now, container.restarts);
            }
            self.0.insert(container.id.clone(), seen);
            let health = self.health(container, now);
            if let Some(seen) = self.0.get_mut(&container.id) {
                match health {
                    Health::Ready => (seen.unready, seen.failed) = (None, None),
                    Health::Unready(_) => drop(seen.unready.get_or_insert(now)),
                    Health::Failing(why) => {
                        seen.unready.get_or_insert(now);
                        seen.failed = Some(why);
                    }
                }
            }
        }
    }

    /// How a container is that was taken in.
    pub(super) fn health(&self, container: &Container, now: Instant) -> Health {
        let Some(seen) = self.0.get(&container.id) else { return Health::Unready("has just come".to_owned()) };
        let restarts = container.restarts - seen.restarts.1;
        let runs_for = now.saturating_duration_since(seen.start.1);
        match &container.state {
            State::Running(Check::Unhealthy(failed, said)) => {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                Health::Failing(format!("unhealthy, its check failed {failed} times{said}"))
            }
            // Between two crashes it runs for a moment.
            State::Running(Check::None | Check::Starting) if restarts >= RESTARTS_FAIL && runs_for < STEADY_FOR => {
                Health::Failing(format!("it was started again {restarts} times"))
            }
            State::Running(Check::Healthy) => Health::Ready,
            State::Running(Check::None) if runs_for >= STEADY_FOR => Health::Ready,
            State::Running(Check::None) => Health::Unready("has just been started".to_owned()),
            State::Running(Check::Starting) => Health::Unready("its check has not passed yet".to_owned()),
            State::Restarting(status) if container.restarts >= RESTARTS_FAIL => {
                let times = container.restarts;
                Health::Failing(format!("it was started again {times} times, and exits with status {status}"))
            }
            State::Restarting(status) => Health::Unready(format!("exited with status {status} and is started again")),
            State::Paused => Health::Unready("is paused".to_owned()),
            State::Made(Some(why)) => Health::Failing(format!("could not be started: {why}")),
            State::Made(None) => Health::Unready("has not been started".to_owned()),
            State::Ended { by_hand: true, .. } => Health::Unready("was stopped by hand".to_owned()),
            State::Ended { out_of_memory: true, .. } => Health::Failing("it ran out of memory and ended".to_owned()),
            State::Ended { status, .. } => Health::Failing(format!("it exited with status {status}")),
        }
    }

    /// Why one fails, if it does.
    pub(super) fn failure(&self, container: &Container, now: Instant) -> Option<String> {
        match self.health(container, now) {
            Health::Ready => None,
            Health::Failing(why) => Some(why),
            Health::Unready(why) => {
                let seen = self.0.get(&container.id)?;
                // What people stopped or paused is theirs.
                if matches!(container.state, State::Ended { by_hand: true, .. } | State::Paused) {
                    return None;
                }
                if seen.failed.is_some() {
                    return seen.failed.clone();
                }
                let lasts = now.saturating_duration_since(seen.unready?);
                (lasts >= UNREADY_FOR + container.own_patience()).then(|| format!("{why}, for {} s", lasts.as_secs()))
            }
        }
    }

    /// The same of a release that was rolled out while others of its containers serve: one pause before the next start is no
    /// partial failure yet, and one that has lasted is.
    pub(super) fn lasting_failure(&self, container: &Container, now: Instant) -> Option<String> {
        let since = self.0.get(&container.id)?.unready?;
        self.failure(container, now).filter(|_| now.saturating_duration_since(since) >= UNREADY_FOR)
    }

    /// Why one of these fails by being started again and again, though it may serve in between; the first that does.
    pub(super) fn restarting<'a>(
        &self,
        mut containers: impl Iterator<Item = &'a Container>,
        now: Instant,
    ) -> Option<String> {
        containers.find_map(|container| {
            let (from, before) = self.0.get(&container.id)?.restarts;
            let restarts = container.restarts - before;
            let within = now.saturating_duration_since(from).as_secs();
            (restarts >= OLDER_RESTARTS_FAIL).then(|| {
                format!("container {}: it was started again {restarts} times within {within} s", container.name)
            })
        })
    }

    /// The newest container where it has just been made and not been started yet: what is live is about to be exchanged.
    pub(super) fn coming<'a>(&self, containers: &'a [Container], now: Instant) -> Option<&'a Container> {
        let newest = containers.last().filter(|one| one.state == State::Made(None))?;
        let since = self.0.get(&newest.id)?.unready?;
        (now.saturating_duration_since(since) < COMES_WITHIN).then_some(newest)
    }

    /// When another look would find it otherwise, though nothing has happened.
    pub(super) fn due(&self, containers: &[Container]) -> Option<Instant> {
        let of = |container: &Container| {
            let seen = self.0.get(&container.id)?;
            let steady = matches!(container.state, State::Running(Check::None)).then(|| seen.start.1 + STEADY_FOR);
            let unready = seen.unready.map(|since| since + UNREADY_FOR + container.own_patience());
            let coming =
                seen.unready.filter(|_| container.state == State::Made(None)).map(|since| since + COMES_WITHIN);
            steady.into_iter().chain(unready).chain(coming).min()
        };
        containers.iter().filter_map(of).min()
    }
}

/// Containers, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) ready: u32,
    pub(super) starting: u32,
    pub(super) failing: u32,
    /// Why the first of the failing ones fails.
    pub(super) why: Option<String>,
}

impl Count {
    /// Counts containers, of which those fail that are told why.
    pub(super) fn of<'a>(
        containers: impl Iterator<Item = &'a Container>,
        is_ready: impl Fn(&Container) -> bool,
        fails: impl Fn(&Container) -> Option<String>,
    ) -> Self {
        let mut count = Self::default();
        for container in containers {
            if is_ready(container) {
                count.ready += 1;
            } else if let Some(why) = fails(container) {
                count.failing += 1;
                count.why.get_or_insert_with(|| format!("container {}: {why}", container.name));
            } else {
                count.starting += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::container::tests::container, *};

    fn with(state: &str, more: &[(&str, Value)]) -> Container {
        let mut changed = vec![("/State/Status", json!(state))];
        changed.extend_from_slice(more);
        container(1, "a", &changed)
    }

    /// Why it fails at the end of what is seen at those seconds, or `ready`, or nothing.
    fn told(seen: &[(u64, Container)]) -> String {
        let (began, mut watched) = (Instant::now(), Watched::default());
        let mut said = String::new();
        for (second, container) in seen {
            let now = began + Duration::from_secs(*second);
            watched.see(std::slice::from_ref(container), now);
            said = match watched.failure(container, now) {
                Some(why) => why,
                None if watched.health(container, now) == Health::Ready => "ready".to_owned(),
                None => String::new(),
            };
        }
        said
    }

    #[tokio::test]
    async fn one_that_runs_serves_and_one_that_ends_fails() {
        let health = |status: &str| json!({"Status": status, "FailingStreak": 2, "Log": []});
        let of = |status: &str| with("running", &[("/State/Health", health(status))]);
        let restarted =
            |times: i64, at: &str| with("running", &[("/RestartCount", json!(times)), ("/State/StartedAt", json!(at))]);
        let restarting =
            |times: i64| with("restarting", &[("/RestartCount", json!(times)), ("/State/ExitCode", json!(1))]);
        let exited = |policy: &str| {
            with("exited", &[("/State/ExitCode", json!(1)), ("/HostConfig/RestartPolicy/Name", json!(policy))])
        };
        for (seen, expected) in [
            (vec![(0, with("running", &[]))], ""),
            (vec![(0, with("running", &[])), (3, with("running", &[]))], "ready"),
            (vec![(0, of("healthy"))], "ready"),
            (vec![(0, of("starting"))], ""),
            // Thirty seconds, three checks in a row every thirty seconds.
            (vec![(0, of("starting")), (119, of("starting"))], ""),
            (vec![(0, of("starting")), (120, of("starting"))], "its check has not passed yet, for 120 s"),
            (vec![(0, of("unhealthy"))], "unhealthy, its check failed 2 times"),
            (vec![(0, exited("no"))], "it exited with status 1"),
            (vec![(0, exited("on-failure"))], "it exited with status 1"),
            (vec![(0, exited("always")), (600, exited("always"))], ""),
            (vec![(0, with("paused", &[])), (600, with("paused", &[]))], ""),
            (
                vec![(0, with("created", &[("/State/Error", json!("port is taken"))]))],
                "could not be started: port is taken",
            ),
            (vec![(0, restarting(1)), (1, restarting(2))], ""),
            (vec![(0, restarting(1)), (2, restarting(3))], "it was started again 3 times, and exits with status 1"),
            // It runs in between, and has not served.
            (vec![(0, restarting(1)), (2, restarting(3)), (4, restarted(4, "b"))], "it was started again 3 times"),
            // Somebody started it again.
            (vec![(0, exited("no")), (2, restarted(0, "b"))], ""),
            (vec![(0, restarting(3)), (4, restarted(4, "b")), (8, restarted(4, "b"))], "ready"),
        ] {
            let said = told(&seen);
            assert!(if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) }, "{said}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn what_was_just_made_is_coming_and_what_was_left_so_is_not() {
        let (began, mut watched) = (Instant::now(), Watched::default());
        let both = |state: &str| [container(1, "a", &[]), container(2, "b", &[("/State/Status", json!(state))])];
        let mut coming = |second: u64, state: &str| {
            let (now, both) = (began + Duration::from_secs(second), both(state));
            watched.see(&both, now);
            watched.coming(&both, now).map(|one| one.image.clone())
        };
        assert_eq!(coming(0, "created").as_deref(), Some("sha256:b"));
        assert_eq!(coming(5, "created").as_deref(), Some("sha256:b"));
        assert_eq!(coming(6, "created"), None);
        assert_eq!(coming(7, "running"), None);
    }

    #[tokio::test]
    async fn what_serves_in_between_restarts_again_and_again() {
        let (began, mut watched) = (Instant::now(), Watched::default());
        let mut restarting = |minutes: u64, restarts: i64| {
            let one = container(1, "a", &[("/RestartCount", json!(restarts))]);
            let now = began + Duration::from_secs(minutes * 60);
            watched.see(std::slice::from_ref(&one), now);
            watched.restarting(std::iter::once(&one), now)
        };
        assert_eq!(restarting(0, 40), None);
        assert_eq!(restarting(1, 41), None);
        let said = restarting(5, 42).expect("twice");
        assert_eq!(said, "container shop-api-1: it was started again 2 times within 300 s");
        assert_eq!(restarting(11, 42), None, "it has calmed down");
        assert_eq!(restarting(12, 0), None, "a person started it");
    }
}
