//! `backstop store`: looking after the store, whether or not a daemon runs.

use super::{
    Failure,
    arguments::{Access, StoreCommand},
    configuration, output,
};
use crate::store::SqliteStore;

pub(super) fn run(access: &Access, command: &StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Backup { file, store } = command;
    let store = match store {
        Some(store) => store.clone(),
        None => configuration::store(&access.config)?,
    };
    SqliteStore::back_up(&store, file).map_err(Failure::failed)?;
    output::print(&format!("copied {} to {}\n", store.display(), file.display()))
}
