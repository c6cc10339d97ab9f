//! Debian's Monit with a cycle of one second, the shortest that it has.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    place::Place,
    process::{Child, Core, pinned},
    server,
    subject::{Load, Ports},
};

pub(super) fn start(load: Load, ports: Ports, place: &Place) -> anyhow::Result<Child> {
    let home = place.home().display();
    let mut text = format!(
        "set daemon 1
set log {home}/monit.log
set pidfile {home}/monit.pid
set idfile {home}/monit.id
set statefile {home}/monit.state
"
    );
    for probe in 0..load.a_second() {
        text.push_str(&format!(
            "check host p{probe} with address 127.0.0.1
  if failed port {} protocol http request \"{}\" with timeout 1 seconds for 3 cycles then exec \"/bin/true\"
",
            ports.server,
            server::path(probe)
        ));
    }
    let path = place.write("monitrc", &text)?;
    // It reads no file that others may read.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let mut command = pinned(Core::Subject, "monit");
    command.arg("-I").arg("-c").arg(path);
    Child::start_logged(command, &place.path("monit.out"))
}
