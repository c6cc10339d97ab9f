//! `backstop history`: the rollbacks of the history file, read directly, whether or not a daemon runs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Failure,
    arguments::{Access, History},
    configuration, output, render,
};
use crate::core::operation::HistoryRecord;

/// The history file, as the runbook has it.
#[derive(Debug, Serialize, Deserialize)]
struct HistoryFile {
    rollbacks: Vec<HistoryRecord>,
}

pub(super) fn run(access: &Access, history: &History) -> Result<(), Failure> {
    let path = match &history.file {
        Some(path) => path.clone(),
        None => configuration::history(&access.config)?,
    };
    let mut file = read(&path)?;
    if let Some(service) = &history.service {
        file.rollbacks.retain(|rollback| rollback.service == *service);
    }
    if history.json {
        return output::print_json(&file);
    }
    output::print(&render::history(&file.rollbacks, output::layout()))
}

/// A file that is not there yet has no rollbacks.
fn read(path: &Path) -> Result<HistoryFile, Failure> {
    let shown = path.display();
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed(format!("read the history {shown}: {error}"))
                .with_hint("it must be JSON with a list \"rollbacks\", as in the runbook")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HistoryFile { rollbacks: Vec::new() }),
        Err(error) => Err(Failure::failed(format!("read the history {shown}: {error}"))),
    }
}
