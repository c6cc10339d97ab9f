//! Pages: what people and their tools are told.

use serde::{Deserialize, Serialize};

use super::{
    entry::PlanOutcome,
    name::{IncidentId, PageId, ServiceName, Version},
    policy::{Finding, Severity},
    time::WallTime,
    verdict::{Path, VerdictKind},
};

macro_rules! page_kinds {
    ($($variant:ident $name:literal;)*) => {
        /// What a page is about: the `type` of the webhook event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the names are the events of design §11")]
        pub enum PageKind {
            $(#[serde(rename = $name)] $variant,)*
        }

        impl PageKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The event's name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

page_kinds! {
    IncidentOpened "incident.opened";
    IncidentEscalated "incident.escalated";
    IncidentAcknowledged "incident.acknowledged";
    IncidentResolved "incident.resolved";
    ApprovalRequested "approval.requested";
    RollbackStarted "rollback.started";
    RollbackStep "rollback.step";
    RollbackCompleted "rollback.completed";
    RollbackFailed "rollback.failed";
    RollbackRefused "rollback.refused";
    SignalLost "signal.lost";
    SignalRestored "signal.restored";
}

/// One message to people. Durable before it is sent; the same to every channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Its identity; the same on every retry.
    pub id: PageId,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: PageKind,
    /// When it was written.
    pub at: WallTime,
    /// About which service; absent for the watchdog's own affairs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<ServiceName>,
    /// About which incident.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incident: Option<IncidentId>,
    /// How grave: the higher of the finding's and of the live condition's.
    pub severity: Severity,
    /// Which row of the escalation table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finding: Option<Finding>,
    /// One line: what is broken, or what was done.
    pub summary: String,
    /// What Backstop does about it, or wants from people.
    pub action: String,
    /// The verdict at the time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<VerdictKind>,
    /// The path to it, with its numbers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<Path>,
    /// How the rollback or the verification ended that the page tells of: `persists` and `unverified` are no success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<PlanOutcome>,
    /// The accused version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_from: Option<Version>,
    /// The version gone back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_to: Option<Version>,
    /// Further facts, such as a gate's reason or a step's note; short lines.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub details: Vec<String>,
    /// It only tries the way by which it comes: nothing is to be done about it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub test: bool,
}

/// What a channel said to one try at delivering a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// Not now; perhaps later, and not before `retry_after_seconds` where the receiver said so.
    Retry {
        /// Why, without secrets.
        reason: super::sample::Reason,
        /// What the receiver asked for.
        retry_after_seconds: Option<u64>,
    },
    /// Never by this channel: the receiver refuses it for good.
    Refused(super::sample::Reason),
}
