//! Views as the core would make them, for the service of the runbook at 10:30 on 2026-01-07.

mod incident;
mod rollback;
mod service;
mod tree;

use backstop::core::{time::WallTime, view::DaemonView};

pub(crate) use incident::{aborted_incident, open_incident, resolved_incident};
pub(crate) use rollback::{preview, preview_of_nothing};
pub(crate) use service::{
    deploys, healthy, left_to_people, partly_failing, refused, rolling_back, to_be_approved, under_way, unseen,
    verifying,
};
pub(crate) use tree::path;

/// `seconds` after 10:30.
pub(crate) fn at(seconds: i64) -> WallTime {
    WallTime::from_millis((1_767_781_800 + seconds) * 1000)
}

/// A daemon with a page that cannot be delivered.
pub(crate) fn daemon() -> DaemonView {
    DaemonView {
        outbox_depth: 2,
        outbox_oldest_age_seconds: 95.0,
        store_failing: None,
        observer_impaired: Some("10.0.0.2:53 does not accept connections".to_owned()),
        configuration: None,
        late_samples: 4,
        paused: None,
    }
}
