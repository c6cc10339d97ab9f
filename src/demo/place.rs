//! Where everything of one run lies: a directory of its own, which stays.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use super::{DemoError, release::Release};

/// Below the ports that the kernel gives to outgoing connections (32768 and up on Linux): one of those could take the
/// shop's port while it restarts.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried; nobody has so many in use.
const PORT_TRIES: u16 = 500;

/// The run's directory.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    /// A new directory among the machine's temporary ones, for its owner alone.
    pub(super) fn new() -> Result<Self, DemoError> {
        let run = uuid::Uuid::now_v7().simple().to_string();
        // Its end is random, its beginning the time.
        let path = std::env::temp_dir().join(format!("backstop-demo-{}", &run[20..]));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.and_then(|()| fs::canonicalize(&path)).map(Self).map_err(DemoError::io("make the directory", &path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    pub(super) fn current(&self) -> PathBuf {
        self.0.join("current")
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.0.join("backstop.yaml")
    }

    pub(super) fn secret(&self) -> PathBuf {
        self.0.join("webhook.secret")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("backstop.sock")
    }

    pub(super) fn manager_socket(&self) -> PathBuf {
        self.0.join("manager.sock")
    }

    pub(super) fn history(&self) -> PathBuf {
        self.0.join("rollback-history.json")
    }

    pub(super) fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("backstop.log")
    }

    /// Lays a release beside the others.
    pub(super) fn lay(&self, release: &Release) -> Result<(), DemoError> {
        let directory = self.releases().join(&release.version);
        release.write(&directory).map_err(DemoError::io("write the release", &directory))
    }

    /// Makes the link lead to a release, as a deploy would: the new link takes the old one's place in one step.
    pub(super) fn switch(&self, version: &str) -> Result<(), DemoError> {
        let (link, new) = (self.current(), self.0.join("current.new"));
        symlink(self.releases().join(version), &new)
            .and_then(|()| fs::rename(&new, &link))
            .map_err(DemoError::io("switch the link", &link))
    }

    /// What the link leads to.
    pub(super) fn live(&self) -> Option<String> {
        Some(fs::read_link(self.current()).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// Writes a file that only its owner reads.
    pub(super) fn write_private(path: &Path, text: &str) -> Result<(), DemoError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(DemoError::io("write", path))
    }
}

/// So many ports that nobody listens on just now.
pub(super) fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT], DemoError> {
    // Runs side by side begin far from each other.
    let count = u64::from(PORTS.end - PORTS.start);
    let begin = u16::try_from(u64::from(std::process::id()) * 31 % count).expect("within the range");
    let all = (0..PORT_TRIES).map(|step| PORTS.start + (begin + step) % (PORTS.end - PORTS.start));
    let mut held = Vec::new();
    for port in all {
        // Each is held until all are found, so that none is found twice.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
        if held.len() == COUNT {
            return Ok(std::array::from_fn(|place| held[place].0));
        }
    }
    let none = io::Error::other("no free port was found");
    Err(DemoError::io("listen on", Path::new("127.0.0.1"))(none))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let [one, other] = free_ports::<2>().expect("two ports");
        assert_ne!(one, other);
        TcpListener::bind((Ipv4Addr::LOCALHOST, one)).expect("it is free");
    }
}
