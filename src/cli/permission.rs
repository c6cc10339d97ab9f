//! Who may open the daemon's socket, for whoever may not.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// Whoever may write to a socket of this mode's group may connect to it.
const GROUP_MAY_WRITE: u32 = 0o020;
/// Whoever is of this mode's group may go through a directory.
const GROUP_MAY_ENTER: u32 = 0o010;

/// What to do for being let in by `socket`, which was refused.
pub(super) fn hint(socket: &Path) -> String {
    // Either the socket refuses, or a directory on the way to it does: then nothing can be told of the socket itself.
    let (place, needed, metadata) = if let Ok(metadata) = fs::metadata(socket) {
        (socket, GROUP_MAY_WRITE, Ok(metadata))
    } else {
        let closed = socket.ancestors().skip(1).find(|above| fs::metadata(above).is_ok());
        let closed = closed.unwrap_or_else(|| Path::new("/"));
        (closed, GROUP_MAY_ENTER, fs::metadata(closed))
    };
    let otherwise = "or use --server URL with a token";
    let Ok(metadata) = metadata else { return format!("run it as the daemon's user, {otherwise}") };
    let mode = metadata.permissions().mode();
    let user = named("/etc/passwd", metadata.uid()).unwrap_or_else(|| format!("#{}", metadata.uid()));
    if mode & needed == needed && metadata.gid() != 0 {
        let group = named("/etc/group", metadata.gid()).unwrap_or_else(|| format!("#{}", metadata.gid()));
        return format!(
            "{} is open to the group {group}: join it (`usermod -aG {group} YOU`, then log in anew), run it as `sudo -u {user} \
             backstop …`, {otherwise}",
            place.display()
        );
    }
    format!(
        "{} is open to its user alone, and to no group: run it as `sudo -u {user} backstop …`, {otherwise}",
        place.display()
    )
}

/// The name of a user or group, from a file of lines `name:…:number:…`. Names that only a directory service knows stay
/// numbers.
fn named(file: &str, number: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let of = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?.to_owned();
        (parts.nth(1)?.parse() == Ok(number)).then_some(name)
    };
    text.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_user_and_a_group_only_where_that_would_help() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        fs::write(&socket, "").expect("written");
        let whose = fs::metadata(&socket).expect("there").uid();
        let user = named("/etc/passwd", whose).unwrap_or_else(|| format!("#{whose}"));
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("mode set");
        let said = hint(&socket);
        assert!(said.contains("to no group") && said.contains(&format!("sudo -u {user} backstop")), "{said}");
        // Root's own group helps nobody; any other one does.
        if std::os::unix::fs::chown(&socket, None, Some(1)).is_ok() {
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).expect("mode set");
            let said = hint(&socket);
            assert!(said.contains("the group daemon: join it (`usermod -aG daemon YOU`"), "{said}");
        }
    }

    #[test]
    fn names_are_found_by_number() {
        assert_eq!(named("/etc/passwd", 0).as_deref(), Some("root"));
        assert_eq!(named("/etc/passwd", 4_000_000_000), None);
        assert_eq!(named("/no/such/file", 0), None);
    }
}
