//! One writer for each workload: a Lease in its namespace, held by one installation of Backstop at a time and asked for
//! at every write.
//!
//! Time is the API server's alone, as its answers tell it: it is compared with the time at which the holder last renewed
//! the Lease, which was the API server's too. So neither a stepped clock here nor one there hands the Lease over.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client,
    api::PostParams,
    client::Body,
    core::{DynamicObject, response::Status},
};
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::Instant};

use super::{
    KubernetesError,
    content::of_text,
    server::ask,
    workload::{Kind, annotation, field, number, resource, text},
};

/// How long a Lease holds that is not renewed: several answers of a slow API server fit, and whoever takes over from one
/// that is gone waits no longer than an outage is worth.
const HOLDS_FOR: Duration = Duration::from_secs(60);
/// A Lease is renewed when it is so old: whoever was told that it is his then has longer left than a write may take.
const RENEWED_AFTER: Duration = Duration::from_secs(20);
/// After the last write it is kept for so long: a plan waits between its steps, above all for scripts and for people, and
/// what it stopped must be its own to restore. As long as an unfinished plan is resumed.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);
/// Tries at taking a Lease, each after a fresh look, while others write it.
const TRIES_LIMIT: usize = 3;
/// Largest answer that is read, in bytes; a Lease has less than one thousand.
const ANSWER_LIMIT_BYTES: usize = 256 * 1024;
/// No Lease is believed to hold for longer, whatever it says of itself: a day.
const LONGEST_SECONDS: i64 = 24 * 60 * 60;
/// Longest name that the API takes.
const NAME_LIMIT: usize = 253;

/// On which machine its holder runs; for people.
const HOST: &str = "backstop.io/host";

/// The name of a workload's Lease.
pub(super) fn name(kind: Kind, workload: &str) -> String {
    let whole = format!("backstop-{}-{workload}", kind.word());
    if whole.len() <= NAME_LIMIT {
        return whole;
    }
    format!("backstop-{}-{}", kind.word(), of_text(&whole))
}

/// Who holds Leases here.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    installation: Arc<str>,
    host: Arc<str>,
}

impl Holder {
    /// An installation of Backstop: what its store is known by, so that it is the same one after a restart elsewhere.
    pub(super) fn new(installation: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { installation: installation.into(), host: host.trim().into() }
    }
}

/// One workload's Lease.
#[derive(Debug)]
pub(super) struct Lease {
    namespace: String,
    name: String,
    holder: Holder,
    keeper: Mutex<Option<AbortHandle>>,
    /// What the last try was refused with, and until when that holds.
    refused: Mutex<Option<(String, Instant)>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper().take() {
            keeper.abort();
        }
    }
}

/// What is to be done about a Lease as it was found.
#[derive(Debug, Clone, PartialEq)]
enum Take {
    /// It is ours, and young enough.
    Ours,
    /// By writing this spec.
    Write(Value),
    /// It is another's.
    Theirs { holder: String, host: Option<String>, left: Option<SignedDuration> },
}

impl Lease {
    pub(super) fn new(kind: Kind, namespace: &str, workload: &str, holder: Holder) -> Self {
        let (namespace, name) = (namespace.to_owned(), name(kind, workload));
        Self { namespace, name, holder, keeper: Mutex::default(), refused: Mutex::default() }
    }

    /// Makes sure that it is ours for a while longer than one write takes, and keeps it so for [`KEPT_FOR`].
    pub(super) async fn hold(&self, client: &Client) -> Result<(), KubernetesError> {
        let taken = take(client, &self.namespace, &self.name, &self.holder).await;
        *self.refused() = match &taken {
            Err(error @ KubernetesError::Held { .. }) => Some((error.to_string(), Instant::now() + HOLDS_FOR)),
            _ => None,
        };
        taken?;
        let (client, holder) = (client.clone(), self.holder.clone());
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        let keeping = tokio::spawn(async move {
            for _ in 0..KEPT_FOR.as_secs() / RENEWED_AFTER.as_secs() {
                tokio::time::sleep(RENEWED_AFTER).await;
                if let Err(error) = take(&client, &namespace, &name, &holder).await {
                    // Nothing is written on the strength of this: each write asks by itself.
                    tracing::warn!("failed to {error}");
                }
            }
        });
        if let Some(before) = self.keeper().replace(keeping.abort_handle()) {
            before.abort();
        }
        Ok(())
    }

    /// Who else holds it just now, in words, to follow "another Backstop writes there:". Takes nothing.
    pub(super) async fn held_by_another(&self, client: &Client) -> Result<Option<String>, KubernetesError> {
        let (found, now) = read(client, &self.namespace, &self.name).await?;
        Ok(match to_take(found.as_ref(), now, &self.holder) {
            Take::Theirs { holder, host, left } => {
                let (lease, holder) = (format!("{}/{}", self.namespace, self.name), by(&holder, host.as_deref()));
                Some(format!("{holder} holds the lease {lease} {}", still(left)))
            }
            Take::Ours | Take::Write(_) => None,
        })
    }

    /// Why nothing could be written here when that was last tried, while it may be so still.
    pub(super) fn refusal(&self) -> Option<String> {
        let refused = self.refused();
        refused.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(why, _)| format!("failed to {why}"))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<(String, Instant)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(client: &Client, namespace: &str, name: &str, holder: &Holder) -> Result<(), KubernetesError> {
    let what = format!("take the lease {namespace}/{name}");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("coordination.k8s.io", "Lease"));
    let mut tries = 0;
    loop {
        tries += 1;
        let (found, now) = read(client, namespace, name).await?;
        let spec = match to_take(found.as_ref(), now, holder) {
            Take::Ours => return Ok(()),
            Take::Write(spec) => spec,
            Take::Theirs { holder, host, left } => {
                let lease = format!("{namespace}/{name}");
                return Err(KubernetesError::Held { lease, holder: by(&holder, host.as_deref()), left: still(left) });
            }
        };
        let object = written(found.as_ref(), name, spec, holder);
        let answer = match &found {
            None => ask(&what, api.create(&PostParams::default(), &object)).await,
            // With the resourceVersion that was read: whoever wrote in between is not overwritten.
            Some(_) => ask(&what, api.replace(name, &PostParams::default(), &object)).await,
        };
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.code(), Some(404 | 409)) && tries < TRIES_LIMIT => {}
            Err(error) => return Err(error),
        }
    }
}

/// What follows from a Lease as it was found at `now`.
fn to_take(found: Option<&DynamicObject>, now: Timestamp, holder: &Holder) -> Take {
    let Some(found) = found else { return Take::Write(spec(None, now, holder)) };
    let theirs = text(found, "/spec/holderIdentity").unwrap_or_default();
    let renewed = text(found, "/spec/renewTime").and_then(|at| at.parse::<Timestamp>().ok());
    // Whoever wrote a time that is to come has another clock than the API server, and it would hold until then.
    let renewed = renewed.filter(|renewed| renewed.duration_since(now) <= signed(HOLDS_FOR));
    let holds_for = field(found, "/spec/leaseDurationSeconds").and_then(Value::as_i64);
    if theirs == &*holder.installation {
        let is_young = renewed.is_some_and(|renewed| now.duration_since(renewed).abs() < signed(RENEWED_AFTER));
        return if is_young { Take::Ours } else { Take::Write(spec(Some(found), now, holder)) };
    }
    let left = match (renewed, holds_for) {
        (Some(renewed), Some(seconds)) => {
            Some(SignedDuration::from_secs(seconds.min(LONGEST_SECONDS)) - now.duration_since(renewed))
        }
        _ => None,
    };
    if theirs.is_empty() || left.is_some_and(|left| left <= SignedDuration::ZERO) {
        return Take::Write(spec(Some(found), now, holder));
    }
    Take::Theirs { holder: theirs.to_owned(), host: annotation(found, HOST).map(str::to_owned), left }
}

/// The spec of a Lease that is ours from `now` on, or goes on being so.
fn spec(before: Option<&DynamicObject>, now: Timestamp, holder: &Holder) -> Value {
    let is_ours = before.and_then(|before| text(before, "/spec/holderIdentity")) == Some(&*holder.installation);
    let transitions = before.map_or(0, |before| number(before, "/spec/leaseTransitions", 0));
    let acquired = before.filter(|_| is_ours).and_then(|before| text(before, "/spec/acquireTime"));
    let now = micro_time(now);
    json!({
        "holderIdentity": &*holder.installation,
        "leaseDurationSeconds": HOLDS_FOR.as_secs(),
        "acquireTime": acquired.unwrap_or(&now),
        "renewTime": now,
        "leaseTransitions": if is_ours || before.is_none() { transitions } else { transitions.saturating_add(1) },
    })
}

fn written(before: Option<&DynamicObject>, name: &str, spec: Value, holder: &Holder) -> DynamicObject {
    let mut object =
        before.cloned().unwrap_or_else(|| DynamicObject::new(name, &resource("coordination.k8s.io", "Lease")));
    object.data["spec"] = spec;
    object.metadata.managed_fields = None;
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "backstop".to_owned());
    object.metadata.annotations.get_or_insert_default().insert(HOST.to_owned(), holder.host.to_string());
    object
}

/// The Lease, and what time it is there.
async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<(Option<DynamicObject>, Timestamp), KubernetesError> {
    let what = format!("read the lease {namespace}/{name}");
    let api =
        Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource("coordination.k8s.io", "Lease"));
    let request = Request::get(format!("{}/{name}", api.resource_url())).body(Body::empty());
    let request = request.map_err(|error| KubernetesError::asked(&what, kube::Error::HttpError(error)))?;
    // The client's own way to read an object leaves the answer's head out.
    let answer = ask(&what, async {
        let answer = client.send(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await.map_err(kube::Error::Service)?;
        Ok((head, body.to_bytes()))
    });
    let (head, body) = answer.await?;
    let serde = |error| KubernetesError::asked(&what, kube::Error::SerdeError(error));
    let found = match head.status {
        StatusCode::OK => Some(serde_json::from_slice(&body).map_err(serde)?),
        StatusCode::NOT_FOUND => None,
        status => {
            let refusal = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
                Status::failure(status.canonical_reason().unwrap_or_default(), "").with_code(status.as_u16())
            });
            return Err(KubernetesError::asked(&what, kube::Error::Api(Box::new(refusal))));
        }
    };
    let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let now = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Ok((found, now.ok_or(KubernetesError::Timeless)?.timestamp()))
}

/// As the API writes times with a fraction.
fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn by(holder: &str, host: Option<&str>) -> String {
    host.map_or_else(|| holder.to_owned(), |host| format!("{holder} (on {host})"))
}

fn still(left: Option<SignedDuration>) -> String {
    left.map_or_else(
        || {
            "until somebody deletes it, since it does not say for how long it holds, or when it was renewed, or says a time \
             that is still to come"
                .to_owned()
        },
        |left| format!("for another {} s", left.as_secs().max(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::workload::tests::object, *};

    fn us() -> Holder {
        Holder { installation: "us".into(), host: "here".into() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).expect("a time")
    }

    fn lease(holder: &str, renewed: i64) -> DynamicObject {
        object(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "backstop-deployment-shop", "annotations": {HOST: "there"}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 4,
                "acquireTime": micro_time(at(-900)), "renewTime": micro_time(at(renewed))}}))
    }

    #[test]
    fn whose_a_lease_is() {
        let ours = |found: &DynamicObject| to_take(Some(found), at(0), &us());
        assert_eq!(ours(&lease("us", -19)), Take::Ours);
        // Renewed: acquired when it was, and no transition.
        let Take::Write(renewed) = ours(&lease("us", -21)) else { panic!("it is to be renewed") };
        assert_eq!(renewed["acquireTime"], micro_time(at(-900)));
        assert_eq!((&renewed["renewTime"], &renewed["leaseTransitions"]), (&micro_time(at(0)).into(), &4.into()));
        let theirs = Take::Theirs {
            holder: "them".to_owned(),
            host: Some("there".to_owned()),
            left: Some(SignedDuration::from_secs(1)),
        };
        assert_eq!(ours(&lease("them", -59)), theirs);
        for taken in [lease("them", -60), lease("", 0)] {
            let Take::Write(spec) = ours(&taken) else { panic!("it is to be taken over: {taken:?}") };
            assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&"us".into(), &5.into()));
            assert_eq!(spec["acquireTime"], micro_time(at(0)));
        }
        let mut timeless = lease("them", -900);
        timeless.data["spec"]["renewTime"] = Value::Null;
        assert!(matches!(ours(&timeless), Take::Theirs { left: None, .. }), "nobody knows when it ends");
        // By a clock that is a little ahead, and by one that is far.
        let ahead = |seconds: i64| match ours(&lease("them", seconds)) {
            Take::Theirs { left, .. } => left.map(|left| left.as_secs()),
            other => panic!("it is another's: {other:?}"),
        };
        assert_eq!((ahead(60), ahead(61), ahead(86_400)), (Some(120), None, None));
        assert!(matches!(ours(&lease("us", 86_400)), Take::Write(_)), "ours is put right");
        let Take::Write(first) = to_take(None, at(0), &us()) else { panic!("it is to be made") };
        assert_eq!((&first["holderIdentity"], &first["leaseTransitions"]), (&"us".into(), &0.into()));
    }

    #[test]
    fn what_is_written_keeps_what_others_wrote() {
        let mut found = lease("them", -90);
        found.metadata.resource_version = Some("7".to_owned());
        found.metadata.labels = Some([("team".to_owned(), "shop".to_owned())].into());
        let object = written(Some(&found), "x", spec(Some(&found), at(0), &us()), &us());
        assert_eq!(object.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(object.metadata.labels.as_ref().map(std::collections::BTreeMap::len), Some(2));
        assert_eq!(annotation(&object, HOST), Some("here"));
    }

    #[test]
    fn names_and_words() {
        assert_eq!(name(Kind::StatefulSet, "shop"), "backstop-statefulset-shop");
        let long = name(Kind::Deployment, &"x".repeat(250));
        assert!(long.len() <= NAME_LIMIT && long.starts_with("backstop-deployment-"), "{long}");
        assert_eq!(micro_time(at(0)), "2026-09-21T14:13:20.000000Z");
        assert_eq!(by("them", Some("there")), "them (on there)");
        assert_eq!(still(Some(SignedDuration::from_secs(12))), "for another 12 s");
    }
}
