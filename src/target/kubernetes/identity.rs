//! Which release a workload is: its pod template with its configuration.
//!
//! Two annotations on the workload say what alone cannot be seen, each written in the same patch as what it speaks of.
//! [`RELEASE`]: that Backstop rolled back to a release whose configuration could not go back as a whole, so that what is
//! live is called by its name though some of it is otherwise. [`SWITCHING`]: that Backstop is between two releases.

use std::fmt::Write as _;

use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};

use super::{
    clusters::Sight,
    configuration::{Held, Kept, Manifest, Named, Need},
    content,
    revision::{Template, template},
    workload::annotation,
};
use crate::{
    core::{name::Version, release::Release},
    target::names::{Names, base},
};

/// Which release a workload was made to be.
pub(super) const RELEASE: &str = "backstop.io/release";
/// Between which releases a workload is.
pub(super) const SWITCHING: &str = "backstop.io/switching";

/// What [`RELEASE`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeToBe {
    pub(super) version: Version,
    pub(super) content: String,
}

/// What [`SWITCHING`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Switching {
    pub(super) from: Version,
    pub(super) to: Version,
    /// The template as it was, restarts included: whoever puts another one there since has come between.
    pub(super) template: String,
}

impl Switching {
    /// Whether it goes from the one to the other, this way or back.
    pub(super) fn is_between(&self, one: &Version, other: &Version) -> bool {
        (&self.from, &self.to) == (one, other) || (&self.from, &self.to) == (other, one)
    }
}

/// The release that a workload is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) version: Version,
    pub(super) template: Template,
    pub(super) content: String,
    /// What the journal calls that content.
    pub(super) known_as: String,
    pub(super) manifest: Manifest,
    /// Backstop is between two releases.
    pub(super) switching: Option<Switching>,
    /// Backstop put it there, and nobody changed it since.
    pub(super) is_ours: bool,
    /// What it needs and is not there, in words.
    pub(super) missing: Option<String>,
}

impl Identity {
    /// Gives what is live its name.
    pub(super) fn keep_name(&self, names: &mut Names) {
        if self.switching.is_some() {
            return;
        }
        if self.is_ours || self.known_as != self.content {
            names.also(&self.content, &self.version);
        } else {
            names.name(&self.template.tag(), &self.content);
        }
        names.told(&self.content, &self.known_as);
    }

    pub(super) fn release(&self) -> Release {
        Release { configuration: Some(self.known_as.clone()), ..Release::of(self.version.clone()) }
    }
}

/// The content of a template with a configuration; see [`Names`].
pub(super) fn content(template: &Template, manifest: &Manifest) -> String {
    let base = template.content();
    match manifest.hash() {
        None => base,
        Some(configuration) => {
            let whole = content::of_text(&format!("{base}.{configuration}"));
            format!("{whole}.{base}.{configuration}")
        }
    }
}

/// The hash of the configuration in a content, if it has one.
pub(super) fn configuration_of(content: &str) -> Option<&str> {
    content.split('.').nth(2)
}

/// The template as it is, restarts included.
pub(super) fn print(template: &Template) -> String {
    content::of_text(&template.value().to_string())
}

/// Which release a sight shows, without giving it its name; or why that cannot be told, to follow "failed to".
pub(super) fn identify(sight: &Sight, names: &Names, kept: &Kept) -> Result<Identity, String> {
    let template = template(&sight.workload).ok_or("find the workload's pod template: there is none")?;
    let manifest = Manifest::of(&sight.configuration)?;
    let content = content(&template, &manifest);
    let switching = read::<Switching>(&sight.workload, SWITCHING)
        .filter(|one| one.template == print(&template) && is_between(one, &manifest, names, kept));
    let made_to_be = read::<MadeToBe>(&sight.workload, RELEASE).filter(|one| one.content == content);
    let said = switching.as_ref().map(|one| &one.from).or(made_to_be.as_ref().map(|one| &one.version));
    let is_ours = switching.is_some() || made_to_be.is_some();
    let inherited = inherited(&content, &manifest, names, kept).filter(|_| !is_ours);
    let (version, known_as) = match (said, inherited) {
        (None, Some((version, known_as))) => (version.clone(), known_as.to_owned()),
        (said, _) => {
            let version = said.cloned().unwrap_or_else(|| names.would_be(&template.tag(), &content));
            (version, names.known_as(&content).to_owned())
        }
    };
    Ok(Identity { version, content, known_as, manifest, switching, is_ours, missing: missing(sight), template })
}

/// The release that the journal knows to have been live last, where this is the same one told apart in another way: since
/// then `config_allow` was changed, the key for Secrets is another one, or what was kept to compare it with is lost.
fn inherited<'a>(content: &str, manifest: &Manifest, names: &'a Names, kept: &Kept) -> Option<(&'a Version, &'a str)> {
    let (version, before) = names.inherited()?;
    if names.is_named(content) || base(before) != base(content) {
        return None;
    }
    let known = kept.manifest(configuration_of(before)?);
    known.is_none_or(|known| known.may_be(manifest)).then_some((version, before))
}

fn read<T: serde::de::DeserializeOwned>(workload: &DynamicObject, name: &str) -> Option<T> {
    serde_json::from_str(annotation(workload, name)?).ok()
}

/// Whether each object is as one of the two releases has it: anything else is somebody's who came between.
fn is_between(switching: &Switching, now: &Manifest, names: &Names, kept: &Kept) -> bool {
    let manifest = |version: &Version| kept.manifest(configuration_of(names.content(version)?)?);
    let (Some(from), Some(to)) = (manifest(&switching.from), manifest(&switching.to)) else { return false };
    now.0.iter().all(|(named, hash)| [&from, &to].iter().any(|one| one.0.get(named) == Some(hash)))
}

/// What was put back of a switch between two releases, whichever way, that came to no end; with whose it is.
pub(super) fn put_back(
    sight: &Sight,
    names: &Names,
    kept: &Kept,
    (one, other): (&Version, &Version),
) -> Option<(Version, Vec<Named>)> {
    let switching = read::<Switching>(&sight.workload, SWITCHING).filter(|begun| begun.is_between(one, other))?;
    let manifest = |version: &Version| kept.manifest(configuration_of(names.content(version)?)?);
    let (from, to) = (manifest(&switching.from)?, manifest(&switching.to)?);
    let is_back = |named: &&Named| {
        let now = sight.configuration[*named].hash();
        let had = |manifest: &Manifest| manifest.0.get(*named).and_then(Option::as_deref) == now;
        now.is_some() && had(&to) && !had(&from)
    };
    let maps: Vec<Named> = sight.configuration.keys().filter(is_back).cloned().collect();
    (!maps.is_empty()).then_some((switching.to, maps))
}

/// What pods cannot start without and is not there.
fn missing(sight: &Sight) -> Option<String> {
    let mut gone = sight.configuration.iter().filter(|(_, held)| **held == Held::Absent(Need::Required));
    let mut words = format!("find the {}: there is none", gone.next()?.0);
    for (named, _) in gone {
        let _infallible = write!(words, ", and no {named}");
    }
    Some(words)
}

/// The names of what a revision's template was seen as; where it never was live here, one is given to it.
pub(super) fn versions(template: &Template, names: &mut Names) -> Vec<Version> {
    let content = template.content();
    if names.of_base(&content).is_empty() {
        names.name(&template.tag(), &content);
    }
    names.of_base(base(&content)).to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{
            configuration::{Configuration, Holder, Key, sealed},
            workload::tests::object,
        },
        *,
    };
    use crate::target::blocking::BlockingCalls;

    const KEY: [u8; 32] = [1; 32];

    /// `shop:1.4.3` as it is live, with a ConfigMap and a Secret.
    fn sight(limit: &str, with: &[Holder], key: [u8; 32]) -> Sight {
        let workload = object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
            "spec": {"template": {"spec": {"containers": [{"name": "shop", "image": "shop:1.4.3"}]}}}}));
        let of = |kind: &str, data: Value| {
            object(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "shop"}, "data": data}))
        };
        let held = |holder: Holder| match holder {
            Holder::ConfigMap => of("ConfigMap", json!({"limit": limit})),
            Holder::Secret => sealed(&of("Secret", json!({"password": "aHVudGVyMg=="})), &Key::from(key)),
        };
        let configuration: Configuration = with
            .iter()
            .map(|holder| {
                let named = Named { holder: *holder, name: "shop".to_owned() };
                (named, Held::of(*holder, Some(&held(*holder)), Need::Required))
            })
            .collect();
        let (keepers, pods, shared) = (Vec::new(), Vec::new(), std::collections::BTreeMap::new());
        Sight { workload: workload.into(), keepers, pods, configuration, shared }
    }

    /// The names that a daemon begins with whose journal has this live, as text.
    fn after(journal: &str) -> (Names, Release) {
        let release: Release = serde_json::from_str(journal).expect("a release");
        (Names::known([&release].into_iter()), release)
    }

    /// What a first look tells, and what one tells after it.
    fn tell(sight: &Sight, names: &mut Names, kept: &Kept) -> Release {
        let first = identify(sight, names, kept).expect("it is told");
        first.keep_name(names);
        let again = identify(sight, names, kept).expect("it is told");
        assert_eq!((again.release(), again.version), (first.release(), first.version.clone()));
        first.release()
    }

    #[tokio::test]
    async fn what_is_told_apart_otherwise_than_before_is_no_deploy() {
        use Holder::{ConfigMap, Secret};
        let both = [ConfigMap, Secret];
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let lost = Kept::new(None, BlockingCalls::default());
        let before = sight("5", &both, KEY);
        let manifest = Manifest::of(&before.configuration).expect("known");
        kept.keep(&manifest, &before.configuration).await.expect("kept");
        let template = template(&before.workload).expect("a template");
        let bare = format!(r#"{{"version":"1.4.3","configuration":"{}"}}"#, template.content());
        let whole = format!(r#"{{"version":"1.4.3","configuration":"{}"}}"#, content(&template, &manifest));
        let other_key = [2; 32];
        for (journal, now, kept, is_same) in [
            // Written before configuration counted.
            (&bare, sight("5", &both, KEY), &kept, true),
            (&whole, sight("5", &both, KEY), &kept, true),
            // `config_allow` is another one.
            (&whole, sight("5", &[ConfigMap], KEY), &kept, true),
            (&whole, sight("5", &[], KEY), &kept, true),
            (&whole, sight("0", &[ConfigMap], KEY), &kept, false),
            // The key was lost, or all that was kept.
            (&whole, sight("5", &both, other_key), &kept, true),
            (&whole, sight("0", &both, other_key), &kept, false),
            (&whole, sight("5", &both, other_key), &lost, true),
            // A deploy while nobody watched.
            (&whole, sight("0", &both, KEY), &kept, false),
        ] {
            let (mut names, live) = after(journal);
            let told = tell(&now, &mut names, kept);
            assert_eq!(live.agrees_with(&told), is_same, "{live:?} {told:?}");
            // What changes from then on is a deploy.
            let next = identify(&sight("9", &both, KEY), &names, kept).expect("it is told").release();
            assert!(!live.agrees_with(&next), "{next:?}");
        }
        let (mut names, live) = after(&whole);
        tell(&sight("5", &[ConfigMap], KEY), &mut names, &kept);
        let again = Names::known([&live].into_iter());
        let told = identify(&sight("5", &[ConfigMap], KEY), &again, &kept).expect("it is told").release();
        assert!(live.agrees_with(&told), "after another restart as well");
    }
}
