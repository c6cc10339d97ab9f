//! The real daemon, each service with a target, the runbook's tree and its defaults.

use std::process::Command;

use crate::{
    place::{Place, free_port},
    process::{Child, Core, pinned},
    server,
    subject::{Load, Ports},
};

/// The top of a configuration whose files are all in `place`.
pub(crate) fn head(ports: Ports, place: &Place) -> anyhow::Result<String> {
    let home = place.home().display();
    Ok(format!(
        "server: {{listen: 127.0.0.1:{}, socket: {home}/backstop.sock}}
store: {{path: {home}/backstop.db}}
history: {{file: {home}/history.json}}
evidence: {{directory: {home}/evidence}}
notify: {{channels: {{audit: {{webhook: {{url: http://127.0.0.1:{}/backstop}}}}}}}}
services:
",
        free_port()?,
        ports.receiver
    ))
}

/// Writes the configuration, with the targets that it speaks of; `rest` belongs to each service.
pub(crate) fn configure(load: Load, ports: Ports, rest: &str, place: &Place) -> anyhow::Result<()> {
    let home = place.home().display();
    let mut text = head(ports, place)?;
    for service in 0..load.services {
        let name = format!("s{service}");
        place.release(&name)?;
        text.push_str(&format!(
            "- name: {name}
  target: {{releases: {{directory: {home}/releases/{name}, current: {home}/current-{name}, restart: ['true']}}}}
{rest}  probes:
"
        ));
        for probe in 0..load.probes {
            let path = server::path(service * load.probes + probe);
            text.push_str(&format!(
                "    p{probe}: {{http: 'http://127.0.0.1:{}{path}', every: 1s, timeout: 1s}}\n",
                ports.server
            ));
        }
    }
    place.write("backstop.yaml", &text).map(drop)
}

/// The binary, with the configuration in `place`.
pub(crate) fn backstop(core: Core, place: &Place) -> Command {
    let mut command = pinned(core, env!("CARGO_BIN_EXE_backstop"));
    command.env("BACKSTOP_CONFIG", place.path("backstop.yaml")).env("RUST_LOG", "backstop=info,warn");
    command
}

/// Starts the daemon.
pub(crate) fn start(core: Core, place: &Place) -> anyhow::Result<Child> {
    let mut command = backstop(core, place);
    command.arg("run");
    Child::start_logged(command, &place.path("backstop.log"))
}
