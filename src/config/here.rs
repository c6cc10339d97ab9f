//! What a configuration names, looked for on this machine. Only told, never refused: a program may come with the next
//! deploy, and whoever checks may be another user than the daemon's.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::decode::shown;

/// Where programs are looked for if there is no PATH, as the C library does.
const PATH_OF_LAST_RESORT: &str = "/bin:/usr/bin";

/// Why the program `name` cannot be run from `directory`, if it cannot; words that follow "the program". `path` is the
/// PATH that it is given, where that is not our own.
pub(crate) fn program(name: &str, directory: Option<&Path>, path: Option<&OsStr>) -> Option<String> {
    if name.contains('/') {
        let whole = directory.map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
        return unusable(&whole).map(|why| format!("{name} {why}"));
    }
    let own = || std::env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH_OF_LAST_RESORT));
    let path = path.map_or_else(own, OsStr::to_owned);
    let mut found = None;
    for place in path.as_bytes().split(|&byte| byte == b':') {
        let whole = Path::new(OsStr::from_bytes(place)).join(name);
        match unusable(&whole) {
            None => return None,
            Some(why) if whole.exists() => drop(found.get_or_insert(format!("{} {why}", whole.display()))),
            Some(_) => {}
        }
    }
    Some(found.unwrap_or_else(|| format!("{name} is in none of the directories of PATH")))
}

/// Why the symlink `link` names no release that is there, if it does not; words that follow the key.
pub(crate) fn link(link: &Path) -> Option<String> {
    let place = shown(&link.display().to_string());
    let leads_to = |to: &Path| format!("the symlink {place} leads to {}", shown(&to.display().to_string()));
    match fs::symlink_metadata(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("the symlink {place} is not there")),
        Err(error) => Some(format!("the symlink {place} cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_symlink() => Some(format!("{place} is there, and is no symlink")),
        Ok(_) => match (fs::metadata(link), fs::read_link(link)) {
            (Ok(metadata), _) if metadata.is_dir() => None,
            (Ok(_), Ok(to)) => Some(format!("{}, which is no directory", leads_to(&to))),
            (Err(error), Ok(to)) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("{}, which is not there", leads_to(&to)))
            }
            (Err(error), _) | (_, Err(error)) => Some(format!("the symlink {place} cannot be followed: {error}")),
        },
    }
}

/// What somebody wants of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// To list what is in it.
    Read,
    /// To put something into it.
    Write,
}

/// Why the directory cannot be used so, if it cannot; words that follow the key.
pub(crate) fn directory(path: &Path, want: Want) -> Option<String> {
    directory_for(path, want, |path, wanted| access(path, wanted).is_ok())
}

/// The same for whoever may do what `may` says, of a path.
fn directory_for(path: &Path, want: Want, may: impl Fn(&Path, Access) -> bool) -> Option<String> {
    let place = shown(&path.display().to_string());
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("the directory {place} is not there")),
        Err(error) => Some(format!("the directory {place} cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_dir() => Some(format!("{place} is no directory")),
        Ok(_) => {
            let (access_wanted, what) = match want {
                Want::Read => (Access::READ_OK | Access::EXEC_OK, "read"),
                Want::Write => (Access::WRITE_OK | Access::EXEC_OK, "written to"),
            };
            (!may(path, access_wanted)).then(|| format!("the directory {place} may not be {what} by this user"))
        }
    }
}

fn unusable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is not there".to_owned()),
        Err(error) => Some(format!("cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_file() => Some("is no file".to_owned()),
        Ok(_) => match access(path, Access::EXEC_OK) {
            Ok(()) => None,
            Err(_) => Some("may not be executed by this user".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn links_and_directories_are_looked_at_as_they_are() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |below: &str| folder.path().join(below);
        fs::create_dir(at("v1")).expect("made");
        fs::write(at("file"), "").expect("written");
        for (name, to) in [("good", "v1"), ("dangling", "v2"), ("astray", "file"), ("circle", "circle")] {
            std::os::unix::fs::symlink(to, at(name)).expect("linked");
        }
        for (name, expected) in [
            ("good", None),
            ("none", Some("is not there")),
            ("dangling", Some("leads to v2, which is not there")),
            ("astray", Some("leads to file, which is no directory")),
            ("circle", Some("cannot be followed")),
            ("v1", Some("is no symlink")),
        ] {
            let said = link(&at(name));
            assert_eq!(said.is_some(), expected.is_some(), "{name}: {said:?}");
            assert!(said.is_none_or(|said| expected.is_some_and(|expected| said.contains(expected))), "{name}");
        }
        for (name, expected) in [("v1", None), ("none", Some("is not there")), ("file", Some("is no directory"))] {
            for want in [Want::Read, Want::Write] {
                let said = directory(&at(name), want);
                assert_eq!(said.is_some(), expected.is_some(), "{name}: {said:?}");
                assert!(said.is_none_or(|said| expected.is_some_and(|expected| said.ends_with(expected))), "{name}");
            }
        }
    }

    #[test]
    fn a_directory_is_of_use_to_who_may_enter_it_and_do_what_they_want() {
        let folder = tempfile::tempdir().expect("a directory");
        // As the kernel would decide for the owner, root or not: whoever runs this may be root, who may do all.
        let owner = |path: &Path, wanted: Access| {
            let mode = fs::metadata(path).expect("there").permissions().mode();
            [(Access::READ_OK, 0o400), (Access::WRITE_OK, 0o200), (Access::EXEC_OK, 0o100)]
                .into_iter()
                .all(|(access, bit)| !wanted.contains(access) || mode & bit != 0)
        };
        for (mode, may_read, may_write) in [
            (0o700, true, true),
            (0o500, true, false),
            (0o300, false, true),
            (0o600, false, false),
            (0o100, false, false),
        ] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("mode set");
            for (want, may, what) in [(Want::Read, may_read, "read"), (Want::Write, may_write, "written to")] {
                let said = directory_for(folder.path(), want, owner);
                let end = format!("may not be {what} by this user");
                assert_eq!(said.is_none(), may, "{mode:o}: {said:?}");
                assert!(said.is_none_or(|said| said.ends_with(&end)), "{mode:o}");
            }
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("mode set");
        assert_eq!(directory(folder.path(), Want::Write), None, "and so says the kernel of what is our own");
    }

    #[test]
    fn programs_are_found_as_they_will_be_run() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        fs::create_dir(at.join("bin")).expect("made");
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            fs::write(at.join("bin").join(name), "#!/bin/sh\n").expect("written");
            fs::set_permissions(at.join("bin").join(name), fs::Permissions::from_mode(mode)).expect("mode set");
        }
        let whole = |below: &str| at.join(below).display().to_string();
        let path = OsString::from(format!("/no/such/place:{}", whole("bin")));
        for (name, from, path, expected) in [
            (whole("bin/tool"), None, None, None),
            ("bin/tool".to_owned(), Some(at), None, None),
            ("tool".to_owned(), None, Some(&path), None),
            ("sh".to_owned(), None, None, None),
            (whole("bin/none"), None, None, Some("bin/none is not there")),
            (whole("bin/text"), None, None, Some("bin/text may not be executed by this user")),
            (whole("bin"), None, None, Some("bin is no file")),
            ("bin/tool".to_owned(), Some(Path::new("/no/such/place")), None, Some("bin/tool is not there")),
            ("text".to_owned(), None, Some(&path), Some("bin/text may not be executed by this user")),
            ("tool".to_owned(), None, None, Some("tool is in none of the directories of PATH")),
        ] {
            let said = program(&name, from, path.map(OsString::as_os_str));
            match expected {
                None => assert_eq!(said, None, "{name}"),
                Some(end) => assert!(said.as_ref().is_some_and(|said| said.ends_with(end)), "{name}: {said:?}"),
            }
        }
    }
}
