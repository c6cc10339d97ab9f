//! Findings, their severities, and who hears of them.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::core::name::ChannelName;

/// How grave something is. `S1` is the gravest, and the greatest in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Severity {
    S1,
    S2,
    S3,
}

impl Severity {
    /// Every severity, the gravest first.
    pub const ALL: [Self; 3] = [Self::S1, Self::S2, Self::S3];

    /// The name as in configuration and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
        }
    }
}

impl Ord for Severity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*other as u8).cmp(&(*self as u8))
    }
}

impl PartialOrd for Severity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

macro_rules! findings {
    ($($variant:ident $name:literal $severity:ident $action:literal;)*) => {
        /// Something that people must hear of, beyond the verdict itself: the runbook's escalation table and what the
        /// watchdog can find about itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the table of defaults describes each")]
        pub enum Finding {
            $(#[serde(rename = $name)] $variant,)*
        }

        impl Finding {
            /// Every finding, in the order of the configuration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as in configuration, API and pages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity where the configuration names none.
            pub const fn default_severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What to do where the configuration does not say.
            pub const fn default_action(self) -> &'static str {
                match self { $(Self::$variant => $action,)* }
            }
        }
    };
}

findings! {
    RollbackFailed "rollback_failed" S1 "All hands. Manual intervention.";
    RollbackSucceededIssuePersists "rollback_succeeded_issue_persists" S2 "Deeper investigation. May need older version.";
    RollbackUnverified "rollback_unverified" S2 "Rolled back, but the signals that would prove it are missing.";
    DataLossDuringRollback "data_loss_during_rollback" S1 "Restore from backup. Forensic analysis.";
    RollbackTookTooLong "rollback_took_too_long" S3 "Post-mortem. Improve procedure.";
    RollbackRefused "rollback_refused" S1 "A rollback was due and a gate held it. Decide by hand.";
    NoDeployToBlame "no_deploy_to_blame" S1 "Broken, and no deploy explains it. A rollback would not help.";
    ApprovalRequested "approval_requested" S2 "Approve or deny the rollback.";
    DataCorruption "data_corruption" S1 "Writes are stopped or about to be. Choose the way back.";
    DatabaseDown "database_down" S1 "The database, not the release.";
    SignalLost "signal_lost" S2 "The watchdog is blind here. Restore the signal.";
    ObserverImpaired "observer_impaired" S2 "The watchdog's own network or host is ill.";
    StoreFailed "store_failed" S1 "The journal cannot be written: watching goes on, acting stopped.";
    SharedCause "shared_cause" S1 "Several services at once: look for what they share first.";
    KnownBadDeployed "known_bad_deployed" S2 "A version that was rolled back is live again.";
    StepStuck "step_stuck" S1 "A step can neither be finished nor undone.";
    NothingToGoBackTo "nothing_to_go_back_to" S3 "Mark a release good, or let one soak.";
    CertificateExpiring "certificate_expiring" S3 "Renew the certificate; once it has expired, every client is turned away.";
    SyncSuspended "sync_suspended" S2 "Take the release out of Git: until then its controller's sync stays off.";
    SyncNotHeld "sync_not_held" S1 "Somebody turned the suspended sync on again, and Git puts the release back. Take it out of Git.";
    PageUndelivered "page_undelivered" S2 "A page reached nobody by its own channel.";
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Who hears of a severity and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeverityPolicy {
    /// Channels, all of them at once.
    pub notify: Vec<ChannelName>,
    /// The page is sent again so often, until the incident is acknowledged or over.
    pub repeat: Option<Duration>,
    /// How long an acknowledgement silences the repetition.
    pub acknowledge_expires: Option<Duration>,
}

/// The escalation table and the severities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// By severity.
    pub severities: BTreeMap<Severity, SeverityPolicy>,
    /// By finding: its severity and the action that the page asks for. Every finding is there.
    pub findings: BTreeMap<Finding, (Severity, String)>,
    /// `rollback_took_too_long` is found past this.
    pub rollback_too_long_over: Duration,
}

impl Escalation {
    /// The severity of a finding.
    pub fn severity(&self, finding: Finding) -> Severity {
        self.findings.get(&finding).map_or_else(|| finding.default_severity(), |entry| entry.0)
    }

    /// What a page about the finding asks for.
    pub fn action(&self, finding: Finding) -> &str {
        self.findings.get(&finding).map_or_else(|| finding.default_action(), |entry| entry.1.as_str())
    }
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            severities: Severity::ALL.into_iter().map(|severity| (severity, SeverityPolicy::default())).collect(),
            findings: Finding::ALL
                .iter()
                .map(|&finding| (finding, (finding.default_severity(), finding.default_action().to_owned())))
                .collect(),
            rollback_too_long_over: Duration::from_secs(15 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_severity_is_the_greatest() {
        assert!(Severity::S1 > Severity::S2 && Severity::S2 > Severity::S3);
        assert_eq!(Severity::ALL.into_iter().max(), Some(Severity::S1));
    }
}
