//! Says in the cluster's own words what is done to a workload: Events, as `kubectl describe` shows them.

use kube::{
    Api, Client,
    api::PostParams,
    core::{DynamicObject, TypeMeta},
};
use serde_json::json;

use super::{
    KubernetesError,
    content::of_text,
    server::ask,
    workload::{Kind, resource},
};
use crate::target::Notice;

/// Most bytes of an Event's message; the newer API for Events takes no more.
const MESSAGE_LIMIT_BYTES: usize = 1024;

/// Tells of it once: a notice that was told already is left as it is.
pub(super) async fn announce(
    client: &Client,
    namespace: &str,
    (kind, workload): (Kind, &DynamicObject),
    installation: &str,
    notice: &Notice,
) -> Result<(), KubernetesError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("", "Event"));
    let event = event(namespace, kind, workload, installation, notice);
    let what = format!("write an event of {} {namespace}/{}", kind.word(), name(workload));
    match ask(&what, api.create(&PostParams::default(), &event)).await {
        Err(error) if error.code() == Some(409) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn name(workload: &DynamicObject) -> &str {
    workload.metadata.name.as_deref().unwrap_or_default()
}

fn event(namespace: &str, kind: Kind, workload: &DynamicObject, installation: &str, notice: &Notice) -> DynamicObject {
    let identity = format!("{installation}/{}/{}", workload.metadata.uid.as_deref().unwrap_or_default(), notice.id);
    let digest = of_text(&identity);
    // Whole seconds: the API takes no fraction here.
    let at = jiff::Timestamp::from_second(notice.at.as_millis().div_euclid(1000)).unwrap_or_default().to_string();
    let mut event = DynamicObject::new(&format!("{}.{digest}", name(workload)), &resource("", "Event"));
    event.types = Some(TypeMeta { api_version: "v1".to_owned(), kind: "Event".to_owned() });
    event.metadata.namespace = Some(namespace.to_owned());
    event.data = json!({
        "involvedObject": {
            "apiVersion": "apps/v1", "kind": kind.as_str(), "namespace": namespace, "name": name(workload),
            "uid": workload.metadata.uid, "resourceVersion": workload.metadata.resource_version,
        },
        "reason": notice.reason,
        "message": shortened(&notice.message),
        "type": if notice.is_warning { "Warning" } else { "Normal" },
        "source": {"component": "backstop"},
        "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    });
    event
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_LIMIT_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::{super::workload::tests::object, *};
    use crate::core::time::WallTime;

    #[test]
    fn the_same_is_told_once_and_bounded() {
        let workload = object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "shop", "uid": "u-1", "resourceVersion": "7"}}));
        let notice = |id: &str| Notice {
            id: id.to_owned(),
            at: WallTime::from_millis(1_790_000_000_750),
            reason: "RollbackStarted",
            message: "ö".repeat(MESSAGE_LIMIT_BYTES),
            is_warning: true,
        };
        let of = |id: &str| event("prod", Kind::Deployment, &workload, "us", &notice(id));
        assert_eq!(of("shop-1/plan-1"), of("shop-1/plan-1"));
        assert_ne!(of("shop-1/plan-1").metadata.name, of("shop-1/plan-2").metadata.name);
        let told = of("shop-1/plan-1");
        assert_eq!(told.data["involvedObject"]["uid"], "u-1");
        assert_eq!(told.data["firstTimestamp"], "2026-09-21T14:13:20Z");
        assert_eq!(told.data["message"].as_str().map(str::len), Some(MESSAGE_LIMIT_BYTES));
        assert_eq!(told.data["type"], "Warning");
    }
}
