//! Evidence: a folder for each incident, with what was seen and done. Folders are marked as ours, so that pruning never
//! takes anybody else's, and with the installation of the store, since a restored or lost store numbers its incidents from
//! an earlier one on: where another installation's folder has the incident's name already, ours is called otherwise.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::atomic;
use crate::core::name::IncidentId;

/// Largest file; of anything longer the first part is kept, and it says so. Logs of a bad hour fit.
pub const FILE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Most files of one incident: a plan has some ten steps, and each a few attempts.
pub const FILES_LIMIT: usize = 1000;

/// Longest name of a file or folder, well below what file systems allow.
const NAME_LIMIT_BYTES: usize = 128;

/// Characters of the installation that are added to a name that is taken: two of the few stores that ever kept evidence in
/// one directory do not share so many, and if they did nothing would be written.
const TAG_LENGTH: usize = 12;

/// In each folder that is ours; it holds the installation.
const MARK: &str = ".backstop-evidence";

/// Why evidence cannot be kept, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A name that could lead elsewhere.
    #[error("name evidence {0:?}: letters, digits, dot, dash and underscore make a name, up to 128, no dot first")]
    Name(String),
    /// There are enough.
    #[error("add a file to {folder}: it has {FILES_LIMIT} already")]
    TooMany {
        /// The incident's folder.
        folder: PathBuf,
    },
    /// Both names that the incident's folder may have are taken.
    #[error("keep evidence in {folder}: it is another installation's, or not Backstop's; move it away")]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system says no.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl EvidenceError {
    fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// A file of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// What pruning did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Folders that are gone.
    pub removed: Vec<PathBuf>,
    /// What could not be removed.
    pub failed: Vec<EvidenceError>,
}

/// Puts a file into the folder that the incident has in this installation, durably; the same name again replaces it.
/// Returns where it is.
pub fn write(
    directory: &Path,
    installation: &str,
    incident: &IncidentId,
    name: &str,
    content: &str,
) -> Result<PathBuf, EvidenceError> {
    let name = checked(name)?;
    let folder = folder(directory, installation, incident)?;
    let path = folder.join(name);
    if !folder.join(MARK).exists() {
        make(&folder, installation).map_err(EvidenceError::io("make", &folder))?;
    }
    if !path.exists() && listed(&folder)?.len() >= FILES_LIMIT {
        return Err(EvidenceError::TooMany { folder });
    }
    let written = if content.len() > FILE_LIMIT_BYTES {
        let kept = &content[..content.floor_char_boundary(FILE_LIMIT_BYTES)];
        let cut = format!("{kept}\n… cut: {} of {} bytes are kept …\n", kept.len(), content.len());
        atomic::replace(&path, cut.as_bytes())
    } else {
        atomic::replace(&path, content.as_bytes())
    };
    written.map_err(EvidenceError::io("write", &path))?;
    Ok(path)
}

/// The incident's files, by name; none if it has no folder.
pub fn list(directory: &Path, installation: &str, incident: &IncidentId) -> Result<Vec<EvidenceFile>, EvidenceError> {
    listed(&folder(directory, installation, incident)?)
}

fn listed(folder: &Path) -> Result<Vec<EvidenceFile>, EvidenceError> {
    let failed = EvidenceError::io("list", folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(&failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = entry.metadata().map_err(&failed)?;
        if !name.starts_with('.') && metadata.is_file() {
            files.push(EvidenceFile { name, path: entry.path(), size_bytes: metadata.len() });
        }
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// The folder that the incident has in this installation, there or not: called like the incident, and where that is taken
/// also by the installation. Of a folder that an earlier version marked it is not known whose it is, so it is taken.
pub fn folder(directory: &Path, installation: &str, incident: &IncidentId) -> Result<PathBuf, EvidenceError> {
    let plain = directory.join(checked(incident.as_str())?);
    let tagged = checked(&tagged(incident, installation)).map(|name| directory.join(name));
    // Where it was called so once, it stays called so: the other one may have been pruned since.
    let tagged_is_ours =
        || tagged.as_ref().is_ok_and(|folder| folder.exists() && is_free_or_ours(folder, installation));
    if is_free_or_ours(&plain, installation) && !tagged_is_ours() {
        return Ok(plain);
    }
    let tagged = tagged?;
    if is_free_or_ours(&tagged, installation) { Ok(tagged) } else { Err(EvidenceError::Taken { folder: tagged }) }
}

fn tagged(incident: &IncidentId, installation: &str) -> String {
    // Its end: an identity of this kind begins with the time at which it was made.
    let start = installation.len().saturating_sub(TAG_LENGTH);
    let tag = installation.get(start..).unwrap_or(installation);
    format!("{incident}.{tag}")
}

/// Whether nothing is there, or what this installation made. One that was being made when the process was killed has
/// nothing in it yet but what begins with a dot.
fn is_free_or_ours(folder: &Path, installation: &str) -> bool {
    match fs::read_to_string(folder.join(MARK)) {
        Ok(mark) => mark == installation,
        Err(_) => match fs::read_dir(folder) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(mut entries) => {
                entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b".")))
                    && !folder.join(MARK).exists()
            }
        },
    }
}

/// Removes the folders of ours to which nothing was written for as long as `keep`, by a wall clock that may be wrong:
/// those of `known` incidents, which the journal has not let go of by its own time, stay however old they seem.
pub fn prune(
    directory: &Path,
    installation: &str,
    keep: Duration,
    now: SystemTime,
    known: &BTreeSet<IncidentId>,
) -> Result<Pruned, EvidenceError> {
    let mut pruned = Pruned::default();
    let both = |incident: &IncidentId| [incident.to_string(), tagged(incident, installation)];
    let kept: BTreeSet<String> = known.iter().flat_map(both).collect();
    let failed = EvidenceError::io("list", directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(pruned),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let folder = entry.map_err(&failed)?.path();
        // Without a mark it is not ours; a link is not followed.
        if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) || !folder.join(MARK).is_file() {
            continue;
        }
        let name = folder.file_name().and_then(OsStr::to_str);
        if name.is_some_and(|name| kept.contains(name)) {
            continue;
        }
        match newest(&folder).and_then(|newest| {
            // What was written in the future, by a clock that was wrong then, is young.
            let is_old = now.duration_since(newest).is_ok_and(|age| age > keep);
            if is_old { remove(&folder).map(|()| true) } else { Ok(false) }
        }) {
            Ok(true) => pruned.removed.push(folder),
            Ok(false) => {}
            Err(error) => pruned.failed.push(EvidenceError::io("remove", &folder)(error)),
        }
    }
    pruned.removed.sort_unstable();
    Ok(pruned)
}

/// The mark goes last, so that what a death in between leaves is still known as ours.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == MARK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(folder)
}

/// When a folder or a file in it was last written.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        newest = newest.max(entry?.metadata()?.modified()?);
    }
    Ok(newest)
}

fn make(folder: &Path, installation: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    atomic::replace(&folder.join(MARK), installation.as_bytes())?;
    atomic::sync_directory(atomic::parent(folder))
}

fn checked(name: &str) -> Result<&str, EvidenceError> {
    let fair = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > NAME_LIMIT_BYTES || name.starts_with('.') || !name.bytes().all(fair) {
        return Err(EvidenceError::Name(name.chars().take(NAME_LIMIT_BYTES).collect()));
    }
    Ok(name)
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
