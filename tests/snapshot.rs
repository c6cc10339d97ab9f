//! A start from a snapshot and what came after it knows what a start from the first entry knows, wherever the journal is
//! cut.

use std::{sync::Arc, time::Duration};

use backstop::{
    core::{
        durable::{Durable, FORMER_SERVICES_LIMIT, SNAPSHOT_FORM, SnapshotError},
        entry::{Entry, Fact},
        event::{Authority, Request, RollbackOrder, Sequence},
        gate::Gate,
        name::{IncidentId, ServiceName},
        page::PageKind,
        policy::{Finding, Mode, ReportKind, ServicePolicy, Severity},
        release::{Deploy, DeploySource, Mark, Release, Standing},
        time::{SteadyTime, WallTime},
        verdict::{Path, PlanKind, VerdictKind},
    },
    testing::{Bench, Ends, SERVICE},
};

type Journal = [(Sequence, Arc<Entry>)];

const fn as_it_is(_: &mut ServicePolicy) {}

fn fold(mut durable: Durable, journal: &Journal) -> Durable {
    for (sequence, entry) in journal {
        durable.apply(*sequence, entry).expect("it folds");
    }
    durable
}

fn again(durable: &Durable) -> Durable {
    Durable::from_snapshot(SNAPSHOT_FORM, &durable.to_snapshot()).expect("it is understood")
}

/// Cut anywhere, it comes to the same. Returns what it comes to.
fn holds_at_every_cut(journal: &Journal) -> Durable {
    let whole = fold(Durable::default(), journal);
    for cut in 0..=journal.len() {
        let (before, after) = journal.split_at(cut);
        let snapshot = again(&fold(Durable::default(), before));
        assert_eq!(fold(snapshot, after), whole, "cut after entry {cut}");
    }
    whole
}

/// What the journal is of at some cut, so that the test would notice a bench that does something else.
fn some_cut(journal: &Journal, what: &str, holds: impl Fn(&Durable) -> bool) {
    let found = (0..=journal.len()).any(|cut| holds(&fold(Durable::default(), &journal[..cut])));
    assert!(found, "nowhere: {what}");
}

#[test]
fn through_a_rollback_with_pages_that_wait() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.deliveries_fail = 30;
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::Well].into();
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.restart(3);
    bench.ready = Some(true);
    bench.pass(300);
    let journal = &bench.journal;
    some_cut(journal, "a plan under way", |durable| {
        durable.incidents.values().any(|incident| incident.active_plan().is_some())
    });
    some_cut(journal, "pages that wait", |durable| durable.outbox.depth() > 1);
    some_cut(journal, "an incident that ended", |durable| durable.incidents.values().any(|one| !one.is_open()));
    holds_at_every_cut(journal);
}

#[test]
fn through_approvals_and_what_people_do_by_hand() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    let service = || SERVICE.into();
    let reason = || Some("the shop is empty".to_owned());
    bench.ask(Request::Pin { service: service(), version: "v3".into(), reason: reason() }).expect("pinned");
    bench.ask(Request::MarkRelease { service: service(), version: "v0".into(), mark: Mark::Bad }).expect("marked");
    let pause = |service| Request::Pause { service, for_seconds: Some(60), reason: "a campaign".to_owned() };
    bench.ask(pause(None)).expect("paused");
    bench.ask(pause(Some(service()))).expect("paused");
    let (kind, authority) = (ReportKind::Complaint, Authority::Operator);
    let report = || Request::Report { service: service(), kind, detail: reason(), authority };
    bench.ask(report()).expect("reported");
    bench.pass(90);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    let incident = bench.record().open_incident.clone().expect("it is open");
    bench.ask(Request::Deny { incident: incident.clone(), approval: None, reason: reason() }).expect("denied");
    bench.ask(report()).expect("reported");
    bench.ask(Request::RetractReport { service: service(), kind, authority }).expect("taken back");
    let order = RollbackOrder {
        to: Some("v1".into()),
        reason: reason(),
        overrides: vec![Gate::NotDenied],
        ..RollbackOrder::default()
    };
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.ask(Request::RollBack { service: service(), order }).expect("ordered");
    bench.ask(Request::Abort { incident, reason: reason() }).expect("aborted");
    bench.requests = (40, 0);
    bench.pass(300);
    bench.ask(Request::Verify { service: service() }).expect("asked");
    bench.pass(120);
    let journal = &bench.journal;
    some_cut(journal, "an approval that waits", |durable| {
        durable.incidents.values().any(|incident| incident.open_approval().is_some())
    });
    some_cut(journal, "a pause of everything", |durable| durable.paused.is_some());
    let pinned = |durable: &Durable| !durable.service(&service()).pins.is_empty();
    some_cut(journal, "a pin", pinned);
    some_cut(journal, "a report", |durable| !durable.service(&service()).reports.is_empty());
    some_cut(journal, "an abort", |durable| {
        durable.incidents.values().flat_map(|incident| &incident.plans).any(|plan| plan.aborted.is_some())
    });
    some_cut(journal, "a verification", |durable| durable.service(&service()).verification.is_some());
    assert!(pinned(&holds_at_every_cut(journal)));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    let text = bench.state.durable().to_snapshot();
    let refused = |form, text: &str| Durable::from_snapshot(form, text).expect_err("refused");
    assert!(matches!(refused(SNAPSHOT_FORM + 1, &text), SnapshotError::NewerForm { .. }));
    assert!(matches!(refused(SNAPSHOT_FORM, &text[..text.len() / 2]), SnapshotError::Content(_)));
    assert!(matches!(refused(SNAPSHOT_FORM, "{}"), SnapshotError::Content(_)));
    let unknown = text.replacen('{', "{\"shifts\":7,", 1);
    assert!(refused(SNAPSHOT_FORM, &unknown).to_string().contains("shifts"));
    let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    state["incidents"] = serde_json::json!({});
    let said = refused(SNAPSHOT_FORM, &state.to_string()).to_string();
    assert!(said.contains("contradicts itself") && said.contains(&format!("{SERVICE}-1")), "{said}");
}

/// Makes entries one after another.
#[derive(Default)]
struct Writer {
    durable: Durable,
    at: WallTime,
}

impl Writer {
    fn fact(&mut self, fact: Fact) {
        let entry = Entry { at: self.at, boot: None, service: Some("api".into()), fact };
        self.durable.apply(Sequence(self.durable.last.0 + 1), &entry).expect("it folds");
    }

    fn deploy(&mut self, number: u64) {
        let release = Release::of(format!("v{number}"));
        let (at, source) = (self.at, DeploySource::Target);
        let deploy = Deploy { number, release, at, source, by: None, by_endpoint_alone: false };
        self.fact(Fact::Deployed { deploy });
    }

    fn standing(&mut self, version: &str, standing: Standing) {
        self.fact(Fact::StandingChanged { version: version.into(), standing, why: String::new() });
    }

    fn is_known(&self, version: &str) -> bool {
        self.durable.service(&"api".into()).standings.contains_key(version)
    }
}

#[test]
fn a_service_that_lives_long_is_bounded() {
    let mut writer = Writer::default();
    writer.fact(Fact::Marked { version: "by hand".into(), mark: Mark::Bad, by: "somebody".to_owned() });
    writer.standing("bad", Standing::KnownBad);
    for number in 1..=3500 {
        writer.at = writer.at.after(Duration::from_secs(3600));
        writer.deploy(number);
        writer.standing(&format!("v{number}"), Standing::KnownGood);
    }
    let service = writer.durable.service(&"api".into());
    assert_eq!((service.deploys.len(), service.next_deploy()), (1000, 3501));
    assert!(service.standings.len() <= 2102, "{}", service.standings.len());
    for kept in ["by hand", "bad", "v3500", "v2501", "v2000"] {
        assert!(writer.is_known(kept), "{kept}");
    }
    assert!(!writer.is_known("v1"));
    // What is old goes, but for the last hundred.
    let before = writer.at.before(Duration::from_secs(50 * 3600));
    // The journal begins at zero, and so does its time line.
    let moment = SteadyTime::beginning(before);
    assert!(writer.durable.keeps_from_before(moment));
    writer.fact(Fact::Forgotten { before, services: Vec::new() });
    assert_eq!(writer.durable.service(&"api".into()).deploys.len(), 100);
    assert!(!writer.durable.keeps_from_before(moment));
    assert_eq!(again(&writer.durable), writer.durable);
}

#[test]
fn services_that_are_watched_no_more_give_way_when_there_are_too_many() {
    let mut durable = Durable::default();
    let mut at = WallTime::default();
    let mut fact = |durable: &mut Durable, service: Option<String>, fact: Fact| {
        at = at.after(Duration::from_secs(3600));
        let entry = Entry { at, boot: None, service: service.map(|name| name.as_str().into()), fact };
        durable.apply(Sequence(durable.last.0 + 1), &entry).expect("it folds");
        at
    };
    let many = FORMER_SERVICES_LIMIT + 200;
    // The names go the other way than the time does.
    let name = |number: usize| format!("preview-{:04}", 9000 - number);
    let mut now = WallTime::default();
    for number in 0..many {
        let deploy = Deploy {
            number: 1,
            release: Release::of("v1".to_owned()),
            at: now,
            source: DeploySource::Target,
            by: None,
            by_endpoint_alone: false,
        };
        now = fact(&mut durable, Some(name(number)), Fact::Deployed { deploy });
    }
    let is_watched = |service: &ServiceName| service.as_str() == name(3);
    let before =
        |now: WallTime, hours: usize| SteadyTime::beginning(now.before(Duration::from_secs(3600 * hours as u64)));
    let young = durable.former_services(before(now, many + 1), is_watched);
    assert_eq!(young, Vec::<ServiceName>::new(), "what is young is kept, however many there are");
    let gone = durable.former_services(before(now, 24), is_watched);
    let expected: Vec<String> = (0..200).filter(|number| *number != 3).map(name).collect();
    assert_eq!(
        gone.iter().map(ToString::to_string).collect::<Vec<_>>(),
        expected,
        "the oldest, and none that is watched"
    );
    fact(&mut durable, None, Fact::Forgotten { before: WallTime::default(), services: gone });
    assert_eq!(durable.services.len(), FORMER_SERVICES_LIMIT + 1);
    assert!(durable.former_services(before(now, 24), is_watched).is_empty());
    assert_eq!(again(&durable), durable);
}

#[test]
fn an_incident_that_nobody_answers_keeps_the_first_and_the_last_of_what_was_asked() {
    let mut writer = Writer::default();
    writer.deploy(1);
    writer.deploy(2);
    let incident = IncidentId::from("api-1");
    let verdict = VerdictKind::Consider;
    let path = Path { verdict, plan: None, questions: Vec::new(), because: "errors".to_owned() };
    writer.fact(Fact::IncidentOpened {
        incident: incident.clone(),
        verdict,
        path,
        deploy: Some(2),
        onset: None,
        by: None,
    });
    let found = |finding, severity, detail: String| Fact::Found {
        incident: Some(IncidentId::from("api-1")),
        finding,
        severity,
        detail,
        gate: None,
    };
    // A year of one question each half hour. Somewhere in it somebody denied one, and something grave was found once.
    for approval in 1..=17_520 {
        writer.at = writer.at.after(Duration::from_secs(1800));
        let expires = writer.at.after(Duration::from_secs(1800));
        let (plan, from, to) = (PlanKind::Quick, "v2".into(), "v1".into());
        let incident = || incident.clone();
        writer.fact(Fact::ApprovalRequested { incident: incident(), approval, plan, verdict, from, to, expires });
        writer.fact(found(Finding::ApprovalRequested, Severity::S2, format!("number {approval}")));
        if approval == 100 {
            writer.fact(found(Finding::StepStuck, Severity::S1, "once".to_owned()));
            writer.fact(Fact::Denied { incident: incident(), approval, by: "ann".to_owned(), reason: None });
        } else if approval < 17_520 {
            writer.fact(Fact::ApprovalVoided { incident: incident(), approval, why: "nobody answered".to_owned() });
        }
    }
    let record = &writer.durable.incidents["api-1"];
    let numbers: Vec<u32> = record.approvals.iter().map(|one| one.number).collect();
    let expected: Vec<u32> = (1..=24).chain([100]).chain(17_520 - 22..=17_520).collect();
    assert_eq!(numbers, expected, "the first, the denied one, the last");
    assert_eq!(record.open_approval().map(|one| one.number), Some(17_520));
    let details: Vec<&str> = record.findings.iter().map(|one| one.detail.as_str()).collect();
    assert_eq!((details.len(), details[0], details[49], details[99]), (100, "number 1", "number 50", "number 17520"));
    assert!(record.found(Finding::StepStuck) && record.severity() == Severity::S1, "{details:?}");
    assert_eq!(again(&writer.durable), writer.durable);
    // The one that is open is answered as ever.
    writer.fact(Fact::Approved { incident, approval: 17_520, by: "ann".to_owned() });
}

#[test]
fn incidents_are_kept_as_long_as_they_are_to_be_and_open_ones_for_ever() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let day = 86_400;
    bench.restart(89 * day);
    bench.pass(10);
    bench.requests = (40, 20);
    bench.until("another", |bench| bench.record().incident_count == 2);
    assert_eq!(bench.state.durable().incidents.len(), 2, "the first is kept for ninety days");
    // Days later the second is still open.
    bench.restart(95 * day);
    bench.pass(10);
    let kept: Vec<_> = bench.state.durable().incidents.keys().map(ToString::to_string).collect();
    assert_eq!(kept, [format!("{SERVICE}-2")]);
    assert!(bench.incident(2).is_open());
    assert_eq!(bench.record().incident_count, 2, "numbers do not come again");
    holds_at_every_cut(&bench.journal);
}

#[test]
fn a_long_story_keeps_its_beginning_and_its_end() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("opened", |bench| bench.record().open_incident.is_some());
    for number in 0..1000 {
        let version = format!("w{number}").as_str().into();
        bench.ask(Request::MarkRelease { service: SERVICE.into(), version, mark: Mark::Good }).expect("marked");
    }
    let id = bench.record().open_incident.clone().expect("it is open");
    let view = bench.state.incident(&id).expect("it is there");
    let lines: Vec<_> = view.timeline.iter().map(|line| line.text.as_str()).collect();
    assert!(lines.len() <= 401 && lines[0].starts_with("opened"), "{}: {}", lines.len(), lines[0]);
    assert!(lines.last().is_some_and(|line| line.contains("w999")), "{:?}", lines.last());
    assert!(lines[200].contains("lines are left out"), "{}", lines[200]);
    assert!(view.timeline.is_sorted_by_key(|line| line.at));
}
