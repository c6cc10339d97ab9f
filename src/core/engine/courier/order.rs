//! In which order pages are tried: each channel has a line for each story, in which a page waits for those before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::core::{
    durable::{Outbox, Pending},
    name::{ChannelName, IncidentId, PageId, ServiceName},
    time::BootTime,
};

/// The first pause before trying again; it doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a receiver that is back is told within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// After so many tries, a minute or two, a page does not hold up later ones of its incident any more, where its channel
/// has taken others meanwhile: then it is this page that the receiver does not like.
const STUCK_AFTER_TRIES: u32 = 8;
/// As long as those take. Where the receiver asks for longer pauses than ours, the second try after this is enough.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// The same where the channel took nothing meanwhile, some fifteen minutes: then later pages of the incident are tried
/// right after it, since nobody knows whether it is the receiver or the page.
const SCOUTED_AFTER_TRIES: u32 = 20;
/// Pages of one incident that are tried and fail on one channel between two pauses.
const FAILURES_A_ROUND: usize = 4;

/// What is told in its order, by each channel: an incident, or what concerns a service or the watchdog otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Story {
    Incident(IncidentId),
    Service(ServiceName),
    Watchdog,
    /// What cannot go through the journal, and must not wait for what does.
    Memory,
}

impl Story {
    fn of(pending: &Pending) -> Self {
        match (&pending.page.incident, &pending.page.service) {
            (Some(incident), _) => Self::Incident(incident.clone()),
            (None, Some(service)) => Self::Service(service.clone()),
            (None, None) => Self::Watchdog,
        }
    }
}

/// One page in one line, and the tries at it.
#[derive(Debug)]
struct Waiting {
    page: PageId,
    attempts: u32,
    began: Option<BootTime>,
    /// It alone is not tried before this.
    not_before: Option<BootTime>,
}

/// How far one channel is in telling a story.
#[derive(Debug, Default)]
struct Line {
    /// By their place among all pages, so oldest first.
    waiting: BTreeMap<u64, Waiting>,
    /// The page on its way, and when it counts as lost.
    in_flight: Option<(PageId, BootTime)>,
    /// Nothing of the story is tried before this.
    not_before: Option<BootTime>,
    /// Pages that failed since the last pause and that later ones may pass.
    passed: BTreeSet<u64>,
    /// Pauses since a page was taken.
    pauses: u32,
}

/// What a line is to do.
enum Next {
    Try(u64),
    Wait(BootTime),
}

impl Line {
    fn pause(&mut self, place: u64, now: BootTime, asked: Duration) -> BootTime {
        self.pauses = self.pauses.saturating_add(1);
        self.passed.clear();
        let pause = self.waiting.get(&place).map_or(FIRST_PAUSE, |one| pause(&one.page, self.pauses));
        *self.not_before.insert(now.after(pause.max(asked)))
    }

    fn next(&mut self, now: BootTime) -> Option<Next> {
        self.in_flight.take_if(|(_, until)| now >= *until);
        if let Some((_, until)) = &self.in_flight {
            return Some(Next::Wait(*until));
        }
        self.not_before.take_if(|at| now >= *at);
        if let Some(at) = self.not_before {
            return Some(Next::Wait(at));
        }
        let may_be_tried =
            |(place, one): &(&u64, &Waiting)| !self.passed.contains(place) && one.not_before.is_none_or(|at| now >= at);
        if let Some((place, _)) = self.waiting.iter().find(may_be_tried) {
            return Some(Next::Try(*place));
        }
        // What was passed is tried again after a pause.
        match self.passed.first().copied() {
            Some(place) => Some(Next::Wait(self.pause(place, now, Duration::ZERO))),
            None => self.waiting.values().filter_map(|one| one.not_before).min().map(Next::Wait),
        }
    }

    /// A try at the page in that place failed for now. The receiver asked for so long a pause, if for any; its channel took
    /// another page last at `taken`.
    fn failed(&mut self, place: u64, now: BootTime, asked: Option<Duration>, taken: Option<BootTime>) {
        let Some(one) = self.waiting.get_mut(&place) else { return };
        let began = one.began.unwrap_or(now);
        let takes_others = taken.is_some_and(|taken| taken > began);
        let Some(asked) = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER)) else {
            let enough = if takes_others { STUCK_AFTER_TRIES } else { SCOUTED_AFTER_TRIES };
            if one.attempts >= enough && self.passed.len() + 1 < FAILURES_A_ROUND {
                self.passed.insert(place);
            } else {
                self.pause(place, now, Duration::ZERO);
            }
            return;
        };
        let is_long = one.attempts >= STUCK_AFTER_TRIES || (one.attempts > 1 && now.since(began) >= STUCK_AFTER);
        if takes_others && is_long {
            // The receiver asks for time for this page, and has time for others.
            one.not_before = Some(now.after(pause(&one.page, one.attempts).max(asked)));
        } else {
            self.pause(place, now, asked);
        }
    }
}

/// Where a page stands.
#[derive(Debug)]
struct Standing {
    place: u64,
    story: Story,
    channels: usize,
}

/// A page that may be tried now. In the order in which pages are tried: those from memory first, then the oldest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    is_stored: bool,
    place: u64,
    pub(super) channel: ChannelName,
    story: Story,
}

/// Every page that waits, by channel and story: an index of the outbox, kept with it, so that nobody has to walk it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_story: BTreeMap<(ChannelName, Story), Line>,
    standings: BTreeMap<PageId, Standing>,
    last_place: u64,
    /// Pages that the outbox ever had when it was last looked at.
    page_count: u64,
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.standings.is_empty()
    }

    /// Takes in what was put into the outbox since it was last looked at.
    pub(super) fn take_in(&mut self, outbox: &Outbox) {
        let since = outbox.page_count.saturating_sub(self.page_count);
        self.page_count = outbox.page_count;
        let newest = outbox.pending().rev().take(usize::try_from(since).unwrap_or(usize::MAX));
        let mut fresh: Vec<_> = newest.take_while(|pending| !self.standings.contains_key(&pending.page.id)).collect();
        while let Some(pending) = fresh.pop() {
            self.add(pending, Story::of(pending));
        }
    }

    /// Puts a page at the end of the lines of its channels.
    pub(super) fn add(&mut self, pending: &Pending, story: Story) {
        self.last_place += 1;
        let place = self.last_place;
        let page = &pending.page.id;
        for channel in &pending.channels {
            let line = self.by_story.entry((channel.clone(), story.clone())).or_default();
            let one = Waiting { page: page.clone(), attempts: 0, began: None, not_before: None };
            line.waiting.insert(place, one);
        }
        self.standings.insert(page.clone(), Standing { place, story, channels: pending.channels.len() });
    }

    /// A page waits for that channel no more.
    pub(super) fn settle(&mut self, page: &PageId, channel: &ChannelName) {
        let Some(standing) = self.standings.get_mut(page) else { return };
        let key = (channel.clone(), standing.story.clone());
        let Some(line) = self.by_story.get_mut(&key) else { return };
        if line.waiting.remove(&standing.place).is_none() {
            return;
        }
        line.passed.remove(&standing.place);
        if line.waiting.is_empty() {
            self.by_story.remove(&key);
        }
        standing.channels -= 1;
        if standing.channels == 0 {
            self.standings.remove(page);
        }
    }

    /// Pages that are on their way.
    pub(super) fn flying(&self) -> BTreeSet<PageId> {
        self.by_story.values().filter_map(|line| line.in_flight.as_ref()).map(|(page, _)| page.clone()).collect()
    }

    /// Whether a later page of its story waits for one of its channels.
    pub(super) fn has_later(&self, pending: &Pending) -> bool {
        let Some(standing) = self.standings.get(&pending.page.id) else { return false };
        pending.channels.iter().any(|channel| {
            let line = self.by_story.get(&(channel.clone(), standing.story.clone()));
            line.and_then(|line| line.waiting.last_key_value()).is_some_and(|(last, _)| *last > standing.place)
        })
    }

    /// What may be tried now, in order; how many are on their way, by channel; and when something else may be tried, or is
    /// given up for lost.
    pub(super) fn due(&mut self, now: BootTime) -> (Vec<Due>, BTreeMap<ChannelName, usize>, Option<BootTime>) {
        let mut due = Vec::new();
        let mut flying: BTreeMap<ChannelName, usize> = BTreeMap::new();
        let mut wake: Option<BootTime> = None;
        for ((channel, story), line) in &mut self.by_story {
            match line.next(now) {
                Some(Next::Try(place)) => {
                    let is_stored = *story != Story::Memory;
                    due.push(Due { is_stored, place, channel: channel.clone(), story: story.clone() });
                }
                Some(Next::Wait(at)) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                None => {}
            }
            if line.in_flight.is_some() {
                match flying.get_mut(channel) {
                    Some(count) => *count += 1,
                    None => drop(flying.insert(channel.clone(), 1)),
                }
            }
        }
        due.sort_unstable();
        (due, flying, wake)
    }

    /// A try at it begins, and counts as lost at `until`. Returns the page, and which try this is.
    pub(super) fn begin(&mut self, due: &Due, now: BootTime, until: BootTime) -> Option<(PageId, u32)> {
        let line = self.by_story.get_mut(&(due.channel.clone(), due.story.clone()))?;
        let one = line.waiting.get_mut(&due.place)?;
        one.attempts += 1;
        one.began.get_or_insert(now);
        one.not_before = None;
        line.in_flight = Some((one.page.clone(), until));
        Some((one.page.clone(), one.attempts))
    }

    /// A try at it came to its end, whatever the page is worth by now.
    pub(super) fn landed(&mut self, page: &PageId, channel: &ChannelName) {
        let is_it = |(flying, _): &mut (PageId, BootTime)| flying == page;
        if let Some(standing) = self.standings.get(page) {
            if let Some(line) = self.by_story.get_mut(&(channel.clone(), standing.story.clone())) {
                line.in_flight.take_if(is_it);
            }
            return;
        }
        for line in self.by_story.values_mut() {
            line.in_flight.take_if(is_it);
        }
    }

    /// And ended for good: the pauses begin anew.
    pub(super) fn ended(&mut self, page: &PageId, channel: &ChannelName) {
        if let Some((line, _)) = self.line_of(page, channel)
            && line.passed.is_empty()
        {
            line.pauses = 0;
        }
        self.settle(page, channel);
    }

    /// And failed for now.
    pub(super) fn failed(
        &mut self,
        page: &PageId,
        channel: &ChannelName,
        now: BootTime,
        asked: Option<Duration>,
        taken: Option<BootTime>,
    ) {
        if let Some((line, place)) = self.line_of(page, channel) {
            line.failed(place, now, asked, taken);
        }
    }

    fn line_of(&mut self, page: &PageId, channel: &ChannelName) -> Option<(&mut Line, u64)> {
        let standing = self.standings.get(page)?;
        let line = self.by_story.get_mut(&(channel.clone(), standing.story.clone()))?;
        Some((line, standing.place))
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
