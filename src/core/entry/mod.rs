//! The journal's entries. The durable state is a fold over them, by `Durable::apply`, live and after a restart alike.
//!
//! An entry is added to, never changed: an older store must fold for ever. Fields that come later have defaults.

mod plan;

use serde::{Deserialize, Serialize};

pub use self::plan::{ByHand, Decision, PlanOutcome, PlannedStep, StepAction, StepEvent};

use super::{
    event::Authority,
    gate::Gate,
    name::{ChannelName, ConditionName, IncidentId, PageId, ServiceName, SignalName, Version},
    operation::Gathering,
    page::Page,
    policy::{Finding, ReportKind, Severity},
    release::{Deploy, Mark, Standing},
    time::{BootStamp, WallTime},
    verdict::{Path, PlanKind, VerdictKind},
};

/// One fact that is to outlive the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it became so.
    pub at: WallTime,
    /// What the boot clock showed then; absent in entries from before it was kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub boot: Option<BootStamp>,
    /// About which service; absent for what concerns all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<ServiceName>,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A release became live.
    Deployed {
        /// The deploy.
        deploy: Deploy,
    },
    /// The deploy's first healthy answer came, or its settling time ended.
    RolloutEnded {
        /// The deploy's number.
        deploy: u64,
        /// Whether a healthy answer came.
        healthy: bool,
    },
    /// How far a release has come towards known-good; 0 when something broke the soak.
    Soaked {
        /// The deploy's number.
        deploy: u64,
        /// Healthy so long, in milliseconds.
        healthy_ms: u64,
        /// Requests served meanwhile, where they are measured.
        requests: u64,
    },
    /// The latency before the deploy, for comparing.
    BaselineTaken {
        /// The deploy that it is compared with.
        deploy: u64,
        /// By name of the atom's signal and quantile, in seconds.
        latency_seconds: Vec<(String, f64)>,
    },
    /// What is known of a release changed.
    StandingChanged {
        /// Of which.
        version: Version,
        /// To what.
        standing: Standing,
        /// Why.
        why: String,
    },
    /// A person marked a release.
    Marked {
        /// Which.
        version: Version,
        /// How.
        mark: Mark,
        /// Who.
        by: String,
    },
    /// An incident began.
    IncidentOpened {
        /// Which.
        incident: IncidentId,
        /// The verdict.
        verdict: VerdictKind,
        /// How the tree came to it.
        path: Path,
        /// The deploy that was live.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        deploy: Option<u64>,
        /// When the fault began, if that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        onset: Option<WallTime>,
        /// Who opened it by rolling back by hand; absent where the verdict opened it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        by: Option<String>,
    },
    /// The incident's verdict rose.
    VerdictRose {
        /// Which incident.
        incident: IncidentId,
        /// To what.
        verdict: VerdictKind,
        /// How.
        path: Path,
    },
    /// Something was found that the escalation table has a row for.
    Found {
        /// In which incident, if in one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        incident: Option<IncidentId>,
        /// What.
        finding: Finding,
        /// Its severity.
        severity: Severity,
        /// In words.
        detail: String,
        /// The gate that held a rollback.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gate: Option<Gate>,
    },
    /// The service is only observed: this would have been done in another mode.
    WouldHave {
        /// In which incident.
        incident: IncidentId,
        /// At which verdict.
        verdict: VerdictKind,
        /// What.
        decision: Decision,
        /// The gate that would have held it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gate: Option<Gate>,
        /// In words.
        what: String,
    },
    /// What was found is over.
    FindingOver {
        /// What.
        finding: Finding,
    },
    /// The incident is over.
    IncidentResolved {
        /// Which.
        incident: IncidentId,
        /// How, in words.
        how: String,
    },
    /// A rollback waits for a human.
    ApprovalRequested {
        /// Of which incident.
        incident: IncidentId,
        /// Its number within the incident.
        approval: u32,
        /// The plan.
        plan: PlanKind,
        /// The verdict that asked.
        verdict: VerdictKind,
        /// From which version.
        from: Version,
        /// To which.
        to: Version,
        /// Until when it may be given.
        expires: WallTime,
    },
    /// A human gave it. Single use.
    Approved {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        approval: u32,
        /// Who.
        by: String,
    },
    /// A human said no: this deploy is held.
    Denied {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        approval: u32,
        /// Who.
        by: String,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// It can no longer be given.
    ApprovalVoided {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        approval: u32,
        /// Why.
        why: String,
    },
    /// A plan began.
    PlanStarted {
        /// Of which incident.
        incident: IncidentId,
        /// Its number within the incident.
        number: u16,
        /// Which plan.
        plan: PlanKind,
        /// The accused version.
        from: Version,
        /// The version to go back to.
        to: Version,
        /// The deploy that is undone.
        deploy: u64,
        /// Which object at the target it is about, where its platform tells objects of one name apart.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        object: Option<String>,
        /// Its steps.
        steps: Vec<PlannedStep>,
        /// Who approved it, if someone did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        approved_by: Option<String>,
        /// Who ordered it, if nobody but a person did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        by_hand: Option<ByHand>,
    },
    /// A person wants the plan under way to end safely.
    AbortAsked {
        /// Of which incident.
        incident: IncidentId,
        /// The plan's number.
        plan: u16,
        /// Who.
        by: String,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// Something happened to a step; `saga::next_status` says what follows.
    Step {
        /// Of which incident.
        incident: IncidentId,
        /// Of which plan.
        plan: u16,
        /// Which step.
        step: u16,
        /// What.
        event: StepEvent,
        /// In words, where there is something to say.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        note: String,
    },
    /// A plan ended.
    PlanEnded {
        /// Of which incident.
        incident: IncidentId,
        /// Its number.
        plan: u16,
        /// How.
        outcome: PlanOutcome,
        /// In words.
        detail: String,
    },
    /// What a human would look at first is being gathered into the incident's evidence.
    GatherBegun {
        /// Of which incident.
        incident: IncidentId,
        /// Why.
        why: String,
        /// Who ordered it, if somebody did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        by: Option<String>,
    },
    /// That ended.
    Gathered {
        /// Of which incident.
        incident: IncidentId,
        /// What was gathered.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        found: Option<Gathering>,
        /// Why nothing was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        why_not: Option<String>,
    },
    /// An attempt at turning a suspended sync on again begins.
    SyncResuming {
        /// In which incident it had been suspended.
        incident: IncidentId,
    },
    /// No sync of a controller is suspended any more, whether we turned it on or somebody else.
    SyncResumed {
        /// In which incident it had been suspended.
        incident: IncidentId,
        /// How, in words.
        how: String,
    },
    /// Somebody turned a suspended sync on while Git still held what was rolled back from.
    SyncNotHeld {
        /// In which incident it had been suspended.
        incident: IncidentId,
        /// In words.
        why: String,
    },
    /// A sync that is suspended, or was, is not followed any more: people have to see to it.
    SyncLeft {
        /// In which incident it had been suspended.
        incident: IncidentId,
        /// In words.
        why: String,
    },
    /// A page was put into the outbox, for these channels.
    PageQueued {
        /// The page.
        page: Page,
        /// The channels.
        channels: Vec<ChannelName>,
        /// It only says once more that its incident is open.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        is_repeat: bool,
    },
    /// A channel has a page, or will never take it.
    PageSettled {
        /// Which page.
        page: PageId,
        /// Which channel.
        channel: ChannelName,
        /// Whether it has it.
        delivered: bool,
        /// Why not.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        why: String,
    },
    /// The nightly dry run of the gates was made.
    #[serde(rename = "nightly_look")]
    NightlyDryRun {
        /// Gates that would have held a rollback.
        held: Vec<Gate>,
        /// Whether people were told of them.
        told: bool,
    },
    /// What is over for so long is no longer kept: incidents that ended before this, and deploys before it but the last
    /// ones.
    Forgotten {
        /// Before when.
        before: WallTime,
        /// Services that are watched no more, of which nothing is known any more from here on.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        services: Vec<ServiceName>,
    },
    /// People were told that a certificate expires.
    CertificateTold {
        /// The signal that sees it.
        signal: SignalName,
        /// When it expires.
        expires: WallTime,
        /// The bound, in days, that was passed.
        within_days: u16,
    },
    /// That certificate is seen no more.
    CertificateReplaced {
        /// The signal that saw it.
        signal: SignalName,
    },
    /// No new plans.
    Paused {
        /// Until when; absent: until resumed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<WallTime>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The pause is over.
    Resumed {
        /// Who.
        by: String,
    },
    /// Somebody reported something about a service.
    Reported {
        /// What.
        kind: ReportKind,
        /// Who.
        by: String,
        /// How far it may lead.
        authority: Authority,
        /// In words.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
        /// The incident that was open, which it belongs to.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        incident: Option<IncidentId>,
    },
    /// Reports of one kind were taken back.
    ReportRetracted {
        /// Of which kind.
        kind: ReportKind,
        /// Who.
        by: String,
        /// Only those of this one; absent for all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        whose: Option<String>,
    },
    /// While this version is live it stays: nothing is rolled back from it.
    Pinned {
        /// Which.
        version: Version,
        /// Who.
        by: String,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// The pin is taken away.
    Unpinned {
        /// Of which version.
        version: Version,
        /// Who.
        by: String,
    },
    /// A verification of what is live began, without a plan: somebody rolled back by hand.
    VerificationBegun {
        /// Counts up in each service.
        number: u64,
        /// Who asked for it.
        by: String,
        /// What is to be proved healthy.
        version: Version,
        /// What it was put in the place of, if it was gone back to.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        from: Option<Version>,
        /// The incident that was open.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        incident: Option<IncidentId>,
        /// What fired, and must be no by evidence, beside what must always be.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        must_clear: Vec<ConditionName>,
    },
    /// That verification ended.
    VerificationEnded {
        /// Which.
        number: u64,
        /// Verified, persists or unverified.
        outcome: PlanOutcome,
        /// In words.
        note: String,
    },
}
