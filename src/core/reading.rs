//! What a condition saw: the numbers behind an answer, ready to be shown.

use serde::{Deserialize, Serialize};

use super::{answer::Answer, name::SignalName, policy::ReportKind};

/// What one atom saw. Serialized into pages, the API and the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "saw", rename_all = "snake_case")]
pub enum Reading {
    /// Outcomes of a probe or feature in a row.
    Streak {
        /// The probe or feature.
        signal: SignalName,
        /// The atom's answer.
        answer: Answer,
        /// Failures in a row just now.
        failing: u32,
        /// Failures in a row that make a yes.
        needed: u32,
        /// The last outcome's reason, failed or missed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
        /// Seconds since the last sample that was not missed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        last_seen_seconds: Option<f64>,
    },
    /// Requests and errors in a window.
    Rate {
        /// The source.
        signal: SignalName,
        /// The atom's answer.
        answer: Answer,
        /// What is counted as bad: "errors", or "slower than 400 ms".
        counted: String,
        /// Requests in the window.
        requests: u64,
        /// Bad ones among them.
        errors: u64,
        /// `errors / requests`, absent without requests.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rate: Option<f64>,
        /// The limit.
        above: f64,
        /// The window as it was, in seconds.
        over_seconds: f64,
        /// The window as configured, in seconds.
        configured_over_seconds: f64,
        /// Bad requests that make a yes at this number of requests.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        needed: Option<u64>,
        /// Share of the window in which nothing could be seen.
        blind: f64,
        /// The last miss's reason.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// How long something has held, against how long it must.
    Sustained {
        /// The answer.
        answer: Answer,
        /// Seconds that it has held.
        held_seconds: f64,
        /// Seconds that it must hold.
        needed_seconds: f64,
        /// Share of that time in which it was unknown.
        blind: f64,
    },
    /// A rollout's state.
    Rollout {
        /// The answer.
        answer: Answer,
        /// In words.
        state: String,
    },
    /// Reports that count.
    Reports {
        /// The answer.
        answer: Answer,
        /// Of which kind.
        kind: ReportKind,
        /// Reports that count just now.
        count: u32,
        /// Reports that make a yes.
        needed: u32,
    },
    /// Nothing is configured that could measure it.
    NotMeasured {
        /// Why not.
        why: String,
    },
}
