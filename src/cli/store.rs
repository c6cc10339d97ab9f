//! `backstop store`: looking after the store, whether or not a daemon runs.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    Failure,
    arguments::{Access, StoreCommand},
    configuration, output,
};
use crate::store::{Restored, SqliteStore};

pub(super) fn run(access: &Access, command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Backup { file, store } => {
            let store = place(access, store.as_deref())?;
            SqliteStore::back_up(&store, file).map_err(Failure::failed)?;
            output::print(&format!("copied {} to {}\n", store.display(), file.display()))
        }
        StoreCommand::Restore { backup, store } => {
            let store = place(access, store.as_deref())?;
            let restored = SqliteStore::restore(&store, backup).map_err(Failure::failed)?;
            output::print(&told(&store, backup, &restored))
        }
    }
}

fn place(access: &Access, store: Option<&Path>) -> Result<PathBuf, Failure> {
    store.map_or_else(|| configuration::store(&access.config), |store| Ok(store.to_owned()))
}

fn told(store: &Path, backup: &Path, restored: &Restored) -> String {
    let mut text = format!("restored {} from {}, up to entry {}\n", store.display(), backup.display(), restored.last.0);
    for aside in &restored.aside {
        writeln!(text, "what was there is kept as {}", aside.display()).expect("a string takes everything");
    }
    text + "start the daemon again\n"
}
