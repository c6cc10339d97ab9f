//! What going back to a release comes to, as far as its configuration goes: what is put back, what stays as it is, and
//! why it cannot be done.

use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    clusters::Sight,
    configuration::{Configuration, Held, Holder, Kept, Manifest, Named},
    identity::{Identity, configuration_of},
    owner::owner,
    workload::field,
};
use crate::core::{name::Version, release::WayBack};

/// Objects that are named; the others are counted.
const SHOWN_LIMIT: usize = 5;

/// What is to become of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// `ConfigMaps` that are put back.
    pub(super) restored: Vec<Named>,
    /// What is otherwise than it was, and stays so.
    pub(super) left: Vec<Named>,
}

/// What is known of the release that is to be gone back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) version: &'a Version,
    /// Its content, see [`crate::target::names`].
    pub(super) content: &'a str,
    /// Its pod template is the live one.
    pub(super) is_same_template: bool,
}

/// Whether `ConfigMaps` are put back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Restoring<'a> {
    /// None is.
    No,
    /// Those that nobody else has to do with.
    Own(&'a Sight),
    /// It was begun: all that is not as it was.
    Begun,
}

/// What going back to `wanted` comes to, from what there is `now`.
pub(super) fn way(
    wanted: Wanted<'_>,
    now: &Configuration,
    kept: &Kept,
    restoring: Restoring<'_>,
) -> Result<Way, String> {
    let Wanted { version, content, is_same_template } = wanted;
    let restores = !matches!(restoring, Restoring::No);
    let known = configuration_of(content);
    let Some(before) = known.map_or_else(|| Some(Manifest::default()), |hash| kept.manifest(hash)) else {
        return if restores || is_same_template {
            Err(format!("what the ConfigMaps of {version} held is not kept any more"))
        } else {
            Ok(Way::default())
        };
    };
    let mut way = Way::default();
    let mut hindered = None;
    for (named, hash) in before.changed(now) {
        let is_put_back = restores && named.holder == Holder::ConfigMap && hash.is_some();
        if !is_put_back {
            way.left.push(named.clone());
            continue;
        }
        way.restored.push(named.clone());
        match now.get(named) {
            Some(Held::There(_, object)) if field(object, "/immutable").and_then(Value::as_bool) == Some(true) => {
                hindered.get_or_insert_with(|| {
                    format!("the {named} has changed since {version}, and is immutable: deploy {version} anew instead")
                });
            }
            Some(Held::There(_, object)) => {
                if let Restoring::Own(sight) = restoring
                    && let Some(why) = others(named, object, sight)
                {
                    hindered.get_or_insert(format!("the {named} has changed since {version}, and {why}"));
                }
            }
            _ => {
                hindered.get_or_insert_with(|| format!("the {named} is gone since {version}, and is not made anew"));
            }
        }
    }
    if let Some(why) = hindered {
        return Err(why);
    }
    if is_same_template && way.restored.is_empty() {
        let is_map = |named: &&Named| named.holder == Holder::ConfigMap;
        return Err(if let Some(map) = way.left.iter().find(is_map).filter(|_| !restores) {
            format!(
                "since {version} only configuration has changed ({map}), and its pod template is the live one's: \
                 `restore_config: true` on the target would let a rollback put it back"
            )
        } else if way.left.is_empty() {
            format!("the pod template of {version} is the live one's: there is nothing to undo")
        } else {
            format!(
                "since {version} only {} changed: what a Secret held is never kept, so that nothing can be put back",
                words(&way.left)
            )
        });
    }
    Ok(way)
}

/// Why a ConfigMap is not this workload's alone.
fn others(named: &Named, map: &DynamicObject, sight: &Sight) -> Option<String> {
    let theirs = owner(map).filter(|theirs| owner(&sight.workload).as_ref() != Some(theirs));
    let owned = theirs.map(|theirs| format!("{theirs} owns it: put it back there"));
    owned.or_else(|| {
        let other = sight.shared.get(named)?;
        Some(format!("{other} has it too, whose pods would go on with what it holds now: put it back for both by hand"))
    })
}

/// The ways back that are not whole, for the gates and for people.
pub(super) fn way_back(
    wanted: Wanted<'_>,
    live: &Identity,
    sight: &Sight,
    kept: &Kept,
    restores: bool,
) -> Option<WayBack> {
    // Between two releases, what the other one has is on its way.
    if live.switching.is_some() {
        return None;
    }
    let to = wanted.version.clone();
    let restoring = if restores { Restoring::Own(sight) } else { Restoring::No };
    match way(wanted, &sight.configuration, kept, restoring) {
        Err(why) => Some(WayBack { to, hindered: Some(why), leaves: None }),
        Ok(way) if way.left.is_empty() => None,
        Ok(way) => Some(WayBack { to, hindered: None, leaves: Some(stays(&way.left)) }),
    }
}

/// In words, what stays as it is.
pub(super) fn stays(left: &[Named]) -> String {
    let verb = if left.len() == 1 { "stays as it is" } else { "stay as they are" };
    format!("{} {verb}", words(left))
}

/// Objects in words.
pub(super) fn words(all: &[Named]) -> String {
    let shown: Vec<String> = all.iter().take(SHOWN_LIMIT).map(|named| format!("the {named}")).collect();
    match all.len().saturating_sub(SHOWN_LIMIT) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{
        super::{
            configuration::{Key, Need, plain, sealed},
            workload::tests::object,
        },
        *,
    };
    use crate::target::blocking::BlockingCalls;

    fn map(name: &str, limit: &str, immutable: bool) -> (Named, Held) {
        let found = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"limit": limit}, "immutable": immutable}));
        let named = Named { holder: Holder::ConfigMap, name: name.to_owned() };
        (named, Held::of(Holder::ConfigMap, Some(&found), Need::Required))
    }

    fn secret(name: &str, password: &str) -> (Named, Held) {
        let found = object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {"password": password}}));
        let named = Named { holder: Holder::Secret, name: name.to_owned() };
        (named, Held::of(Holder::Secret, Some(&sealed(&found, &Key::from([1; 32]))), Need::Required))
    }

    fn sight(annotations: &Value) -> Sight {
        let workload = object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "shop", "annotations": annotations}}));
        Sight {
            workload: workload.into(),
            keepers: Vec::new(),
            pods: Vec::new(),
            configuration: Configuration::new(),
            shared: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn what_others_have_to_do_with_is_left_to_people() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let before: Configuration = [map("a", "1", false)].into();
        let manifest = Manifest::of(&before).expect("known");
        kept.keep(&manifest, &before).await.expect("kept");
        let content = format!("whole.base.{}", manifest.hash().expect("it names something"));
        let by_helm = |release: &str| json!({"meta.helm.sh/release-name": release});
        let named = map("a", "", false).0;
        for (workload, of_map, shared, expected) in [
            (json!({}), json!({}), None, Ok(())),
            (json!({}), by_helm("shop"), None, Err("the Helm release shop owns it")),
            (by_helm("shop"), by_helm("common"), None, Err("the Helm release common owns it")),
            // Whether the workload's own owner is acted past is for the policy to say.
            (by_helm("shop"), by_helm("shop"), None, Ok(())),
            (json!({}), json!({}), Some("deployment prod/billing"), Err("deployment prod/billing has it too")),
        ] {
            let object = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"limit": "2"},
                "metadata": {"name": "a", "annotations": of_map}}));
            let held = Held::of(Holder::ConfigMap, Some(&plain(object)), Need::Required);
            let now: Configuration = [(named.clone(), held)].into();
            let mut sight = sight(&workload);
            sight.shared.extend(shared.map(|other| (named.clone(), other.to_owned())));
            let wanted = Wanted { version: &"1.4.2".into(), content: &content, is_same_template: true };
            let said = way(wanted, &now, &kept, Restoring::Own(&sight)).map(|_| ());
            match expected {
                Ok(()) => assert_eq!(said, Ok(())),
                Err(why) => assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{said:?}, not {why}"),
            }
            // What was begun is taken back all the same.
            assert!(way(wanted, &now, &kept, Restoring::Begun).is_ok());
        }
    }

    #[tokio::test]
    async fn what_goes_back_what_stays_and_why_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let before: Configuration = [map("a", "1", false), secret("s", "1")].into();
        let manifest = Manifest::of(&before).expect("known");
        kept.keep(&manifest, &before).await.expect("kept");
        let content = format!("whole.base.{}", manifest.hash().expect("it names something"));
        let gone: Configuration = [(map("a", "", false).0, Held::Absent(Need::Required)), secret("s", "1")].into();
        let only = "only configuration has changed (ConfigMap a), and its pod template is the live one's: \
                    `restore_config: true`";
        for (now, is_same_template, restores, expected) in [
            // The template goes back, and some configuration with it.
            ([map("a", "1", false), secret("s", "1")].into(), false, false, "restored [] left []"),
            ([map("a", "2", false), secret("s", "1")].into(), false, false, "restored [] left [ConfigMap a]"),
            ([map("a", "2", true), secret("s", "1")].into(), false, false, "restored [] left [ConfigMap a]"),
            ([map("a", "2", false), secret("s", "2")].into(), false, true, "restored [ConfigMap a] left [Secret s]"),
            ([map("a", "2", true), secret("s", "1")].into(), false, true, "is immutable"),
            (gone.clone(), false, true, "the ConfigMap a is gone since 1.4.2"),
            (gone, false, false, "restored [] left [ConfigMap a]"),
            // What the other template does not name is not known here.
            ([secret("s", "1")].into(), false, true, "restored [] left []"),
            // The template is the same.
            ([map("a", "2", false), secret("s", "1")].into(), true, true, "restored [ConfigMap a] left []"),
            ([map("a", "2", false), secret("s", "2")].into(), true, true, "restored [ConfigMap a] left [Secret s]"),
            ([map("a", "2", false), secret("s", "1")].into(), true, false, only),
            (
                [map("a", "1", false), secret("s", "2")].into(),
                true,
                true,
                "only the Secret s changed: what a Secret held",
            ),
            ([map("a", "1", false), secret("s", "1")].into(), true, true, "there is nothing to undo"),
        ] as [(Configuration, bool, bool, &str); 13]
        {
            let wanted = Wanted { version: &"1.4.2".into(), content: &content, is_same_template };
            let list = |all: &[Named]| all.iter().map(Named::to_string).collect::<Vec<_>>().join(", ");
            let sight = sight(&json!({}));
            let restoring = if restores { Restoring::Own(&sight) } else { Restoring::No };
            let said = way(wanted, &now, &kept, restoring)
                .map_or_else(|why| why, |way| format!("restored [{}] left [{}]", list(&way.restored), list(&way.left)));
            assert!(said.contains(expected), "{said}, not {expected}");
        }
    }

    #[tokio::test]
    async fn what_was_never_kept_is_not_put_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let now: Configuration = [map("a", "1", false)].into();
        let asked = |content: &str, is_same_template: bool, restores: bool| {
            let wanted = Wanted { version: &"1.4.2".into(), content, is_same_template };
            way(wanted, &now, &kept, if restores { Restoring::Begun } else { Restoring::No })
        };
        let why = "what the ConfigMaps of 1.4.2 held is not kept any more".to_owned();
        assert_eq!(asked("whole.base.lost", false, true), Err(why.clone()));
        assert_eq!(asked("whole.base.lost", true, false), Err(why));
        assert_eq!(asked("whole.base.lost", false, false), Ok(Way::default()), "the template alone goes back");
        assert_eq!(asked("base", false, true), Ok(Way::default()), "it was never seen with a configuration");
    }

    #[test]
    fn words_name_the_first_few() {
        let all: Vec<Named> = (0..7).map(|one| map(&one.to_string(), "", false).0).collect();
        assert_eq!(stays(&all[..1]), "the ConfigMap 0 stays as it is");
        assert_eq!(stays(&all[..2]), "the ConfigMap 0, the ConfigMap 1 stay as they are");
        assert!(stays(&all).ends_with("the ConfigMap 4 and 2 more stay as they are"));
    }
}
