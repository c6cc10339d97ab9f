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
/// So many more come with each further rollback that a person orders in that time: it is told as it begins, by its steps,
/// each of which may fail once, and as it and its incident end.
const AT_MOST_FOR_AN_ORDER: usize = 20;

/// When pages were queued, by service.
#[derive(Debug, Default)]
pub(super) struct Pages {
    queued: BTreeMap<Option<ServiceName>, VecDeque<BootTime>>,
    /// When rollbacks were ordered by people.
    ordered: BTreeMap<ServiceName, VecDeque<BootTime>>,
    /// When each incident was told last: that it opened, or is still open.
    pub(super) told_at: BTreeMap<IncidentId, BootTime>,
    pub(in crate::testing) most: usize,
}

/// Notes a moment, and drops what is longer ago than is counted. Returns how many are left.
fn count(times: &mut VecDeque<BootTime>, at: BootTime) -> usize {
    times.push_back(at);
    while times.front().is_some_and(|first| at.since(*first) > OVER) {
        times.pop_front();
    }
    times.len()
}

impl Pages {
    pub(super) fn ordered(&mut self, service: &ServiceName, at: BootTime) {
        count(self.ordered.entry(service.clone()).or_default(), at);
    }

    pub(super) fn queued(&mut self, page: &Page, at: BootTime) -> Result<(), Violation> {
        if let (PageKind::IncidentOpened | PageKind::IncidentEscalated, Some(incident)) = (page.kind, &page.incident) {
            self.told_at.insert(incident.clone(), at);
        }
        let count = count(self.queued.entry(page.service.clone()).or_default(), at);
        self.most = self.most.max(count);
        let orders = page.service.as_ref().and_then(|service| self.ordered.get(service));
        let orders = orders.map_or(0, |times| times.iter().filter(|time| at.since(**time) <= OVER).count());
        if count > AT_MOST + AT_MOST_FOR_AN_ORDER * orders.saturating_sub(1) {
            let about = page.service.as_ref().map_or("no service", ServiceName::as_str);
            return violated(format!("{count} pages about {about} within {OVER:?}"));
        }
        Ok(())
    }
}
