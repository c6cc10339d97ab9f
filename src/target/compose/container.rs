//! What an engine says of a container.

use std::time::Duration;

use serde_json::Value;

/// Labels that Compose writes.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const WORKING_DIRECTORY: &str = "com.docker.compose.project.working_dir";
const NUMBER: &str = "com.docker.compose.container-number";
/// Names the container whose place it is to take.
const REPLACES: &str = "com.docker.compose.replace";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
const COMPOSE_VERSION: &str = "com.docker.compose.version";

/// Labels that we write, by the override file.
pub(super) const VERSION: &str = "backstop.io/version";
pub(super) const IMAGE: &str = "backstop.io/image";
pub(super) const INCIDENT: &str = "backstop.io/incident";
/// What the project's own files said of the service then, its image aside.
pub(super) const FILES: &str = "backstop.io/files";

/// A container that counts: of the service itself, and not being removed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Container {
    pub(super) id: String,
    /// As people know it.
    pub(super) name: String,
    /// When it was made, as the engine says: seconds and nanoseconds.
    pub(super) made: (i64, i32),
    /// `sha256:` and 64 digits.
    pub(super) image: String,
    pub(super) state: State,
    pub(super) started_at: String,
    pub(super) restarts: i64,
    /// All that the engine says of it.
    whole: Value,
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Made, and never started; with what the engine says of a start that failed.
    Made(Option<String>),
    Running(Check),
    /// The engine starts it again, after an exit.
    Restarting(i64),
    Paused,
    /// It has ended, and will not be started again by itself.
    Ended {
        status: i64,
        out_of_memory: bool,
        by_hand: bool,
    },
}

/// What its HEALTHCHECK says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// It has none.
    None,
    Starting,
    Healthy,
    /// With how many failed in a row, and what the last one said.
    Unhealthy(i64, String),
}

/// Of what a check prints so much is told.
const SAID_LIMIT: usize = 120;

impl Container {
    /// Reads one; none where it does not count or is not understood.
    pub(super) fn read(whole: Value) -> Option<Self> {
        let text = |pointer: &str| whole.pointer(pointer).and_then(Value::as_str);
        let is_one_off = label(&whole, ONE_OFF).is_some_and(|said| said.eq_ignore_ascii_case("true"));
        let status = text("/State/Status")?;
        if is_one_off || status == "removing" {
            return None;
        }
        let made: jiff::Timestamp = text("/Created")?.parse().ok()?;
        Some(Self {
            id: text("/Id")?.to_owned(),
            name: text("/Name")?.trim_start_matches('/').to_owned(),
            made: (made.as_second(), made.subsec_nanosecond()),
            image: text("/Image")?.to_owned(),
            state: state(&whole, status)?,
            started_at: text("/State/StartedAt").unwrap_or_default().to_owned(),
            restarts: whole.pointer("/RestartCount").and_then(Value::as_i64).unwrap_or(0),
            whole,
        })
    }

    pub(super) const fn whole(&self) -> &Value {
        &self.whole
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        label(&self.whole, name)
    }

    /// Its place among the service's containers; another one is made for the same place before this one goes.
    pub(super) fn number(&self) -> &str {
        self.label(NUMBER).unwrap_or(&self.name)
    }

    /// Somebody told it to end.
    pub(super) const fn was_told_to_end(&mut self) {
        if let State::Ended { by_hand, .. } = &mut self.state {
            *by_hand = true;
        }
    }

    /// It is to take another one's place, which it has not come to.
    pub(super) fn is_to_replace(&self) -> bool {
        matches!(self.state, State::Made(_)) && self.label(REPLACES).is_some()
    }

    /// Whether another one was made of the same image and configuration.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let hash = |one: &Self| one.config_hash().map(|(hash, _)| hash.to_owned());
        self.image == other.image && hash(self) == hash(other)
    }

    /// The image as it was named.
    pub(super) fn reference(&self) -> &str {
        self.whole.pointer("/Config/Image").and_then(Value::as_str).unwrap_or_default()
    }

    /// What Compose made of the project's files for it, and which Compose that was.
    pub(super) fn config_hash(&self) -> Option<(&str, &str)> {
        Some((self.label(CONFIG_HASH)?, self.label(COMPOSE_VERSION)?))
    }

    /// The release that our override file said it is, if nobody else made it since.
    pub(super) fn made_to_be(&self) -> Option<&str> {
        self.label(VERSION).filter(|_| self.label(IMAGE) == Some(&self.image))
    }

    /// How long its HEALTHCHECK lets it start before it is called unhealthy.
    pub(super) fn own_patience(&self) -> Duration {
        let number = |name: &str, default: u64| {
            let said = self.whole.pointer(&format!("/Config/Healthcheck/{name}")).and_then(Value::as_u64);
            said.filter(|&number| number > 0).unwrap_or(default)
        };
        match &self.state {
            State::Running(Check::None) => Duration::ZERO,
            // As the engine's own defaults are.
            _ => Duration::from_nanos(
                number("StartPeriod", 0)
                    .saturating_add(number("Interval", 30_000_000_000).saturating_mul(number("Retries", 3))),
            ),
        }
    }
}

fn label<'a>(whole: &'a Value, name: &str) -> Option<&'a str> {
    whole.pointer("/Config/Labels")?.get(name)?.as_str()
}

fn state(whole: &Value, status: &str) -> Option<State> {
    let number = |pointer: &str| whole.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let text = |pointer: &str| whole.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Some(match status {
        "created" => State::Made(Some(text("/State/Error").to_owned()).filter(|said| !said.is_empty())),
        "running" => State::Running(match text("/State/Health/Status") {
            "starting" => Check::Starting,
            "healthy" => Check::Healthy,
            "unhealthy" => {
                let log = whole.pointer("/State/Health/Log").and_then(Value::as_array);
                let last = log.and_then(|log| log.last()).and_then(|last| last.get("Output")?.as_str());
                let said = last.unwrap_or_default().trim().chars().take(SAID_LIMIT).collect();
                Check::Unhealthy(number("/State/Health/FailingStreak"), said)
            }
            _ => Check::None,
        }),
        "restarting" => State::Restarting(number("/State/ExitCode")),
        "paused" => State::Paused,
        "exited" | "dead" => State::Ended {
            status: number("/State/ExitCode"),
            out_of_memory: whole.pointer("/State/OOMKilled").and_then(Value::as_bool).unwrap_or(false),
            // The engine would start it again but for somebody who stopped it.
            by_hand: status == "exited"
                && matches!(text("/HostConfig/RestartPolicy/Name"), "always" | "unless-stopped"),
        },
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A container as an engine shows it, changed in some places.
    pub(in crate::target::compose) fn shown(number: u32, image: &str, changed: &[(&str, Value)]) -> Value {
        let mut whole = json!({
            "Id": format!("{number:064}"), "Name": format!("/shop-api-{number}"),
            "Created": format!("2026-01-07T10:30:{:02}.5Z", number % 60), "Image": format!("sha256:{image}"),
            "RestartCount": 0,
            "State": {"Status": "running", "StartedAt": "2026-01-07T10:30:01.5Z", "ExitCode": 0, "OOMKilled": false, "Error": ""},
            "HostConfig": {"RestartPolicy": {"Name": "no"}, "PortBindings": {}},
            "NetworkSettings": {"Networks": {"shop_default": {}}},
            "Mounts": [],
            "Config": {"Image": "shop:1.4.3", "Env": ["LIMIT=5"], "Labels": {
                "com.docker.compose.project": "shop", "com.docker.compose.service": "api",
                "com.docker.compose.oneoff": "False", "com.docker.compose.config-hash": "aaaa",
                "com.docker.compose.version": "2.26.1",
            }},
        });
        for (pointer, value) in changed {
            let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
            let parent = whole.pointer_mut(parent).expect("it is there").as_object_mut().expect("an object");
            parent.insert(last.replace("~1", "/"), value.clone());
        }
        whole
    }

    pub(in crate::target::compose) fn container(number: u32, image: &str, changed: &[(&str, Value)]) -> Container {
        Container::read(shown(number, image, changed)).expect("a container")
    }

    #[test]
    fn states_by_what_the_engine_says() {
        let with_health = |status: &str, log: Value| json!({"Status": status, "FailingStreak": 3, "Log": log});
        for (changed, expected) in [
            (vec![], State::Running(Check::None)),
            (vec![("/State/Health", with_health("starting", json!([])))], State::Running(Check::Starting)),
            (vec![("/State/Health", with_health("healthy", json!([])))], State::Running(Check::Healthy)),
            (
                vec![("/State/Health", with_health("unhealthy", json!([{"Output": "a"}, {"Output": " refused\n"}])))],
                State::Running(Check::Unhealthy(3, "refused".to_owned())),
            ),
            (vec![("/State/Status", json!("created"))], State::Made(None)),
            (
                vec![("/State/Status", json!("created")), ("/State/Error", json!("port is already allocated"))],
                State::Made(Some("port is already allocated".to_owned())),
            ),
            (vec![("/State/Status", json!("restarting")), ("/State/ExitCode", json!(7))], State::Restarting(7)),
            (vec![("/State/Status", json!("paused"))], State::Paused),
            (
                vec![("/State/Status", json!("exited")), ("/State/ExitCode", json!(1))],
                State::Ended { status: 1, out_of_memory: false, by_hand: false },
            ),
            (
                vec![("/State/Status", json!("exited")), ("/HostConfig/RestartPolicy/Name", json!("unless-stopped"))],
                State::Ended { status: 0, out_of_memory: false, by_hand: true },
            ),
            (
                vec![("/State/Status", json!("exited")), ("/State/OOMKilled", json!(true))],
                State::Ended { status: 0, out_of_memory: true, by_hand: false },
            ),
        ] {
            assert_eq!(container(1, "a", &changed).state, expected, "{changed:?}");
        }
    }

    #[test]
    fn what_does_not_count_is_left_out() {
        for changed in
            [("/State/Status", json!("removing")), ("/Config/Labels/com.docker.compose.oneoff", json!("True"))]
        {
            assert_eq!(Container::read(shown(1, "a", std::slice::from_ref(&changed))), None, "{changed:?}");
        }
    }

    #[test]
    fn it_is_ours_as_long_as_it_runs_the_image_that_we_said() {
        let labels = |image: &str| {
            vec![
                ("/Config/Labels/backstop.io~1version", json!("1.4.2")),
                ("/Config/Labels/backstop.io~1image", json!(image)),
            ]
        };
        assert_eq!(container(1, "a", &labels("sha256:a")).made_to_be(), Some("1.4.2"));
        assert_eq!(container(1, "a", &labels("sha256:b")).made_to_be(), None);
        assert_eq!(container(1, "a", &[]).made_to_be(), None);
    }
}
