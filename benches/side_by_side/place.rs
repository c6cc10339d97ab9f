//! A directory of its own for each run, and free ports.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// A directory that goes with this value.
#[derive(Debug)]
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir().context("make a directory")?))
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn home(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {name}"))?;
        Ok(path)
    }

    pub(crate) fn write_script(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.write(name, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make a script executable")?;
        Ok(path)
    }

    /// `releases/NAME/v1`, and a link `current-NAME` to it.
    pub(crate) fn release(&self, name: &str) -> anyhow::Result<()> {
        let release = self.path("releases").join(name).join("v1");
        fs::create_dir_all(&release).context("make a release")?;
        symlink(&release, self.path(&format!("current-{name}"))).context("make a link")
    }
}

/// A port on loopback that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("find a free port")?.port())
}

/// Looks until it is so, for two minutes.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so()? {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "see that {what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
