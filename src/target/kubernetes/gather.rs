//! What a human would look at first when all is down: nodes, pods, events, and the last words of the workload's pods.
//!
//! Each part is asked for by itself: what cannot be had is said in its file, and the others come all the same.

use std::fmt::Write as _;

use kube::{
    Api, Client,
    api::{ListParams, LogParams},
    core::DynamicObject,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    KubernetesError,
    server::ask,
    workload::{field, number, resource, text},
};

/// Pods whose logs are taken; those that fail come first.
const LOGS_LIMIT: usize = 10;
/// Lines of each log, from its end.
const LOG_LINES: i64 = 500;
/// Bytes of each log.
const LOG_BYTES: i64 = 256 * 1024;
/// Objects that are not ready and named for people; the others are counted.
const NAMED_LIMIT: usize = 8;
/// Objects of one list; a cluster that is down is not asked for more.
const LIST_LIMIT: u32 = 1_000;

/// A file for the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// Its name, safe as such.
    pub name: String,
    /// Its content.
    pub content: String,
    /// What it shows, for people who have not opened it: at most a line or two.
    pub seen: Vec<String>,
}

/// Gathers what there is until then. `pods` are the workload's own, the failing ones first.
pub(super) async fn gather(client: &Client, namespace: &str, pods: &[String], until: Instant) -> Vec<Gathered> {
    let all = |group: &str, kind: &str| -> Api<DynamicObject> { Api::all_with(client.clone(), &resource(group, kind)) };
    let (nodes, every_pod, events) = tokio::join!(
        list("list the nodes", all("", "Node")),
        list("list the pods of all namespaces", all("", "Pod")),
        list("list the namespace's events", Api::namespaced_with(client.clone(), namespace, &resource("", "Event")),),
    );
    let mut files = vec![
        file(
            "nodes.txt",
            nodes.map(|all| {
                let rows = all.iter().map(node);
                (table(&["NAME", "READY", "VERSION"], rows), ready_of("nodes", &all))
            }),
        ),
        file(
            "pods.txt",
            every_pod.map(|all| {
                let headings = ["NAMESPACE", "NAME", "PHASE", "READY", "RESTARTS", "NODE", "WHY"];
                (table(&headings, all.iter().map(pod)), ready_of("pods of all namespaces", &all))
            }),
        ),
        file(
            "events.txt",
            events.map(|mut all| {
                all.sort_by_key(|event| when(event).to_owned());
                let warning = all.iter().rfind(|event| text(event, "/type") == Some("Warning"));
                let seen = warning.map(|last| format!("last warning: {}", event(last)[2..].join(" ")));
                (table(&["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"], all.iter().map(event)), seen)
            }),
        ),
    ];
    let own: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    for name in pods.iter().take(LOGS_LIMIT) {
        for previous in [true, false] {
            let which = if previous { "previous" } else { "current" };
            let name_of_file = format!("log-{name}-{which}.txt");
            let parameters = LogParams {
                previous,
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(LOG_BYTES),
                timestamps: true,
                ..LogParams::default()
            };
            let what = format!("read the {which} log of pod {name}");
            let log = match tokio::time::timeout_at(until, ask(&what, own.logs(name, &parameters))).await {
                Ok(log) => file(&name_of_file, log.map(|text| (text, None))),
                Err(_) => {
                    let content = format!("failed to {what}: no answer before the time for gathering was over\n");
                    Gathered { name: name_of_file, content, seen: Vec::new() }
                }
            };
            // That a log is not there is no news of its own.
            files.push(Gathered { seen: Vec::new(), ..log });
        }
    }
    files
}

fn file(name: &str, content: Result<(String, Option<String>), KubernetesError>) -> Gathered {
    let (content, seen) = content.unwrap_or_else(|error| {
        let said = format!("failed to {error}");
        (format!("{said}\n"), Some(said))
    });
    Gathered { name: name.to_owned(), content, seen: seen.into_iter().collect() }
}

/// How many of them are ready, and which are not.
fn ready_of(what: &str, all: &[DynamicObject]) -> Option<String> {
    // What has run to its end is no trouble.
    let counts = |object: &&DynamicObject| text(object, "/status/phase") != Some("Succeeded");
    let all: Vec<&DynamicObject> = all.iter().filter(counts).collect();
    let others: Vec<String> = all.iter().filter(|one| ready(one) != "True").map(|one| name(one)).collect();
    let named = others[..others.len().min(NAMED_LIMIT)].join(", ");
    let more = match others.len().saturating_sub(NAMED_LIMIT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let which = if others.is_empty() { String::new() } else { format!("; not ready: {named}{more}") };
    Some(format!("{} of {} {what} are ready{which}", all.len() - others.len(), all.len()))
}

async fn list(what: &str, api: Api<DynamicObject>) -> Result<Vec<DynamicObject>, KubernetesError> {
    Ok(ask(what, api.list(&ListParams::default().limit(LIST_LIMIT))).await?.items)
}

fn name(object: &DynamicObject) -> String {
    object.metadata.name.clone().unwrap_or_default()
}

fn ready(object: &DynamicObject) -> String {
    let conditions = field(object, "/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
    ready.and_then(|one| one.get("status")).and_then(Value::as_str).unwrap_or("Unknown").to_owned()
}

fn node(object: &DynamicObject) -> Vec<String> {
    let version = text(object, "/status/nodeInfo/kubeletVersion").unwrap_or_default();
    vec![name(object), ready(object), version.to_owned()]
}

fn pod(object: &DynamicObject) -> Vec<String> {
    let statuses = field(object, "/status/containerStatuses").and_then(Value::as_array);
    let statuses = statuses.map_or(&[][..], Vec::as_slice);
    let restarts: i64 = statuses.iter().filter_map(|one| one.get("restartCount")?.as_i64()).sum();
    let why = statuses.iter().find_map(|one| one.pointer("/state/waiting/reason")?.as_str()).unwrap_or_default();
    vec![
        object.metadata.namespace.clone().unwrap_or_default(),
        name(object),
        text(object, "/status/phase").unwrap_or_default().to_owned(),
        ready(object),
        restarts.to_string(),
        text(object, "/spec/nodeName").unwrap_or_default().to_owned(),
        why.to_owned(),
    ]
}

fn when(object: &DynamicObject) -> &str {
    text(object, "/lastTimestamp").or_else(|| text(object, "/eventTime")).unwrap_or_default()
}

fn event(object: &DynamicObject) -> Vec<String> {
    let part = |pointer: &str| text(object, pointer).unwrap_or_default();
    vec![
        when(object).to_owned(),
        part("/type").to_owned(),
        part("/reason").to_owned(),
        format!("{}/{}", part("/involvedObject/kind"), part("/involvedObject/name")),
        number(object, "/count", 1).to_string(),
        part("/message").replace('\n', " "),
    ]
}

/// Columns under their headings, as people know them from kubectl.
fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |column: usize| {
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(headings[column].len())
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    #[test]
    fn tables_as_people_know_them() {
        let all = [object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-1", "namespace": "prod"},
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Running", "containerStatuses": [
                {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
        }))];
        let headings = ["NAMESPACE", "NAME", "PHASE", "READY", "RESTARTS", "NODE", "WHY"];
        assert_eq!(
            table(&headings, all.iter().map(pod)),
            "NAMESPACE   NAME     PHASE     READY     RESTARTS   NODE     WHY\n\
             prod        shop-1   Running   Unknown   3          node-1   CrashLoopBackOff\n"
        );
    }
}
