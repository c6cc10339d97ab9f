//! People, who do something at random and at the wrong moment.

use std::time::Duration;

use super::{Happening, Simulation};
use crate::{
    core::{
        event::{Authority, Event, Request, RequestId, RollbackOrder},
        gate::Gate,
        name::{IncidentId, ServiceName},
        policy::ReportKind,
        release::Mark,
        verdict::PlanKind,
    },
    testing::invariants::Violation,
};

/// Instances that were shown to fail so lately may still do so.
const SEEN_LATELY: Duration = Duration::from_secs(5);

impl Simulation<'_> {
    /// Somebody does something.
    pub(super) fn person(&mut self) -> Result<(), Violation> {
        if !self.is_chaos() {
            return Ok(());
        }
        let every = Duration::from_secs(self.scenario.chaos.people_every_seconds);
        self.plan(every, Happening::Person);
        let place = usize::try_from(self.random.below(self.scenario.services as u64)).expect("few services");
        let service = self.policy.services[place].name.clone();
        let open = self
            .disk
            .open_incident(&service)
            .and_then(|incident| incident.open_approval().map(|approval| (incident.id.clone(), approval.number)));
        if let Some(request) = self.restart_by_hand(place, &service) {
            return self.ask(request);
        }
        let request = match (self.random.below(22), open) {
            (0..=3, Some((incident, approval))) => Request::Approve { incident, approval: Some(approval) },
            (4 | 21, Some((incident, approval))) => Request::Deny { incident, approval: Some(approval), reason: None },
            (0, None) => {
                let reason = "migration".to_owned();
                let service = self.random.per_mille(700).then_some(service);
                Request::Pause { service, for_seconds: Some(20), reason }
            }
            (1, None) => {
                let service = self.random.per_mille(700).then_some(service);
                Request::Resume { service }
            }
            (2, None) => {
                let mark = self.random.pick(&[Mark::Good, Mark::Good, Mark::Bad, Mark::Clear]);
                let version = self.random.pick(&["v1", "v1", "v2", "v3"]);
                Request::MarkRelease { service, version: version.into(), mark }
            }
            (3, None) => Request::ReportDeploy { service, version: self.random.pick(&["v2", "v3"]).into() },
            (5, _) => {
                let release = 1 + usize::try_from(self.random.below(2)).expect("two releases");
                self.plan(Duration::ZERO, Happening::Deploy { service: place, release });
                return Ok(());
            }
            (17..=20, _) => match self.too_late(&service) {
                Some(request) => request,
                None => return Ok(()),
            },
            (6..=16, _) => match self.by_hand(service) {
                Some(request) => request,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.ask(request)
    }

    fn ask(&mut self, request: Request) -> Result<(), Violation> {
        self.tally.count(kind(&request));
        self.requests += 1;
        let id = RequestId(self.requests);
        self.feed(Event::Requested { id, by: "somebody".to_owned(), request })
    }

    /// Whoever sees instances fail may order their restart, before Backstop has begun one or beside it.
    fn restart_by_hand(&mut self, place: usize, service: &ServiceName) -> Option<Request> {
        let shown = self.worlds[place].platform.as_ref()?.shown_failing_at?;
        if self.boot.since(shown) > SEEN_LATELY || !self.random.per_mille(500) {
            return None;
        }
        let plan = Some(PlanKind::RestartFailing);
        let reason = Some("some fail".to_owned());
        let order = RollbackOrder { to: None, plan, dry_run: false, overrides: Vec::new(), reason };
        Some(Request::RollBack { service: service.clone(), order })
    }

    /// An answer to what is not open any more, or never was.
    fn too_late(&mut self, service: &ServiceName) -> Option<Request> {
        let incidents: Vec<&IncidentId> =
            self.disk.incidents.values().filter(|one| one.service == *service).map(|one| &one.id).collect();
        let incident = (*incidents.last()?).clone();
        let approval = self.random.pick(&[None, Some(1), Some(2), Some(7)]);
        Some(match self.random.below(3) {
            0 => Request::Approve { incident, approval },
            1 => Request::Deny { incident, approval, reason: Some("not now".to_owned()) },
            _ => Request::Approve { incident: "shop-9-1".into(), approval },
        })
    }

    /// Something that people do by hand, at any moment.
    fn by_hand(&mut self, service: ServiceName) -> Option<Request> {
        let open = self.disk.open_incident(&service).map(|incident| incident.id.clone());
        let version = self.random.pick(&["v1", "v2", "v3"]);
        let authority = self.random.pick(&[Authority::Reporter, Authority::Operator]);
        let complaint = self.random.pick(&[ReportKind::Complaint, ReportKind::DataCorruption, ReportKind::MinorUi]);
        let reason = Some("somebody's reason".to_owned());
        Some(match self.random.below(8) {
            0 | 1 => Request::Abort { incident: open?, reason },
            2 => Request::Report { service, kind: complaint, detail: reason, authority },
            3 => Request::RetractReport { service, kind: complaint, authority },
            4 => Request::Pin { service, version: version.into(), reason },
            5 => Request::Unpin { service, version: version.into() },
            6 => Request::Verify { service },
            _ => {
                let to = self.random.pick(&[None, Some("v1"), Some("v3")]).map(Into::into);
                let gates =
                    [Gate::OneRollbackForADeploy, Gate::NotPinned, Gate::NotPaused, Gate::KnownGood, Gate::NotKnownBad];
                let overrides = gates.into_iter().filter(|_| self.random.per_mille(400)).collect();
                let dry_run = self.random.per_mille(200);
                // No draw where only one plan can be meant: the run must not depend on it.
                let plan = self.scenario.partial.and_then(|_| {
                    self.random.pick(&[
                        None,
                        Some(PlanKind::Quick),
                        Some(PlanKind::RestartFailing),
                        Some(PlanKind::Gather),
                    ])
                });
                let names_a_version = plan.is_none_or(PlanKind::rolls_back);
                let (to, overrides) = if names_a_version { (to, overrides) } else { (None, Vec::new()) };
                Request::RollBack { service, order: RollbackOrder { to, plan, dry_run, overrides, reason } }
            }
        })
    }
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Approve { .. } => "people: approve",
        Request::Deny { .. } => "people: deny",
        Request::MarkRelease { .. } => "people: mark",
        Request::ReportDeploy { .. } => "people: report a deploy",
        Request::Pause { .. } => "people: pause",
        Request::Resume { .. } => "people: resume",
        Request::Report { .. } => "people: report",
        Request::RetractReport { .. } => "people: retract",
        Request::Pin { .. } => "people: pin",
        Request::Unpin { .. } => "people: unpin",
        Request::Abort { .. } => "people: abort",
        Request::RollBack { .. } => "people: roll back",
        Request::Verify { .. } => "people: verify",
    }
}
