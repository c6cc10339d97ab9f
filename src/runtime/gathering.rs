//! What a human would look at first, from the target into the incident's evidence.

use std::time::Duration;

use super::files::Files;
use crate::{
    core::{
        engine::GATHER_DEADLINE,
        name::IncidentId,
        operation::{Gathering, SEEN_LINES_LIMIT},
        sample::Reason,
    },
    target::Target,
};

/// Of the time that gathering has, so much is kept for writing it down.
const WRITING: Duration = Duration::from_secs(10);

/// Gathers, writes, and says where it is.
pub(super) async fn gather(target: &Target, files: &Files, incident: &IncidentId) -> Result<Gathering, Reason> {
    let late = |what: &str| Reason::new(&format!("{what} within {GATHER_DEADLINE:?}"));
    let within = GATHER_DEADLINE.saturating_sub(WRITING);
    // The target keeps its time by itself; what hangs all the same is left.
    let asked = tokio::time::timeout(within + WRITING / 2, target.gather(within)).await;
    let gathered = asked.map_err(|_| late("gather anything"))??;
    let seen = gathered.iter().flat_map(|file| file.seen.iter().cloned()).take(SEEN_LINES_LIMIT).collect();
    let count = gathered.len();
    let all = gathered.into_iter().map(|file| (format!("gathered-{}", file.name), file.content)).collect();
    let written = tokio::time::timeout(WRITING, files.write_all(incident.clone(), all)).await;
    let place = written.map_err(|_| late("write what was gathered"))??;
    Ok(Gathering { place: place.display().to_string(), files: count, seen })
}
