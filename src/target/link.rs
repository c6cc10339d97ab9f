//! The symlink that names the live release, and the directory of releases. Everything here may block.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use super::{AVAILABLE_LIMIT, TargetError};
use crate::{core::name::Version, record::atomic};

/// Most entries of the directory that are read; nobody keeps so many releases, so it is another directory then.
const SCAN_LIMIT: usize = 10_000;

/// Where releases are, and the link to the live one.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) directory: PathBuf,
    pub(super) link: PathBuf,
}

/// What the link and the directory were when they were looked at: device, file, and when that last changed; and which
/// directory the link led to, whatever lies between, if to any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    places: [(u64, u64, i64, i64); 2],
    leads_to: Option<(u64, u64)>,
    /// The link leads to the directory's entry itself, and that is no link: it cannot lead elsewhere as long as both places
    /// are as they were.
    is_direct: bool,
}

impl Link {
    /// The least that tells whether anything changed: a link is never changed, only replaced, and a release that comes or
    /// goes changes the directory. Where the link leads to other links, those may be replaced: then it leads to another
    /// directory. None where link or directory is not there.
    pub(super) fn print(&self) -> Option<Print> {
        Some(Print { places: self.places()?, leads_to: self.leads_to(), is_direct: self.is_direct() })
    }

    /// Whether a print would be the same as `seen`, by as few calls as tell it: this is asked of each link every second.
    pub(super) fn is_still(&self, seen: &Print) -> bool {
        self.places() == Some(seen.places) && (seen.is_direct || self.leads_to() == seen.leads_to)
    }

    fn places(&self) -> Option<[(u64, u64, i64, i64); 2]> {
        let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        Some([of(fs::symlink_metadata(&self.link).ok()?), of(fs::metadata(&self.directory).ok()?)])
    }

    /// A release's own times change with whatever it writes there, and say nothing. It may also be gone.
    fn leads_to(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.link).ok().map(|metadata| identity(&metadata))
    }

    fn is_direct(&self) -> bool {
        let Ok(text) = fs::read_link(&self.link) else { return false };
        let leads_to = atomic::parent(&self.link).join(text);
        leads_to.parent() == Some(&self.directory)
            && fs::symlink_metadata(&leads_to).is_ok_and(|metadata| !metadata.is_symlink())
    }

    /// The live release: the name inside the directory that the link leads to. The release itself may be gone.
    pub(super) fn current(&self) -> Result<Version, TargetError> {
        let (_text, version) = self.read()?;
        Ok(version)
    }

    /// Whether what the link leads to is not there: nothing can run from it, whatever it is called.
    pub(super) fn leads_nowhere(&self) -> bool {
        fs::metadata(&self.link).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// What the link says, and the release that it leads to.
    fn read(&self) -> Result<(PathBuf, Version), TargetError> {
        let text = fs::read_link(&self.link).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TargetError::LinkAbsent(self.link.clone()),
            io::ErrorKind::InvalidInput => TargetError::NoLink(self.link.clone()),
            _ => TargetError::Read { path: self.link.clone(), source },
        })?;
        let outside =
            || TargetError::Outside { link: self.link.clone(), to: text.clone(), directory: self.directory.clone() };
        let leads_to = atomic::parent(&self.link).join(&text);
        let name = leads_to.file_name().ok_or_else(outside)?;
        let inside = fs::metadata(&self.directory)
            .map_err(|source| TargetError::Read { path: self.directory.clone(), source })?;
        // A link into a directory that is not there leads nowhere.
        let leads_into = fs::metadata(atomic::parent(&leads_to)).map_err(|_| outside())?;
        if identity(&leads_into) != identity(&inside) {
            return Err(outside());
        }
        let name = alias_of(&self.directory, name).unwrap_or_else(|| name.to_owned());
        let version = name.to_str().ok_or_else(outside)?.into();
        Ok((text, version))
    }

    /// Every release but `current`, newest first by time of change, then by name; no more than [`AVAILABLE_LIMIT`].
    pub(super) fn available(&self, current: Option<&Version>) -> Result<Vec<Version>, TargetError> {
        let unreadable = |source| TargetError::Read { path: self.directory.clone(), source };
        let mut found: Vec<(SystemTime, String)> = Vec::new();
        for (number, entry) in fs::read_dir(&self.directory).map_err(unreadable)?.enumerate() {
            if number == SCAN_LIMIT {
                return Err(TargetError::TooMany { path: self.directory.clone(), limit: SCAN_LIMIT });
            }
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let Some(text) = name.to_str() else { continue };
            if text.starts_with('.') || current.is_some_and(|current| current.as_str() == text) {
                continue;
            }
            // One that goes away meanwhile is not there.
            let Ok(mut metadata) = entry.metadata() else { continue };
            if metadata.is_symlink() {
                if alias_of(&self.directory, &name).is_some() {
                    continue;
                }
                let Ok(behind) = fs::metadata(entry.path()) else { continue };
                metadata = behind;
            }
            if metadata.is_dir() {
                found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), text.to_owned()));
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found.into_iter().take(AVAILABLE_LIMIT).map(|(_, name)| name.into()).collect())
    }

    /// Makes sure that the release is there: a directory, readable, with something in it.
    pub(super) fn ensure_available(&self, version: &Version) -> Result<(), TargetError> {
        let mut components = Path::new(version.as_str()).components();
        let single = matches!((components.next(), components.next()), (Some(Component::Normal(name)), None)
            if name == OsStr::new(version.as_str()));
        if !single {
            return Err(TargetError::Name(version.as_str().to_owned()));
        }
        let path = self.directory.join(version.as_str());
        let unavailable = |why: String| TargetError::Unavailable { version: version.clone(), why };
        match fs::read_dir(&path).map(|mut entries| entries.next()) {
            Ok(Some(Ok(_))) => Ok(()),
            Ok(None) => Err(unavailable(format!("{} is empty", path.display()))),
            Ok(Some(Err(error))) | Err(error) => Err(unavailable(format!("{}: {error}", path.display()))),
        }
    }

    /// Makes the link lead to `to`, if it leads to `from` or to `to` already. Says whether it had to be changed.
    pub(super) fn switch(&self, from: &Version, to: &Version) -> Result<bool, TargetError> {
        self.ensure_available(to)?;
        let (text, live) = self.read()?;
        if live == *to {
            return Ok(false);
        }
        if live != *from {
            return Err(TargetError::Overtaken { from: from.clone(), to: to.clone(), live });
        }
        self.replace(&text.with_file_name(to.as_str()))
            .map_err(|source| TargetError::Replace { path: self.link.clone(), source })?;
        Ok(true)
    }

    /// Nobody sees a moment without the link; after this returns, a power failure does not bring the old one back.
    fn replace(&self, text: &Path) -> io::Result<()> {
        let temporary = atomic::beside(&self.link)?;
        // Left by a process of the same number that died just here.
        drop(fs::remove_file(&temporary));
        symlink(text, &temporary)?;
        if let Err(error) = fs::rename(&temporary, &self.link) {
            drop(fs::remove_file(&temporary));
            return Err(error);
        }
        atomic::sync_directory(atomic::parent(&self.link))
    }
}

/// Which file or directory it is, by whatever path.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The name of the release that `name` is only another name for, as `latest` may be.
fn alias_of(directory: &Path, name: &OsStr) -> Option<std::ffi::OsString> {
    let path = directory.join(name);
    if !fs::symlink_metadata(&path).ok()?.is_symlink() {
        return None;
    }
    let real = fs::canonicalize(&path).ok()?;
    let inside = fs::canonicalize(directory).ok()?;
    (real.parent() == Some(&inside)).then(|| real.file_name().map(OsStr::to_owned)).flatten()
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
