//! Hands pages out for delivery, and tries again: the next channel does not wait for the one that fails.

mod memory;
mod order;
mod room;

use std::{collections::BTreeMap, time::Duration};

use self::{
    memory::Memory,
    order::{Lines, Story},
    room::GivenUp,
};
use super::{page::Draft, turn::Turn};
use crate::core::{
    action::Action,
    entry::Fact,
    name::{ChannelName, PageId},
    page::{DeliveryOutcome, Page, PageKind},
    policy::Finding,
    time::{BootTime, SteadyTime},
};

/// Deliveries under way at once, over all channels: enough that a channel which hangs for its whole deadline does not
/// hold up the others, few enough to be told to end within a second.
const IN_FLIGHT_LIMIT: usize = 32;
/// Deliveries under way at once by one channel.
const IN_FLIGHT_A_CHANNEL: usize = 4;
/// A page that no channel took within this is given up for that channel, and that is told by the others.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// A delivery that has not come back after this is taken for failed; the runtime ends its own sooner.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// What is known of deliveries and not in the journal.
#[derive(Debug, Default)]
pub(super) struct Courier {
    lines: Lines,
    /// When each channel took a page last.
    taken: BTreeMap<ChannelName, BootTime>,
    memory: Memory,
    given_up: GivenUp,
    wake: Option<BootTime>,
}

impl Courier {
    /// Keeps only the pages that no journal has: what was on its way is tried anew.
    pub(super) fn begun_anew(self) -> Self {
        let Self { memory, given_up, .. } = self;
        let mut lines = Lines::default();
        for pending in memory.pending() {
            lines.add(pending, Story::Memory);
        }
        Self { lines, memory, given_up, ..Self::default() }
    }

    /// Whether pages are on their way.
    pub(super) fn delivers(&self) -> bool {
        !self.lines.flying().is_empty()
    }

    /// When it wants to be asked again.
    pub(super) fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Hands out what is due. Of one story a channel has one page on its way at a time, in the order in which they were
    /// written: a page waits for those before it, and passes one only where that is stuck.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.boot;
        self.lines.take_in(&turn.ledger.durable.outbox);
        self.make_room(turn);
        self.wake = None;
        if self.lines.is_empty() {
            self.taken.clear();
            return;
        }
        let (due, mut by_channel, mut wake) = self.lines.due(now);
        let mut flying: usize = by_channel.values().sum();
        let until = now.after(LOST_AFTER);
        for due in due {
            // Whatever ends asks again.
            if flying >= IN_FLIGHT_LIMIT {
                break;
            }
            let busy = by_channel.entry(due.channel.clone()).or_default();
            if *busy >= IN_FLIGHT_A_CHANNEL {
                continue;
            }
            let Some((id, attempt)) = self.lines.begin(&due, now, until) else { continue };
            flying += 1;
            *busy += 1;
            wake = Some(wake.map_or(until, |wake| wake.min(until)));
            let deliver = |page| Action::Deliver { page, channel: due.channel.clone(), attempt };
            // What tells of the store does not wait for it.
            if let Some(pending) = self.memory.get(&id) {
                turn.actions.push(deliver(pending.page.clone()));
            } else if let Some(pending) = turn.ledger.durable.outbox.get(&id) {
                turn.after_commit(deliver(pending.page.clone()));
            }
        }
        self.wake = wake;
    }

    /// Sends a page from memory. When there are too many the oldest one gives way, and the new one says so.
    pub(super) fn send_from_memory(&mut self, page: Page, channels: Vec<ChannelName>, queued: SteadyTime) {
        if channels.is_empty() {
            return;
        }
        let id = page.id.clone();
        if let Some(oldest) = self.memory.add(page, channels, queued) {
            for channel in &oldest.channels {
                self.lines.settle(&oldest.page.id, channel);
            }
        }
        if let Some(pending) = self.memory.get(&id) {
            self.lines.add(pending, Story::Memory);
        }
    }

    /// A try ended.
    pub(super) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        page: &PageId,
        channel: &ChannelName,
        outcome: DeliveryOutcome,
    ) {
        let now = turn.now.boot;
        if outcome == DeliveryOutcome::Delivered {
            self.taken.insert(channel.clone(), now);
        }
        self.lines.landed(page, channel);
        let is_volatile = self.memory.has(page);
        let Some(pending) = self.memory.get(page).or_else(|| turn.ledger.durable.outbox.get(page)) else { return };
        if !pending.channels.contains(channel) {
            return;
        }
        let is_too_old = turn.ago(pending.queued) > GIVEN_UP_AFTER;
        let why = match outcome {
            DeliveryOutcome::Retry { retry_after_seconds, .. } if !is_too_old => {
                let asked = retry_after_seconds.map(Duration::from_secs);
                self.lines.failed(page, channel, now, asked, self.taken.get(channel).copied());
                return;
            }
            DeliveryOutcome::Delivered => None,
            DeliveryOutcome::Refused(reason) | DeliveryOutcome::Retry { reason, .. } => Some(reason),
        };
        self.lines.ended(page, channel);
        if is_volatile {
            // A page from memory is there, or will never be; the others are in the journal.
            self.memory.settle(page, channel);
            return;
        }
        match why {
            Some(why) => give_up(turn, page, channel, why.as_str()),
            None => turn.append(None, settled(page, channel, true, "")),
        }
    }
}

fn settled(page: &PageId, channel: &ChannelName, delivered: bool, why: &str) -> Fact {
    Fact::PageSettled { page: page.clone(), channel: channel.clone(), delivered, why: why.to_owned() }
}

fn give_up(turn: &mut Turn<'_>, id: &PageId, channel: &ChannelName, why: &str) {
    let Some(pending) = turn.ledger.durable.outbox.get(id) else { return };
    let page = pending.page.clone();
    turn.append(None, settled(id, channel, false, why));
    // A page about an undelivered page that is itself undelivered would go round for ever.
    if page.finding == Some(Finding::PageUndelivered) {
        return;
    }
    let summary = format!("a page did not reach {channel}: {why}. It said: {}", page.summary);
    let kind = PageKind::IncidentEscalated;
    let draft = Draft::finding(kind, page.service.as_ref(), Finding::PageUndelivered, summary).at(page.severity);
    turn.page(draft);
}
