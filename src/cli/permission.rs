//! Who may open the daemon's socket, for whoever may not.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use crate::names;

/// Where neither the user nor the group is to be had.
const OTHERWISE: &str = "or use --server URL with a token";
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
    let Ok(metadata) = metadata else { return format!("run it as the daemon's user, {OTHERWISE}") };
    let user = names::user(metadata.uid()).unwrap_or_else(|| format!("#{}", metadata.uid()));
    let group = group_let_in(metadata.permissions().mode(), needed, metadata.gid());
    let group = group.map(|group| names::group(group).unwrap_or_else(|| format!("#{group}")));
    way_in(place, &user, group.as_deref())
}

/// The group whose members are let in, of a place of this mode and group; none where joining it is no way: root's own is
/// for nobody else.
fn group_let_in(mode: u32, needed: u32, group: u32) -> Option<u32> {
    (mode & needed == needed && group != 0).then_some(group)
}

fn way_in(place: &Path, user: &str, group: Option<&str>) -> String {
    let place = place.display();
    let as_user = format!("run it as `sudo -u {user} backstop …`, {OTHERWISE}");
    match group {
        Some(group) => format!(
            "{place} is open to the group {group}: join it (`usermod -aG {group} YOU`, then log in anew), {as_user}"
        ),
        None => format!("{place} is open to its user alone, and to no group: {as_user}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_helps_only_where_it_is_let_in_and_may_be_joined() {
        for (mode, needed, group, expected) in [
            (0o140_660, GROUP_MAY_WRITE, 7, Some(7)),
            (0o140_600, GROUP_MAY_WRITE, 7, None),
            (0o140_650, GROUP_MAY_WRITE, 7, None),
            (0o140_606, GROUP_MAY_WRITE, 7, None),
            (0o140_660, GROUP_MAY_WRITE, 0, None),
            (0o040_750, GROUP_MAY_ENTER, 7, Some(7)),
            (0o040_760, GROUP_MAY_ENTER, 7, None),
            (0o040_750, GROUP_MAY_ENTER, 0, None),
        ] {
            assert_eq!(group_let_in(mode, needed, group), expected, "{mode:o}, {needed:o}, {group}");
        }
        let said = way_in(Path::new("/run/s"), "keeper", Some("staff"));
        assert!(said.starts_with("/run/s is open to the group staff: join it (`usermod -aG staff YOU`"), "{said}");
        assert!(said.contains("sudo -u keeper backstop"), "{said}");
        let said = way_in(Path::new("/run/s"), "keeper", None);
        assert!(
            said.starts_with("/run/s is open to its user alone, and to no group: run it as `sudo -u keeper"),
            "{said}"
        );
    }

    #[test]
    fn the_hint_is_about_the_socket_or_the_directory_that_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        fs::write(&socket, "").expect("written");
        let whose = fs::metadata(&socket).expect("there");
        let user = names::user(whose.uid()).unwrap_or_else(|| format!("#{}", whose.uid()));
        let group = names::group(whose.gid()).unwrap_or_else(|| format!("#{}", whose.gid()));
        for (mode, is_open) in [(0o600, false), (0o660, true)] {
            fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).expect("mode set");
            let group = (is_open && whose.gid() != 0).then_some(group.as_str());
            assert_eq!(hint(&socket), way_in(&socket, &user, group));
        }
        // What cannot be looked at: the nearest that can is what is closed.
        let said = hint(&socket.join("below/s"));
        assert!(said.starts_with(&format!("{} is open to", socket.display())), "{said}");
    }
}
