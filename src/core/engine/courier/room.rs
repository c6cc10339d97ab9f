//! How many pages may wait, and which give way when more do.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Courier, order::Lines};
use crate::core::{
    durable::Outbox,
    engine::{
        page::{self, Draft},
        turn::Turn,
    },
    entry::Fact,
    name::PageId,
    page::PageKind,
    policy::{Finding, Severity},
};

/// Pages that may wait in the journal's outbox: four for each of a thousand services that turn bad at once while the
/// receiver is away; some tens of megabytes at most. Past it the least grave give way, of those the oldest; the gravest
/// last. Before all of them goes what a later page of its incident says anew. That is told.
pub(super) const OUTBOX_LIMIT: usize = 4096;

/// Pages given up for want of room.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// Those not told of yet, by severity.
    untold: BTreeMap<Severity, u64>,
    /// The page that told of it last.
    told: Option<PageId>,
}

/// The pages that give way, so many of them, in one pass. One that is on its way is let be.
fn victims(outbox: &Outbox, lines: &Lines, count: usize) -> Vec<PageId> {
    let flying = lines.flying();
    let mut ranked: Vec<_> = outbox
        .pending()
        .rev()
        .enumerate()
        .filter(|(_, pending)| !flying.contains(&pending.page.id))
        .map(|(age, pending)| {
            let is_superseded = pending.is_repeat && lines.has_later(pending);
            (!is_superseded, pending.page.severity, Reverse(age), &pending.page.id)
        })
        .collect();
    if count < ranked.len() {
        ranked.select_nth_unstable(count);
        ranked.truncate(count);
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., page)| page.clone()).collect()
}

impl Courier {
    /// Gives pages up until no more wait than may.
    pub(super) fn make_room(&mut self, turn: &mut Turn<'_>) {
        let outbox = &turn.ledger.durable.outbox;
        let over = outbox.depth().saturating_sub(OUTBOX_LIMIT);
        let victims = if over > 0 && !turn.ledger.is_full() { victims(outbox, &self.lines, over) } else { Vec::new() };
        for page in victims {
            let Some(pending) = turn.ledger.durable.outbox.get(&page).filter(|_| !turn.ledger.is_full()) else { break };
            let (severity, channels) = (pending.page.severity, pending.channels.clone());
            for channel in channels {
                self.lines.settle(&page, &channel);
                let why = format!("given up for graver or newer ones: more than {OUTBOX_LIMIT} pages waited");
                turn.append(None, Fact::PageSettled { page: page.clone(), channel, delivered: false, why });
            }
            *self.given_up.untold.entry(severity).or_default() += 1;
        }
        self.tell_given_up(turn);
    }

    /// Tells how many pages were given up for want of room, by a page from memory, so that telling needs no room itself.
    /// While one waits the next is not written: it says what came since.
    fn tell_given_up(&mut self, turn: &mut Turn<'_>) {
        let is_waiting = self.given_up.told.as_ref().is_some_and(|told| self.memory.has(told));
        if self.given_up.untold.is_empty() || is_waiting {
            return;
        }
        let each = self.given_up.untold.iter().rev().map(|(severity, count)| format!("{count} of {severity}"));
        let each = each.collect::<Vec<_>>().join(", ");
        let summary = format!(
            "pages were given up undelivered, the least grave and oldest first, since more than {OUTBOX_LIMIT} waited: {each}"
        );
        let id = PageId::from(format!("msg_{}_given_up_{}", turn.installation, turn.ledger.durable.last.0));
        let draft = Draft::finding(PageKind::IncidentEscalated, None, Finding::PageUndelivered, summary)
            .action("See what is open: `backstop incident list`, and why the channels take nothing.");
        let page = draft.into_page(turn, id.clone());
        let channels = page::channels(turn, page.severity);
        self.send_from_memory(page, channels, turn.steady());
        self.given_up.untold.clear();
        self.given_up.told = Some(id);
    }
}
