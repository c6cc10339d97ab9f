//! What happens to the core.

use serde::{Deserialize, Serialize};

use super::{
    gate::Gate,
    name::{ChannelName, IncidentId, PageId, ServiceIndex, ServiceName, SignalIndex, Version},
    operation::{Gathering, Look, OperationOutcome, StepKey},
    page::DeliveryOutcome,
    policy::ReportKind,
    release::Mark,
    sample::{Outcome, Reason, Sample},
    time::WallTime,
    verdict::PlanKind,
};

/// Counts the journal's entries, from 1. The journal has no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// Ties a person's request to its reply. Given by the runtime, unique while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Everything that can happen, in one order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The process began; the journal has been folded. Comes once, first.
    Started,
    /// A signal was sampled.
    Sample(Sample),
    /// A signal is taken over TLS, and its server's certificate was trusted.
    CertificateSeen {
        /// Whose signal.
        service: ServiceIndex,
        /// Which.
        signal: SignalIndex,
        /// When that certificate expires.
        expires: WallTime,
    },
    /// The watchdog's own network was checked.
    SelfCheck(Outcome),
    /// A wake that was asked for, or the runtime's regular one.
    Woke,
    /// A look at the target, asked for or regular.
    Looked {
        /// Whose target.
        service: ServiceIndex,
        /// The attempt whose receipt was asked for.
        key: Option<StepKey>,
        /// What was found.
        look: Look,
    },
    /// The service's own version endpoint, sampled.
    VersionSeen {
        /// Whose.
        service: ServiceIndex,
        /// What it says.
        version: Result<Version, Reason>,
    },
    /// An operation ended.
    OperationEnded {
        /// Which attempt.
        key: StepKey,
        /// How.
        outcome: OperationOutcome,
    },
    /// What was to be gathered for people is in the incident's evidence, or nothing could be gathered.
    Gathered {
        /// Of which incident.
        incident: IncidentId,
        /// What, and where it is; or why not, phrased to follow "failed to".
        outcome: Result<Gathering, Reason>,
    },
    /// The journal is durable up to here.
    Committed(Sequence),
    /// The journal could not be written; it is being tried again.
    StoreFailing(Reason),
    /// After that: the journal is whole and can be written again, though nothing waited to be.
    StoreWorks,
    /// The process is about to end.
    Closing,
    /// A try at delivering a page ended.
    DeliveryEnded {
        /// The page.
        page: PageId,
        /// By which channel.
        channel: ChannelName,
        /// How.
        outcome: DeliveryOutcome,
    },
    /// A person or a program asks for something.
    Requested {
        /// For the reply.
        id: RequestId,
        /// Who asks, as authenticated.
        by: String,
        /// For what.
        request: Request,
    },
}

/// What people may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Let a rollback happen that waits for approval.
    Approve {
        /// Of which incident.
        incident: IncidentId,
        /// The approval that was shown; refused if another is open by now.
        approval: Option<u32>,
    },
    /// Do not roll this deploy back.
    Deny {
        /// Of which incident.
        incident: IncidentId,
        /// The approval that was shown; refused if another is open by now.
        approval: Option<u32>,
        /// Why.
        reason: Option<String>,
    },
    /// Say what is known of a release.
    MarkRelease {
        /// Of which service.
        service: ServiceName,
        /// Which one.
        version: Version,
        /// What.
        mark: Mark,
    },
    /// A deploy begins or has just been made.
    ReportDeploy {
        /// Of which service.
        service: ServiceName,
        /// Of which version; the live one's announces a restart.
        version: Version,
    },
    /// Begin no new plan.
    Pause {
        /// Of this service, or of all.
        service: Option<ServiceName>,
        /// For so long; until resumed where absent.
        for_seconds: Option<u64>,
        /// Why.
        reason: String,
    },
    /// Take a pause back.
    Resume {
        /// Of this service, or the one of all.
        service: Option<ServiceName>,
    },
    /// Report something about a service.
    Report {
        /// Which.
        service: ServiceName,
        /// What.
        kind: ReportKind,
        /// In words.
        detail: Option<String>,
        /// The reporter's.
        authority: Authority,
    },
    /// Take reports of one kind back: an operator everybody's, a reporter only the own ones.
    RetractReport {
        /// Of which service.
        service: ServiceName,
        /// Of which kind.
        kind: ReportKind,
        /// Of whoever takes them back.
        authority: Authority,
    },
    /// Keep a version: nothing is rolled back from it.
    Pin {
        /// Of which service.
        service: ServiceName,
        /// Which.
        version: Version,
        /// Why.
        reason: Option<String>,
    },
    /// Take a pin away.
    Unpin {
        /// Of which service.
        service: ServiceName,
        /// Of which version.
        version: Version,
    },
    /// End the plan under way safely.
    Abort {
        /// Of which incident.
        incident: IncidentId,
        /// Why.
        reason: Option<String>,
    },
    /// Roll back by hand.
    RollBack {
        /// Which service.
        service: ServiceName,
        /// How.
        order: RollbackOrder,
    },
    /// Verify what is live, as after a rollback.
    Verify {
        /// Which service.
        service: ServiceName,
    },
}

impl Request {
    /// Whether it only ever keeps something from being done.
    pub const fn only_stops(&self) -> bool {
        matches!(self, Self::Deny { .. } | Self::Pause { .. } | Self::Abort { .. })
    }
}

/// How much may follow from what somebody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// Never more than a verdict of consider.
    Reporter,
    /// Whatever the tree says.
    Operator,
}

/// A rollback by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RollbackOrder {
    /// To which version; absent: the one that Backstop itself would go back to.
    pub to: Option<Version>,
    /// By which plan; absent: the quick one.
    pub plan: Option<PlanKind>,
    /// Only tell what would be done. The reply is a [`super::view::RollbackPreview`] as JSON.
    pub dry_run: bool,
    /// Gates whose no or unknown does not hold it.
    pub overrides: Vec<Gate>,
    /// Why; must be given with overrides.
    pub reason: Option<String>,
}

/// The answer to a request.
pub type Reply = Result<String, Refusal>;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be so now: the situation is another than the one shown.
    #[error("{0}")]
    Conflict(String),
    /// A gate holds it.
    #[error("{0}")]
    Gate(String),
    /// Too much of it is there already.
    #[error("{0}")]
    Busy(String),
}
