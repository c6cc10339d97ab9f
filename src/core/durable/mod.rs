//! The durable half of the state: a fold over the journal, the same code live and after a restart.
//!
//! Nothing here decides. A live step appends an entry and folds it in at once; its effects wait until it is durable.

mod apply;
mod by_hand;
mod incident;
mod outbox;
mod plans;
mod retention;
mod service;
mod snapshot;
mod suspension;
mod timeline;

pub use apply::FoldError;
pub use incident::{
    ApprovalRecord, ApprovalState, FindingRecord, GatherRecord, IncidentRecord, PlanRecord, StepRecord,
    WouldHaveRecord, verdict_severity,
};
pub use outbox::{Outbox, Pending};
pub use retention::{FORMER_SERVICES_LIMIT, KEPT_AT_LEAST};
pub use service::{
    CertificateRecord, DeployRecord, NightRecord, PINS_LIMIT, PauseRecord, PinRecord, REPORTS_LIMIT, ReportRecord,
    Rollout, ServiceRecord, StandingRecord, VerificationRecord,
};
pub use snapshot::{SNAPSHOT_FORM, SnapshotError};
pub use suspension::{SuspensionRecord, SuspensionStage};
pub use timeline::Timeline;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    event::Sequence,
    name::{IncidentId, ServiceName},
    policy::Finding,
    saga::StepStatus,
};

/// Ended incidents that are kept, however young: eleven a day for the ninety days that things are kept for. Of those that
/// gave way the folders of evidence remain.
pub const ENDED_INCIDENTS_LIMIT: usize = 1024;

/// Everything that outlives the process. A snapshot of it is in the store: a field that comes later has a serde default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durable {
    /// The last entry folded in.
    pub last: Sequence,
    /// Every service that is watched, and [`FORMER_SERVICES_LIMIT`] of those that were.
    pub services: BTreeMap<ServiceName, ServiceRecord>,
    /// Open incidents, and the last ended ones.
    pub incidents: BTreeMap<IncidentId, IncidentRecord>,
    /// Ended ones, in the order of their end.
    ended: std::collections::VecDeque<IncidentId>,
    /// Pages that are not everywhere yet.
    pub outbox: Outbox,
    /// The pause of all services.
    pub paused: Option<PauseRecord>,
    /// Findings about the watchdog itself that are not over.
    pub findings: BTreeSet<Finding>,
    /// Where it has got to in time.
    pub timeline: Timeline,
}

impl Durable {
    /// The record of a service, empty if it was never heard of.
    pub fn service(&self, name: &ServiceName) -> &ServiceRecord {
        static NEVER_SEEN: ServiceRecord = ServiceRecord::EMPTY;
        self.services.get(name).unwrap_or(&NEVER_SEEN)
    }

    /// The incident that is open for a service.
    pub fn open_incident(&self, name: &ServiceName) -> Option<&IncidentRecord> {
        self.incidents.get(self.services.get(name)?.open_incident.as_ref()?)
    }

    /// Whether rollbacks from that deploy were begun, and whatever each of them changed is known to be undone.
    pub fn was_undone(&self, name: &ServiceName, deploy: u64) -> bool {
        let plans = self.incidents.values().filter(|one| one.service == *name).flat_map(|one| &one.plans);
        let mut switches = plans
            .filter(|plan| plan.deploy == deploy)
            .map(PlanRecord::switch_status)
            .filter(|status| !matches!(status, StepStatus::Pending | StepStatus::Skipped))
            .peekable();
        switches.peek().is_some() && switches.all(|status| status == StepStatus::Undone)
    }
}
