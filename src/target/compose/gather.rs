//! What a human would look at first when all is down: the engine, its containers, what happened last, the last words of the
//! service's containers, stopped ones too, and the engine's own service.
//!
//! Each part is asked for by itself: what cannot be had is said in its file, and the others come all the same.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    ComposeTarget,
    container::{Container, PROJECT},
    engine::Engine,
    images::short,
};
use crate::{
    runtime::child::{self, ChildSpec},
    target::{Gathered, TargetError},
};

/// Containers whose logs are taken; the newest come first.
const LOGS_LIMIT: usize = 10;
/// Lines of each log, from its end.
const LOG_LINES: &str = "500";
/// Bytes of each log.
const LOG_BYTES: usize = 512 * 1024;
/// Bytes of the events that are read.
const EVENTS_BYTES: usize = 4 * 1024 * 1024;
/// Events go back so far.
const EVENTS_FOR: Duration = Duration::from_secs(60 * 60);
/// Events that are told, from the end.
const EVENTS_LIMIT: usize = 200;
/// Containers that are not up and named for people; the others are counted.
const NAMED_LIMIT: usize = 8;
/// `systemctl status` answers at once, or hangs.
const STATUS_WITHIN: Duration = Duration::from_secs(5);

impl ComposeTarget {
    /// Gathers what there is within that time.
    pub(in crate::target) async fn gather(&self, within: Duration) -> Result<Vec<Gathered>, TargetError> {
        let until = Instant::now() + within;
        let mut files = Vec::new();
        match self.engine() {
            Ok(engine) => {
                let _alone = engine.gathers_alone(until).await?;
                let asked = tokio::time::timeout_at(until, self.of_engine(&engine, &mut files)).await;
                if asked.is_err() {
                    files.push(told("late.txt", Err("gather the rest: the time for gathering was over".to_owned())));
                }
            }
            Err(error) => files.push(told("engine.txt", Err(error.to_string()))),
        }
        if self.address().is_local() {
            files.push(told("service-status.txt", service_status().await.map(|text| (text, None))));
        }
        Ok(files)
    }

    async fn of_engine(&self, engine: &Engine, files: &mut Vec<Gathered>) {
        files.push(told("engine.txt", about(engine).await));
        let list = engine.get("list the containers", "/containers/json", &[("all", "1")]).await;
        files.push(told("docker-ps.txt", list.map(|list| processes(&list)).map_err(|error| error.to_string())));
        files.push(told("events.txt", events(engine).await));
        files.extend(self.logs().await);
    }

    /// The last words of the service's containers, before they may be removed.
    pub(in crate::target) async fn last_words(&self, within: Duration) -> Vec<Gathered> {
        let late = |_| vec![told("logs.txt", Err(format!("read the logs: no answer within {within:?}")))];
        tokio::time::timeout(within, self.logs()).await.unwrap_or_else(late)
    }

    async fn logs(&self) -> Vec<Gathered> {
        let (engine, sight) = match (self.engine(), self.sight().await) {
            (Ok(engine), Ok(sight)) => (engine, sight),
            (Err(error), _) | (_, Err(error)) => return vec![told("logs.txt", Err(error.to_string()))],
        };
        let mut files = Vec::new();
        for container in sight.containers.iter().rev().take(LOGS_LIMIT) {
            let log = log(&engine, container).await.map(|text| (text, None));
            let name = format!("log-{}-{}.txt", container.name, short(&container.id));
            // That a log is not there is no news of its own.
            files.push(Gathered { seen: Vec::new(), ..told(&name, log) });
        }
        files
    }
}

fn told(name: &str, content: Result<(String, Option<String>), String>) -> Gathered {
    let (content, seen) = content.unwrap_or_else(|why| {
        let said = format!("failed to {why}");
        (format!("{said}\n"), Some(said))
    });
    Gathered { name: name.to_owned(), content, seen: seen.into_iter().collect() }
}

async fn about(engine: &Engine) -> Result<(String, Option<String>), String> {
    let info = engine.get("ask the engine about itself", "/info", &[]).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    for name in [
        "Name",
        "ServerVersion",
        "OperatingSystem",
        "KernelVersion",
        "NCPU",
        "MemTotal",
        "Driver",
        "DockerRootDir",
        "Containers",
        "ContainersRunning",
        "ContainersPaused",
        "ContainersStopped",
        "Images",
        "Warnings",
    ] {
        if let Some(value) = info.get(name) {
            let _infallible = writeln!(text, "{name}: {value}");
        }
    }
    let count = |name: &str| info.get(name).and_then(Value::as_i64).unwrap_or(0);
    let seen = format!("engine: {} of {} containers run", count("ContainersRunning"), count("Containers"));
    Ok((text, Some(seen)))
}

/// As `docker ps --all` shows them.
fn processes(list: &Value) -> (String, Option<String>) {
    let text = |one: &Value, pointer: &str| one.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut rows = String::from("CONTAINER ID  IMAGE  STATUS  NAME  PROJECT\n");
    let (mut up, mut down) = (0_usize, Vec::new());
    for one in list.as_array().into_iter().flatten() {
        let name = text(one, "/Names/0").trim_start_matches('/').to_owned();
        let status = text(one, "/Status");
        let project = one.pointer("/Labels").and_then(|labels| labels.get(PROJECT)?.as_str()).unwrap_or("-");
        let id = text(one, "/Id");
        let _infallible = writeln!(rows, "{}  {}  {status}  {name}  {project}", short(&id), text(one, "/Image"));
        if text(one, "/State") == "running" && !status.contains("unhealthy") {
            up += 1;
        } else {
            down.push(format!("{name} ({status})"));
        }
    }
    let all = up + down.len();
    let more = down.len().saturating_sub(NAMED_LIMIT);
    down.truncate(NAMED_LIMIT);
    let named = if down.is_empty() { String::new() } else { format!("; not up: {}", down.join(", ")) };
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (rows, Some(format!("{up} of {all} containers are up{named}{more}")))
}

async fn events(engine: &Engine) -> Result<(String, Option<String>), String> {
    let now = jiff::Timestamp::now().as_second();
    let since = now.saturating_sub_unsigned(EVENTS_FOR.as_secs()).to_string();
    let query = [("since", since.as_str()), ("until", &now.to_string())];
    let bytes = engine.bytes("read the last events", "/events", &query, EVENTS_BYTES).await;
    let bytes = bytes.map_err(|error| error.to_string())?;
    let mut lines: Vec<String> = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { continue };
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        if text("/Action").starts_with("exec_") {
            continue;
        }
        let at = event.get("time").and_then(Value::as_i64).and_then(|second| jiff::Timestamp::from_second(second).ok());
        let at = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let status = event.pointer("/Actor/Attributes/exitCode").and_then(Value::as_str);
        let status = status.map_or_else(String::new, |status| format!(" status {status}"));
        lines.push(format!("{at}  {}  {}  {}{status}", text("/Type"), text("/Action"), text("/Actor/Attributes/name")));
    }
    let from = lines.len().saturating_sub(EVENTS_LIMIT);
    let mut text = lines[from..].join("\n");
    text.push('\n');
    Ok((text, None))
}

async fn log(engine: &Engine, container: &Container) -> Result<String, String> {
    let what = format!("read the log of the container {}", container.name);
    let query = [("stdout", "1"), ("stderr", "1"), ("timestamps", "1"), ("tail", LOG_LINES)];
    let path = format!("/containers/{}/logs", container.id);
    let bytes = engine.bytes(&what, &path, &query, LOG_BYTES).await.map_err(|error| error.to_string())?;
    let is_terminal = container.whole().pointer("/Config/Tty").and_then(Value::as_bool).unwrap_or(false);
    Ok(if is_terminal { String::from_utf8_lossy(&bytes).into_owned() } else { unframed(&bytes) })
}

/// The text of a log: parts, each with which stream it is of and how long it is before it.
fn unframed(mut bytes: &[u8]) -> String {
    let mut text = Vec::new();
    while let [_, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX).min(rest.len());
        text.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What the machine says of the engine's own service.
async fn service_status() -> Result<String, String> {
    let command = ["systemctl", "status", "--no-pager", "--lines=50", "docker.service", "containerd.service"];
    let spec = ChildSpec {
        command: command.map(str::to_owned).to_vec(),
        directory: None,
        environment: Vec::new(),
        deadline: STATUS_WITHIN,
        step: None,
    };
    // One that is down is told by another status, and that is what is wanted.
    let end = child::run(spec).await.map_err(|error| error.to_string())?;
    Ok(format!("{}{}", end.stdout, end.stderr))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_is_put_together_from_its_parts() {
        let part = |stream: u8, text: &str| {
            let length = u32::try_from(text.len()).expect("short").to_be_bytes();
            [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
        };
        let whole = [part(1, "one\n"), part(2, "two\n")].concat();
        assert_eq!(unframed(&whole), "one\ntwo\n");
        assert_eq!(unframed(&whole[..whole.len() - 2]), "one\ntw", "cut short");
        assert_eq!(unframed(b"plain"), "");
    }

    #[test]
    fn what_is_not_up_is_named() {
        let one = |name: &str, state: &str, status: &str| {
            json!({"Id": "a".repeat(64), "Names": [format!("/{name}")], "Image": "shop:1", "State": state, "Status": status,
                "Labels": {"com.docker.compose.project": "shop"}})
        };
        let list = json!([
            one("a", "running", "Up 3 minutes (healthy)"),
            one("b", "running", "Up 3 minutes (unhealthy)"),
            one("c", "exited", "Exited (1) 2 minutes ago"),
        ]);
        let (rows, seen) = processes(&list);
        assert!(rows.contains("aaaaaaaaaaaa  shop:1  Exited (1) 2 minutes ago  c  shop"), "{rows}");
        let expected = "1 of 3 containers are up; not up: b (Up 3 minutes (unhealthy)), c (Exited (1) 2 minutes ago)";
        assert_eq!(seen.as_deref(), Some(expected));
    }
}
