//! Incidents straight from the store, for when no daemon can be reached.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Failure, arguments::Access};
use crate::{
    config,
    core::{engine::incident_view, view::IncidentView},
    store::SqliteStore,
};

/// Every incident that the store keeps, newest first; for a daemon on this machine that cannot be reached. Where there
/// is no configuration to name the store, the failure to reach the daemon stands.
pub(super) fn incidents(access: &Access, unreached: Failure) -> Result<Vec<IncidentView>, Failure> {
    let Some(store) = store_here(access) else { return Err(unreached) };
    let mut incidents = read(&store)?;
    incidents.sort_by(|one, other| other.opened_at.cmp(&one.opened_at).then_with(|| other.id.cmp(&one.id)));
    let store = store.display();
    // Beside the data, not in it; if standard error is closed, nobody wanted to know.
    let _closed =
        writeln!(anstream::stderr(), "backstop: the daemon cannot be reached; this is from its store {store}");
    Ok(incidents)
}

/// The store of a daemon on this machine. Where `--socket` names another daemon than the configuration does, it is not
/// known.
fn store_here(access: &Access) -> Option<PathBuf> {
    if access.server.is_some() {
        return None;
    }
    let (paths, _mistakes) = config::paths(&access.config).ok()?;
    let is_its_own = access.socket.is_none() || access.socket == paths.socket;
    paths.store.filter(|_| is_its_own)
}

fn read(store: &Path) -> Result<Vec<IncidentView>, Failure> {
    let store = SqliteStore::open_read_only(store).map_err(Failure::failed)?;
    let durable = store.recover().map_err(Failure::failed)?;
    Ok(durable.incidents.values().map(incident_view).collect())
}
