//! What the core wants done. Effects are data; the runtime carries them out and decides nothing.

use std::{sync::Arc, time::Duration};

use super::{
    entry::Entry,
    event::{Reply, RequestId, Sequence},
    name::{ChannelName, IncidentId, ServiceIndex, SignalIndex},
    operation::{Attempt, HistoryRecord, StepKey},
    page::Page,
};

/// One effect. Those that follow from a journal entry are handed out only after the entry is durable.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "operations are rare, and actions are short-lived")]
pub enum Action {
    /// Append to the journal, in this order.
    Append {
        /// The entry's place.
        sequence: Sequence,
        /// The entry.
        entry: Arc<Entry>,
    },
    /// From now on take this signal so often; the next sample comes one such interval after the last one.
    SetCadence {
        /// Whose.
        service: ServiceIndex,
        /// Which signal.
        signal: SignalIndex,
        /// How often.
        every: Duration,
    },
    /// Look at the target now (one look at a time is enough; a running one serves).
    Look {
        /// Whose.
        service: ServiceIndex,
        /// Wait for the lock of this attempt first, and bring its receipt.
        key: Option<StepKey>,
    },
    /// Carry an operation out.
    Operate {
        /// Whose target.
        service: ServiceIndex,
        /// What.
        attempt: Attempt,
    },
    /// Gather what a human would look at first when all is down, into the incident's evidence; [`Event::Gathered`] tells
    /// what came of it. Bounded in time, and it changes nothing.
    ///
    /// [`Event::Gathered`]: super::event::Event::Gathered
    Gather {
        /// Whose target.
        service: ServiceIndex,
        /// Into whose evidence.
        incident: IncidentId,
    },
    /// Send a page.
    Deliver {
        /// The page.
        page: Arc<Page>,
        /// By which channel.
        channel: ChannelName,
        /// Counts tries, from 1.
        attempt: u32,
    },
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// See to it that the history file has these; what is there already stays as it is. Nothing waits for it, and the
    /// next start asks again.
    KeepHistory {
        /// The entries.
        records: Vec<HistoryRecord>,
    },
    /// Put a file into the incident's evidence; the same name again replaces it.
    WriteEvidence {
        /// Which incident.
        incident: IncidentId,
        /// The file's name, safe as such.
        name: String,
        /// Its content.
        content: String,
    },
}

/// The caller's buffer of effects, in the order in which they are to be carried out.
pub type Actions = Vec<Action>;
