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

/// What would be gone with a rollback is waited for no longer than this: the service may be down.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(3);

/// Puts what would be gone for ever with a rollback into the incident's evidence. A rollback that is due waits for no more.
pub(super) async fn keep_last_words(target: &Target, files: &Files, incident: &IncidentId) {
    let words = target.last_words(LAST_WORDS_WITHIN).await;
    if words.is_empty() {
        return;
    }
    let all = words.into_iter().map(|file| (format!("before-rollback-{}", file.name), file.content)).collect();
    let written = tokio::time::timeout(LAST_WORDS_WITHIN, files.write_all(incident.clone(), all)).await;
    if !matches!(written, Ok(Ok(_))) {
        tracing::warn!(%incident, "the last words of what is rolled back from are not kept");
    }
}

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
