//! What came of it.

use super::{Bench, SERVICE};
use crate::core::{
    durable::{IncidentRecord, ServiceRecord},
    name::ServiceName,
    operation::{Attempt, Operation},
    page::PageKind,
};

impl Bench {
    /// The service's durable record.
    pub fn record(&self) -> &ServiceRecord {
        self.state.durable().service(&ServiceName::from(SERVICE))
    }

    /// The incident of that number.
    ///
    /// # Panics
    /// If there is none.
    pub fn incident(&self, number: u64) -> &IncidentRecord {
        self.state.durable().incidents.get(format!("{SERVICE}-{number}").as_str()).expect("an incident")
    }

    /// Whether a page of that kind was written.
    pub fn was_told(&self, kind: PageKind) -> bool {
        self.pages.iter().any(|page| page.kind == kind)
    }

    /// Pages as one line each.
    pub fn told(&self) -> Vec<String> {
        self.pages.iter().map(|page| format!("{} {} {}", page.severity, page.kind.as_str(), page.summary)).collect()
    }

    /// What operations on a controller's sync were begun.
    pub fn syncs(&self) -> Vec<&'static str> {
        let is_sync =
            |one: &&Attempt| matches!(one.operation, Operation::SuspendSync { .. } | Operation::ResumeSync { .. });
        self.operations.iter().filter(is_sync).map(|one| one.operation.as_str()).collect()
    }

    /// What switches were begun, as `v2>v1`.
    pub fn switches(&self) -> Vec<String> {
        let switch = |attempt: &Attempt| match &attempt.operation {
            Operation::Switch { from, to } => Some(format!("{from}>{to}")),
            _ => None,
        };
        self.operations.iter().filter_map(switch).collect()
    }
}
