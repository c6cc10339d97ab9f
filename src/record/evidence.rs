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

/// Names the folder that an earlier version made for an incident of the same name, maybe this very one.
const EARLIER: &str = "earlier-folder.txt";

/// Why evidence cannot be kept or removed.
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
    let plain = directory.join(incident.as_str());
    if folder != plain && is_of_earlier_version(&plain) && !folder.join(EARLIER).exists() {
        let note = format!(
            "Backstop was upgraded. {} may have the beginning of this incident: an earlier version made it, and did not \
             say for which store.\n",
            plain.display()
        );
        atomic::replace(&folder.join(EARLIER), note.as_bytes()).map_err(EvidenceError::io("write to", &folder))?;
    }
    if !path.exists() && files_in(&folder).map_err(EvidenceError::io("list", &folder))? >= FILES_LIMIT {
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

/// How many files of evidence the folder has.
fn files_in(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_evidence = !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.metadata()?.is_file();
        count += usize::from(is_evidence);
    }
    Ok(count)
}

/// Whether an earlier version made the folder, which marked it without the installation.
fn is_of_earlier_version(folder: &Path) -> bool {
    fs::read_to_string(folder.join(MARK)).is_ok_and(|mark| mark.is_empty())
}

/// The folder that the incident has in this installation, there or not: called like the incident, and where that is taken
/// also by the installation. Of a folder that an earlier version marked it is not known whose it is, so it is taken.
fn folder(directory: &Path, installation: &str, incident: &IncidentId) -> Result<PathBuf, EvidenceError> {
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
/// those of `known` incidents, which the journal has not let go of by its own time, stay however old they seem, and where it
/// `spares_others` so do those of which it is not sure that this installation made them.
pub fn prune(
    directory: &Path,
    installation: &str,
    keep: Duration,
    now: SystemTime,
    known: &BTreeSet<IncidentId>,
    spares_others: bool,
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
        let is_ours = || fs::read_to_string(folder.join(MARK)).is_ok_and(|mark| mark == installation);
        if spares_others && !is_ours() {
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
