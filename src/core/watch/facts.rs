//! What the evaluation is told, beside the samples.

use crate::core::{
    policy::ReportKind,
    time::{BootTime, WallTime},
};

/// What the evaluation has to know from the durable half.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The rollout that is under way or just failed.
    pub rollout: RolloutState<'a>,
    /// Reports that have not expired or been taken back.
    pub reports: &'a [(ReportKind, WallTime)],
    /// Those of them that operators made: without these, reports lead to consider at most.
    pub operators_reports: &'a [(ReportKind, WallTime)],
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
    /// It is through, and the target says that instances of the live release fail.
    InstancesFailing {
        /// In words.
        why: &'a str,
        /// Whether the target can be seen. Where it cannot, this was so when it was seen last, and is not surely over.
        is_seen: bool,
    },
}

impl RolloutState<'_> {
    /// Whether it fails: the rollout itself, or what came of it.
    pub(super) const fn is_failing(&self) -> bool {
        matches!(self, Self::Failing { .. } | Self::InstancesFailing { .. })
    }
}

/// Facts that are equal have equal fingerprints; others nearly never (64-bit FNV-1a over their numbers).
pub(super) fn fingerprint(facts: &Facts<'_>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let rollout = match facts.rollout {
        RolloutState::Settled => 0,
        RolloutState::UnderWay { .. } => 1,
        RolloutState::Failing { .. } => 2,
        RolloutState::InstancesFailing { is_seen, .. } => 3 + u64::from(is_seen),
    };
    let reports = facts.reports.iter().flat_map(|(kind, at)| [*kind as u64, at.as_millis().cast_unsigned()]);
    let baseline = facts.baseline.iter().flat_map(|(name, seconds)| [name.len() as u64, seconds.to_bits()]);
    let numbers = [rollout, facts.reports.len() as u64, facts.operators_reports.len() as u64]
        .into_iter()
        .chain(reports)
        .chain(baseline);
    numbers.fold(OFFSET, |state, number| (state ^ number).wrapping_mul(PRIME))
}
