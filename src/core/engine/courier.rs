//! Hands pages out for delivery, and tries again: the next channel does not wait for the one that fails.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{page::Draft, turn::Turn};
use crate::core::{
    action::Action,
    durable::Pending,
    entry::Fact,
    name::{ChannelName, IncidentId, PageId},
    page::{DeliveryOutcome, Page, PageKind},
    policy::Finding,
    time::{BootTime, SteadyTime},
};

/// Deliveries under way at once, over all channels: enough that a channel which hangs for its whole deadline does not
/// hold up the others, few enough to be told to end within a second.
const IN_FLIGHT_LIMIT: usize = 32;
/// Deliveries under way at once by one channel.
const IN_FLIGHT_A_CHANNEL: usize = 4;
/// The first pause before trying again; it doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a receiver that is back is told within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// A page that no channel took within this is given up for that channel, and that is told by the others.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// A delivery that has not come back after this is taken for failed; the runtime ends its own sooner.
const LOST_AFTER: Duration = Duration::from_secs(120);
/// Waiting pages that are considered in one go.
const CONSIDERED_LIMIT: usize = 16 * 1024;
/// Pages about the store itself, which cannot go through the store.
const VOLATILE_LIMIT: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Try {
    attempts: u32,
    not_before: BootTime,
    in_flight_until: Option<BootTime>,
}

/// What is known of deliveries and not in the journal.
#[derive(Debug, Default)]
pub(super) struct Courier {
    tries: BTreeMap<(PageId, ChannelName), Try>,
    /// Pages that live in memory alone, oldest first.
    volatile: VecDeque<Pending>,
    wake: Option<BootTime>,
}

impl Courier {
    /// Keeps only the pages that no journal has: what was on its way is tried anew.
    pub(super) fn begun_anew(self) -> Self {
        Self { volatile: self.volatile, ..Self::default() }
    }

    /// When it wants to be asked again.
    pub(super) fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Hands out what is due.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.boot;
        self.wake = None;
        if turn.ledger.durable.outbox.depth() == 0 && self.volatile.is_empty() {
            self.tries.clear();
            return;
        }
        for one in self.tries.values_mut() {
            if one.in_flight_until.is_some_and(|until| now >= until) {
                one.in_flight_until = None;
            }
        }
        let mut flying = self.tries.values().filter(|one| one.in_flight_until.is_some()).count();
        let mut by_channel: BTreeMap<ChannelName, usize> = BTreeMap::new();
        for ((_, channel), one) in &self.tries {
            if one.in_flight_until.is_some() {
                *by_channel.entry(channel.clone()).or_default() += 1;
            }
        }
        // What is told of one incident by one channel goes out in its order: a page waits while an earlier one is on its
        // way, and overtakes it only when that failed.
        let mut telling: BTreeSet<(ChannelName, IncidentId)> = BTreeSet::new();
        let mut due = Vec::new();
        let mut next: Option<BootTime> = None;
        let mut wake_by = |at: BootTime| next = Some(next.map_or(at, |next| next.min(at)));
        let stored = turn.ledger.durable.outbox.pending().take(CONSIDERED_LIMIT);
        'pages: for pending in self.volatile.iter().chain(stored) {
            for channel in &pending.channels {
                if flying >= IN_FLIGHT_LIMIT {
                    break 'pages;
                }
                let key = (pending.page.id.clone(), channel.clone());
                let one = self.tries.entry(key).or_insert(Try { attempts: 0, not_before: now, in_flight_until: None });
                let busy = by_channel.entry(channel.clone()).or_default();
                let story = pending.page.incident.clone().map(|incident| (channel.clone(), incident));
                if let Some(until) = one.in_flight_until {
                    wake_by(until);
                    telling.extend(story);
                } else if one.not_before > now {
                    wake_by(one.not_before);
                } else if *busy < IN_FLIGHT_A_CHANNEL && story.is_none_or(|story| telling.insert(story)) {
                    one.attempts += 1;
                    let until = now.after(LOST_AFTER);
                    one.in_flight_until = Some(until);
                    wake_by(until);
                    flying += 1;
                    *busy += 1;
                    due.push(Action::Deliver {
                        page: pending.page.clone(),
                        channel: channel.clone(),
                        attempt: one.attempts,
                    });
                }
            }
        }
        self.wake = next;
        for action in due {
            match &action {
                // What tells of the store does not wait for it.
                Action::Deliver { page, .. } if self.is_volatile(&page.id) => turn.actions.push(action),
                _ => turn.after_commit(action),
            }
        }
    }

    /// Sends a page from memory. When there are too many the oldest one gives way, and the new one says so.
    pub(super) fn send_from_memory(&mut self, mut page: Page, channels: Vec<ChannelName>, queued: SteadyTime) {
        if !channels.is_empty() {
            if self.volatile.len() == VOLATILE_LIMIT
                && let Some(oldest) = self.volatile.pop_front()
            {
                self.tries.retain(|(id, _), _| *id != oldest.page.id);
                page.details.push(format!("Given up for this one, since too many wait: {}", oldest.page.summary));
            }
            let channels = channels.into_iter().collect();
            self.volatile.push_back(Pending { page: Arc::new(page), channels, queued });
        }
    }

    fn is_volatile(&self, page: &PageId) -> bool {
        self.volatile.iter().any(|pending| pending.page.id == *page)
    }

    /// A page from memory is there, or will never be; the others are in the journal.
    fn settle_volatile(&mut self, page: &PageId, channel: &ChannelName) {
        for pending in &mut self.volatile {
            if pending.page.id == *page {
                pending.channels.remove(channel);
            }
        }
        self.volatile.retain(|pending| !pending.channels.is_empty());
        self.tries.remove(&(page.clone(), channel.clone()));
    }

    /// A try ended.
    pub(super) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        page: &PageId,
        channel: &ChannelName,
        outcome: DeliveryOutcome,
    ) {
        let key = (page.clone(), channel.clone());
        let is_volatile = self.is_volatile(page);
        if is_volatile && !matches!(outcome, DeliveryOutcome::Retry { .. }) {
            self.settle_volatile(page, channel);
            return;
        }
        let known = self.volatile.iter().find(|pending| pending.page.id == *page);
        let Some(pending) = known.or_else(|| turn.ledger.durable.outbox.get(page)) else { return };
        if !pending.channels.contains(channel) {
            return;
        }
        let is_too_old = turn.ago(pending.queued) > GIVEN_UP_AFTER;
        match outcome {
            DeliveryOutcome::Delivered => {
                self.tries.remove(&key);
                let fact = Fact::PageSettled {
                    page: page.clone(),
                    channel: channel.clone(),
                    delivered: true,
                    why: String::new(),
                };
                turn.append(None, fact);
            }
            DeliveryOutcome::Refused(reason) => self.give_up(turn, &key, reason.as_str()),
            DeliveryOutcome::Retry { .. } if is_volatile && is_too_old => {
                self.settle_volatile(page, channel);
            }
            DeliveryOutcome::Retry { reason, .. } if is_too_old => {
                self.give_up(turn, &key, reason.as_str());
            }
            DeliveryOutcome::Retry { retry_after_seconds, .. } => {
                let Some(one) = self.tries.get_mut(&key) else { return };
                let pause = pause(page, one.attempts);
                let asked = Duration::from_secs(retry_after_seconds.unwrap_or(0)).min(LONGEST_RETRY_AFTER);
                one.in_flight_until = None;
                one.not_before = turn.now.boot.after(pause.max(asked));
            }
        }
    }

    fn give_up(&mut self, turn: &mut Turn<'_>, key: &(PageId, ChannelName), why: &str) {
        let Some(pending) = turn.ledger.durable.outbox.get(&key.0) else { return };
        let page = pending.page.clone();
        self.tries.remove(key);
        let fact =
            Fact::PageSettled { page: key.0.clone(), channel: key.1.clone(), delivered: false, why: why.to_owned() };
        turn.append(None, fact);
        // A page about an undelivered page that is itself undelivered would go round for ever.
        if page.finding == Some(Finding::PageUndelivered) {
            return;
        }
        let summary = format!("a page did not reach {}: {why}. It said: {}", key.1, page.summary);
        let kind = PageKind::IncidentEscalated;
        let draft = Draft::finding(kind, page.service.as_ref(), Finding::PageUndelivered, summary).at(page.severity);
        turn.page(draft);
    }
}

/// Doubles with each try, spread by up to a half so that many pages do not come at once: the spread comes from the
/// page's identity and needs no randomness.
fn pause(page: &PageId, attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    let longest = doubled.min(LONGEST_PAUSE);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(attempts);
    for byte in page.as_str().bytes() {
        // FNV-1a, 64 bits.
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    longest.mul_f64(0.5 + (hash % 1024) as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: usize) -> Page {
        Page {
            id: format!("msg_{number}").into(),
            kind: crate::core::page::PageKind::IncidentEscalated,
            at: crate::core::time::WallTime::from_millis(0),
            service: None,
            incident: None,
            severity: crate::core::policy::Severity::S1,
            finding: Some(Finding::StoreFailed),
            summary: format!("page {number}"),
            action: String::new(),
            verdict: None,
            path: None,
            version_from: None,
            version_to: None,
            details: Vec::new(),
        }
    }

    #[test]
    fn a_page_in_memory_that_gives_way_is_told() {
        let mut courier = Courier::default();
        for number in 0..=VOLATILE_LIMIT {
            courier.send_from_memory(page(number), vec!["audit".into()], SteadyTime::default());
        }
        courier.send_from_memory(page(99), Vec::new(), SteadyTime::default());
        let waiting: Vec<_> = courier.volatile.iter().map(|pending| pending.page.summary.as_str()).collect();
        assert_eq!((waiting.len(), waiting[0]), (VOLATILE_LIMIT, "page 1"), "one for nobody drives out none");
        let told: Vec<_> = courier.volatile.iter().flat_map(|pending| &pending.page.details).collect();
        assert_eq!(told, ["Given up for this one, since too many wait: page 0"]);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let page = PageId::from("msg_a_1");
        for attempts in 1..80 {
            let pause = pause(&page, attempts);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "attempt {attempts}: {pause:?}");
        }
        assert!(super::pause(&page, 10) > super::pause(&page, 1));
    }
}
