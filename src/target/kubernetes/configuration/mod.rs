//! What a release is beside its pod template: the ConfigMaps and Secrets that the template names.
//!
//! A ConfigMap is told apart by a hash over its data, and kept ([`Kept`]). A Secret is told apart by a hash under a key that
//! only this machine has ([`Key`]): its data are left where the API server's answer is decoded, and are never kept.

mod kept;
mod key;
mod named;

use std::collections::BTreeMap;

pub(super) use kept::Kept;
pub(in crate::target) use key::Key;
use kube::core::{ApiResource, DynamicObject, ObjectMeta};
pub(super) use named::{NAMED_LIMIT, Need, named};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    content,
    owner::traces,
    workload::{field, resource, text},
};

/// Where a Secret's copy has the hash of what it held.
const SEAL: &str = "seal";

/// What kind of object holds configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Holder {
    ConfigMap,
    Secret,
}

impl Holder {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// Where the API has it.
    pub(super) fn resource(self) -> ApiResource {
        resource("", self.as_str())
    }
}

/// One object that holds configuration, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Named {
    pub(super) holder: Holder,
    pub(super) name: String,
}

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.holder.as_str(), self.name)
    }
}

/// What is known of such an object now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Held {
    /// It is there, with this hash.
    There(String, Box<DynamicObject>),
    /// It is not there.
    Absent(Need),
    /// Nobody knows; with a reason that follows "failed to".
    Untold(String),
}

impl Held {
    /// What an object that was asked for is known by. `object` is a ConfigMap, or a Secret's copy ([`sealed`]).
    pub(super) fn of(holder: Holder, object: Option<&DynamicObject>, need: Need) -> Self {
        match object {
            None => Self::Absent(need),
            Some(object) => {
                let hash = match holder {
                    Holder::ConfigMap => hash(&data(object)),
                    Holder::Secret => text(object, "/seal").unwrap_or_default().to_owned(),
                };
                Self::There(hash, Box::new(object.clone()))
            }
        }
    }

    /// Its hash, where it is there.
    pub(super) fn hash(&self) -> Option<&str> {
        match self {
            Self::There(hash, _) => Some(hash),
            Self::Absent(_) | Self::Untold(_) => None,
        }
    }
}

/// The objects that a template names, as they are now.
pub(super) type Configuration = BTreeMap<Named, Held>;

/// The configuration of one release: each object with its hash; none where it was not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Manifest(#[serde(with = "rows")] pub(super) BTreeMap<Named, Option<String>>);

impl Manifest {
    /// What all of it is now, or why that is not known.
    pub(super) fn of(configuration: &Configuration) -> Result<Self, String> {
        let rows = configuration.iter().map(|(named, held)| match held {
            Held::Untold(why) => Err(why.clone()),
            Held::There(..) | Held::Absent(_) => Ok((named.clone(), held.hash().map(str::to_owned))),
        });
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    /// One short text for all of it; none where the template names nothing.
    pub(super) fn hash(&self) -> Option<String> {
        let row = |(named, hash): (&Named, &Option<String>)| json!([named.to_string(), hash]);
        (!self.0.is_empty()).then(|| hash(&self.0.iter().map(row).collect()))
    }

    /// Whether what is there `now` may be the same, told apart in another way: what counted then and counts now is as it was,
    /// as far as that can be compared.
    pub(super) fn may_be(&self, now: &Self) -> bool {
        let is_same = |(named, before): (&Named, &Option<String>)| {
            now.0.get(named).is_none_or(|now| before == now || is_under_another_key(before.as_deref(), now.as_deref()))
        };
        self.0.iter().all(is_same)
    }

    /// What is otherwise now, of what was: by name, with what it was.
    pub(super) fn changed<'a>(&'a self, now: &'a Configuration) -> impl Iterator<Item = (&'a Named, Option<&'a str>)> {
        self.0.iter().filter_map(|(named, before)| {
            let held = now.get(named)?;
            let before = before.as_deref();
            let is_known = !matches!(held, Held::Untold(_)) && !is_under_another_key(before, held.hash());
            (is_known && held.hash() != before).then_some((named, before))
        })
    }
}

/// Whether two hashes of a Secret say nothing about each other.
fn is_under_another_key(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => key::id(one) != key::id(other),
        _ => false,
    }
}

/// As a list: the names of a JSON object are texts.
mod rows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Holder, Named};

    #[derive(Serialize, Deserialize)]
    struct Row {
        kind: Holder,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hash: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(
        rows: &BTreeMap<Named, Option<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let row = |(named, hash): (&Named, &Option<String>)| Row {
            kind: named.holder,
            name: named.name.clone(),
            hash: hash.clone(),
        };
        rows.iter().map(row).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Named, Option<String>>, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (Named { holder: row.kind, name: row.name }, row.hash)).collect())
    }
}

/// What a ConfigMap holds.
pub(super) fn data(object: &DynamicObject) -> Value {
    json!({"data": field(object, "/data"), "binaryData": field(object, "/binaryData")})
}

/// What a ConfigMap's data are known by.
pub(super) fn hash(data: &Value) -> String {
    content::of_value(data)
}

/// A ConfigMap's copy: of annotations, where tools write all of it a second time, and of labels only what tells of an owner.
/// Whether it has annotations at all stays known to whoever adds one.
pub(super) fn plain(mut object: DynamicObject) -> DynamicObject {
    let mut metadata = std::mem::take(&mut object.metadata);
    let (labels, annotations) = (metadata.labels.take(), metadata.annotations.take());
    let owner_references = metadata.owner_references.take();
    object.metadata = ObjectMeta {
        labels: labels.map(traces),
        annotations: annotations.map(traces),
        owner_references,
        ..identity(metadata)
    };
    object
}

/// A Secret's copy, which has nothing of it but whose it is and a hash.
pub(super) fn sealed(object: &DynamicObject, key: &Key) -> DynamicObject {
    let seal = key.seal(&content::canonical(&json!({"data": field(object, "/data")})));
    DynamicObject {
        types: object.types.clone(),
        metadata: identity(object.metadata.clone()),
        data: json!({SEAL: seal}),
    }
}

fn identity(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::workload::tests::object, *};

    fn map(data: &Value) -> DynamicObject {
        object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "all of it"}}, "data": data}))
    }

    fn there(data: &Value) -> Held {
        Held::of(Holder::ConfigMap, Some(&map(data)), Need::Required)
    }

    #[test]
    fn a_hash_is_over_what_an_object_holds_and_not_over_how_it_is_written() {
        assert_eq!(there(&json!({"a": "1", "b": "2"})).hash(), there(&json!({"b": "2", "a": "1"})).hash());
        assert_ne!(there(&json!({"a": "1"})).hash(), there(&json!({"a": "2"})).hash());
        // What is empty is not what is absent.
        assert_ne!(there(&json!({"a": ""})).hash(), there(&json!({})).hash());
        assert_eq!(plain(map(&json!({"a": "1"}))).metadata.annotations, Some(BTreeMap::new()), "there are some");
    }

    #[test]
    fn of_a_secret_nothing_stays_but_a_hash_under_a_key() {
        let secret = |value: &str| {
            object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop", "uid": "u",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": value}},
                "data": {"password": value}, "stringData": {"other": value}}))
        };
        let (one, other) = (Key::from([1; 32]), Key::from([2; 32]));
        let copy = sealed(&secret("aHVudGVyMg=="), &one);
        let text = serde_json::to_string(&copy).expect("it is written");
        assert!(!text.contains("aHVudGVyMg"), "{text}");
        let seal = |value: &str, key: &Key| {
            let held = Held::of(Holder::Secret, Some(&sealed(&secret(value), key)), Need::Required);
            held.hash().expect("it is there").to_owned()
        };
        assert_eq!(seal("aHVudGVyMg==", &one), seal("aHVudGVyMg==", &one));
        assert_ne!(seal("aHVudGVyMg==", &one), seal("aHVudGVyMQ==", &one));
        assert_ne!(seal("aHVudGVyMg==", &one), seal("aHVudGVyMg==", &other), "nobody without the key can try values");
    }

    #[test]
    fn a_manifest_is_known_as_a_whole_or_not_at_all() {
        let named = |name: &str| Named { holder: Holder::ConfigMap, name: name.to_owned() };
        let mut now: Configuration =
            [(named("a"), there(&json!({"a": "1"}))), (named("b"), Held::Absent(Need::Optional))].into();
        let before = Manifest::of(&now).expect("all is known");
        let text = serde_json::to_string(&before).expect("written");
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("read"), before);
        assert_eq!(before.changed(&now).count(), 0);
        now.insert(named("b"), there(&json!({})));
        assert_eq!(before.changed(&now).collect::<Vec<_>>(), [(&named("b"), None)]);
        assert_ne!(Manifest::of(&now).expect("all is known").hash(), before.hash());
        now.insert(named("a"), Held::Untold("see it: nobody may".to_owned()));
        assert_eq!(Manifest::of(&now), Err("see it: nobody may".to_owned()));
        assert_eq!(before.changed(&now).count(), 1, "what is not known has not changed");
        let secret = |key: [u8; 32]| {
            let secret = sealed(&map(&json!({"password": "aHVudGVyMg=="})), &Key::from(key));
            let named = Named { holder: Holder::Secret, name: "s".to_owned() };
            Configuration::from([(named, Held::of(Holder::Secret, Some(&secret), Need::Required))])
        };
        let before = Manifest::of(&secret([1; 32])).expect("known");
        assert_eq!(before.changed(&secret([2; 32])).count(), 0, "nor has what cannot be compared");
        assert_eq!(Manifest::default().hash(), None);
    }

    #[test]
    fn what_counts_otherwise_by_now_may_be_the_same() {
        let named = |holder: Holder, name: &str| Named { holder, name: name.to_owned() };
        let manifest = |map: Option<&str>, secret: Option<&str>, other: Option<&str>| {
            let rows = [
                (named(Holder::ConfigMap, "a"), map),
                (named(Holder::ConfigMap, "other"), other),
                (named(Holder::Secret, "s"), secret),
            ];
            Manifest(rows.into_iter().filter_map(|(named, hash)| Some((named, Some(hash?.to_owned())))).collect())
        };
        let before = manifest(Some("1"), Some("key1:1"), None);
        for (now, may_be) in [
            (manifest(Some("1"), None, None), true),
            (manifest(Some("1"), Some("key1:1"), Some("1")), true),
            (Manifest::default(), true),
            (manifest(Some("1"), Some("key2:7"), None), true),
            // As they were written without the key's name.
            (manifest(Some("1"), Some("7"), None), true),
            (manifest(Some("1"), Some("key1:2"), None), false),
            (manifest(Some("2"), None, None), false),
            (manifest(Some("2"), Some("key2:7"), Some("1")), false),
        ] {
            assert_eq!(before.may_be(&now), may_be, "{now:?}");
        }
    }
}
