//! One service's policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::{Atom, ConditionPolicy, Question};
use crate::core::{
    name::{ServiceName, SignalName},
    time::WallTime,
};

/// Whether Backstop acts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Rolls back without asking where the verdict is `roll_back`.
    #[default]
    Act,
    /// Every rollback waits for a human.
    Ask,
    /// Nothing is done; pages say what would have been.
    Observe,
}

/// A kind of report that people or other systems may make about a service. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the runbook's own")]
pub enum ReportKind {
    Complaint,
    DataCorruption,
    SecurityExploited,
    MinorUi,
    NonCriticalFeature,
    #[serde(rename = "under_1_percent")]
    UnderOnePercent,
    WorkaroundAvailable,
}

impl ReportKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Complaint,
        Self::DataCorruption,
        Self::SecurityExploited,
        Self::MinorUi,
        Self::NonCriticalFeature,
        Self::UnderOnePercent,
        Self::WorkaroundAvailable,
    ];

    /// The word as in configuration, API and command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complaint => "complaint",
            Self::DataCorruption => "data_corruption",
            Self::SecurityExploited => "security_exploited",
            Self::MinorUi => "minor_ui",
            Self::NonCriticalFeature => "non_critical_feature",
            Self::UnderOnePercent => "under_1_percent",
            Self::WorkaroundAvailable => "workaround_available",
        }
    }
}

impl std::fmt::Display for ReportKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// An availability probe. `critical` ones answer "Is system down?".
    Probe {
        /// Whether its failure takes the system for down.
        critical: bool,
    },
    /// A feature check. `critical` ones answer "Is key feature broken?".
    Feature {
        /// Whether its failure can lead to a rollback.
        critical: bool,
    },
    /// Request counts, errors and perhaps latency.
    Requests,
}

/// One signal of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalPolicy {
    /// Its name; the request source is called `requests`.
    pub name: SignalName,
    /// What it is.
    pub kind: SignalKind,
    /// How often it is taken.
    pub every: Duration,
    /// How long one sample may take.
    pub timeout: Duration,
}

/// One service, as the core knows it.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else of the target")]
pub struct ServicePolicy {
    /// Its name.
    pub name: ServiceName,
    /// Whether Backstop acts by itself here.
    pub mode: Mode,
    /// Its signals; [`crate::core::name::SignalIndex`] counts in this order.
    pub signals: Vec<SignalPolicy>,
    /// Whether a `version` endpoint is configured, so that a rollback can check it.
    pub checks_version: bool,
    /// How long the target may take to make a version live.
    pub rollout_timeout: Duration,
    /// Whether it runs on a platform: several instances, and other controllers beside us.
    pub on_platform: bool,
    /// Whether the target can stop and start traffic.
    pub can_stop_traffic: bool,
    /// Whether a release that is known to be bad is rolled back from once when it becomes live again, though nothing fails yet.
    pub blocks_known_bad: bool,
    /// Measured facts.
    pub atoms: Vec<Atom>,
    /// Named conditions; each refers only to earlier ones.
    pub conditions: Vec<ConditionPolicy>,
    /// How many `Sustained` places the conditions use.
    pub sustained_count: u16,
    /// The decision tree, asked from the top.
    pub tree: Vec<Question>,
    /// `conditions[index]`: is the system down? Verification and rollouts look at it.
    pub thresholds: ThresholdsPolicy,
    /// What a verdict of consider leads to.
    pub consider: ConsiderPolicy,
    /// Reported facts that turn consider into monitor.
    pub hold_back_when: Vec<ReportKind>,
    /// How long a reported fact counts.
    pub reports_expire: Duration,
    /// What must hold before a rollback.
    pub gates: GatesPolicy,
    /// How a rollback is proved.
    pub verify: VerifyPolicy,
    /// Other services that it needs: theirs is the page, and a rollback here is held while one of them is not well.
    pub depends_on: Vec<ServiceName>,
    /// Times in which it is watched and told, and nothing is done.
    pub maintenance: Vec<MaintenancePolicy>,
}

/// A time in which nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenancePolicy {
    /// Its beginning; in it.
    pub from: WallTime,
    /// Its end; not in it any more.
    pub to: WallTime,
    /// Why.
    pub why: String,
}

impl MaintenancePolicy {
    /// Whether it is on.
    pub fn is_on(&self, now: WallTime) -> bool {
        self.from <= now && now < self.to
    }
}

/// When probes make an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdsPolicy {
    /// Failed probes in a row that open the incident and page.
    pub down_after: u32,
    /// After the first failure the probe repeats so often.
    pub confirm_every: Duration,
    /// Unbroken failure before it is acted on.
    pub down_for: Duration,
}

/// What follows from a verdict of consider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsiderPolicy {
    /// Ask, or do it.
    pub then: ConsiderThen,
    /// With [`ConsiderThen::RollBack`]: do it when it is still so after this. With ask: how long an approval stays open
    /// at least (see `core::approval`).
    pub window: Duration,
}

/// What follows from a verdict of consider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsiderThen {
    /// Page for approval at once.
    #[default]
    Ask,
    /// Roll back when it is still so after the window.
    RollBack,
}

/// When a release counts as a place to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KnownGoodPolicy {
    /// Soaked here, or marked by hand.
    #[default]
    Soaked,
    /// Whatever ran before, as `kubectl rollout undo` does.
    Previous,
}

/// At most so many rollbacks over a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbacksPolicy {
    /// The most.
    pub at_most: u32,
    /// Over this time.
    pub over: Duration,
}

/// When several services point to what they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedCausePolicy {
    /// So many services, this one among them.
    pub services: u32,
    /// Turned bad within this of each other.
    pub within: Duration,
}

/// What must hold before a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatesPolicy {
    /// What may be gone back to.
    pub known_good: KnownGoodPolicy,
    /// Healthy for so long, with enough requests served, a release becomes known-good.
    pub known_good_after: Duration,
    /// Requests it must have served meanwhile, where requests are measured.
    pub known_good_min_requests: u64,
    /// A rollout may take so long to its first healthy answer.
    pub settle: Duration,
    /// A deploy older than this is not to blame.
    pub deployed_within: Duration,
    /// The budget.
    pub rollbacks: RollbacksPolicy,
    /// A verdict of `roll_back` must have stood so long before anything is done: what else fails in the same moments
    /// (other services, the probes) is seen by then.
    pub acting_wait: Duration,
    /// So many services that turn bad at once point to what they share.
    pub shared_cause: SharedCausePolicy,
    /// Time between two rollbacks.
    pub cooldown: Duration,
    /// An unfinished plan found at start goes on within this time.
    pub resume_within: Duration,
    /// What to do with an object that another controller owns.
    pub gitops: GitopsPolicy,
}

/// What to do with an object that another controller owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitopsPolicy {
    /// Nothing.
    Refuse,
    /// Turn its sync off, where that is possible, and on again once Git has left what was rolled back from.
    Suspend,
    /// Change it all the same.
    Act,
}

/// How a rollback is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// Clear for so long.
    pub healthy_for: Duration,
    /// Given up after so long.
    pub timeout: Duration,
}

impl ServicePolicy {
    /// How long it takes at most to see that it fails, from the moment on in which it does: the next sample of the signal
    /// taken most often, and its confirmations. None if nothing of it is sampled that fails with the service.
    pub fn seen_failing_within(&self) -> Option<Duration> {
        let confirmations = self.thresholds.confirm_every * self.thresholds.down_after.saturating_sub(1);
        let seen = self.signals.iter().filter_map(|signal| match signal.kind {
            SignalKind::Probe { critical: true } => Some(signal.every + confirmations),
            SignalKind::Requests => Some(signal.every),
            _ => None,
        });
        seen.min()
    }

    /// The place of the signal called `name`.
    pub fn signal_index(&self, name: &str) -> Option<crate::core::name::SignalIndex> {
        let place = self.signals.iter().position(|signal| signal.name.as_str() == name)?;
        Some(crate::core::name::SignalIndex(u16::try_from(place).expect("the configuration bounds signals")))
    }
}
