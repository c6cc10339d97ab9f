//! What the watchdog knows of itself: whether its own network is well, whether its journal can be written, and whether it
//! is about to end.

use std::time::Duration;

use super::{State, ledger::Ledger, page, page::Draft};
use crate::core::{
    action::Actions,
    entry::Fact,
    gate::{Impaired, words},
    name::{PageId, ServiceName},
    page::PageKind,
    policy::{Finding, Policy},
    sample::{Measurement, Outcome, Reason, Sample},
    time::{BootTime, Now},
};

/// The watchdog's own network is taken for ill only after it failed this long: one lost packet is no illness, but what
/// was sampled meanwhile is missed from the first failure on.
const IMPAIRED_TOLD_AFTER: Duration = Duration::from_secs(10);

/// The journal is taken for failing, and that is told, after so long.
const STORE_TOLD_AFTER: Duration = Duration::from_secs(10);

/// It is taken for well again, and that is told, once nothing failed for so long: a disk that stalls again and again is one
/// trouble, told once.
const STORE_WELL_AFTER: Duration = Duration::from_secs(60);

/// Open incidents that the page of a failing journal names.
const INCIDENTS_SHOWN: usize = 10;

/// Why nothing is believed before the first check.
const UNCHECKED: &str = "the watchdog's own network was not checked yet";

/// What is known of the watchdog's own network.
#[derive(Debug)]
enum OwnNetwork {
    /// It was well when it was last checked, or nobody is to check it.
    Well,
    /// It is to be checked, and was not yet: nobody knows.
    Unchecked,
    /// It is ill, and since when.
    Ill(Reason, BootTime),
}

/// What the watchdog knows of itself.
#[derive(Debug)]
pub(super) struct Observer {
    network: OwnNetwork,
    store: Option<(Reason, BootTime)>,
    /// The process is about to end: nothing new is begun.
    pub(super) closing: bool,
}

impl Observer {
    pub(super) const fn new(policy: &Policy) -> Self {
        let network = if policy.checks_itself { OwnNetwork::Unchecked } else { OwnNetwork::Well };
        Self { network, store: None, closing: false }
    }

    /// Another policy is in force.
    pub(super) fn reload(&mut self, before: &Policy, policy: &Policy) {
        match (before.checks_itself, policy.checks_itself) {
            (false, true) => self.network = OwnNetwork::Unchecked,
            // What was ill is not looked at any more.
            (_, false) => self.network = OwnNetwork::Well,
            (true, true) => {}
        }
    }

    /// Why nothing that is seen is believed, if it is not.
    pub(super) fn impaired(&self) -> Option<&str> {
        match &self.network {
            OwnNetwork::Well => None,
            OwnNetwork::Unchecked => Some(UNCHECKED),
            OwnNetwork::Ill(reason, _) => Some(reason.as_str()),
        }
    }

    pub(super) fn impairment(&self, now: Now) -> Option<Impaired<'_>> {
        let certain = match &self.network {
            OwnNetwork::Ill(_, since) => now.boot.since(*since) >= IMPAIRED_TOLD_AFTER,
            OwnNetwork::Well | OwnNetwork::Unchecked => false,
        };
        self.impaired().map(|why| Impaired { why, certain })
    }

    pub(super) fn store_failing(&self) -> Option<&str> {
        self.store.as_ref().map(|(reason, _)| reason.as_str())
    }
}

impl State {
    pub(super) fn self_checked(&mut self, now: Now, outcome: Outcome, actions: &mut Actions) {
        let network = &mut self.observer.network;
        *network = match outcome {
            Outcome::Passed => OwnNetwork::Well,
            Outcome::Failed(reason) | Outcome::Missed(reason) => {
                let since = if let OwnNetwork::Ill(_, since) = network { *since } else { now.boot };
                OwnNetwork::Ill(reason, since)
            }
        };
        self.tell_impaired(now, actions);
    }

    /// Tells that the watchdog's own network is ill, and when it is known to be well again.
    pub(super) fn tell_impaired(&mut self, now: Now, actions: &mut Actions) {
        let finding = Finding::ObserverImpaired;
        let told = self.ledger.durable.findings.contains(&finding);
        let (is_well, ill) = match &self.observer.network {
            OwnNetwork::Well => (true, None),
            OwnNetwork::Unchecked => (false, None),
            OwnNetwork::Ill(reason, since) => (false, Some((reason.clone(), *since))),
        };
        let mut turn = self.turn(now, actions);
        match ill {
            Some((reason, since)) if !told && now.boot.since(since) >= IMPAIRED_TOLD_AFTER => {
                let severity = turn.policy.escalation.severity(finding);
                let detail = reason.to_string();
                let summary = format!("the watchdog's own network is ill: {reason}; nothing is decided meanwhile");
                turn.append(None, Fact::Found { incident: None, finding, severity, detail, gate: None });
                turn.page(Draft::finding(PageKind::SignalLost, None, finding, summary));
            }
            None if told && is_well => {
                turn.append(None, Fact::FindingOver { finding });
                let summary = "the watchdog's own network is well again";
                turn.page(Draft::finding(PageKind::SignalRestored, None, finding, summary).action("Nothing to do."));
            }
            _ => {}
        }
    }

    /// The store cannot tell of itself through the store: these pages go out from memory.
    pub(super) fn store_fails(&mut self, now: Now, reason: &Reason, actions: &mut Actions) {
        self.store_well_since = None;
        let since = self.observer.store.take().map_or(now.boot, |(_, since)| since);
        self.observer.store = Some((reason.clone(), since));
        self.tell_store_failing(now, actions);
    }

    /// A disk that hangs gives no error: what waits for it says so.
    pub(super) fn notice_hanging_store(&mut self, now: Now, actions: &mut Actions) {
        if let Some(since) = self.ledger.waits_since()
            && self.observer.store.is_none()
            && now.boot.since(since) >= STORE_TOLD_AFTER
        {
            self.observer.store = Some((Reason::new("it takes no entry, and says nothing: its disk may hang"), since));
            self.store_well_since = None;
            self.tell_store_failing(now, actions);
        }
    }

    /// A lock that is held for a moment is no failing store: nothing is begun meanwhile, and nobody is woken. Told again as
    /// its severity wants it: incidents that come meanwhile are told by nothing else.
    pub(super) fn tell_store_failing(&mut self, now: Now, actions: &mut Actions) {
        let Some((reason, since)) = &self.observer.store else { return };
        let severity = self.policy.escalation.severity(Finding::StoreFailed);
        let every = self.policy.escalation.severities.get(&severity).and_then(|policy| policy.repeat);
        let due = match self.store_told {
            None => since.after(STORE_TOLD_AFTER),
            Some(told) => match every {
                Some(every) => told.after(every),
                None => return,
            },
        };
        if now.boot < due {
            return;
        }
        let lasts = words(now.boot.since(*since));
        let summary = match self.store_told {
            None => format!("the journal cannot be written: {reason}. Watching goes on, acting stopped."),
            Some(_) => {
                format!("the journal has not been written for {lasts}: {reason}. Watching goes on, acting stopped.")
            }
        };
        self.store_told = Some(now.boot);
        let held = self.ledger.durable.incidents.values().filter(|one| one.is_open()).map(|one| one.id.clone());
        self.told_from_memory.extend(held);
        self.tell_from_memory(now, (PageKind::IncidentEscalated, None), summary, None, actions);
    }

    /// Incidents that open while nothing can be put on record are told all the same, once each: their own pages wait.
    pub(super) fn tell_incidents_from_memory(&mut self, now: Now, actions: &mut Actions) {
        if self.observer.store.is_none() || self.store_told.is_none() {
            return;
        }
        let open = self.ledger.durable.incidents.values().filter(|one| one.is_open());
        let new: Vec<_> = open
            .filter(|one| !self.told_from_memory.contains(&one.id))
            .map(|one| {
                (
                    one.id.clone(),
                    one.service.clone(),
                    format!("{}: {} ({}): {}", one.service, one.verdict, one.id, one.path.because),
                )
            })
            .collect();
        for (id, service, summary) in new {
            self.told_from_memory.insert(id);
            let action = "The journal cannot be written, so nothing is done: people decide. Its own page comes when it is on record.";
            self.tell_from_memory(now, (PageKind::IncidentEscalated, Some(&service)), summary, Some(action), actions);
        }
    }

    pub(super) fn store_works(&mut self, now: Now) {
        self.observer.store = None;
        if self.store_told.is_some() {
            self.store_well_since.get_or_insert(now.boot);
        }
    }

    /// What was told is taken back once it has been well for a while.
    pub(super) fn tell_store_works(&mut self, now: Now, actions: &mut Actions) {
        if self.store_well_since.is_some_and(|since| now.boot.since(since) >= STORE_WELL_AFTER) {
            self.store_well_since = None;
            self.store_told = None;
            self.told_from_memory.clear();
            let summary = "the journal is written again".to_owned();
            self.tell_from_memory(now, (PageKind::SignalRestored, None), summary, Some("Nothing to do."), actions);
        }
    }

    fn tell_from_memory(
        &mut self,
        now: Now,
        (kind, service): (PageKind, Option<&ServiceName>),
        summary: String,
        action: Option<&str>,
        actions: &mut Actions,
    ) {
        self.store_pages += 1;
        let id = PageId::from(format!("msg_{}_store_{}_{}", self.installation, now.wall.as_millis(), self.store_pages));
        let turn = self.turn(now, actions);
        let mut draft = Draft::finding(kind, service, Finding::StoreFailed, summary);
        if let Some(action) = action {
            draft = draft.action(action);
        } else {
            draft = draft.details(held_back(turn.ledger));
        }
        let page = draft.into_page(&turn, id);
        let channels = page::channels(&turn, page.severity);
        let queued = turn.steady();
        self.courier.send_from_memory(page, channels, queued);
        self.pump(now, actions);
    }
}

/// Open incidents, whose own pages wait for the journal.
fn held_back(ledger: &Ledger) -> Option<String> {
    let open: Vec<&str> =
        ledger.durable.incidents.values().filter(|one| one.is_open()).map(|one| one.id.as_str()).collect();
    let shown = open.iter().take(INCIDENTS_SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = open.len().saturating_sub(INCIDENTS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!open.is_empty()).then(|| format!("Open incidents, of which pages wait for the journal: {shown}{more}."))
}

/// The sample as one that saw nothing; none where it says so itself.
pub(super) fn missed(sample: &Sample, why: &str) -> Option<Sample> {
    let measurement = match &sample.measurement {
        Measurement::Check(Outcome::Failed(_) | Outcome::Passed) => {
            Measurement::Check(Outcome::Missed(Reason::new(why)))
        }
        Measurement::Requests(_) => Measurement::RequestsMissed(Reason::new(why)),
        _ => return None,
    };
    Some(Sample { measurement, ..sample.clone() })
}
