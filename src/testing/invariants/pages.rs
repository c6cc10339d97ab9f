//! Pages come in a bounded number: a storm of them is no alarm.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Violation, violated};
use crate::core::{
    name::{IncidentId, ServiceName},
    page::{Page, PageKind},
    time::BootTime,
};

/// Over so long pages are counted.
const OVER: Duration = Duration::from_secs(60);
/// So many pages about one service come in that time at most: an incident that opens, rises, is rolled back step by step
/// with every step failing once, and resolves, with two people at work.
const AT_MOST: usize = 40;

/// When pages were queued, by service.
#[derive(Debug, Default)]
pub(super) struct Pages {
    queued: BTreeMap<Option<ServiceName>, VecDeque<BootTime>>,
    /// When each incident was told last: that it opened, or is still open.
    pub(super) told_at: BTreeMap<IncidentId, BootTime>,
    pub(in crate::testing) most: usize,
}

impl Pages {
    pub(super) fn queued(&mut self, page: &Page, at: BootTime) -> Result<(), Violation> {
        if let (PageKind::IncidentOpened | PageKind::IncidentEscalated, Some(incident)) = (page.kind, &page.incident) {
            self.told_at.insert(incident.clone(), at);
        }
        let times = self.queued.entry(page.service.clone()).or_default();
        times.push_back(at);
        while times.front().is_some_and(|first| at.since(*first) > OVER) {
            times.pop_front();
        }
        let count = times.len();
        self.most = self.most.max(count);
        if count > AT_MOST {
            let about = page.service.as_ref().map_or("no service", ServiceName::as_str);
            return violated(format!("{count} pages about {about} within {OVER:?}"));
        }
        Ok(())
    }
}
