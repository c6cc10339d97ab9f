//! What is known of one service for good.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::SuspensionRecord;
use crate::core::{
    entry::PlanOutcome,
    event::Authority,
    gate::Gate,
    name::{ConditionName, IncidentId, SignalName, Version},
    policy::{Finding, ReportKind},
    reading::Reading,
    release::{Deploy, DeploySource, Standing},
    time::{SteadyTime, WallTime},
    verdict::{Path, VerdictKind},
};

/// Deploys that are kept for each service, however young: eleven a day for the ninety days that things are kept for.
pub(super) const DEPLOYS_LIMIT: usize = 1000;
/// Deploys that are kept for each service, however old: among them are the places to go back to.
pub(super) const DEPLOYS_ALWAYS_KEPT: usize = 100;
/// Versions whose standing is kept for each service without a person's word, beside those of its deploys: ten times what
/// any host keeps releases of.
pub(super) const STANDINGS_LIMIT: usize = 1000;
/// Rollbacks that are kept for each service; the budget looks no further back than its own number.
pub(super) const ROLLBACKS_LIMIT: usize = 100;
/// Ends of certificates of which it is kept that people were told: a few instances for each of many signals, until long
/// after those have expired.
pub(super) const CERTIFICATES_TOLD_LIMIT: usize = 100;

/// Reports that are kept for each service: a flood of complaints is one fact, and needs no more to be seen as one.
pub const REPORTS_LIMIT: usize = 200;
/// Reports that the beginning of an incident's timeline tells one by one, the last ones: more say nothing new of who did.
const REPORTS_TOLD_LIMIT: usize = 20;
/// Versions that may be pinned in one service.
pub const PINS_LIMIT: usize = 100;

/// One service's durable state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRecord {
    /// Its deploys, the live one last.
    pub deploys: VecDeque<DeployRecord>,
    /// What is known of releases, by version.
    pub standings: BTreeMap<Version, StandingRecord>,
    /// Incidents ever opened; numbers them.
    pub incident_count: u64,
    /// The one that is open.
    pub open_incident: Option<IncidentId>,
    /// When rollbacks began, oldest first.
    pub rollbacks: VecDeque<SteadyTime>,
    /// When restarts of what failed began, oldest first: as many as of rollbacks.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub restarts: VecDeque<SteadyTime>,
    /// When the last rollback ended.
    pub last_rollback_ended: Option<SteadyTime>,
    /// The pause of this service.
    pub paused: Option<PauseRecord>,
    /// Findings outside incidents that are not over.
    pub findings: BTreeSet<Finding>,
    /// The last nightly dry run of the gates.
    pub night: Option<NightRecord>,
    /// Certificates that people were told of and that are still seen, by the signal that sees each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub certificates: BTreeMap<SignalName, CertificateRecord>,
    /// What people were told of certificates, one record for each end, oldest first; also of those that were renewed.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub certificates_told: VecDeque<CertificateRecord>,
    /// What was reported and not taken back, oldest first; expired ones too, until they are pushed out.
    pub reports: VecDeque<ReportRecord>,
    /// Versions that stay while they are live.
    pub pins: BTreeMap<Version, PinRecord>,
    /// The last verification without a plan.
    pub verification: Option<VerificationRecord>,
    /// The sync of a controller that is suspended for a rollback, or may be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suspension: Option<SuspensionRecord>,
}

/// A nightly dry run of the gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightRecord {
    /// When it was made.
    pub at: WallTime,
    /// Gates that would have held a rollback.
    pub held: Vec<Gate>,
    /// When people were last told, if something has held since.
    pub told_at: Option<WallTime>,
}

/// A certificate that people were told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRecord {
    /// When it expires.
    pub expires: WallTime,
    /// The shortest bound, in days, of which people were told.
    pub within_days: u16,
    /// When they were told; absent where it was not kept yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<WallTime>,
}

/// Something that was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::Reported`")]
pub struct ReportRecord {
    pub kind: ReportKind,
    pub at: WallTime,
    pub reported: SteadyTime,
    pub by: String,
    pub authority: Authority,
    pub detail: Option<String>,
    /// The incident that it belongs to: it counts no longer than that is open.
    pub incident: Option<IncidentId>,
}

impl ReportRecord {
    /// Who reported what, in words.
    pub(super) fn words(&self) -> String {
        let detail = self.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("{} reported {}{detail}", self.by, self.kind)
    }
}

/// Who pinned a version, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::Pinned`")]
pub struct PinRecord {
    pub at: WallTime,
    pub by: String,
    pub reason: Option<String>,
}

/// A verification without a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same fields as `Fact::VerificationBegun`")]
pub struct VerificationRecord {
    pub number: u64,
    pub by: String,
    pub version: Version,
    pub from: Option<Version>,
    pub incident: Option<IncidentId>,
    pub must_clear: BTreeSet<ConditionName>,
    pub began: WallTime,
    /// The same on the journal's time line.
    pub begun: SteadyTime,
    /// How long it took, once it has ended.
    pub took: Duration,
    /// When and how it ended.
    pub ended: Option<(WallTime, PlanOutcome, String)>,
}

/// One deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRecord {
    /// What became live, and when.
    pub deploy: Deploy,
    /// When that was noticed.
    pub noticed: SteadyTime,
    /// How its rollout stands.
    pub rollout: Rollout,
    /// Latencies before it.
    pub baseline: Vec<(String, f64)>,
    /// Healthy so long, in milliseconds.
    pub soaked_ms: u64,
    /// Requests served meanwhile.
    pub soaked_requests: u64,
    /// A rollback from it was begun.
    pub rolled_back: bool,
    /// A human said not to, at this verdict.
    pub denied: Option<VerdictKind>,
    /// When its rollout ended.
    pub settled_at: Option<WallTime>,
}

/// How a deploy's rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    /// No healthy answer yet.
    UnderWay,
    /// A healthy answer came.
    Settled,
    /// The settling time ended without one.
    Failing,
}

/// What is known of a release, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingRecord {
    /// What.
    pub standing: Standing,
    /// Why.
    pub why: String,
    /// A person said so: nothing but a person changes it.
    pub by_hand: bool,
    /// Since when.
    pub at: WallTime,
    /// What was measured of the release, where a person's word lies over it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measured: Option<Box<StandingRecord>>,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRecord {
    /// Until when, as it was told; absent: until resumed.
    pub until: Option<WallTime>,
    /// The same on the journal's time line: a pause for an hour lasts an hour.
    pub ends: Option<SteadyTime>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl PauseRecord {
    /// Whether it is over.
    pub fn is_over(&self, now: SteadyTime) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }
}

impl ServiceRecord {
    /// A service never heard of.
    pub(super) const EMPTY: Self = Self {
        deploys: VecDeque::new(),
        standings: BTreeMap::new(),
        incident_count: 0,
        open_incident: None,
        rollbacks: VecDeque::new(),
        restarts: VecDeque::new(),
        last_rollback_ended: None,
        paused: None,
        findings: BTreeSet::new(),
        night: None,
        certificates: BTreeMap::new(),
        certificates_told: VecDeque::new(),
        reports: VecDeque::new(),
        pins: BTreeMap::new(),
        verification: None,
        suspension: None,
    };

    /// The live deploy.
    pub fn live(&self) -> Option<&DeployRecord> {
        self.deploys.back()
    }

    /// The deploy of that number.
    pub fn deploy(&self, number: u64) -> Option<&DeployRecord> {
        self.deploys.iter().rev().find(|record| record.deploy.number == number)
    }

    /// Reports that a path has read as counting: when each came, and what it said, oldest first.
    pub(super) fn reports_read(&self, path: &Path) -> Vec<(WallTime, String)> {
        let mut counting: BTreeMap<ReportKind, u32> = BTreeMap::new();
        for reading in path.questions.iter().flat_map(|question| &question.readings) {
            if let Reading::Reports { kind, count, .. } = reading {
                let known = counting.entry(*kind).or_default();
                *known = (*known).max(*count);
            }
        }
        // What counts is young enough: of each kind those that came last.
        let is_read = |report: &&ReportRecord| {
            let left = counting.get_mut(&report.kind).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_some()
        };
        let mut read: Vec<&ReportRecord> = self.reports.iter().rev().filter(is_read).collect();
        let older = read.split_off(read.len().min(REPORTS_TOLD_LIMIT));
        let earlier = older.last().map(|oldest| (oldest.at, format!("the first of {} more reports", older.len())));
        earlier.into_iter().chain(read.iter().rev().map(|report| (report.at, report.words()))).collect()
    }

    /// The deploy that `seen` is once more: what only a version endpoint said in between is no proof that somebody deployed,
    /// and the same release is seen as before.
    pub(super) fn seen_again(&self, seen: &Deploy) -> Option<&DeployRecord> {
        if !matches!(seen.source, DeploySource::Target | DeploySource::VersionEndpoint) {
            return None;
        }
        let is_witnessed = |record: &&DeployRecord| record.deploy.source != DeploySource::VersionEndpoint;
        let last_witnessed = self.deploys.iter().rev().position(|record| is_witnessed(&record));
        let since = last_witnessed.map_or(self.deploys.len(), |place| place + 1);
        let mut latest = self.deploys.iter().rev().take(since);
        latest.find(|record| record.deploy.release.agrees_with(&seen.release))
    }

    pub(super) fn deploy_mut(&mut self, number: u64) -> Option<&mut DeployRecord> {
        self.deploys.iter_mut().rev().find(|record| record.deploy.number == number)
    }

    /// The next deploy's number.
    pub fn next_deploy(&self) -> u64 {
        self.live().map_or(1, |record| record.deploy.number + 1)
    }

    /// What is known of a version.
    pub fn standing(&self, version: &Version) -> Standing {
        self.standings.get(version).map_or(Standing::Unproven, |record| record.standing)
    }

    /// What was measured of a version, whatever a person says of it.
    pub fn measured(&self, version: &Version) -> Option<&StandingRecord> {
        let known = self.standings.get(version)?;
        if known.by_hand { known.measured.as_deref() } else { Some(known) }
    }

    /// Whether a person's word holds for that version.
    pub fn is_marked(&self, version: &Version) -> bool {
        self.standings.get(version).is_some_and(|known| known.by_hand)
    }

    /// Whether a rollback made the live release live.
    pub fn live_by_rollback(&self) -> bool {
        self.live().is_some_and(|record| record.deploy.source == DeploySource::Rollback)
    }
}
