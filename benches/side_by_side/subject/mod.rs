//! What is measured side by side: how each is configured for one and the same load, and started.

mod backstop;
mod chain;
mod monit;

use std::process::Command;

use crate::{
    bare,
    place::Place,
    process::{Child, Core, pinned},
};

pub(crate) use backstop::{backstop, configure as configure_backstop, head, start as start_backstop};

/// Debian's program, and the package that brings it.
const PROGRAMS: [(&str, &str); 4] = [
    ("monit", "monit"),
    ("prometheus", "prometheus"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
];

/// Debian packages that are not there.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let is_there = |program: &str| {
        let found = Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", program]).status();
        found.is_ok_and(|status| status.success())
    };
    PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect()
}

/// Who probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Connect, write, read, close, and nothing else.
    Bare,
    Backstop,
    /// Backstop on all cores.
    BackstopFree,
    Monit,
    /// `blackbox_exporter`, Prometheus and Alertmanager.
    Chain,
}

/// What is probed: `services` with `probes` each, every probe once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    pub(crate) services: usize,
    pub(crate) probes: usize,
}

impl Load {
    pub(crate) const fn of_services(services: usize) -> Self {
        Self { services, probes: 1 }
    }

    pub(crate) const fn a_second(self) -> usize {
        self.services * self.probes
    }
}

/// Where probes go, and pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) server: u16,
    pub(crate) receiver: u16,
}

impl Subject {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Backstop => "Backstop",
            Self::BackstopFree => "Backstop, all cores",
            Self::Monit => "Monit",
            Self::Chain => "Prometheus chain",
        }
    }

    /// Starts all its processes; what they keep is in `place`.
    pub(crate) fn start(self, load: Load, ports: Ports, place: &Place) -> anyhow::Result<Vec<Child>> {
        match self {
            Self::Bare => {
                let mut command = pinned(Core::Subject, std::env::current_exe()?);
                command.args([bare::ROLE, &ports.server.to_string(), &load.a_second().to_string()]);
                Ok(vec![Child::start_logged(command, &place.path("bare.log"))?])
            }
            Self::Backstop | Self::BackstopFree => {
                configure_backstop(load, ports, "", place)?;
                let core = if self == Self::Backstop { Core::Subject } else { Core::Any };
                Ok(vec![start_backstop(core, place)?])
            }
            Self::Monit => Ok(vec![monit::start(load, ports, place)?]),
            Self::Chain => chain::start(load, ports, place),
        }
    }
}
