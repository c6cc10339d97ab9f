//! Everything comes to rest, and people know of it.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariants, Stamp, Violation, violated};
use crate::{
    core::{
        durable::Durable,
        engine::incident_view,
        name::IncidentId,
        page::{Page, PageKind},
        policy::Mode,
        time::{BootTime, Now},
    },
    testing::policy::{CHANNEL, REPEAT, SECOND_CHANNEL},
};

/// A page that is younger may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(20);
/// An open incident is told again so often; a process that was started anew lets one such time pass.
const TOLD_AGAIN_WITHIN: Duration = Duration::from_secs(2 * REPEAT.as_secs() + 10);

impl Invariants {
    /// Everything has come to rest. `takes` says whether a channel takes pages at all.
    pub(in crate::testing) fn rest(
        &self,
        disk: &Durable,
        mode: Mode,
        now: Now,
        takes: impl Fn(&str) -> bool,
    ) -> Result<(), Violation> {
        let is_old = |page: &Page| now.wall.since(page.at) > ON_ITS_WAY;
        for pending in disk.outbox.pending() {
            if is_old(&pending.page) && pending.channels.iter().any(|channel| takes(channel.as_str())) {
                return violated(format!("page {} ({}) never went out", pending.page.id, pending.page.summary));
            }
        }
        if [CHANNEL, SECOND_CHANNEL].into_iter().any(takes) {
            self.everything_was_told(now.boot)?;
        }
        for (name, service) in &disk.services {
            if service.verification.as_ref().is_some_and(|one| one.ended.is_none()) {
                return violated(format!("{name}: a verification never came to an end"));
            }
        }
        for incident in disk.incidents.values().filter(|incident| incident.is_open()) {
            if incident.active_plan().is_some() {
                return violated(format!("incident {}: its plan never came to an end", incident.id));
            }
            // Who only observes tells that an incident is open, and leaves the rest to people.
            // What flaps is never down unbroken: it is told again and again until it is well or somebody acts.
            let told_at = self.pages.told_at.get(&incident.id);
            // While one waits for its channels no other is written.
            let waits = !disk.outbox.repeats_wait_for(&incident.id).is_empty();
            let told_again = waits || told_at.is_some_and(|at| now.boot.since(*at) < TOLD_AGAIN_WITHIN);
            let is_escalated = told_again || !incident.findings.is_empty() || !incident.approvals.is_empty();
            if mode != Mode::Observe && !is_escalated {
                return violated(format!("incident {} is open, and neither resolved nor escalated", incident.id));
            }
        }
        Ok(())
    }

    /// The folder of every incident that is over says all that became of it.
    pub(in crate::testing) fn evidence_tells(
        &self,
        disk: &Durable,
        evidence: &BTreeMap<IncidentId, String>,
        boot: BootTime,
    ) -> Result<(), Violation> {
        let is_over = |id: &IncidentId| self.resolved.get(id).is_some_and(|stamp| boot.since(stamp.boot) > ON_ITS_WAY);
        for (id, incident) in disk.incidents.iter().filter(|(id, _)| is_over(id)) {
            let told = serde_json::to_string_pretty(&incident_view(incident)).expect("a view is plain data");
            match evidence.get(id) {
                Some(written) if *written == told => {}
                Some(written) => {
                    return violated(format!("the evidence of {id} is not how it ended:\n{written}\nbut:\n{told}"));
                }
                None => return violated(format!("there is no evidence of {id}")),
            }
        }
        Ok(())
    }

    /// Every incident that opened was told, and its end; but for what a channel refused for good.
    fn everything_was_told(&self, boot: BootTime) -> Result<(), Violation> {
        let known = |incident: &IncidentId, kind: PageKind| {
            let is_it = |page: &Page| page.kind == kind && page.incident.as_ref() == Some(incident);
            self.delivered.values().any(is_it) || self.refused.values().any(is_it)
        };
        let is_old = |stamp: &Stamp| boot.since(stamp.boot) > ON_ITS_WAY;
        for (incident, (service, opened)) in &self.opened {
            if is_old(opened) && !known(incident, PageKind::IncidentOpened) {
                return violated(format!("incident {incident} of {service} was never told"));
            }
            let is_over = self.resolved.get(incident).is_some_and(is_old);
            if is_over && !known(incident, PageKind::IncidentResolved) {
                return violated(format!("the end of incident {incident} was never told"));
            }
        }
        Ok(())
    }
}
