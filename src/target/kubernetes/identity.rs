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
    configuration::{Held, Kept, Manifest, Need},
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
        if self.is_ours {
            names.also(&self.content, &self.version);
        } else {
            names.name(&self.template.tag(), &self.content);
        }
    }

    pub(super) fn release(&self) -> Release {
        Release { configuration: Some(self.content.clone()), ..Release::of(self.version.clone()) }
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
    let version = said.cloned().unwrap_or_else(|| names.would_be(&template.tag(), &content));
    let is_ours = switching.is_some() || made_to_be.is_some();
    Ok(Identity { version, content, manifest, switching, is_ours, missing: missing(sight), template })
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
