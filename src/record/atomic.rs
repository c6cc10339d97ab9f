//! Files that are replaced as a whole and durably: a reader, or a restart after the power failed, finds either the old
//! content or the new one, never a part.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{Access, access};

/// Mode of a file that was not there before: its owner's alone, since reasons and outputs may name what others need
/// not know.
pub const NEW_FILE_MODE: u32 = 0o600;

/// Tells apart what this process writes at the same time.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Replaces `path` by a file that holds `content`: written beside it, synced, renamed, and the directory synced. The
/// mode of a file that is there already is kept, and its owner where we may; a new one gets [`NEW_FILE_MODE`].
///
/// # Errors
/// Whatever the file system says; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let old = ordinary(path)?;
    let temporary = beside(path)?;
    let written = write(&temporary, content, old.as_ref()).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What it says is of no interest beside the first error.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_directory(parent(path))
}

/// Whether [`replace`] would find a place for `path`: makes a file beside it, empty, and removes it again.
///
/// # Errors
/// Those of [`replace`].
pub fn check_replaceable(path: &Path) -> io::Result<()> {
    ordinary(path)?;
    let temporary = beside(path)?;
    OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(&temporary)?;
    fs::remove_file(&temporary)
}

/// Whether [`replace`] seems to find a place for `path`, as far as permissions tell. Makes nothing.
///
/// # Errors
/// Those of [`replace`].
pub fn looks_replaceable(path: &Path) -> io::Result<()> {
    ordinary(path)?;
    Ok(access(parent(path), Access::WRITE_OK | Access::EXEC_OK)?)
}

/// The file that is at `path`, if there is one.
fn ordinary(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(io::Error::other("it is there, and is not an ordinary file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes what was created, renamed or removed in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory that `path` is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name in the same directory that nobody else uses: hidden, with our process and a count in it.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    Ok(parent(path).join(temporary))
}

fn write(path: &Path, content: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    // A process of the same number may have died over the same name; what it left is nobody's.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(NEW_FILE_MODE).open(path)?;
    file.write_all(content)?;
    if let Some(old) = old {
        // Only root may give a file away; for anyone else the file was its own, or a group's, and becomes its own.
        drop(fchown(&file, Some(old.uid()), Some(old.gid())));
        // After the owner, since a change of that clears bits.
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_mode() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        replace(&path, b"one").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!((fs::read(&path).expect("read").as_slice(), mode(&path)), (b"one".as_slice(), NEW_FILE_MODE));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode set");
        replace(&path, b"two").expect("written again");
        assert_eq!((fs::read(&path).expect("read").as_slice(), mode(&path)), (b"two".as_slice(), 0o644));
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("folder");
        fs::create_dir(&path).expect("made");
        replace(&path, b"one").expect_err("a folder is not replaced");
        assert!(path.is_dir());
        replace(&directory.path().join("none/file"), b"one").expect_err("no folder is made");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
