//! What releases are called, where what runs is more than a tag.
//!
//! A release is its content: the images and all that is said of how they run. People call it by its tag. The first
//! content of a tag has the tag alone; another content of the same tag gets a part of its hash behind a plus sign, as
//! build metadata are written. A name once given stays with its content: the journal's names are taken in at the start,
//! and so is what a target shows now, oldest first.

use std::collections::BTreeMap;

use crate::core::{name::Version, release::Release};

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
}

impl Names {
    /// Takes in names that were given before.
    pub(super) fn known<'a>(releases: impl Iterator<Item = &'a Release>) -> Self {
        let mut names = Self::default();
        for release in releases {
            if let Some(content) = &release.configuration {
                names.keep(content, release.version.clone());
            }
        }
        names
    }

    /// The name of a content whose tag is `tag`.
    pub(super) fn name(&mut self, tag: &str, content: &str) -> Version {
        if let Some(known) = self.by_content.get(content) {
            return known.clone();
        }
        let plain = Version::from(tag);
        let version = if self.contents.contains_key(&plain) {
            let digits: String = content.chars().take(DIGITS).collect();
            Version::from(format!("{tag}+{digits}"))
        } else {
            plain
        };
        self.keep(content, version.clone());
        version
    }

    /// The content that a name stands for.
    pub(super) fn content(&self, version: &Version) -> Option<&str> {
        self.contents.get(version).map(String::as_str)
    }

    fn keep(&mut self, content: &str, version: Version) {
        if self.by_content.len() < LIMIT {
            self.by_content.entry(content.to_owned()).or_insert_with(|| version.clone());
            self.contents.entry(version).or_insert_with(|| content.to_owned());
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
}
