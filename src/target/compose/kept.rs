//! What is kept of the releases that were live: which image each is, and by what hashes its configuration is told apart.
//!
//! One file for each service, beside the store. No value of any variable is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::configuration::Manifest;
use crate::{core::name::Version, record::atomic};

/// Releases that are kept of one service; far more than have their images kept.
const RELEASES_LIMIT: usize = 40;
/// The file's name.
const FILE: &str = "releases.json";

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) version: Version,
    /// `sha256:` and 64 digits.
    pub(super) image: String,
    /// The image as it was named when it was deployed.
    pub(super) reference: String,
    /// By what a registry would give it again: names with a digest.
    #[serde(default)]
    pub(super) digests: Vec<String>,
    pub(super) manifest: Manifest,
    /// Whether all of its containers were seen to serve at once.
    #[serde(default)]
    pub(super) served: bool,
}

/// The releases that are kept, the one that was live last at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    releases: Vec<Known>,
    /// What stood before traffic was stopped, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stopped: Option<Stopped>,
}

/// What ran before traffic was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stopped {
    pub(super) incident: String,
    /// Which services were stopped.
    pub(super) services: Vec<String>,
    /// Each service's containers that ran.
    pub(super) containers: Vec<Ran>,
}

/// A container that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ran {
    pub(super) service: String,
    pub(super) id: String,
    pub(super) name: String,
}

impl Kept {
    /// Reads what there is in `directory`. Blocks.
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        match fs::read(path(directory)) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let why = format!("{error}; remove it, and the releases before are named anew as they are deployed");
                io::Error::new(io::ErrorKind::InvalidData, why)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes all of it. Blocks.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        atomic::replace(&path(directory), &serde_json::to_vec_pretty(self)?)
    }

    /// Puts what is live at the end; whether anything changed by that.
    pub(super) fn live(&mut self, mut live: Known) -> bool {
        let before = self.of(&live.version).cloned();
        if let Some(before) = &before {
            // The reference and the digests that it was deployed by say more than an image's number does.
            if before.image == live.image {
                live.served |= before.served;
                if live.reference.starts_with("sha256:") {
                    live.reference.clone_from(&before.reference);
                }
                if live.digests.is_empty() {
                    live.digests.clone_from(&before.digests);
                }
            }
        }
        if self.releases.last() == Some(&live) {
            return false;
        }
        self.releases.retain(|known| known.version != live.version);
        self.releases.push(live);
        let too_many = self.releases.len().saturating_sub(RELEASES_LIMIT);
        self.releases.drain(..too_many);
        true
    }

    pub(super) fn of(&self, version: &Version) -> Option<&Known> {
        self.releases.iter().find(|known| known.version == *version)
    }

    /// What was last live with that image.
    pub(super) fn of_image(&self, image: &str) -> Option<&Known> {
        self.releases.iter().rev().find(|known| known.image == image)
    }

    /// The one that was live last comes first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Known> {
        self.releases.iter().rev()
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(version: &str, image: &str, reference: &str) -> Known {
        Known {
            version: version.into(),
            image: image.to_owned(),
            reference: reference.to_owned(),
            digests: Vec::new(),
            manifest: Manifest::default(),
            served: false,
        }
    }

    #[test]
    fn the_live_one_is_last_and_keeps_how_it_was_named() {
        let mut kept = Kept::default();
        assert!(kept.live(known("1", "sha256:a", "shop:1")));
        assert!(!kept.live(known("1", "sha256:a", "shop:1")));
        assert!(kept.live(Known { served: true, ..known("1", "sha256:a", "shop:1") }));
        assert!(kept.live(known("2", "sha256:b", "shop:2")));
        // Gone back to by its number.
        assert!(kept.live(known("1", "sha256:a", "sha256:a")));
        let first = kept.newest_first().next().expect("one");
        assert_eq!((first.reference.as_str(), first.served), ("shop:1", true));
        assert_eq!(kept.releases.len(), 2);
        for number in 0..2 * RELEASES_LIMIT {
            kept.live(known(&number.to_string(), "sha256:c", "shop"));
        }
        assert_eq!(kept.releases.len(), RELEASES_LIMIT);
        assert!(kept.of(&"1".into()).is_none() && kept.of(&"79".into()).is_some(), "the oldest have gone");
    }

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("shop");
        let mut kept = Kept::load(&below).expect("nothing yet");
        kept.live(known("1", "sha256:a", "shop:1"));
        kept.save(&below).expect("written");
        assert_eq!(Kept::load(&below).expect("read"), kept);
        fs::write(below.join(FILE), "{").expect("written");
        let said = Kept::load(&below).expect_err("damaged").to_string();
        assert!(said.contains("remove it"), "{said}");
    }
}
