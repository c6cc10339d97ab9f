//! Traffic is stopped by scaling a workload to no pods, or by a Service that chooses none; and restored to what it was.
//!
//! What it was is written on the object itself, in the same patch: whoever goes on after a crash finds it there, and so
//! does a human. Where somebody changed it meanwhile, it is theirs, and stays.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::{
    KubernetesError, KubernetesTarget,
    server::ask,
    undo::{INCIDENT, to_replicas, to_selector, without},
    workload::{annotation, field, number, resource},
};
use crate::{config::form::StopTraffic, core::operation::StepKey, target::TargetError};

/// The replicas that a workload had before its traffic was stopped.
const REPLICAS: &str = "backstop.io/replicas-before";
/// The selector that a Service had before, as JSON.
const SELECTOR: &str = "backstop.io/selector-before";
/// A label that no pod has. It is added, so that the selector still shows whose it is.
const STOPPED: &str = "backstop.io/traffic-stopped-by";

/// What is to be written, if anything.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// It is so already; with a note for people.
    Nothing(String),
    /// By this patch; with a note for people.
    Patch(Vec<Value>, String),
    /// It must not be: why.
    Refused(String),
}

impl KubernetesTarget {
    /// Stops traffic, in the way that is configured.
    pub(in crate::target) async fn stop_traffic(&self, key: &StepKey, within: Duration) -> Result<String, TargetError> {
        let incident = key.incident.as_str();
        match self.traffic_service() {
            Some(service) => self.change_service(service, within, |object| close(object, incident)).await,
            None => self.change_workload(within, |object| scale_down(object, incident)).await,
        }
    }

    /// Restores it to what it was.
    pub(in crate::target) async fn start_traffic(&self, within: Duration) -> Result<String, TargetError> {
        match self.traffic_service() {
            Some(service) => self.change_service(service, within, open).await,
            None => self.change_workload(within, scale_up).await,
        }
    }

    /// Whether the Service is there that traffic is stopped by.
    pub(in crate::target) async fn can_stop_traffic(&self) -> Result<(), TargetError> {
        let Some(name) = self.traffic_service() else { return Ok(()) };
        let api = self.api(&resource("", "Service")).await?;
        let what = format!("read service {}/{name}", self.form.namespace);
        ask(&what, api.get_opt(name)).await?.map(|_| ()).ok_or_else(|| {
            let (namespace, name) = (self.form.namespace.clone(), name.to_owned());
            KubernetesError::Absent { kind: "service", namespace, name }.into()
        })
    }

    /// The Service to be changed, where traffic is stopped so.
    fn traffic_service(&self) -> Option<&str> {
        self.form.traffic_service.as_deref().filter(|_| self.form.stop_traffic == StopTraffic::Selector)
    }

    async fn change_workload(
        &self,
        within: Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        let name = self.form.workload.name();
        self.change(&self.kind.resource(), self.kind.word(), name, within, change).await
    }

    async fn change_service(
        &self,
        name: &str,
        within: Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        self.change(&resource("", "Service"), "service", name, within, change).await
    }
}

/// Scales a workload to no pods.
pub(super) fn scale_down(workload: &DynamicObject, incident: &str) -> Change {
    let replicas = number(workload, "/spec/replicas", 1);
    if replicas == 0 {
        return Change::Nothing("it has no pods already".to_owned());
    }
    let before = replicas.to_string();
    let patch = to_replicas(workload, 0, &[(REPLICAS, &before), (INCIDENT, incident)]);
    Change::Patch(patch, format!("scaled from {replicas} to 0"))
}

/// Scales it back to what it was.
pub(super) fn scale_up(workload: &DynamicObject) -> Change {
    let replicas = number(workload, "/spec/replicas", 1);
    let before = annotation(workload, REPLICAS).and_then(|before| before.parse::<i64>().ok());
    match before {
        None => Change::Nothing(format!("nothing of ours is to be restored; it wants {replicas}")),
        // Somebody gave it pods meanwhile: their number stays.
        Some(_) if replicas > 0 => {
            let mut patch = to_replicas(workload, replicas, &[]);
            patch.extend(without(workload, &[REPLICAS]));
            Change::Patch(patch, format!("somebody scaled it to {replicas} meanwhile, and so it stays"))
        }
        Some(before) => {
            let mut patch = to_replicas(workload, before, &[]);
            patch.extend(without(workload, &[REPLICAS]));
            Change::Patch(patch, format!("scaled from 0 to {before}"))
        }
    }
}

/// Makes a Service choose no pods.
pub(super) fn close(service: &DynamicObject, incident: &str) -> Change {
    let selector = selector(service);
    if selector.contains_key(STOPPED) {
        return Change::Nothing("it chooses no pods already".to_owned());
    }
    let before = Value::Object(selector.clone()).to_string();
    let mut closed = selector;
    closed.insert(STOPPED.to_owned(), incident.into());
    let patch = to_selector(service, &Value::Object(closed), &[(SELECTOR, &before), (INCIDENT, incident)]);
    Change::Patch(patch, "the Service chooses no pods".to_owned())
}

/// Gives it back the selector that it had.
pub(super) fn open(service: &DynamicObject) -> Change {
    let selector = selector(service);
    let before = annotation(service, SELECTOR).and_then(|before| serde_json::from_str::<Value>(before).ok());
    match before {
        None if selector.contains_key(STOPPED) => {
            // Somebody took the annotation away: what was added is known all the same.
            let mut opened = selector;
            opened.shift_remove(STOPPED);
            Change::Patch(
                to_selector(service, &Value::Object(opened), &[]),
                "the Service chooses its pods again".to_owned(),
            )
        }
        None => Change::Nothing("nothing of ours is to be restored".to_owned()),
        Some(_) if !selector.contains_key(STOPPED) => {
            let mut patch = to_selector(service, &Value::Object(selector), &[]);
            patch.extend(without(service, &[SELECTOR]));
            Change::Patch(patch, "somebody changed its selector meanwhile, and so it stays".to_owned())
        }
        Some(before) => {
            let mut patch = to_selector(service, &before, &[]);
            patch.extend(without(service, &[SELECTOR]));
            Change::Patch(patch, "the Service chooses its pods again".to_owned())
        }
    }
}

fn selector(service: &DynamicObject) -> Map<String, Value> {
    field(service, "/spec/selector").and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    pub(crate) fn patched(object: &DynamicObject, change: Change) -> (DynamicObject, String) {
        let Change::Patch(patch, note) = change else { panic!("nothing is changed: {change:?}") };
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch)).expect("a patch");
        let mut whole = serde_json::to_value(object).expect("an object");
        json_patch::patch(&mut whole, &patch).expect("it fits");
        (serde_json::from_value(whole).expect("an object"), note)
    }

    fn deployment(replicas: i64) -> DynamicObject {
        object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "shop", "uid": "u", "resourceVersion": "1", "annotations": {"a": "b"}},
            "spec": {"replicas": replicas}}))
    }

    fn service() -> DynamicObject {
        object(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {"selector": {"app": "shop", "tier": "web"}}}))
    }

    #[test]
    fn scaled_down_and_back() {
        let (down, note) = patched(&deployment(7), scale_down(&deployment(7), "shop-1"));
        assert_eq!((number(&down, "/spec/replicas", 1), note.as_str()), (0, "scaled from 7 to 0"));
        assert_eq!(scale_down(&down, "shop-1"), Change::Nothing("it has no pods already".to_owned()));
        let (up, _) = patched(&down, scale_up(&down));
        assert_eq!((number(&up, "/spec/replicas", 1), annotation(&up, REPLICAS)), (7, None));
        assert!(matches!(scale_up(&up), Change::Nothing(_)));
        // Somebody was quicker.
        let mut theirs = down;
        theirs.data["spec"]["replicas"] = 3.into();
        let (theirs, note) = patched(&theirs, scale_up(&theirs));
        assert_eq!((number(&theirs, "/spec/replicas", 1), annotation(&theirs, REPLICAS)), (3, None));
        assert!(note.contains("somebody"), "{note}");
    }

    #[test]
    fn closed_and_opened() {
        let (closed, _) = patched(&service(), close(&service(), "shop-1"));
        let expected = json!({"app": "shop", "tier": "web", STOPPED: "shop-1"});
        assert_eq!(field(&closed, "/spec/selector"), Some(&expected));
        assert!(matches!(close(&closed, "shop-1"), Change::Nothing(_)));
        let (opened, _) = patched(&closed, open(&closed));
        assert_eq!(field(&opened, "/spec/selector"), field(&service(), "/spec/selector"));
        assert!(matches!(open(&opened), Change::Nothing(_)));
        // The annotation is gone, or the selector is somebody's.
        let mut bare = closed.clone();
        bare.metadata.annotations = None;
        let (opened, _) = patched(&bare, open(&bare));
        assert_eq!(field(&opened, "/spec/selector"), field(&service(), "/spec/selector"));
        let mut theirs = closed;
        theirs.data["spec"]["selector"] = json!({"app": "maintenance"});
        let (theirs, _) = patched(&theirs, open(&theirs));
        assert_eq!(field(&theirs, "/spec/selector"), Some(&json!({"app": "maintenance"})));
    }
}
