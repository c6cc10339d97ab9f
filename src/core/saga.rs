//! What can become of a plan's step: one exhaustive table, and nothing else.
//!
//! The journal is an intent log: `Started` is durable before the effect, the outcome after it. A step's status is the
//! fold of its events by [`next_status`]; an event that the table does not know for a status is an error, never ignored.

use serde::{Deserialize, Serialize};

use super::entry::StepEvent;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    #[default]
    Pending,
    /// An attempt is, or was, under way.
    Started,
    /// It is so.
    Done,
    /// It is not so, and nothing is going on.
    Failed,
    /// Nobody knows. Only a look at the world leads out of here.
    Unknown,
    /// Left out.
    Skipped,
    /// It is being taken back.
    Undoing,
    /// Nobody knows whether it was taken back. Only a look at the world leads out of here.
    UndoUnknown,
    /// It is as it was before.
    Undone,
    /// It can neither be finished nor undone.
    Stuck,
}

impl StepStatus {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Started,
        Self::Done,
        Self::Failed,
        Self::Unknown,
        Self::Skipped,
        Self::Undoing,
        Self::UndoUnknown,
        Self::Undone,
        Self::Stuck,
    ];

    /// The word as in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::Undoing => "undoing",
            Self::UndoUnknown => "undo_unknown",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }

    /// Whether the world may have been changed by it and not been put back.
    pub const fn may_have_changed_the_world(self) -> bool {
        matches!(
            self,
            Self::Started | Self::Done | Self::Failed | Self::Unknown | Self::Undoing | Self::UndoUnknown | Self::Stuck
        )
    }

    /// Whether an effect of it may be under way.
    pub const fn in_flight(self) -> bool {
        matches!(self, Self::Started | Self::Undoing)
    }

    /// Whether nobody knows what became of it.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown | Self::UndoUnknown)
    }

    /// Whether it is being taken back, as far as anybody knows.
    pub const fn is_undo(self) -> bool {
        matches!(self, Self::Undoing | Self::UndoUnknown)
    }
}

/// A step was told something that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("follow step event {event:?} from status {}: there is no such transition", status.as_str())]
pub struct IllegalTransition {
    /// Where it stood.
    pub status: StepStatus,
    /// What it was told.
    pub event: StepEvent,
}

/// Where a step stands after `event`.
pub const fn next_status(status: StepStatus, event: StepEvent) -> Result<StepStatus, IllegalTransition> {
    use StepEvent as E;
    use StepStatus as S;
    Ok(match (status, event) {
        // An attempt may follow a look that found nothing done, and an attempt that failed before.
        (S::Pending | S::Unknown | S::Failed, E::Started) => S::Started,
        (S::Started | S::Unknown, E::Succeeded) => S::Done,
        (S::Started | S::Unknown, E::Failed) => S::Failed,
        (S::Started, E::BecameUnknown) => S::Unknown,
        (S::Pending, E::Skipped) => S::Skipped,
        // A failed or unknown step is undone too: it may have been done by half.
        // A second try at undoing comes after a restart that found the first one unfinished, or after a look that did not
        // find it done.
        (S::Done | S::Failed | S::Unknown | S::Undoing | S::UndoUnknown, E::UndoStarted) => S::Undoing,
        (S::Undoing, E::BecameUnknown) => S::UndoUnknown,
        (S::Undoing | S::UndoUnknown, E::Undone) => S::Undone,
        (S::Undoing | S::UndoUnknown, E::UndoFailed) => S::Stuck,
        _ => return Err(IllegalTransition { status, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [StepEvent; 8] = [
        StepEvent::Started,
        StepEvent::Succeeded,
        StepEvent::Failed,
        StepEvent::BecameUnknown,
        StepEvent::Skipped,
        StepEvent::UndoStarted,
        StepEvent::Undone,
        StepEvent::UndoFailed,
    ];

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for status in StepStatus::ALL {
            for event in EVENTS {
                if let Ok(next) = next_status(status, event) {
                    table += &format!("{} + {event:?} = {}\n", status.as_str(), next.as_str());
                }
            }
        }
        assert_eq!(
            table,
            "pending + Started = started\npending + Skipped = skipped\nstarted + Succeeded = done\n\
             started + Failed = failed\nstarted + BecameUnknown = unknown\ndone + UndoStarted = undoing\n\
             failed + Started = started\nfailed + UndoStarted = undoing\nunknown + Started = started\n\
             unknown + Succeeded = done\nunknown + Failed = failed\nunknown + UndoStarted = undoing\n\
             undoing + BecameUnknown = undo_unknown\nundoing + UndoStarted = undoing\nundoing + Undone = undone\n\
             undoing + UndoFailed = stuck\nundo_unknown + UndoStarted = undoing\nundo_unknown + Undone = undone\n\
             undo_unknown + UndoFailed = stuck\n"
        );
    }

    #[test]
    fn what_is_settled_stays_settled() {
        for status in [StepStatus::Skipped, StepStatus::Undone, StepStatus::Stuck] {
            assert!(EVENTS.iter().all(|&event| next_status(status, event).is_err()));
        }
    }
}
