//! What people and other systems report, and which of it counts.

use super::{service::Service, turn::Turn};
use crate::core::{
    durable::{REPORTS_LIMIT, ReportRecord},
    entry::Fact,
    event::{Authority, Refusal, Reply},
    gate::words,
    policy::ReportKind,
    time::WallTime,
    view::ReportView,
};

/// Reports that count just now.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) all: Vec<(ReportKind, WallTime)>,
    /// Those that may lead past consider.
    pub(super) operators: Vec<(ReportKind, WallTime)>,
}

impl Service {
    /// Whether a report has neither expired nor been overtaken by another release. What came before the live release
    /// neither blames nor acquits it; only data that was corrupted stays so, whatever is deployed.
    pub(super) fn counts(&self, turn: &Turn<'_>, report: &ReportRecord) -> bool {
        let expired = turn.ago(report.reported) >= self.policy.reports_expire;
        let live_since = turn.record(&self.name).live().map(|live| live.noticed);
        let is_older = live_since.is_some_and(|since| report.reported < since);
        !expired && (!is_older || report.kind == ReportKind::DataCorruption)
    }

    pub(super) fn counted_reports(&self, turn: &Turn<'_>) -> Counted {
        let mut counted = Counted::default();
        for report in turn.record(&self.name).reports.iter().filter(|report| self.counts(turn, report)) {
            // When the wall clock as it goes now would have shown it: the watch reckons from that.
            let at = turn.now.wall.before(turn.ago(report.reported));
            counted.all.push((report.kind, at));
            if report.authority == Authority::Operator {
                counted.operators.push((report.kind, at));
            }
        }
        counted
    }

    pub(super) fn report_views(&self, turn: &Turn<'_>) -> Vec<ReportView> {
        let counting = turn.record(&self.name).reports.iter().filter(|report| self.counts(turn, report));
        counting
            .map(|report| ReportView {
                kind: report.kind,
                at: report.at,
                by: report.by.clone(),
                authority: report.authority,
                detail: report.detail.clone(),
                expires: report.at.after(self.policy.reports_expire),
            })
            .collect()
    }

    pub(super) fn report(
        &mut self,
        turn: &mut Turn<'_>,
        kind: ReportKind,
        detail: Option<String>,
        authority: Authority,
        by: &str,
    ) -> Reply {
        let record = turn.record(&self.name);
        let is_full = record.reports.len() >= REPORTS_LIMIT;
        // An operator's pushes the oldest one out; a flood of reporters' must not push out an operator's.
        if is_full
            && authority < Authority::Operator
            && record.reports.front().is_some_and(|one| self.counts(turn, one))
        {
            return Err(Refusal::Busy(format!("{REPORTS_LIMIT} reports of {} count already", self.name)));
        }
        let incident = record.open_incident.clone();
        turn.append(Some(&self.name), Fact::Reported { kind, by: by.to_owned(), authority, detail, incident });
        self.assess(turn);
        let expire = words(self.policy.reports_expire);
        let more = match authority {
            Authority::Operator => "",
            Authority::Reporter => "; as a reporter's it leads to consider at most",
        };
        Ok(format!("{}: {kind} is reported, and counts for {expire}{more}", self.name))
    }

    pub(super) fn retract(&mut self, turn: &mut Turn<'_>, kind: ReportKind, authority: Authority, by: &str) -> Reply {
        let whose = (authority < Authority::Operator).then(|| by.to_owned());
        let is_meant = |one: &&ReportRecord| {
            one.kind == kind && whose.as_ref().is_none_or(|who| *who == one.by) && self.counts(turn, one)
        };
        let count = turn.record(&self.name).reports.iter().filter(is_meant).count();
        if count == 0 {
            let of = whose.map(|who| format!(" of {who}")).unwrap_or_default();
            return Err(Refusal::Conflict(format!("{}: no report of {kind}{of} counts just now", self.name)));
        }
        turn.append(Some(&self.name), Fact::ReportRetracted { kind, by: by.to_owned(), whose });
        self.assess(turn);
        let reports = if count == 1 { "report" } else { "reports" };
        Ok(format!("{}: {count} {reports} of {kind} taken back", self.name))
    }
}
