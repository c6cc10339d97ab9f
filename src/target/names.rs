//! What releases are called, where what runs is more than a tag.
//!
//! A release is its content: the images and all that is said of how they run. People call it by its tag. The first
//! content of a tag has the tag alone; another content of the same tag gets a part of its hash behind a plus sign, as
//! build metadata are written. A name once given stays with its content: the journal's names are taken in at the start,
//! and so is what a target shows now, oldest first.
//!
//! A content is one text, or three with a dot between them: what tells it from every other content, what it runs, and how
//! that is configured. What runs may be known before its configuration is; the first configuration that it is seen with
//! then has its name. A name stands for the content that was last live under it: that is what going back to it means.

use std::collections::BTreeMap;

use crate::core::{
    name::Version,
    release::{self, Release},
};

/// Hexadecimal digits of a content in a name.
const DIGITS: usize = 6;
/// Most names that are kept; far more than a journal keeps deploys of one service. Past it the new one is still named, by
/// tag and hash, which needs no memory.
const LIMIT: usize = 10_000;

/// The names given.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_content: BTreeMap<String, Version>,
    contents: BTreeMap<Version, String>,
    /// The names by what they run, oldest first.
    by_base: BTreeMap<String, Vec<Version>>,
    /// What the journal knows to have been live last, until something is told.
    inherited: Option<(Version, String)>,
    /// What the journal calls contents that were told apart in another way when it was written.
    known_as: BTreeMap<String, String>,
}

/// What a content runs, whatever its configuration is.
pub(super) fn base(content: &str) -> &str {
    release::base(content)
}

impl Names {
    /// Takes in names that were given before.
    pub(super) fn known<'a>(releases: impl Iterator<Item = &'a Release>) -> Self {
        let mut names = Self::default();
        for release in releases {
            if let Some(content) = &release.configuration {
                names.keep(content, release.version.clone());
                names.inherited = Some((release.version.clone(), content.clone()));
            }
        }
        names
    }

    /// The name of a content whose tag is `tag`, from now on.
    pub(super) fn name(&mut self, tag: &str, content: &str) -> Version {
        let version = self.would_be(tag, content);
        self.keep(content, version.clone());
        version
    }

    /// What [`Self::name`] would call it, without giving the name away.
    pub(super) fn would_be(&self, tag: &str, content: &str) -> Version {
        if let Some(known) = self.by_content.get(content) {
            return known.clone();
        }
        if let Some(version) = self.by_content.get(base(content))
            && self.content(version) == Some(base(content))
        {
            return version.clone();
        }
        let plain = Version::from(tag);
        if !self.contents.contains_key(&plain) {
            return plain;
        }
        let digits: String = content.chars().take(DIGITS).collect();
        Version::from(format!("{tag}+{digits}"))
    }

    /// The content that a name stands for.
    pub(super) fn content(&self, version: &Version) -> Option<&str> {
        self.contents.get(version).map(String::as_str)
    }

    /// The names of what runs the same, oldest first.
    pub(super) fn of_base(&self, base: &str) -> &[Version] {
        self.by_base.get(base).map_or(&[], Vec::as_slice)
    }

    /// What the journal knows to have been live last, by name and content; until something is told.
    pub(super) fn inherited(&self) -> Option<(&Version, &str)> {
        self.inherited.as_ref().map(|(version, content)| (version, content.as_str()))
    }

    /// Whether exactly this content has a name.
    pub(super) fn is_named(&self, content: &str) -> bool {
        self.by_content.contains_key(content)
    }

    /// What the journal calls that content.
    pub(super) fn known_as<'a>(&'a self, content: &'a str) -> &'a str {
        self.known_as.get(content).map_or(content, String::as_str)
    }

    /// A content is told, as the journal calls it: what is otherwise from here on is another release.
    pub(super) fn told(&mut self, content: &str, known_as: &str) {
        self.inherited = None;
        if content != known_as && self.known_as.len() < LIMIT {
            self.known_as.insert(content.to_owned(), known_as.to_owned());
        }
    }

    /// From now on this content is called so, whatever else it was called.
    pub(super) fn also(&mut self, content: &str, version: &Version) {
        self.keep(content, version.clone());
        if let Some(known) = self.by_content.get_mut(content) {
            known.clone_from(version);
        }
    }

    fn keep(&mut self, content: &str, version: Version) {
        if self.by_content.len() < LIMIT {
            let same = self.by_base.entry(base(content).to_owned()).or_default();
            if !same.contains(&version) {
                same.push(version.clone());
            }
            self.by_content.entry(content.to_owned()).or_insert_with(|| version.clone());
            let known = self.contents.entry(version).or_insert_with(|| content.to_owned());
            // What is told without its configuration says nothing of that.
            if content != base(content) || base(known) != content {
                content.clone_into(known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_with_its_content() {
        let mut names = Names::default();
        assert_eq!(names.name("1.4.3", "aaaaaaaaaa").as_str(), "1.4.3");
        assert_eq!(names.name("1.4.3", "bbbbbbbbbb").as_str(), "1.4.3+bbbbbb");
        assert_eq!(names.name("1.4.3", "aaaaaaaaaa").as_str(), "1.4.3");
        assert_eq!(names.content(&"1.4.3+bbbbbb".into()), Some("bbbbbbbbbb"));
        assert_eq!(names.content(&"1.4.4".into()), None);
    }

    #[test]
    fn the_first_configuration_that_something_is_seen_with_has_its_name() {
        let mut names = Names::default();
        assert_eq!(names.name("1.4.3", "bbbb").as_str(), "1.4.3");
        assert_eq!(names.name("1.4.3", "k1k1k1k1.bbbb.c1").as_str(), "1.4.3");
        assert_eq!(names.content(&"1.4.3".into()), Some("k1k1k1k1.bbbb.c1"));
        assert_eq!(names.name("1.4.3", "k2k2k2k2.bbbb.c2").as_str(), "1.4.3+k2k2k2");
        assert_eq!(names.of_base("bbbb"), ["1.4.3".into(), "1.4.3+k2k2k2".into()]);
        assert_eq!(names.would_be("1.4.3", "k3.bbbb.c3").as_str(), "1.4.3+k3.bbb");
        assert_eq!(names.of_base("bbbb").len(), 2, "the name was not given away");
        names.also("k3.bbbb.c3", &"1.4.3".into());
        assert_eq!(names.name("1.4.3", "k3.bbbb.c3").as_str(), "1.4.3");
        assert_eq!(names.content(&"1.4.3".into()), Some("k3.bbbb.c3"), "as it was last live");
        names.also("bbbb", &"1.4.3".into());
        assert_eq!(names.content(&"1.4.3".into()), Some("k3.bbbb.c3"), "nothing is said of its configuration");
        assert_eq!(names.name("1.4.3", "k1k1k1k1.bbbb.c1").as_str(), "1.4.3");
        assert_eq!(names.content(&"1.4.3".into()), Some("k1k1k1k1.bbbb.c1"), "and live again as it was first");
        // Said of one that was known without its configuration, it is that one's.
        assert_eq!(names.name("1.4.2", "aaaa").as_str(), "1.4.2");
        names.also("k4.aaaa.c1", &"1.4.2".into());
        assert_eq!(names.would_be("1.4.2", "k5k5k5k5.aaaa.c2").as_str(), "1.4.2+k5k5k5");
    }

    #[test]
    fn the_journals_names_outlive_what_the_target_has_forgotten() {
        let journal = [
            Release { configuration: Some("aaaaaaaaaa".to_owned()), ..Release::of("1.4.3") },
            Release { configuration: Some("bbbbbbbbbb".to_owned()), ..Release::of("1.4.3+bbbbbb") },
            Release::of("1.4.2"),
        ];
        let mut names = Names::known(journal.iter());
        assert_eq!(names.name("1.4.3", "bbbbbbbbbb").as_str(), "1.4.3+bbbbbb");
        assert_eq!(names.name("1.4.3", "cccccccccc").as_str(), "1.4.3+cccccc");
        assert_eq!(names.name("1.4.2", "dddddddddd").as_str(), "1.4.2");
    }

    #[test]
    fn a_journal_says_what_a_name_was_last_live_as() {
        let release =
            |version: &str, content: &str| Release { configuration: Some(content.to_owned()), ..Release::of(version) };
        let journal = [release("1.4.2", "k1.aaaa.c1"), release("1.4.3", "k2.bbbb.c2"), release("1.4.2", "k3.aaaa.c2")];
        let mut names = Names::known(journal.iter());
        assert_eq!(names.content(&"1.4.2".into()), Some("k3.aaaa.c2"));
        assert_eq!(names.would_be("1.4.2", "k1.aaaa.c1").as_str(), "1.4.2");
        assert_eq!(names.inherited(), Some((&"1.4.2".into(), "k3.aaaa.c2")));
        names.told("k4.aaaa.c4", "k3.aaaa.c2");
        assert_eq!((names.inherited(), names.known_as("k4.aaaa.c4")), (None, "k3.aaaa.c2"));
        assert_eq!(names.known_as("k1.aaaa.c1"), "k1.aaaa.c1");
    }
}
