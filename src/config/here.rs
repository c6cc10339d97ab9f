//! What a configuration names, looked for on this machine. Only told, never refused: a program may come with the next
//! deploy, and whoever checks may be another user than the daemon's.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

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
