//! The fold: one entry at a time, every fact handled, nothing ignored.

use super::{
    ApprovalRecord, ApprovalState, CertificateRecord, DeployRecord, Durable, FindingRecord, IncidentRecord,
    NightRecord, PlanRecord, Rollout, ServiceRecord, StandingRecord, WouldHaveRecord,
    service::{CERTIFICATES_TOLD_LIMIT, DEPLOYS_LIMIT},
};
use crate::core::{
    answer::Answer,
    entry::{Entry, Fact},
    event::Sequence,
    name::{IncidentId, ServiceName},
    policy::Finding,
    release::{Mark, Standing},
    saga::IllegalTransition,
    time::{SteadyTime, WallTime},
    verdict::{Path, VerdictKind},
};

/// Why a journal does not fold. Each means that the journal is damaged or from a newer Backstop.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Entries are missing or doubled.
    #[error("fold entry {found}: entry {expected} was due", found = found.0, expected = expected.0)]
    Gap {
        /// The one that was due.
        expected: Sequence,
        /// The one that came.
        found: Sequence,
    },
    /// It speaks of something that is not there.
    #[error("fold entry {at}: it speaks of {what}, which is not there", at = at.0)]
    Dangling {
        /// Which entry.
        at: Sequence,
        /// Of what it speaks.
        what: String,
    },
    /// A step was told something that cannot be.
    #[error("fold entry {at}: {source}", at = at.0)]
    Transition {
        /// Which entry.
        at: Sequence,
        /// What cannot be.
        source: IllegalTransition,
    },
}

impl Durable {
    /// Folds one entry in.
    pub fn apply(&mut self, sequence: Sequence, entry: &Entry) -> Result<(), FoldError> {
        let expected = Sequence(self.last.0 + 1);
        if sequence != expected {
            return Err(FoldError::Gap { expected, found: sequence });
        }
        let steady = self.timeline.at(entry.at, entry.boot);
        Fold { durable: self, sequence, at: entry.at, steady, service: entry.service.as_ref() }.fact(&entry.fact)?;
        self.timeline.advance(entry.at, entry.boot);
        self.last = sequence;
        Ok(())
    }
}

pub(super) struct Fold<'a> {
    pub(super) durable: &'a mut Durable,
    pub(super) sequence: Sequence,
    pub(super) at: WallTime,
    pub(super) steady: SteadyTime,
    pub(super) service: Option<&'a ServiceName>,
}

impl Fold<'_> {
    pub(super) fn dangling(&self, what: impl Into<String>) -> FoldError {
        FoldError::Dangling { at: self.sequence, what: what.into() }
    }

    /// A wall time of the entry, by the clock as it was then.
    pub(super) fn steady_of(&self, wall: WallTime) -> SteadyTime {
        self.steady.when_wall_shows(wall, self.at)
    }

    pub(super) fn service(&mut self) -> Result<&mut ServiceRecord, FoldError> {
        let Some(name) = self.service else { return Err(self.dangling("no service")) };
        Ok(self.durable.services.entry(name.clone()).or_default())
    }

    pub(super) fn incident(&mut self, id: &IncidentId) -> Result<&mut IncidentRecord, FoldError> {
        let error = FoldError::Dangling { at: self.sequence, what: format!("incident {id}") };
        self.durable.incidents.get_mut(id).ok_or(error)
    }

    pub(super) fn plan(&mut self, id: &IncidentId, number: u16) -> Result<&mut PlanRecord, FoldError> {
        let error = FoldError::Dangling { at: self.sequence, what: format!("plan {number} of incident {id}") };
        self.incident(id)?.plans.iter_mut().find(|plan| plan.number == number).ok_or(error)
    }

    fn approval(&mut self, id: &IncidentId, number: u32) -> Result<&mut ApprovalRecord, FoldError> {
        let error = FoldError::Dangling { at: self.sequence, what: format!("approval {number} of incident {id}") };
        self.incident(id)?.approvals.iter_mut().find(|approval| approval.number == number).ok_or(error)
    }

    pub(super) fn tell(&mut self, id: &IncidentId, text: String) -> Result<(), FoldError> {
        let at = self.at;
        self.incident(id)?.tell(at, text);
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        match fact {
            Fact::Deployed { .. }
            | Fact::RolloutEnded { .. }
            | Fact::Soaked { .. }
            | Fact::BaselineTaken { .. }
            | Fact::StandingChanged { .. }
            | Fact::Marked { .. } => self.release_fact(fact),
            Fact::IncidentOpened { .. }
            | Fact::VerdictRose { .. }
            | Fact::Found { .. }
            | Fact::WouldHave { .. }
            | Fact::FindingOver { .. }
            | Fact::IncidentResolved { .. } => self.incident_fact(fact),
            Fact::ApprovalRequested { .. }
            | Fact::Approved { .. }
            | Fact::Denied { .. }
            | Fact::ApprovalVoided { .. } => self.approval_fact(fact),
            Fact::PlanStarted { .. } | Fact::Step { .. } | Fact::PlanEnded { .. } => self.plan_fact(fact),
            Fact::GatherBegun { .. } | Fact::Gathered { .. } => self.gather_fact(fact),
            Fact::PageQueued { page, channels, is_repeat } => {
                self.durable.outbox.queue(page.clone(), channels, *is_repeat, self.steady);
                Ok(())
            }
            Fact::PageSettled { page, channel, .. } => {
                self.durable.outbox.settle(page, channel);
                Ok(())
            }
            Fact::Forgotten { before, services } => {
                let before = self.steady_of(*before);
                self.durable.forget(before);
                for service in services {
                    self.durable.services.remove(service);
                }
                Ok(())
            }
            Fact::NightlyDryRun { held, told } => {
                let at = self.at;
                let record = self.service()?;
                let before = record.night.as_ref().and_then(|night| night.told_at);
                let told_at = if *told { Some(at) } else { before.filter(|_| !held.is_empty()) };
                record.night = Some(NightRecord { at, held: held.clone(), told_at });
                Ok(())
            }
            Fact::CertificateTold { signal, expires, within_days } => {
                let told = CertificateRecord { expires: *expires, within_days: *within_days, at: Some(self.at) };
                let record = self.service()?;
                record.certificates.insert(signal.clone(), told);
                record.certificates_told.retain(|before| before.expires != *expires);
                if record.certificates_told.len() == CERTIFICATES_TOLD_LIMIT {
                    record.certificates_told.pop_front();
                }
                record.certificates_told.push_back(told);
                Ok(())
            }
            Fact::CertificateReplaced { signal } => {
                self.service()?.certificates.remove(signal);
                Ok(())
            }
            Fact::SyncResuming { .. } | Fact::SyncResumed { .. } | Fact::SyncNotHeld { .. } | Fact::SyncLeft { .. } => {
                self.sync_fact(fact)
            }
            Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Reported { .. }
            | Fact::ReportRetracted { .. }
            | Fact::Pinned { .. }
            | Fact::Unpinned { .. }
            | Fact::AbortAsked { .. }
            | Fact::VerificationBegun { .. }
            | Fact::VerificationEnded { .. } => self.fact_by_hand(fact),
        }
    }

    fn release_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        let missing = |number: u64| format!("deploy {number}");
        match fact {
            Fact::Deployed { deploy } => {
                let noticed = self.steady_of(deploy.at);
                let record = self.service()?;
                // The one rollback that it had, and the word of a person who denied, hold for it still.
                let again = record.seen_again(deploy);
                let (rolled_back, denied) = again.map_or((false, None), |before| (before.rolled_back, before.denied));
                if record.deploys.len() == DEPLOYS_LIMIT {
                    record.deploys.pop_front();
                }
                record.deploys.push_back(DeployRecord {
                    deploy: deploy.clone(),
                    noticed,
                    rollout: Rollout::UnderWay,
                    baseline: Vec::new(),
                    soaked_ms: 0,
                    soaked_requests: 0,
                    rolled_back,
                    denied,
                    settled_at: None,
                });
            }
            Fact::RolloutEnded { deploy, healthy } => {
                let error = self.dangling(missing(*deploy));
                let record = self.service()?.deploy_mut(*deploy).ok_or(error)?;
                record.rollout = if *healthy { Rollout::Settled } else { Rollout::Failing };
                record.settled_at = Some(at);
            }
            Fact::Soaked { deploy, healthy_ms, requests } => {
                let error = self.dangling(missing(*deploy));
                let record = self.service()?.deploy_mut(*deploy).ok_or(error)?;
                record.soaked_ms = *healthy_ms;
                record.soaked_requests = *requests;
            }
            Fact::BaselineTaken { deploy, latency_seconds } => {
                let error = self.dangling(missing(*deploy));
                self.service()?.deploy_mut(*deploy).ok_or(error)?.baseline.clone_from(latency_seconds);
            }
            Fact::StandingChanged { version, standing, why } => {
                let (standing, why) = (*standing, why.clone());
                let record = StandingRecord { standing, why, by_hand: false, at, measured: None };
                let service = self.service()?;
                // A person's word lies over what is measured.
                match service.standings.get_mut(version).filter(|known| known.by_hand) {
                    Some(marked) => marked.measured = Some(Box::new(record)),
                    None => drop(service.standings.insert(version.clone(), record)),
                }
                service.bound_standings();
            }
            Fact::Marked { version, mark, by } => {
                let standing = match mark {
                    Mark::Good => Standing::KnownGood,
                    Mark::Bad => Standing::KnownBad,
                    Mark::Clear => {
                        let service = self.service()?;
                        if service.is_marked(version)
                            && let Some(measured) = service.standings.remove(version).and_then(|known| known.measured)
                        {
                            service.standings.insert(version.clone(), *measured);
                        }
                        self.tell_open(&format!("{version} cleared by {by}"));
                        return Ok(());
                    }
                };
                let service = self.service()?;
                let measured = service.measured(version).cloned().map(Box::new);
                let record = StandingRecord { standing, why: format!("marked by {by}"), by_hand: true, at, measured };
                service.standings.insert(version.clone(), record);
                self.tell_open(&format!("{version} marked {} by {by}", standing.as_str().replace('_', " ")));
            }
            _ => unreachable!("dispatched by `fact`"),
        }
        Ok(())
    }

    fn incident_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        match fact {
            Fact::IncidentOpened { incident, verdict, path, deploy, onset, by } => {
                let Some(name) = self.service.cloned() else { return Err(self.dangling("no service")) };
                let began = onset.map(|onset| self.steady_of(onset));
                let record = self.service()?;
                let reported = record.reports_read(path);
                record.incident_count += 1;
                record.open_incident = Some(incident.clone());
                for report in record.reports.iter_mut().filter(|report| report.incident.is_none()) {
                    report.incident = Some(incident.clone());
                }
                let accused = deploy
                    .and_then(|number| record.deploy(number))
                    .map(|record| (record.deploy.number, record.deploy.release.version.clone()));
                let mut opened = IncidentRecord {
                    id: incident.clone(),
                    service: name,
                    opened_at: at,
                    opened: self.steady,
                    onset: *onset,
                    began,
                    opened_by: by.clone(),
                    resolved: None,
                    ended: None,
                    sync_told: None,
                    verdict: *verdict,
                    path: path.clone(),
                    fired: fired(path),
                    accused,
                    findings: Vec::new(),
                    refused: false,
                    approvals: Vec::new(),
                    plans: Vec::new(),
                    gather: None,
                    timeline: Vec::new(),
                    timeline_left_out: 0,
                    would_have: None,
                };
                for (at, text) in reported {
                    opened.tell(at, text);
                }
                let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                opened.tell(at, format!("opened{by} with verdict {verdict}: {}", path.because));
                self.durable.incidents.insert(incident.clone(), opened);
            }
            Fact::VerdictRose { incident, verdict, path } => {
                let record = self.incident(incident)?;
                record.verdict = record.verdict.max(*verdict);
                record.fired.extend(fired(path));
                record.path = path.clone();
                record.tell(at, format!("verdict {verdict}: {}", path.because));
            }
            Fact::Found { incident, finding, severity, detail, .. } => {
                if let Some(incident) = incident {
                    let record = self.incident(incident)?;
                    record.refused |=
                        matches!(finding, Finding::RollbackRefused | Finding::NoDeployToBlame | Finding::SharedCause);
                    let (finding, severity, detail) = (*finding, *severity, detail.clone());
                    record.tell(at, format!("{severity} {finding}: {detail}"));
                    record.note_finding(FindingRecord { finding, severity, at, detail });
                } else if self.service.is_some() {
                    self.service()?.findings.insert(*finding);
                } else {
                    self.durable.findings.insert(*finding);
                }
            }
            Fact::WouldHave { incident, verdict, what, .. } => {
                let record = self.incident(incident)?;
                record.tell(at, format!("only observed: {what}"));
                record.would_have = Some(WouldHaveRecord { verdict: *verdict, what: what.clone() });
            }
            Fact::FindingOver { finding } => {
                if self.service.is_some() {
                    self.service()?.findings.remove(finding);
                } else {
                    self.durable.findings.remove(finding);
                }
            }
            Fact::IncidentResolved { incident, how } => {
                let steady = self.steady;
                let record = self.incident(incident)?;
                record.resolved = Some((at, how.clone()));
                record.ended = Some(steady);
                record.tell(at, format!("resolved: {how}"));
                let record = self.service()?;
                record.open_incident = None;
                record.reports.retain(|report| report.incident.as_ref() != Some(incident));
                self.durable.ended.push_back(incident.clone());
                self.durable.bound_ended();
            }
            _ => unreachable!("dispatched by `fact`"),
        }
        Ok(())
    }

    fn approval_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        match fact {
            Fact::ApprovalRequested { incident, approval, plan, verdict, from, to, expires } => {
                let asked = ApprovalRecord {
                    number: *approval,
                    plan: *plan,
                    verdict: *verdict,
                    from: from.clone(),
                    to: to.clone(),
                    requested_at: at,
                    expires: *expires,
                    lapses: self.steady_of(*expires),
                    state: ApprovalState::Open,
                    reason: None,
                };
                self.incident(incident)?.note_approval(asked);
                self.tell(incident, format!("asked for approval {approval}: {plan} from {from} to {to}"))
            }
            Fact::Approved { incident, approval, by } => {
                self.approval(incident, *approval)?.state = ApprovalState::Approved(by.clone());
                self.tell(incident, format!("approval {approval} given by {by}"))
            }
            Fact::Denied { incident, approval, by, reason } => {
                let asked = self.approval(incident, *approval)?;
                asked.state = ApprovalState::Denied(by.clone());
                asked.reason.clone_from(reason);
                let verdict = asked.verdict;
                let accused = self.incident(incident)?.accused.clone();
                if let Some((number, _)) = accused
                    && let Some(record) = self.service()?.deploy_mut(number)
                {
                    record.denied = record.denied.max(Some(verdict));
                }
                let why = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                self.tell(incident, format!("approval {approval} denied by {by}{why}"))
            }
            Fact::ApprovalVoided { incident, approval, why } => {
                self.approval(incident, *approval)?.state = ApprovalState::Void(why.clone());
                self.tell(incident, format!("approval {approval} void: {why}"))
            }
            _ => unreachable!("dispatched by `fact`"),
        }
    }
}

/// The conditions that led to the verdict or to one as grave: of questions that were asked and lead that far. What merely
/// opens further questions, or leads to monitor, need not clear.
fn fired(path: &Path) -> std::collections::BTreeSet<crate::core::name::ConditionName> {
    let mut fired = std::collections::BTreeSet::new();
    // Answers of the questions above, by depth: a question is asked only below a yes.
    let mut above: Vec<bool> = Vec::new();
    for question in &path.questions {
        above.truncate(usize::from(question.depth));
        let is_asked = above.iter().all(|&yes| yes);
        let is_yes = question.answer == Answer::Yes;
        let is_grave = [VerdictKind::Consider, VerdictKind::RollBack].iter().any(|kind| question.then == kind.as_str());
        if is_asked && is_yes && is_grave {
            fired.insert(question.when.clone());
        }
        above.push(is_yes);
    }
    fired
}
