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
    name::{ChannelName, IncidentId, PageId, ServiceName},
    page::{DeliveryOutcome, Page, PageKind},
    policy::{Finding, Severity},
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
/// Pages that may wait in the journal's outbox: four for each of a thousand services that turn bad at once while the
/// receiver is away; some tens of megabytes at most. Past it the least grave give way, of those the oldest; the gravest
/// last. That is told.
pub(super) const OUTBOX_LIMIT: usize = 4096;
/// After so many tries, a minute or two, a page does not hold up later ones of its incident any more, where its channel
/// has taken others meanwhile: then it is this page that the receiver does not like.
const STUCK_AFTER_TRIES: u32 = 8;
/// The same where the channel took nothing meanwhile, some fifteen minutes: then later pages of the incident are tried
/// right after it, since nobody knows whether it is the receiver or the page.
const SCOUTED_AFTER_TRIES: u32 = 20;
/// Pages of one incident that are tried and fail on one channel between two pauses.
const FAILURES_A_ROUND: usize = 4;
/// Pages about the store itself, which cannot go through the store.
const VOLATILE_LIMIT: usize = 16;

/// What is told in its order, by each channel: an incident, or what concerns a service or the watchdog otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Story {
    Incident(IncidentId),
    Service(ServiceName),
    Watchdog,
    /// What cannot go through the journal, and must not wait for what does.
    Memory,
}

/// Tries at one page by one channel.
#[derive(Debug, Clone, Copy)]
struct Try {
    attempts: u32,
    began: BootTime,
}

/// How far one channel is in telling a story.
#[derive(Debug, Default)]
struct Telling {
    /// The page on its way, and when it counts as lost.
    in_flight: Option<(PageId, BootTime)>,
    /// Nothing of the story is tried before this.
    not_before: Option<BootTime>,
    /// Pages that failed since the last pause and that later ones may pass.
    passed: BTreeSet<PageId>,
    /// Pauses since a page was taken.
    pauses: u32,
}

impl Telling {
    fn pause(&mut self, page: &PageId, now: BootTime, asked: Duration) {
        self.pauses = self.pauses.saturating_add(1);
        self.passed.clear();
        self.not_before = Some(now.after(pause(page, self.pauses).max(asked)));
    }
}

/// What is known of deliveries and not in the journal.
#[derive(Debug, Default)]
pub(super) struct Courier {
    tries: BTreeMap<(PageId, ChannelName), Try>,
    tellings: BTreeMap<(ChannelName, Story), Telling>,
    /// When each channel took a page last.
    taken: BTreeMap<ChannelName, BootTime>,
    /// Pages that live in memory alone, oldest first.
    volatile: VecDeque<Pending>,
    /// Pages given up for want of room and not told of yet, by severity.
    given_up: BTreeMap<Severity, u64>,
    /// The page that told of it last.
    given_up_told: Option<PageId>,
    wake: Option<BootTime>,
}

impl Courier {
    /// Keeps only the pages that no journal has: what was on its way is tried anew.
    pub(super) fn begun_anew(self) -> Self {
        let Self { volatile, given_up, given_up_told, .. } = self;
        Self { volatile, given_up, given_up_told, ..Self::default() }
    }

    /// When it wants to be asked again.
    pub(super) fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Hands out what is due. Of one story a channel has one page on its way at a time, in the order in which they were
    /// written: a page waits for those before it, and passes one only where [`Self::may_be_passed`] says so.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.boot;
        self.make_room(turn);
        self.wake = None;
        if turn.ledger.durable.outbox.depth() == 0 && self.volatile.is_empty() {
            self.tries.clear();
            self.tellings.clear();
            self.taken.clear();
            return;
        }
        let mut by_channel: BTreeMap<ChannelName, usize> = BTreeMap::new();
        for ((channel, _), telling) in &mut self.tellings {
            telling.in_flight.take_if(|(_, until)| now >= *until);
            if telling.in_flight.is_some() {
                *by_channel.entry(channel.clone()).or_default() += 1;
            }
        }
        let mut flying: usize = by_channel.values().sum();
        // Stories of which it is clear what comes next, and those of which every page was looked at.
        let mut decided: BTreeSet<(ChannelName, Story)> = BTreeSet::new();
        let mut waiting: BTreeSet<(ChannelName, Story)> = BTreeSet::new();
        let mut due = Vec::new();
        let mut next: Option<BootTime> = None;
        let mut wake_by = |at: BootTime| next = Some(next.map_or(at, |next| next.min(at)));
        let volatile = self.volatile.iter().map(|pending| (pending, Story::Memory));
        let stored = turn.ledger.durable.outbox.pending().map(|pending| (pending, story_of(pending)));
        let mut all_seen = true;
        'pages: for (pending, story) in volatile.chain(stored) {
            for channel in &pending.channels {
                let key = (channel.clone(), story.clone());
                if decided.contains(&key) {
                    continue;
                }
                let telling = self.tellings.entry(key.clone()).or_default();
                if telling.passed.contains(&pending.page.id) {
                    waiting.insert(key);
                    continue;
                }
                decided.insert(key);
                if let Some((_, until)) = telling.in_flight {
                    wake_by(until);
                    continue;
                }
                if let Some(at) = telling.not_before.filter(|at| now < *at) {
                    wake_by(at);
                    continue;
                }
                telling.not_before = None;
                let busy = by_channel.entry(channel.clone()).or_default();
                // Whatever ends asks again.
                if flying >= IN_FLIGHT_LIMIT {
                    all_seen = false;
                    break 'pages;
                }
                if *busy >= IN_FLIGHT_A_CHANNEL {
                    continue;
                }
                let id = pending.page.id.clone();
                let one = self.tries.entry((id.clone(), channel.clone())).or_insert(Try { attempts: 0, began: now });
                one.attempts += 1;
                let until = now.after(LOST_AFTER);
                telling.in_flight = Some((id, until));
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
        // What is left of these stories was passed, and is tried again after a pause.
        if all_seen {
            for key in waiting.difference(&decided) {
                let Some(telling) = self.tellings.get_mut(key) else { continue };
                if let Some(page) = telling.passed.first().cloned() {
                    telling.pause(&page, now, Duration::ZERO);
                }
                if let Some(at) = telling.not_before {
                    wake_by(at);
                }
            }
            self.tellings.retain(|key, _| decided.contains(key) || waiting.contains(key));
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

    /// Whether later pages of its story need not wait for this one any more.
    fn may_be_passed(&self, key: &(PageId, ChannelName)) -> bool {
        let Some(one) = self.tries.get(key) else { return false };
        let takes_others = self.taken.get(&key.1).is_some_and(|taken| *taken > one.began);
        one.attempts >= if takes_others { STUCK_AFTER_TRIES } else { SCOUTED_AFTER_TRIES }
    }

    /// Gives the least grave pages up, of those the oldest, until no more wait than may. One that is on its way is let be.
    fn make_room(&mut self, turn: &mut Turn<'_>) {
        while turn.ledger.durable.outbox.depth() > OUTBOX_LIMIT && !turn.ledger.is_full() {
            let flies = |page: &PageId| {
                self.tellings.values().any(|one| one.in_flight.as_ref().is_some_and(|(flying, _)| flying == page))
            };
            let pages = turn.ledger.durable.outbox.pending().filter(|pending| !flies(&pending.page.id));
            // The first of the least: of equals `min_by_key` takes the first, which is the oldest.
            let Some(least) = pages.min_by_key(|pending| pending.page.severity) else { return };
            let (page, severity, channels) = (least.page.id.clone(), least.page.severity, least.channels.clone());
            for channel in channels {
                self.tries.remove(&(page.clone(), channel.clone()));
                let why = format!("given up for graver or newer ones: more than {OUTBOX_LIMIT} pages waited");
                turn.append(None, Fact::PageSettled { page: page.clone(), channel, delivered: false, why });
            }
            *self.given_up.entry(severity).or_default() += 1;
        }
        self.tell_given_up(turn);
    }

    /// Tells how many pages were given up for want of room, by a page from memory, so that telling needs no room itself.
    /// While one waits the next is not written: it says what came since.
    fn tell_given_up(&mut self, turn: &mut Turn<'_>) {
        let is_waiting = self.given_up_told.as_ref().is_some_and(|told| self.is_volatile(told));
        if self.given_up.is_empty() || is_waiting {
            return;
        }
        let each = self.given_up.iter().rev().map(|(severity, count)| format!("{count} of {severity}"));
        let each = each.collect::<Vec<_>>().join(", ");
        let summary = format!(
            "pages were given up undelivered, the least grave and oldest first, since more than {OUTBOX_LIMIT} waited: {each}"
        );
        let id = PageId::from(format!("msg_{}_given_up_{}", turn.installation, turn.ledger.durable.last.0));
        let draft = Draft::finding(PageKind::IncidentEscalated, None, Finding::PageUndelivered, summary)
            .action("See what is open: `backstop incident list`, and why the channels take nothing.");
        let page = draft.into_page(turn, id.clone());
        let channels = super::page::channels(turn, page.severity);
        self.send_from_memory(page, channels, turn.steady());
        self.given_up.clear();
        self.given_up_told = Some(id);
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
        let now = turn.now.boot;
        if outcome == DeliveryOutcome::Delivered {
            self.taken.insert(channel.clone(), now);
        }
        let is_volatile = self.is_volatile(page);
        let known = self.volatile.iter().find(|pending| pending.page.id == *page);
        let Some(pending) = known.or_else(|| turn.ledger.durable.outbox.get(page)) else {
            self.tellings
                .values_mut()
                .for_each(|telling| drop(telling.in_flight.take_if(|(flying, _)| flying == page)));
            return;
        };
        let story = if is_volatile { Story::Memory } else { story_of(pending) };
        let telling = self.tellings.entry((channel.clone(), story)).or_default();
        telling.in_flight.take_if(|(flying, _)| flying == page);
        if !matches!(outcome, DeliveryOutcome::Retry { .. }) && telling.passed.is_empty() {
            telling.pauses = 0;
        }
        if is_volatile && !matches!(outcome, DeliveryOutcome::Retry { .. }) {
            self.settle_volatile(page, channel);
            return;
        }
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
                let story = if is_volatile { Story::Memory } else { story_of(pending) };
                let may_be_passed = retry_after_seconds.is_none() && self.may_be_passed(&key);
                let telling = self.tellings.entry((channel.clone(), story)).or_default();
                if may_be_passed && telling.passed.len() + 1 < FAILURES_A_ROUND {
                    telling.passed.insert(page.clone());
                } else {
                    let asked = Duration::from_secs(retry_after_seconds.unwrap_or(0)).min(LONGEST_RETRY_AFTER);
                    telling.pause(page, now, asked);
                }
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

fn story_of(pending: &Pending) -> Story {
    match (&pending.page.incident, &pending.page.service) {
        (Some(incident), _) => Story::Incident(incident.clone()),
        (None, Some(service)) => Story::Service(service.clone()),
        (None, None) => Story::Watchdog,
    }
}

/// Doubles with each pause, spread by up to a half so that many pages do not come at once: the spread comes from the
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
