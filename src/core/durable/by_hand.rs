//! The fold of what people do by hand.

use std::time::Duration;

use super::{
    PauseRecord, PinRecord, REPORTS_LIMIT, ReportRecord, VerificationRecord,
    apply::{Fold, FoldError},
};
use crate::core::{entry::Fact, name::IncidentId};

fn because(reason: Option<&String>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Fold<'_> {
    /// Tells it in the open incident of the entry's service, or of every service where it concerns all.
    pub(super) fn tell_open(&mut self, text: &str) {
        let open: Vec<IncidentId> = match self.service {
            Some(name) => self.durable.open_incident(name).map(|incident| incident.id.clone()).into_iter().collect(),
            None => self.durable.services.values().filter_map(|service| service.open_incident.clone()).collect(),
        };
        for id in open {
            let at = self.at;
            if let Ok(incident) = self.incident(&id) {
                incident.tell(at, text.to_owned());
            }
        }
    }

    fn pause_place(&mut self) -> Result<&mut Option<PauseRecord>, FoldError> {
        if self.service.is_some() { Ok(&mut self.service()?.paused) } else { Ok(&mut self.durable.paused) }
    }

    pub(super) fn fact_by_hand(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        match fact {
            Fact::Paused { until, by, reason } => {
                let ends = until.map(|until| self.steady_of(until));
                let pause = PauseRecord { until: *until, ends, by: by.clone(), reason: reason.clone() };
                *self.pause_place()? = Some(pause);
                let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
                self.tell_open(&format!("paused{until} by {by}: {reason}"));
            }
            Fact::Resumed { by } => {
                *self.pause_place()? = None;
                self.tell_open(&format!("resumed by {by}"));
            }
            Fact::Pinned { version, by, reason } => {
                let pin = PinRecord { at, by: by.clone(), reason: reason.clone() };
                self.service()?.pins.insert(version.clone(), pin);
                self.tell_open(&format!("{version} pinned by {by}{}", because(reason.as_ref())));
            }
            Fact::Unpinned { version, by } => {
                self.service()?.pins.remove(version);
                self.tell_open(&format!("{version} unpinned by {by}"));
            }
            Fact::AbortAsked { incident, plan, by, reason } => {
                // Nothing became of its step by that: how long it has taken is told as before.
                self.plan(incident, *plan)?.aborted = Some((by.clone(), reason.clone()));
                let why = because(reason.as_ref());
                self.tell(incident, format!("{by} aborts the plan{why}"))?;
            }
            Fact::Reported { .. } | Fact::ReportRetracted { .. } => self.report_fact(fact)?,
            Fact::VerificationBegun { .. } | Fact::VerificationEnded { .. } => self.verification_fact(fact)?,
            _ => unreachable!("dispatched by `fact`"),
        }
        Ok(())
    }

    fn report_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        match fact {
            Fact::Reported { kind, by, authority, detail, incident } => {
                let report = ReportRecord {
                    kind: *kind,
                    at: self.at,
                    reported: self.steady,
                    by: by.clone(),
                    authority: *authority,
                    detail: detail.clone(),
                    incident: incident.clone(),
                };
                let told = report.words();
                let record = self.service()?;
                if record.reports.len() == REPORTS_LIMIT {
                    record.reports.pop_front();
                }
                record.reports.push_back(report);
                self.tell_open(&told);
            }
            Fact::ReportRetracted { kind, by, whose } => {
                let is_meant =
                    |one: &ReportRecord| one.kind == *kind && whose.as_ref().is_none_or(|who| *who == one.by);
                self.service()?.reports.retain(|report| !is_meant(report));
                self.tell_open(&format!("{by} took {kind} back"));
            }
            _ => unreachable!("dispatched by `fact_by_hand`"),
        }
        Ok(())
    }

    fn verification_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let (at, steady) = (self.at, self.steady);
        match fact {
            Fact::VerificationBegun { number, by, version, from, incident, must_clear } => {
                self.service()?.verification = Some(VerificationRecord {
                    number: *number,
                    by: by.clone(),
                    version: version.clone(),
                    from: from.clone(),
                    incident: incident.clone(),
                    must_clear: must_clear.iter().cloned().collect(),
                    began: at,
                    begun: steady,
                    took: Duration::ZERO,
                    ended: None,
                });
                self.tell_open(&format!("{by} asked to verify {version}"));
            }
            Fact::VerificationEnded { number, outcome, note } => {
                let missing = self.dangling(format!("verification {number}"));
                let record =
                    self.service()?.verification.as_mut().filter(|one| one.number == *number).ok_or(missing)?;
                record.took = steady.since(record.begun);
                record.ended = Some((at, *outcome, note.clone()));
                let text = format!("verification of {} ended {}: {note}", record.version, outcome.as_str());
                self.tell_open(&text);
            }
            _ => unreachable!("dispatched by `fact_by_hand`"),
        }
        Ok(())
    }
}
