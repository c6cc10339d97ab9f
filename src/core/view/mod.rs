//! Finished views for readers: the API, the command line, metrics. Plain data; rendered by the core when asked.

mod incident;
mod rollback;
mod service;

pub use incident::{ApprovalView, FindingView, IncidentView, OPEN, PlanView, StepView, TimelineView};
pub use rollback::{GatePreview, RollbackPreview, StepPreview};
pub use service::{
    DeployView, DeploysView, PauseView, PinView, PlanUnderWay, ReportView, ServiceState, ServiceView, UndeployedView,
    VerificationProgress, VerificationView, WaitsFor,
};

use serde::{Deserialize, Serialize};

/// One of a few words that are fixed in the source. An alias, because derived decoding takes a field that is written as a
/// reference for one that borrows from its input.
pub type Word = &'static str;

/// Reads a word back; one that this build does not know (the daemon may be newer) becomes "unknown".
pub(crate) fn word<'de, D: serde::Deserializer<'de>>(deserializer: D, known: &[Word]) -> Result<Word, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(known.iter().copied().find(|&word| word == text).unwrap_or("unknown"))
}

/// What the daemon says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct DaemonView {
    /// Pages that wait for a channel.
    pub outbox_depth: usize,
    /// Age of the oldest of them, in seconds.
    pub outbox_oldest_age_seconds: f64,
    /// Why the journal cannot be written, while it cannot.
    pub store_failing: Option<String>,
    /// Why the watchdog's own network is ill, while it is.
    pub observer_impaired: Option<String>,
    /// Why the configuration on disk is not the one in force, where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub configuration: Option<ConfigurationTrouble>,
    /// Samples that came too late for their window.
    pub late_samples: u64,
    /// The pause of all services.
    pub paused: Option<PauseView>,
}

/// Why a configuration that is on disk is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationTrouble {
    /// The file.
    pub file: String,
    /// The line of the first mistake, from 1, where one is meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// Its column, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    /// What is wrong there.
    pub why: String,
    /// How to mend it.
    pub help: String,
    /// So many more mistakes are in the file.
    pub more: usize,
}
