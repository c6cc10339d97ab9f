//! The daemon's own files: what it starts with, and what it writes.

use std::{path::Path, sync::Arc};

use super::{Finding, Look};
use crate::{
    config::{
        form::Config,
        here::{self, Want},
    },
    record::{atomic, history::History},
};

pub(super) fn looks(config: &Arc<Config>) -> Vec<Look> {
    let of = |place: &'static str, findings: fn(&Config, &str) -> Vec<Finding>| {
        let config = Arc::clone(config);
        Look::new(place, async move {
            // A file system may hang; this one is waited for no longer than a look takes.
            let found = tokio::task::spawn_blocking(move || findings(&config, place)).await;
            found.unwrap_or_else(|error| vec![Finding::fails(place, error, "tell whoever makes Backstop")])
        })
    };
    vec![
        of("store.path", |config, place| writable(place, atomic::parent(&config.store))),
        of("server.socket", |config, place| writable(place, atomic::parent(&config.server.socket))),
        of("evidence.directory", |config, place| {
            // It is made when it is first needed.
            let directory = &config.evidence.directory;
            let there = if directory.exists() { directory.as_path() } else { atomic::parent(directory) };
            writable(place, there)
        }),
        of("history.file", |config, place| {
            let fit = History::new(&config.history).looks_fit();
            let mend = "mend the file or its directory: no rollback can be put on record so";
            fit.err().map(|error| Finding::fails(place, format!("failed to {error}"), mend)).into_iter().collect()
        }),
    ]
}

fn writable(place: &str, directory: &Path) -> Vec<Finding> {
    let mend = format!("`mkdir -p {}`, and let this user write to it", directory.display());
    here::directory(directory, Want::Write).map(|why| Finding::fails(place, why, mend)).into_iter().collect()
}
