//! Gates: may this rollback happen, and would it help? Each answers yes, no or unknown; unknown holds.

#[cfg(test)]
mod asked_tests;
mod evaluate;
mod neighbours;
mod nightly;
mod platform;
#[cfg(test)]
mod tests;

pub use evaluate::{Impaired, NOTICE_LAG, Situation, words};
pub use neighbours::{Dependency, Neighbours, Together, Wellness, last_incident, was_its_own};
pub use nightly::{NIGHTLY, holds_tonight, night_of};

use serde::{Deserialize, Serialize};

use super::{answer::Answer, verdict::PlanKind};

macro_rules! gates {
    ($($(#[$documentation:meta])* $variant:ident $name:literal;)*) => {
        /// One gate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Gate {
            $($(#[$documentation])* #[serde(rename = $name)] $variant,)*
        }

        impl Gate {
            /// Every gate, in the order in which they are asked.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as in API, metrics and `--override`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

gates! {
    /// The live release is known, and it is the one that the incident accuses.
    Accused "accused";
    /// The accused deploy is recent enough to be to blame.
    DeployedRecently "deployed_recently";
    /// The fault began after the deploy.
    FaultAfterDeploy "fault_after_deploy";
    /// There is a release to go back to that is known to be good.
    KnownGood "known_good";
    /// The release to go back to is not known to be bad, nor suspect.
    NotKnownBad "not_known_bad";
    /// This deploy was not rolled back already, and is not itself the result of a rollback.
    OneRollbackForADeploy "one_rollback_for_a_deploy";
    /// No human denied it.
    NotDenied "not_denied";
    /// Fewer rollbacks than the budget allows.
    Budget "budget";
    /// The last rollback is long enough ago.
    Cooldown "cooldown";
    /// Not paused.
    NotPaused "not_paused";
    /// No maintenance time is on.
    NotInMaintenance "not_in_maintenance";
    /// Not so many services turned bad at once that what they share is to be suspected.
    NoSharedCause "no_shared_cause";
    /// What the service depends on is well.
    DependenciesWell "dependencies_well";
    /// What is live is not pinned.
    NotPinned "not_pinned";
    /// No other controller owns what would be changed, and would change it back.
    NotOwned "not_owned";
    /// The target itself can be undone just now.
    Undoable "undoable";
    /// Where the older release still serves beside the new one, only the new one fails.
    OnlyTheNewFails "only_the_new_fails";
    /// The watchdog's own network is well.
    SelfCheck "self_check";
    /// The journal can be written.
    Store "store";
}

impl Gate {
    /// Whether it asks about what only a platform has that runs several instances, and other controllers beside us.
    pub const fn is_of_platforms(self) -> bool {
        matches!(self, Self::NotOwned | Self::Undoable | Self::OnlyTheNewFails)
    }

    /// Whether it is asked before a plan of that kind. A restart of what fails takes no release away: whether the deploy is to
    /// blame, where one could go back to, who owns the object and how long ago the last rollback was are no questions of it.
    /// Gathering changes nothing at all.
    pub const fn is_asked_before(self, plan: PlanKind) -> bool {
        match plan {
            PlanKind::Quick | PlanKind::Full | PlanKind::StopWrites => true,
            PlanKind::Gather => matches!(self, Self::Store),
            PlanKind::RestartFailing => match self {
                Self::Accused
                | Self::NotDenied
                | Self::Budget
                | Self::NotPaused
                | Self::NotInMaintenance
                | Self::NoSharedCause
                | Self::DependenciesWell
                | Self::SelfCheck
                | Self::Store => true,
                Self::DeployedRecently
                | Self::FaultAfterDeploy
                | Self::KnownGood
                | Self::NotKnownBad
                | Self::OneRollbackForADeploy
                | Self::Cooldown
                | Self::NotPinned
                | Self::NotOwned
                | Self::Undoable
                | Self::OnlyTheNewFails => false,
            },
        }
    }

    /// The gate of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|gate| gate.as_str() == name)
    }

    /// Whether it binds a person who rolls back by hand. Those that ask whether the deploy is to blame do not, since the
    /// person has answered that; nor do the limits on what Backstop does unasked.
    pub const fn binds_people(self) -> bool {
        !matches!(
            self,
            Self::DeployedRecently | Self::FaultAfterDeploy | Self::OnlyTheNewFails | Self::Budget | Self::Cooldown
        )
    }

    /// Whether a person may override it by name. Without knowing what is live there is nothing to roll back from, and
    /// without a journal nothing may be begun.
    pub const fn can_be_overridden(self) -> bool {
        self.binds_people() && !matches!(self, Self::Accused | Self::Undoable | Self::Store)
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What a gate says, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// Which.
    pub gate: Gate,
    /// Yes lets the rollback through.
    pub answer: Answer,
    /// In words, with numbers.
    pub why: String,
}

/// What the gates say together: unknown holds as no does.
pub fn together(reports: &[GateReport]) -> Answer {
    reports.iter().fold(Answer::Yes, |all, report| all.and(report.answer))
}
