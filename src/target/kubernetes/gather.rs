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
/// Objects of one page: a pod takes some kilobytes, and several times as much once it is read.
const PAGE: u32 = 100;
/// Pages of one list. Five thousand rows are some hundred kilobytes, and more than anyone reads when all is down.
const PAGES_LIMIT: u32 = 50;
const TIME_IS_OVER: &str = "the time for gathering was over";

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
    let all = |kind: &str| -> Api<DynamicObject> { Api::all_with(client.clone(), &resource("", kind)) };
    // One list after the other: no more than one page is held at a time.
    let nodes = list("list the nodes", &all("Node"), until, |one| (node(one), readiness(one))).await;
    let every_pod = list("list the pods of all namespaces", &all("Pod"), until, |one| (pod(one), readiness(one))).await;
    let of_namespace = Api::namespaced_with(client.clone(), namespace, &resource("", "Event"));
    let events = list("list the namespace's events", &of_namespace, until, |one| (event(one), is_warning(one))).await;
    let mut files = vec![
        file(
            "nodes.txt",
            nodes.map(|all| all.rendered(&["NAME", "READY", "VERSION"], |rows| Some(ready_of("nodes", rows)))),
        ),
        file(
            "pods.txt",
            every_pod.map(|all| {
                let headings = ["NAMESPACE", "NAME", "PHASE", "READY", "RESTARTS", "NODE", "WHY"];
                all.rendered(&headings, |rows| Some(ready_of("pods of all namespaces", rows)))
            }),
        ),
        file(
            "events.txt",
            events.map(|mut all| {
                // By when they were last seen, which is their first column.
                all.rows.sort_by(|(one, _), (other, _)| one[0].cmp(&other[0]));
                all.rendered(&["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"], |rows| {
                    let last = rows.iter().rfind(|(_, is_warning)| *is_warning)?;
                    Some(format!("last warning: {}", last.0[2..].join(" ")))
                })
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
            let late = || Err(format!("{what}: no answer before {TIME_IS_OVER}"));
            let asked = tokio::time::timeout_at(until, ask(&what, own.logs(name, &parameters))).await;
            let log = asked.map_or_else(|_| late(), |log| log.map_err(|error| error.to_string()));
            let log = file(&name_of_file, log.map(|text| (text, None)));
            // That a log is not there is no news of its own.
            files.push(Gathered { seen: Vec::new(), ..log });
        }
    }
    files
}

fn file(name: &str, content: Result<(String, Option<String>), String>) -> Gathered {
    let (content, seen) = content.unwrap_or_else(|why| {
        let said = format!("failed to {why}");
        (format!("{said}\n"), Some(said))
    });
    Gathered { name: name.to_owned(), content, seen: seen.into_iter().collect() }
}

/// What was read of a list: rows for people, and of each what is said of all of them.
#[derive(Debug)]
struct Listed<T> {
    rows: Vec<(Vec<String>, T)>,
    /// Why there may be more.
    cut: Option<String>,
}

impl<T> Listed<T> {
    /// As a file, and what it shows.
    fn rendered(
        self,
        headings: &[&str],
        shows: impl FnOnce(&[(Vec<String>, T)]) -> Option<String>,
    ) -> (String, Option<String>) {
        let seen = shows(&self.rows);
        let count = self.rows.len();
        let mut text = table(headings, self.rows.into_iter().map(|(cells, _)| cells));
        let Some(why) = self.cut else { return (text, seen) };
        let _ = writeln!(text, "These are the first {count}; there may be more: {why}");
        (text, seen.map(|seen| format!("{seen} (of the first {count})")))
    }
}

/// Lists page by page, and keeps of each object no more than is told of it: there may be thousands, and each is large.
///
/// # Errors
/// Why not even the first page came.
async fn list<T>(
    what: &str,
    api: &Api<DynamicObject>,
    until: Instant,
    row: impl Fn(&DynamicObject) -> (Vec<String>, T),
) -> Result<Listed<T>, String> {
    let mut listed = Listed { rows: Vec::new(), cut: None };
    let mut parameters = ListParams::default().limit(PAGE);
    for _ in 0..PAGES_LIMIT {
        let page = match tokio::time::timeout_at(until, ask(what, api.list(&parameters))).await {
            Ok(page) => page.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{what}: no answer before {TIME_IS_OVER}")),
        };
        let page = match page {
            Ok(page) => page,
            Err(why) if listed.rows.is_empty() => return Err(why),
            Err(why) => {
                listed.cut = Some(format!("failed to {why}"));
                return Ok(listed);
            }
        };
        listed.rows.extend(page.items.iter().map(&row));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(listed),
        }
    }
    listed.cut = Some("no more are asked for".to_owned());
    Ok(listed)
}

/// What counts of one object where it is told how many are ready: its name, and whether it is; nothing of what has run to
/// its end, which is no trouble.
type Readiness = Option<(String, bool)>;

fn readiness(object: &DynamicObject) -> Readiness {
    (text(object, "/status/phase") != Some("Succeeded")).then(|| (name(object), ready(object) == "True"))
}

/// How many of them are ready, and which are not.
fn ready_of(what: &str, rows: &[(Vec<String>, Readiness)]) -> String {
    let all: Vec<&(String, bool)> = rows.iter().filter_map(|(_, readiness)| readiness.as_ref()).collect();
    let others: Vec<&str> = all.iter().filter(|(_, is_ready)| !is_ready).map(|(name, _)| name.as_str()).collect();
    let named = others[..others.len().min(NAMED_LIMIT)].join(", ");
    let more = match others.len().saturating_sub(NAMED_LIMIT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let which = if others.is_empty() { String::new() } else { format!("; not ready: {named}{more}") };
    format!("{} of {} {what} are ready{which}", all.len() - others.len(), all.len())
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

fn is_warning(event: &DynamicObject) -> bool {
    text(event, "/type") == Some("Warning")
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

    #[test]
    fn what_was_cut_off_is_said() {
        let rows = vec![(vec!["shop-1".to_owned()], Some(("shop-1".to_owned(), false)))];
        let listed = Listed { rows, cut: Some("no more are asked for".to_owned()) };
        let (content, seen) = listed.rendered(&["NAME"], |rows| Some(ready_of("pods", rows)));
        assert_eq!(content, "NAME\nshop-1\nThese are the first 1; there may be more: no more are asked for\n");
        assert_eq!(seen.as_deref(), Some("0 of 1 pods are ready; not ready: shop-1 (of the first 1)"));
    }
}
