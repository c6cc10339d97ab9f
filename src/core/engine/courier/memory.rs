//! Pages that live in memory alone: what tells of the store cannot go through it.

use std::{collections::VecDeque, sync::Arc};

use crate::core::{
    durable::Pending,
    name::{ChannelName, PageId},
    page::Page,
    time::SteadyTime,
};

/// Pages about the store itself, which cannot go through the store.
const VOLATILE_LIMIT: usize = 16;

/// Those that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory(VecDeque<Pending>);

impl Memory {
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.0.iter()
    }

    pub(super) fn get(&self, page: &PageId) -> Option<&Pending> {
        self.0.iter().find(|pending| pending.page.id == *page)
    }

    pub(super) fn has(&self, page: &PageId) -> bool {
        self.get(page).is_some()
    }

    /// Adds one. When there are too many the oldest one gives way, and the new one says so; it is returned.
    pub(super) fn add(&mut self, mut page: Page, channels: Vec<ChannelName>, queued: SteadyTime) -> Option<Pending> {
        let oldest = (self.0.len() == VOLATILE_LIMIT).then(|| self.0.pop_front()).flatten();
        if let Some(oldest) = &oldest {
            page.details.push(format!("Given up for this one, since too many wait: {}", oldest.page.summary));
        }
        let channels = channels.into_iter().collect();
        self.0.push_back(Pending { page: Arc::new(page), channels, queued, is_repeat: false });
        oldest
    }

    /// One is there, or will never be.
    pub(super) fn settle(&mut self, page: &PageId, channel: &ChannelName) {
        for pending in &mut self.0 {
            if pending.page.id == *page {
                pending.channels.remove(channel);
            }
        }
        self.0.retain(|pending| !pending.channels.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        engine::courier::Courier,
        page::PageKind,
        policy::{Finding, Severity},
        time::WallTime,
    };

    fn page(number: usize) -> Page {
        Page {
            id: format!("msg_{number}").into(),
            kind: PageKind::IncidentEscalated,
            at: WallTime::from_millis(0),
            service: None,
            incident: None,
            severity: Severity::S1,
            finding: Some(Finding::StoreFailed),
            summary: format!("page {number}"),
            action: String::new(),
            verdict: None,
            path: None,
            outcome: None,
            version_from: None,
            version_to: None,
            details: Vec::new(),
            test: false,
        }
    }

    #[test]
    fn a_page_in_memory_that_gives_way_is_told() {
        let mut courier = Courier::default();
        for number in 0..=VOLATILE_LIMIT {
            courier.send_from_memory(page(number), vec!["audit".into()], SteadyTime::default());
        }
        courier.send_from_memory(page(99), Vec::new(), SteadyTime::default());
        let waiting: Vec<_> = courier.memory.pending().map(|pending| pending.page.summary.as_str()).collect();
        assert_eq!((waiting.len(), waiting[0]), (VOLATILE_LIMIT, "page 1"), "one for nobody drives out none");
        let told: Vec<_> = courier.memory.pending().flat_map(|pending| &pending.page.details).collect();
        assert_eq!(told, ["Given up for this one, since too many wait: page 0"]);
    }
}
