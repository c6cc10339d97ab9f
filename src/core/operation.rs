//! What a plan asks of the world, and what the world answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    name::{IncidentId, Version},
    release::{Instance, Observation},
    sample::Reason,
    time::BootTime,
};

/// One thing to be done at a target. Each may be repeated safely: what is so already is left so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Make sure that the version to go back to is there and complete. Changes nothing that serves.
    EnsureAvailable {
        /// The version.
        version: Version,
    },
    /// Make `to` the live version. Refused by the target if what is live is neither `from` nor `to`.
    Switch {
        /// The accused version.
        from: Version,
        /// The older one.
        to: Version,
    },
    /// Wait until the target says that `version` is rolled out.
    WaitRollout {
        /// The version.
        version: Version,
    },
    /// Delete these instances of the live release, so that the platform makes others in their place: one that serves by now
    /// stays, and one that is gone is left so. However often it is repeated, no other is deleted.
    RestartFailing {
        /// The live release.
        version: Version,
        /// Which.
        instances: Vec<Instance>,
    },
    /// Turn off the automated sync of the controller that owns the target. Refused where it was suspended before and
    /// somebody turned it on again.
    SuspendSync {
        /// Whose, in words.
        owner: String,
        /// A merge patch that makes it what it was when that was planned: what is written on the owner may be lost.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        was: Option<String>,
    },
    /// Turn that sync on as it was, unless somebody else did. Refused where another owns the target by now, or where it is
    /// off and what it was is not written on the owner any more.
    ResumeSync {
        /// Whose, in words.
        owner: String,
    },
    /// Append to (or complete in) the history file.
    Record {
        /// The entry.
        history: HistoryRecord,
    },
}

impl Operation {
    /// Whether it changes what the target says: then a look tells what became of it.
    pub const fn changes_the_target(&self) -> bool {
        match self {
            Self::Switch { .. } | Self::SuspendSync { .. } | Self::ResumeSync { .. } => true,
            Self::EnsureAvailable { .. }
            | Self::WaitRollout { .. }
            | Self::RestartFailing { .. }
            | Self::Record { .. } => false,
        }
    }

    /// A short name for logs, metrics and evidence file names.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::EnsureAvailable { .. } => "ensure_available",
            Self::Switch { .. } => "switch",
            Self::WaitRollout { .. } => "wait_rollout",
            Self::RestartFailing { .. } => "restart_failing",
            Self::SuspendSync { .. } => "suspend_sync",
            Self::ResumeSync { .. } => "resume_sync",
            Self::Record { .. } => "record",
        }
    }
}

/// Which attempt at which step of which plan: the identity under which an operation runs, holds its lock and leaves its
/// receipt. Unique for ever within one store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepKey {
    /// The incident that the plan belongs to.
    pub incident: IncidentId,
    /// The plan's number within the incident.
    pub plan: u16,
    /// The step's place in the plan, from 0.
    pub step: u16,
    /// Counts up with each try, undoing included.
    pub attempt: u16,
}

impl StepKey {
    /// The name of its files. Never changed: an unfinished plan is resumed by a later version, too. The step counts from 0
    /// in it, as in the journal.
    pub fn file_name(&self) -> String {
        format!("{}.{}.{}.{}", self.incident, self.plan, self.step, self.attempt)
    }
}

impl std::fmt::Display for StepKey {
    /// For people, to follow "step": they count steps from 1.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of plan {} of {}, attempt {}", self.step + 1, self.plan, self.incident, self.attempt)
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationOutcome {
    /// It is so now. With a note for people ("was there already", "3 of 3 replicas").
    Done(String),
    /// It is not so, and nothing is going on any more.
    Failed(Reason),
    /// Nobody knows: it ran into its deadline, or the answer got lost. Look before doing anything.
    Unknown(Reason),
    /// Somebody else has changed what it is about: another release is live, or the object is gone or another one. It is
    /// not done, nothing is going on any more, and it is not tried again.
    Overtaken(Reason),
}

/// What was left behind by an attempt of an earlier process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It never began, or left no trace.
    Nothing,
    /// It was ended before it was through.
    Interrupted,
    /// It came to its end and succeeded.
    Succeeded,
    /// It came to its end and failed.
    Failed,
}

/// What a look at a target found, with what the last attempt left behind. The look waits until no child of an earlier
/// attempt runs any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The world, or why it could not be seen.
    pub observation: Result<Observation, Reason>,
    /// The receipt of the attempt asked for, if one was.
    pub receipt: Option<Receipt>,
    /// When it began: what it shows may be as old as that, however late it is taken in.
    pub began: BootTime,
}

/// What was gathered for people when all is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathering {
    /// Where the files are, for people.
    pub place: String,
    /// How many.
    pub files: usize,
    /// What they show, a line each: at most [`SEEN_LINES_LIMIT`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub seen: Vec<String>,
}

impl Gathering {
    /// Where it is, and how much.
    pub fn words(&self) -> String {
        let files = if self.files == 1 { "file" } else { "files" };
        format!("gathered: {} {files} in {}", self.files, self.place)
    }
}

/// Lines that say what was gathered: as many as a page bears.
pub const SEEN_LINES_LIMIT: usize = 12;

/// One rollback as the runbook's history file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// When the rollback began, RFC 3339 in UTC, whole seconds.
    pub date: String,
    /// The accused version.
    pub version_from: String,
    /// The version restored.
    pub version_to: String,
    /// Why, in one line.
    pub reason: String,
    /// From the plan's start to verified, rounded up to whole minutes.
    pub duration_minutes: u64,
    /// Filled in by a person.
    pub root_cause: String,
    /// Filled in by a person.
    pub post_mortem_link: String,
    /// Which service; beyond the runbook's own keys, since a file serves several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The incident; beyond the runbook's own keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incident: String,
    /// How it ended: verified, persists, unverified, failed, stuck, overtaken or aborted; beyond the runbook's own keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
}

/// A step's deadline, and what is done when the time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its identity.
    pub key: StepKey,
    /// What to do.
    pub operation: Operation,
    /// Which object at the target the plan is about, where its platform tells objects of one name apart.
    pub object: Option<String>,
    /// After this the outcome is [`OperationOutcome::Unknown`], unless it is known by then.
    pub deadline: Duration,
}
