//! The durable half of the state: a fold over the journal, the same code live and after a restart.
//!
//! Nothing here decides. A live step appends an entry and folds it in at once; its effects wait until it is durable.

mod apply;
mod by_hand;
mod incident;
mod outbox;
mod service;
mod timeline;

pub use apply::FoldError;
pub use incident::{
    ApprovalRecord, ApprovalState, FindingRecord, IncidentRecord, PlanRecord, StepRecord, verdict_severity,
};
pub use outbox::{Outbox, Pending};
pub use service::{
    DeployRecord, NightRecord, PINS_LIMIT, PauseRecord, PinRecord, REPORTS_LIMIT, ReportRecord, Rollout, ServiceRecord,
    StandingRecord, VerificationRecord,
};
pub use timeline::Timeline;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    event::Sequence,
    name::{IncidentId, ServiceName},
    policy::Finding,
};

/// Ended incidents that are kept in memory, for showing; older ones are in the store.
pub const ENDED_INCIDENTS_LIMIT: usize = 256;

/// Everything that outlives the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durable {
    /// The last entry folded in.
    pub last: Sequence,
    /// Every service ever seen, watched now or not.
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
}
