//! What a workload's pods say of its releases.

use std::{collections::BTreeMap, time::Duration};

use kube::core::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::workload::{field, label, text};

/// A pod that was seen unready for so long, beyond what its own probes let it start in, fails. Taken by our own clock: the
/// cluster's may go wrong.
pub(super) const UNREADY_FOR: Duration = Duration::from_secs(30);

/// Restarts are counted within this time: long enough that a container which is started again after growing pauses shows.
const RESTARTS_WITHIN: Duration = Duration::from_secs(10 * 60);
/// A pod that restarted so often fails, whatever it is between two restarts. One restart may be a node's doing.
const RESTARTS_FAIL: i64 = 2;

/// Reasons for which a container waits and will go on waiting until somebody changes something.
const STUCK: &[&str] = &[
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Ready,
    /// Not ready, perhaps not yet.
    Unready {
        /// In words.
        why: &'static str,
        /// How long its own probes let it start.
        patience: Duration,
    },
    /// It was ready, by its containers, and its node does not answer any more.
    OnLostNode,
    /// Why.
    Failing(String),
}

/// One pod that counts: neither ended nor being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    /// Which state of it was read.
    pub(super) resource_version: Option<String>,
    /// The label that tells its revision.
    pub(super) revision: String,
    pub(super) health: Health,
    pub(super) restarts: i64,
    /// The digests of its images, as the node pulled them; sorted.
    pub(super) images: Vec<String>,
}

/// Reads a pod; none where it has ended, is being deleted, or belongs to no revision.
pub(super) fn pod(object: &DynamicObject, revision_label: &str) -> Option<Pod> {
    if object.metadata.deletion_timestamp.is_some()
        || matches!(text(object, "/status/phase"), Some("Failed" | "Succeeded"))
    {
        return None;
    }
    let containers = || ["/status/initContainerStatuses", "/status/containerStatuses"].into_iter();
    let statuses = || containers().filter_map(|pointer| field(object, pointer)?.as_array()).flatten();
    let mut images: Vec<String> = field(object, "/status/containerStatuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|status| image_digest(status.get("imageID")?.as_str()?))
        .collect();
    images.sort_unstable();
    Some(Pod {
        name: object.metadata.name.clone()?,
        uid: object.metadata.uid.clone()?,
        resource_version: object.metadata.resource_version.clone(),
        revision: label(object, revision_label)?.to_owned(),
        health: health(object, statuses()),
        restarts: statuses().filter_map(|status| status.get("restartCount")?.as_i64()).sum(),
        images,
    })
}

/// The digest in what a node says it pulled: `docker-pullable://shop@sha256:…`, `docker.example/shop@sha256:…`, `sha256:…`.
fn image_digest(id: &str) -> Option<String> {
    let at = id.find("sha256:")?;
    Some(id[at..].to_owned())
}

fn health<'a>(object: &DynamicObject, statuses: impl Iterator<Item = &'a Value>) -> Health {
    for status in statuses {
        let name = status.get("name").and_then(Value::as_str).unwrap_or("a container");
        let Some(waiting) = status.pointer("/state/waiting") else { continue };
        let reason = waiting.get("reason").and_then(Value::as_str).unwrap_or_default();
        if STUCK.contains(&reason) {
            let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
            let ended = status.pointer("/lastState/terminated/exitCode");
            let ended = ended.and_then(Value::as_i64).map_or_else(String::new, |code| format!(", exit status {code}"));
            return Health::Failing(if restarts > 0 {
                format!("{name}: {reason} after {restarts} restarts{ended}")
            } else {
                format!("{name}: {reason}{ended}")
            });
        }
    }
    let is = |name: &str, wanted: &str| {
        condition(object, name).is_some_and(|one| one.get("status").and_then(Value::as_str) == Some(wanted))
    };
    if is("Ready", "True") {
        return Health::Ready;
    }
    // A kubelet says of both the same where nothing else is asked for; who takes back only one is the controller that watches
    // nodes, since it hears nothing from this one.
    let gates = field(object, "/spec/readinessGates").and_then(Value::as_array);
    if is("Ready", "False") && is("ContainersReady", "True") && gates.is_none_or(Vec::is_empty) {
        return Health::OnLostNode;
    }
    let why = if is("PodScheduled", "False") { "cannot be scheduled" } else { "not ready" };
    Health::Unready { why, patience: own_patience(object) }
}

/// How long a pod's own probes let it start before they ask, and go on asking while it starts.
fn own_patience(object: &DynamicObject) -> Duration {
    let containers = field(object, "/spec/containers").and_then(Value::as_array);
    let seconds = |container: &Value| {
        let number =
            |pointer: &str, default: u64| container.pointer(pointer).and_then(Value::as_u64).unwrap_or(default);
        let startup = container.get("startupProbe").map_or(0, |_| {
            number("/startupProbe/initialDelaySeconds", 0).saturating_add(
                number("/startupProbe/periodSeconds", 10).saturating_mul(number("/startupProbe/failureThreshold", 3)),
            )
        });
        startup.saturating_add(number("/readinessProbe/initialDelaySeconds", 0))
    };
    Duration::from_secs(containers.into_iter().flatten().map(seconds).max().unwrap_or(0))
}

fn condition<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a Value> {
    let all = field(object, "/status/conditions")?.as_array()?;
    all.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))
}

/// What was seen of pods that do not serve, and how often each has restarted.
#[derive(Debug, Default)]
pub(super) struct Unready {
    before: BTreeMap<String, Before>,
    restarts: BTreeMap<String, (Instant, i64)>,
}

/// What was seen of one that does not serve.
#[derive(Debug, Clone)]
struct Before {
    /// Since when it does not.
    since: Instant,
    /// Why it failed. A container that crashes again and again runs in between: until it serves it is not over.
    failed: Option<String>,
}

impl Unready {
    /// Takes in what is seen now: all pods of the workload. Those that are not among them any more are forgotten.
    pub(super) fn see(&mut self, pods: &[Pod], now: Instant) {
        let before = std::mem::take(&mut self.before);
        self.before = pods
            .iter()
            .filter(|pod| pod.health != Health::Ready)
            .map(|pod| {
                let mut seen = before.get(&pod.uid).cloned().unwrap_or(Before { since: now, failed: None });
                if let Health::Failing(why) = &pod.health {
                    seen.failed = Some(why.clone());
                }
                (pod.uid.clone(), seen)
            })
            .collect();
        let is_recent = |(from, _): &&(Instant, i64)| now.saturating_duration_since(*from) < RESTARTS_WITHIN;
        self.restarts = pods
            .iter()
            .map(|pod| {
                let from = self.restarts.get(&pod.uid).filter(is_recent).copied();
                (pod.uid.clone(), from.unwrap_or((now, pod.restarts)))
            })
            .collect();
    }

    /// Why one of these pods fails by restarting again and again, though it may serve in between; the first that does.
    pub(super) fn restarting<'a>(&self, mut pods: impl Iterator<Item = &'a Pod>, now: Instant) -> Option<String> {
        pods.find_map(|pod| {
            let (from, before) = self.restarts.get(&pod.uid)?;
            let restarts = pod.restarts - before;
            let within = now.saturating_duration_since(*from).as_secs();
            (restarts >= RESTARTS_FAIL)
                .then(|| format!("pod {}: it restarted {restarts} times within {within} s", pod.name))
        })
    }

    /// Why a pod fails, if it does.
    pub(super) fn failure(&self, pod: &Pod, now: Instant) -> Option<String> {
        match &pod.health {
            Health::Ready => None,
            Health::Failing(why) => Some(why.clone()),
            Health::OnLostNode => self.lasting(pod, "its node is not ready", Duration::ZERO, now),
            Health::Unready { why, patience } => self.lasting(pod, why, *patience, now),
        }
    }

    fn lasting(&self, pod: &Pod, why: &str, patience: Duration, now: Instant) -> Option<String> {
        let before = self.before.get(&pod.uid)?;
        if before.failed.is_some() {
            return before.failed.clone();
        }
        let seen = now.saturating_duration_since(before.since);
        (seen >= UNREADY_FOR + patience).then(|| format!("{why} for {} s", seen.as_secs()))
    }

    /// Whether what a pod does is its release's doing; none where its node is lost, unless it failed before.
    pub(super) fn tells_of_its_release(&self, pod: &Pod) -> bool {
        let has_failed = || self.before.get(&pod.uid).is_some_and(|before| before.failed.is_some());
        pod.health != Health::OnLostNode || has_failed()
    }

    /// The same of a release that was rolled out while others of its pods serve: one pause before the next start is no partial
    /// failure yet, and one that has lasted is.
    pub(super) fn lasting_failure(&self, pod: &Pod, now: Instant) -> Option<String> {
        let since = self.before.get(&pod.uid)?.since;
        self.failure(pod, now).filter(|_| now.saturating_duration_since(since) >= UNREADY_FOR)
    }

    /// Counts the pods of one side of a rollout.
    pub(super) fn count<'a>(&self, pods: impl Iterator<Item = &'a Pod>, now: Instant) -> Count {
        Count::of(pods, |pod| self.failure(pod, now))
    }
}

impl Count {
    /// Counts pods, of which those fail that are told why.
    pub(super) fn of<'a>(pods: impl Iterator<Item = &'a Pod>, fails: impl Fn(&Pod) -> Option<String>) -> Self {
        let mut count = Self::default();
        for pod in pods {
            if pod.health == Health::Ready {
                count.ready += 1;
            } else if let Some(why) = fails(pod) {
                count.failing += 1;
                count.why.get_or_insert_with(|| format!("pod {}: {why}", pod.name));
            } else {
                count.starting += 1;
            }
        }
        count
    }
}

/// Pods of one side of a rollout, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) ready: u32,
    pub(super) starting: u32,
    pub(super) failing: u32,
    /// Why the first of the failing ones fails.
    pub(super) why: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    #[expect(clippy::needless_pass_by_value, reason = "rows of tables are written where they are used")]
    fn read(status: Value, spec: Value) -> Option<Pod> {
        let all = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop-1", "uid": "u", "labels": {"pod-template-hash": "aaa"}},
            "spec": spec, "status": status,
        });
        pod(&object(all), "pod-template-hash")
    }

    fn unready(seconds: u64) -> Health {
        Health::Unready { why: "not ready", patience: Duration::from_secs(seconds) }
    }

    /// As the controller that watches nodes leaves a pod.
    fn lost() -> Value {
        json!({"conditions": [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}]})
    }

    #[tokio::test]
    async fn what_a_lost_node_does_is_not_its_releases_doing() {
        let waiting = json!({"containerStatuses": [{"name": "shop", "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let began = Instant::now();
        for (before, told, why) in [
            (lost(), false, "its node is not ready for 30 s"),
            (waiting, true, "shop: CrashLoopBackOff after 1 restarts"),
        ] {
            let mut unready = Unready::default();
            unready.see(&[read(before, json!({})).expect("a pod")], began);
            let pod = read(lost(), json!({})).expect("a pod");
            let now = began + UNREADY_FOR;
            unready.see(std::slice::from_ref(&pod), now);
            assert_eq!(unready.tells_of_its_release(&pod), told);
            assert_eq!(unready.failure(&pod, now).as_deref(), Some(why));
        }
    }

    #[test]
    fn pods_by_what_their_status_says() {
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "shop", "restartCount": 3, "state": {"waiting": {"reason": reason}},
                "lastState": {"terminated": {"exitCode": 1}}}]})
        };
        let failing = |why: &str| Health::Failing(why.to_owned());
        let slow = json!({"containers": [{"name": "shop", "readinessProbe": {"initialDelaySeconds": 20},
            "startupProbe": {"periodSeconds": 5, "failureThreshold": 6}}]});
        for (status, spec, expected) in [
            (json!({}), json!({}), unready(0)),
            (json!({"conditions": [{"type": "Ready", "status": "False"}]}), slow, unready(50)),
            (json!({"conditions": [{"type": "Ready", "status": "True"}]}), json!({}), Health::Ready),
            (waiting("ContainerCreating"), json!({}), unready(0)),
            (waiting("CrashLoopBackOff"), json!({}), failing("shop: CrashLoopBackOff after 3 restarts, exit status 1")),
            (waiting("ErrImagePull"), json!({}), unready(0)),
            (waiting("ImagePullBackOff"), json!({}), failing("shop: ImagePullBackOff after 3 restarts, exit status 1")),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False"}]}),
                json!({}),
                Health::Unready { why: "cannot be scheduled", patience: Duration::ZERO },
            ),
            (lost(), json!({}), Health::OnLostNode),
            (lost(), json!({"readinessGates": [{"conditionType": "example.com/lb"}]}), unready(0)),
        ] {
            assert_eq!(read(status.clone(), spec).expect("a pod").health, expected, "{status}");
        }
        assert_eq!(read(json!({"phase": "Failed"}), json!({})), None, "evicted ones are replaced");
    }

    #[tokio::test]
    async fn a_pod_fails_once_it_was_unready_for_longer_than_its_patience() {
        let pods =
            [read(json!({}), json!({"containers": [{"readinessProbe": {"initialDelaySeconds": 5}}]})).expect("a pod")];
        let (mut unready, began) = (Unready::default(), Instant::now());
        unready.see(&pods, began);
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(unready.count(pods.iter(), after(34)), Count { starting: 1, ..Count::default() });
        let why = Some("pod shop-1: not ready for 35 s".to_owned());
        assert_eq!(unready.count(pods.iter(), after(35)), Count { failing: 1, why, ..Count::default() });
        // It was ready in between.
        unready.see(&[], after(36));
        unready.see(&pods, after(37));
        assert_eq!(unready.failure(&pods[0], after(60)), None);
    }

    #[tokio::test]
    async fn one_pause_before_the_next_start_is_no_lasting_failure() {
        let waiting = json!({"containerStatuses": [{"name": "shop", "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let runs = json!({"containerStatuses": [{"name": "shop", "restartCount": 1, "state": {"running": {}}}]});
        let serves = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let pods = |status: &Value| [read(status.clone(), json!({})).expect("a pod")];
        let began = Instant::now();
        for (seen, expected) in [
            (vec![(0, &waiting), (29, &waiting)], false),
            (vec![(0, &waiting), (30, &waiting)], true),
            // It runs in between, and does not serve.
            (vec![(0, &waiting), (10, &runs), (30, &waiting)], true),
            (vec![(0, &waiting), (10, &runs), (30, &runs)], true),
            (vec![(0, &waiting), (10, &serves), (20, &waiting), (30, &waiting)], false),
            (vec![(0, &serves), (30, &serves)], false),
        ] {
            let (mut unready, mut fails) = (Unready::default(), false);
            for (seconds, status) in &seen {
                let now = began + Duration::from_secs(*seconds);
                unready.see(&pods(status), now);
                fails = unready.lasting_failure(&pods(status)[0], now).is_some();
            }
            assert_eq!(fails, expected, "{seen:?}");
        }
    }

    #[tokio::test]
    async fn a_pod_that_restarts_again_and_again_fails_though_it_serves_in_between() {
        let began = Instant::now();
        let after = |minutes: u64| began + Duration::from_secs(minutes * 60);
        let pods = |restarts: i64| {
            let status = json!({"conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "shop", "restartCount": restarts}]});
            [read(status, json!({})).expect("a pod")]
        };
        let mut seen = Unready::default();
        let mut restarting = |minutes: u64, restarts: i64| {
            seen.see(&pods(restarts), after(minutes));
            seen.restarting(pods(restarts).iter(), after(minutes))
        };
        // What it did before it was first seen, and one restart, say nothing.
        assert_eq!(restarting(0, 40), None);
        assert_eq!(restarting(1, 41), None);
        assert_eq!(restarting(5, 42).as_deref(), Some("pod shop-1: it restarted 2 times within 300 s"));
        assert_eq!(restarting(11, 42), None, "it has calmed down");
        assert_eq!(restarting(12, 44).as_deref(), Some("pod shop-1: it restarted 2 times within 60 s"));
    }

    #[test]
    fn digests_are_what_the_node_pulled() {
        let status = json!({"containerStatuses": [
            {"name": "b", "imageID": "docker-pullable://shop@sha256:bbb"}, {"name": "a", "imageID": "sha256:aaa"},
            {"name": "c", "imageID": ""},
        ]});
        assert_eq!(read(status, json!({})).expect("a pod").images, ["sha256:aaa", "sha256:bbb"]);
    }
}
