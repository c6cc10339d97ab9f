//! Pages that have not reached all their channels.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::core::{
    name::{ChannelName, IncidentId, PageId},
    page::Page,
    time::SteadyTime,
};

/// Pages that still wait for at least one channel, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// Pages ever written; numbers them.
    pub page_count: u64,
    order: VecDeque<PageId>,
    pages: BTreeMap<PageId, Pending>,
}

/// One page and the channels that do not have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The page.
    pub page: Arc<Page>,
    /// Channels that do not have it.
    pub channels: BTreeSet<ChannelName>,
    /// When it was written.
    pub queued: SteadyTime,
    /// It only says once more that its incident is open.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_repeat: bool,
}

impl Outbox {
    pub(super) fn queue(&mut self, page: Page, channels: &[ChannelName], is_repeat: bool, queued: SteadyTime) {
        self.page_count += 1;
        if channels.is_empty() {
            return;
        }
        let id = page.id.clone();
        self.order.push_back(id.clone());
        let channels = channels.iter().cloned().collect();
        self.pages.insert(id, Pending { page: Arc::new(page), channels, queued, is_repeat });
    }

    pub(super) fn settle(&mut self, page: &PageId, channel: &ChannelName) {
        let Some(pending) = self.pages.get_mut(page) else { return };
        pending.channels.remove(channel);
        if pending.channels.is_empty() {
            self.pages.remove(page);
            if let Some(place) = self.order.iter().position(|waiting| waiting == page) {
                self.order.remove(place);
            }
        }
    }

    /// The waiting pages, oldest first.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.order.iter().filter_map(|id| self.pages.get(id))
    }

    /// The channels for which a page waits that says once more that this incident is open.
    pub fn repeats_wait_for(&self, incident: &IncidentId) -> BTreeSet<&ChannelName> {
        let is_it = |pending: &&Pending| pending.is_repeat && pending.page.incident.as_ref() == Some(incident);
        self.pages.values().filter(is_it).flat_map(|pending| &pending.channels).collect()
    }

    /// The waiting page of that identity.
    pub fn get(&self, page: &PageId) -> Option<&Pending> {
        self.pages.get(page)
    }

    /// What holds of every outbox.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.order.iter().find(|id| !self.pages.contains_key(*id)) {
            Some(page) => Err(format!("page {page}, which waits, is not there")),
            None if self.order.len() != self.pages.len() => Err("a page is there that does not wait".to_owned()),
            None => Ok(()),
        }
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.pages.len()
    }
}
