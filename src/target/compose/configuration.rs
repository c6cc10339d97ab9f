//! How a service is configured beside its image: environment, command, ports, volumes and all that the engine was told when
//! its container was made.
//!
//! Each part is told apart by a hash under a key that only this machine has: what it holds is kept nowhere. What comes from
//! the image is left out, since it goes back with the image; so is what Compose and we write ourselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::Container;
use crate::target::kubernetes::{configuration::Key, content};

/// Parts that are named; the others are counted.
const SHOWN_LIMIT: usize = 5;
/// Hexadecimal digits of a volume that nobody named.
const ANONYMOUS_DIGITS: usize = 64;
/// Parts of a container's own configuration that count, with what people call them. Others are the image's, or tell what
/// the engine made of it.
const OWN: &[(&str, &str)] = &[
    ("Cmd", "command"),
    ("Entrypoint", "entrypoint"),
    ("User", "user"),
    ("WorkingDir", "working directory"),
    ("Healthcheck", "healthcheck"),
    ("StopSignal", "stop signal"),
    ("StopTimeout", "stop grace period"),
    ("Domainname", "domain name"),
    ("Tty", "tty"),
    ("OpenStdin", "stdin"),
];
/// Parts of what the engine was told that say nothing of the service's configuration.
const NOT_OF_HOST: &[&str] = &["Binds", "Mounts", "ContainerIDFile", "ConsoleSize", "NetworkMode", "VolumesFrom"];

/// The parts of a configuration by what people call them, each with the hash of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Manifest(BTreeMap<String, String>);

impl Manifest {
    /// How a container is configured; `image` is what its image says of itself.
    pub(super) fn of(container: &Container, image: &Value, key: &Key) -> Self {
        let whole = container.whole();
        let from_image = |name: &str| image.pointer(&format!("/Config/{name}"));
        let mut parts: BTreeMap<String, String> = BTreeMap::new();
        let mut keep = |name: String, value: &Value| {
            if !is_nothing(value) {
                parts.insert(name, content::canonical(value));
            }
        };
        let config = whole.pointer("/Config").unwrap_or(&Value::Null);
        for (name, called) in OWN {
            if let Some(value) = config.get(*name).filter(|value| from_image(name) != Some(*value)) {
                keep((*called).to_owned(), value);
            }
        }
        // The engine calls a container that has no name of its own by its number.
        if let Some(name) =
            config.get("Hostname").filter(|name| name.as_str().is_none_or(|name| !container.id.starts_with(name)))
        {
            keep("hostname".to_owned(), name);
        }
        let texts = |value: Option<&Value>| -> BTreeSet<String> {
            let all = value.and_then(Value::as_array).into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let inherited = texts(from_image("Env"));
        for variable in texts(config.get("Env")).difference(&inherited) {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            keep(format!("environment {name}"), &Value::from(format!("={value}")));
        }
        for (name, value) in members(config.get("Labels")) {
            let is_theirs = name.starts_with("com.docker.compose.") || name.starts_with("backstop.io/");
            if !is_theirs && from_image("Labels").and_then(|all| all.get(name)) != Some(value) {
                keep(format!("label {name}"), value);
            }
        }
        for (name, value) in members(whole.pointer("/HostConfig")) {
            if !NOT_OF_HOST.contains(&name.as_str()) {
                let called = if name == "PortBindings" { "ports" } else { name };
                keep(called.to_owned(), value);
            }
        }
        for mount in whole.pointer("/Mounts").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default();
            let name = text("Name");
            // Made for this very container, or taken over from the one before.
            if name.len() == ANONYMOUS_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                continue;
            }
            let from = if name.is_empty() { text("Source") } else { name };
            let writable = mount.get("RW").and_then(Value::as_bool).unwrap_or(true);
            keep(format!("volume {}", text("Destination")), &Value::from(format!("{from} {writable}")));
        }
        for (name, _) in members(whole.pointer("/NetworkSettings/Networks")) {
            keep(format!("network {name}"), &Value::from(true));
        }
        Self(parts.into_iter().map(|(name, value)| (name, key.seal(&value))).collect())
    }

    /// What tells it from every other one.
    pub(super) fn hash(&self) -> String {
        let mut text = String::new();
        for (name, hash) in &self.0 {
            let _infallible = writeln!(text, "{name}\t{hash}");
        }
        content::of_text(&text)
    }

    /// The parts that differ, in words; none where none does.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let all: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let changed: Vec<&str> =
            all.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name)).map(String::as_str).collect();
        if changed.is_empty() {
            return None;
        }
        let shown = changed[..changed.len().min(SHOWN_LIMIT)].join(", ");
        Some(match changed.len().saturating_sub(SHOWN_LIMIT) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        })
    }
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// What an engine says where nothing was said to it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::container::tests::container, *};

    fn manifest(number: u32, changed: &[(&str, Value)]) -> Manifest {
        let image = json!({"Config": {"Env": ["PATH=/bin"], "Cmd": ["serve"], "Labels": {"made": "here"}}});
        Manifest::of(&container(number, "a", changed), &image, &Key::from([1; 32]))
    }

    #[test]
    fn what_is_said_by_people_counts_and_nothing_else() {
        let plain = manifest(1, &[]);
        for changed in [
            // Another container of the same service.
            ("/Config/Hostname", json!(&format!("{:064}", 2)[..12])),
            // Said by the image already.
            ("/Config/Env", json!(["LIMIT=5", "PATH=/bin"])),
            ("/Config/Cmd", json!(["serve"])),
            ("/Config/Labels/made", json!("here")),
            // Written by Compose and by us.
            ("/Config/Labels/com.docker.compose.config-hash", json!("bbbb")),
            ("/Config/Labels/backstop.io~1version", json!("1.4.2")),
            // The engine's own.
            ("/HostConfig/Memory", json!(0)),
            ("/Mounts", json!([{"Type": "volume", "Name": "a".repeat(64), "Destination": "/data", "RW": true}])),
        ] {
            assert_eq!(manifest(2, std::slice::from_ref(&changed)), plain, "{changed:?}");
        }
        for (changed, said) in [
            (("/Config/Env", json!(["LIMIT=6"])), "environment LIMIT"),
            (("/Config/Env", json!(["LIMIT=5", "PATH=/sbin"])), "environment PATH"),
            (("/Config/Env", json!([])), "environment LIMIT"),
            (("/Config/Cmd", json!(["serve", "--fast"])), "command"),
            (("/Config/Labels/team", json!("a")), "label team"),
            (("/HostConfig/PortBindings", json!({"80/tcp": [{"HostPort": "81"}]})), "ports"),
            (("/HostConfig/RestartPolicy", json!({"Name": "always"})), "RestartPolicy"),
            (("/HostConfig/Memory", json!(1024)), "Memory"),
            (
                ("/Mounts", json!([{"Type": "bind", "Source": "/a", "Destination": "/data", "RW": true}])),
                "volume /data",
            ),
            (("/NetworkSettings/Networks", json!({"shop_default": {}, "back": {}})), "network back"),
            (("/Config/Hostname", json!("api")), "hostname"),
        ] {
            let other = manifest(1, std::slice::from_ref(&changed));
            assert_eq!(plain.difference(&other).as_deref(), Some(said), "{changed:?}");
            assert_ne!(plain.hash(), other.hash());
        }
    }

    #[test]
    fn no_value_can_be_found_in_it() {
        let secret = [("/Config/Env", json!(["PASSWORD=hunter2"]))];
        let kept = serde_json::to_string(&manifest(1, &secret)).expect("it is written");
        assert!(kept.contains("environment PASSWORD") && !kept.contains("hunter2"), "{kept}");
    }
}
