//! A workload's revisions: what it was, and what it can be made again.
//!
//! A Deployment keeps them as ReplicaSets, the others as ControllerRevisions. Both hold the pod template, each with
//! something of its own in it; [`Template`] is what is left when that is taken away.

use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::{
    content,
    workload::{Kind, annotation, controls, field, label, number},
};

/// The number that `kubectl rollout history` shows for a ReplicaSet.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Why a revision was made, as people or tools wrote it.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Most letters of it that are kept: each deploy of the journal has one.
const CAUSE_LIMIT: usize = 200;
/// Written into ReplicaSets and their pods by the controller.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod template without what the controllers write into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Value);

impl Template {
    /// The template of a workload, a ReplicaSet's or a ControllerRevision's.
    pub(super) fn new(mut template: Value) -> Self {
        if let Some(whole) = template.as_object_mut() {
            // ControllerRevisions are patches.
            whole.shift_remove("$patch");
            if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
                if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
                    metadata.shift_remove("creationTimestamp");
                }
                if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
                    labels.shift_remove(TEMPLATE_HASH);
                }
            }
        }
        Self(template)
    }

    /// As it goes into a workload.
    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    /// The same with pods that are to be restarted: `when` is another text each time.
    pub(super) fn restarted(&self, when: &str) -> Self {
        let mut template = self.0.clone();
        if let Some(whole) = template.as_object_mut() {
            let metadata = whole.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            if let Some(metadata) = metadata.as_object_mut() {
                let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
                if let Some(annotations) = annotations.as_object_mut() {
                    annotations.insert(content::OUR_RESTART.to_owned(), when.into());
                }
            }
        }
        Self(template)
    }

    /// What it is, in one short text: two templates of the same content run the same.
    pub(super) fn content(&self) -> String {
        content::of_template(&self.0)
    }

    /// The tag of the image that gives the release its name: that of the container which logs and shells mean too when
    /// none is named.
    pub(super) fn tag(&self) -> String {
        let named = self
            .0
            .pointer("/metadata/annotations")
            .and_then(|all| all.get("kubectl.kubernetes.io/default-container"))
            .and_then(Value::as_str);
        let containers = self.0.pointer("/spec/containers").and_then(Value::as_array);
        let containers = containers.map_or(&[][..], Vec::as_slice);
        let is_named = |container: &&Value| container.get("name").and_then(Value::as_str) == named;
        let chosen = containers.iter().find(is_named).or_else(|| containers.first());
        let image = chosen.and_then(|container| container.get("image")).and_then(Value::as_str);
        content::tag(image.unwrap_or_default())
    }
}

/// One revision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Revision {
    /// As `kubectl rollout history` numbers it.
    pub(super) number: i64,
    /// The object that keeps it.
    pub(super) name: String,
    /// How its pods are labelled.
    pub(super) pod_label: String,
    pub(super) template: Template,
    pub(super) change_cause: Option<String>,
}

fn shortened(cause: &str) -> String {
    let is_whole = cause.chars().nth(CAUSE_LIMIT).is_none();
    if is_whole { cause.to_owned() } else { cause.chars().take(CAUSE_LIMIT - 1).chain(['…']).collect() }
}

/// The template that a workload has now.
pub(super) fn template(workload: &DynamicObject) -> Option<Template> {
    field(workload, "/spec/template").cloned().map(Template::new)
}

/// The revisions of a workload among the objects that keep revisions, newest first.
pub(super) fn revisions<'a>(
    kind: Kind,
    workload: &DynamicObject,
    keepers: impl Iterator<Item = &'a DynamicObject>,
) -> Vec<Revision> {
    let mut all: Vec<Revision> =
        keepers.filter(|keeper| controls(workload, keeper)).filter_map(|keeper| revision(kind, keeper)).collect();
    all.sort_by(|one, other| (other.number, &other.name).cmp(&(one.number, &one.name)));
    all
}

fn revision(kind: Kind, keeper: &DynamicObject) -> Option<Revision> {
    let name = keeper.metadata.name.clone()?;
    let (number, pod_label, template) = match kind {
        Kind::Deployment => (
            annotation(keeper, REVISION)?.parse().ok()?,
            label(keeper, TEMPLATE_HASH)?.to_owned(),
            field(keeper, "/spec/template")?,
        ),
        Kind::StatefulSet => (number(keeper, "/revision", 0), name.clone(), field(keeper, "/data/spec/template")?),
        Kind::DaemonSet => (
            number(keeper, "/revision", 0),
            label(keeper, kind.revision_label())?.to_owned(),
            field(keeper, "/data/spec/template")?,
        ),
    };
    let change_cause = annotation(keeper, CHANGE_CAUSE).map(shortened);
    Some(Revision { number, name, pod_label, template: Template::new(template.clone()), change_cause })
}

/// The revision that a workload is at: the newest with its template. None where the controller has not made it yet.
pub(super) fn current<'a>(workload: &DynamicObject, revisions: &'a [Revision]) -> Option<&'a Revision> {
    let template = template(workload)?;
    revisions.iter().find(|revision| revision.template == template)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    #[expect(clippy::needless_pass_by_value, reason = "rows of tables are written where they are used")]
    fn template_of(image: &str, extra: Value) -> Value {
        json!({
            "metadata": {"labels": {"app": "shop"}, "annotations": extra},
            "spec": {"containers": [{"name": "shop", "image": image}]},
        })
    }

    fn replica_set(name: &str, owner: &str, revision: &str, image: &str) -> DynamicObject {
        let mut template = template_of(image, json!({}));
        template["metadata"]["labels"]["pod-template-hash"] = name.into();
        template["metadata"]["creationTimestamp"] = Value::Null;
        object(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("shop-{name}"),
                "labels": {"pod-template-hash": name},
                "annotations": {"deployment.kubernetes.io/revision": revision, "kubernetes.io/change-cause": "a push"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": owner, "controller": true},
                ],
            },
            "spec": {"template": template},
        }))
    }

    fn workload(kind: Kind, image: &str) -> DynamicObject {
        object(json!({
            "apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": "shop", "uid": "u-1"},
            "spec": {"template": template_of(image, json!({}))},
        }))
    }

    #[test]
    fn a_long_change_cause_is_cut() {
        let (fits, long) = ("ü".repeat(CAUSE_LIMIT), "ü".repeat(CAUSE_LIMIT + 1));
        assert_eq!(shortened(&fits), fits);
        let short = shortened(&long);
        assert_eq!((short.chars().count(), short.ends_with("ü…")), (CAUSE_LIMIT, true));
    }

    #[test]
    fn a_deployments_revisions_are_its_own_replica_sets_by_number() {
        let all = [
            replica_set("aaa", "u-1", "9", "shop:1.4.1"),
            replica_set("bbb", "u-1", "11", "shop:1.4.3"),
            replica_set("ccc", "u-1", "10", "shop:1.4.2"),
            replica_set("ddd", "another", "12", "shop:1.4.3"),
        ];
        let deployment = workload(Kind::Deployment, "shop:1.4.2");
        let found = revisions(Kind::Deployment, &deployment, all.iter());
        assert_eq!(found.iter().map(|one| one.number).collect::<Vec<_>>(), [11, 10, 9]);
        let now = current(&deployment, &found).expect("a revision");
        assert_eq!((now.number, now.pod_label.as_str(), now.change_cause.as_deref()), (10, "ccc", Some("a push")));
        assert_eq!(now.template.value(), field(&deployment, "/spec/template").expect("a template"));
        assert_eq!(now.template.tag(), "1.4.2");
        assert!(current(&workload(Kind::Deployment, "shop:2.0.0"), &found).is_none());
    }

    #[test]
    fn those_of_the_others_are_patches() {
        for (kind, pod_label) in [(Kind::StatefulSet, "shop-aaa"), (Kind::DaemonSet, "aaa")] {
            let mut template = template_of("shop:1.4.2", json!({}));
            template["$patch"] = "replace".into();
            let keeper = object(json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {
                    "name": "shop-aaa",
                    "labels": {"controller-revision-hash": "aaa"},
                    "ownerReferences": [
                        {"apiVersion": "apps/v1", "kind": kind.as_str(), "name": "shop", "uid": "u-1", "controller": true},
                    ],
                },
                "revision": 4,
                "data": {"spec": {"template": template}},
            }));
            let set = workload(kind, "shop:1.4.2");
            let found = revisions(kind, &set, [keeper].iter());
            let now = current(&set, &found).expect("a revision");
            assert_eq!((now.number, now.pod_label.as_str()), (4, pod_label));
            assert!(now.template.value().get("$patch").is_none());
        }
    }

    #[test]
    fn the_container_that_is_meant_gives_the_name() {
        let template = Template::new(json!({
            "metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "shop"}},
            "spec": {"containers": [{"name": "proxy", "image": "proxy:9"}, {"name": "shop", "image": "r.example/shop:1"}]},
        }));
        assert_eq!(template.tag(), "1");
    }

    #[test]
    fn a_restart_is_no_other_release() {
        let one = Template::new(template_of("shop:1", json!({})));
        let restarted =
            Template::new(template_of("shop:1", json!({"kubectl.kubernetes.io/restartedAt": "2026-01-07"})));
        assert_ne!(one, restarted);
        assert_eq!(one.content(), restarted.content());
        assert_eq!(restarted.restarted("now").content(), one.content());
        assert_ne!(restarted.restarted("now"), restarted.restarted("later"));
        let bare = Template::new(json!({"spec": {}}));
        assert_eq!(bare.restarted("now").value()["metadata"]["annotations"]["backstop.io/restarted-at"], "now");
        assert_ne!(one.content(), Template::new(template_of("shop:2", json!({}))).content());
    }
}
