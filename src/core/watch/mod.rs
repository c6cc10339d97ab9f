//! One service's volatile half: windows, streaks, conditions and the verdict. What must outlive the process is in the
//! journal; this starts empty with each process.

use std::{sync::Arc, time::Duration};

use super::{
    name::{SignalIndex, SignalName},
    policy::{ReportKind, ServicePolicy},
    sample::Sample,
    time::{BootTime, Now, WallTime},
    verdict::{Onset, Path, Verdict},
};

/// What the evaluation has to know from the durable half.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The rollout that is under way or just failed.
    pub rollout: RolloutState<'a>,
    /// Reports that have not expired or been taken back.
    pub reports: &'a [(ReportKind, WallTime)],
    /// Latencies before the live deploy, by name of signal and quantile (as in "requests p99"), in seconds.
    pub baseline: &'a [(String, f64)],
}

/// Where the live release's rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState<'a> {
    /// There is none.
    Settled,
    /// Under way: failing probes open nothing yet.
    UnderWay {
        /// The settling time ends then.
        until: BootTime,
    },
    /// Its settling time ended without a healthy answer, or the target says that it fails.
    Failing {
        /// In words.
        why: &'a str,
    },
}

/// What a sample did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// An atom's answer may have changed: evaluate. False spares the evaluation.
    pub changed: bool,
    /// It was too old for the window and dropped.
    pub late: bool,
    /// It is the first failure after a pass: confirm, and look at the target.
    pub first_failure: bool,
    /// It is the first pass after a failure: back to the ordinary interval.
    pub first_pass: bool,
}

/// A signal as people see it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SignalView {
    /// Its name.
    pub name: SignalName,
    /// The last outcome: passed, failed, missed, or none yet.
    #[serde(deserialize_with = "last_outcome")]
    pub last: super::view::Word,
    /// Its reason, failed or missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Failures in a row.
    pub failing: u32,
    /// Seconds since the last sample, missed ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Whether too much was missed for too long: the signal is lost.
    pub lost: bool,
}

fn last_outcome<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<super::view::Word, D::Error> {
    super::view::word(deserializer, &["passed", "failed", "missed", "none"])
}

/// Windows, streaks and answers of one service.
#[derive(Debug)]
pub struct Watch {
    policy: Arc<ServicePolicy>,
}
