//! What the core is told to do: the compiled, validated form of the configuration, without any trace of YAML.
//!
//! Everything here was checked by `config`; the core asserts instead of checking again.

mod condition;
mod escalation;
mod service;

pub use condition::{Atom, ConditionPolicy, Expression, LatencyLimit, Question, RateLimit, SustainIndex, Then};
pub use escalation::{Escalation, Finding, Severity, SeverityPolicy};
pub use service::{
    ConsiderPolicy, ConsiderThen, GatesPolicy, GitopsPolicy, KnownGoodPolicy, MaintenancePolicy, Mode, ReportKind,
    RollbacksPolicy, ServicePolicy, SharedCausePolicy, SignalKind, SignalPolicy, ThresholdsPolicy, VerifyPolicy,
};

use std::{sync::Arc, time::Duration};

use super::name::{ChannelName, ServiceIndex};

/// The whole policy. Replaced as one when the configuration is loaded again.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The services; [`ServiceIndex`] counts in this order.
    pub services: Vec<Arc<ServicePolicy>>,
    /// Channels that pages may go to.
    pub channels: Vec<ChannelName>,
    /// Who hears of what, and how grave it is.
    pub escalation: Escalation,
    /// How long what is over is kept and shown.
    pub keep: Duration,
    /// Whether the watchdog's own network is checked: until it was, nothing that is seen is believed.
    pub checks_itself: bool,
}

impl Policy {
    /// The place of the service called `name`.
    pub fn service_index(&self, name: &str) -> Option<ServiceIndex> {
        let place = self.services.iter().position(|service| service.name.as_str() == name)?;
        Some(ServiceIndex(u32::try_from(place).expect("the configuration bounds the number of services")))
    }
}
