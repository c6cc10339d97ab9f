//! What is gathered for people while a whole system is down, or on their order.

use backstop::{
    core::{
        entry::{Fact, PlanOutcome},
        event::{Event, Refusal, RollbackOrder},
        operation::Gathering,
        page::PageKind,
        policy::Mode,
        sample::Reason,
        verdict::PlanKind,
    },
    testing::Bench,
};

use super::partial::{ask, is_open, on_platform, order, page, plans};

fn gathered(bench: &mut Bench, outcome: Result<Gathering, Reason>) {
    let incident = bench.gathers.last().expect("it was begun").clone();
    bench.feed(Event::Gathered { incident, outcome });
}

fn found() -> Gathering {
    Gathering { place: "/evidence/shop-0-1".to_owned(), files: 9, seen: vec!["2 of 3 nodes are ready".to_owned()] }
}

#[test]
fn when_the_system_is_down_evidence_is_gathered_beside_the_rollback() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.ready = Some(false);
    bench.until("gathering", |bench| !bench.gathers.is_empty());
    // Nothing comes back of it, and nothing waits for it.
    bench.until("rolled back", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    gathered(&mut bench, Ok(found()));
    bench.pass(1);
    let told = page(&bench, "gathered: 9 files in /evidence/shop-0-1");
    assert_eq!(told.details, ["2 of 3 nodes are ready"]);
    bench.until("over", |bench| !is_open(bench));
    assert_eq!(bench.gathers.len(), 1, "once an incident");
    assert_eq!(plans(&bench), [(PlanKind::Quick, Some(PlanOutcome::Verified))]);
}

fn ended_gathering(bench: &Bench, because: &str) -> usize {
    let ended = |fact: &Fact| matches!(fact, Fact::Gathered { why_not: Some(why), .. } if why.contains(because));
    bench.journal.iter().filter(|(_, entry)| ended(&entry.fact)).count()
}

/// It may be what ended the process: however often that is started, gathering is not begun again.
#[test]
fn what_was_being_gathered_when_the_daemon_was_killed_is_not_begun_again() {
    let mut bench = Bench::new(Mode::Observe, on_platform);
    bench.ready = Some(false);
    bench.until("gathering", |bench| bench.gathers.len() == 1);
    for _ in 0..3 {
        bench.restart(5);
        bench.pass(30);
    }
    assert_eq!((bench.gathers.len(), ended_gathering(&bench, "Backstop was started anew")), (1, 1));
    page(&bench, "nothing could be gathered");
    // A person may want it all the same.
    ask(&mut bench, order(PlanKind::Gather)).expect("begun");
    assert_eq!(bench.gathers.len(), 2);
}

#[test]
fn gathering_that_hangs_ends() {
    let mut bench = Bench::new(Mode::Observe, on_platform);
    bench.ready = Some(false);
    bench.until("gathering", |bench| bench.gathers.len() == 1);
    bench.pass(100);
    page(&bench, "nothing could be gathered");
    assert_eq!((bench.gathers.len(), ended_gathering(&bench, "no answer")), (1, 1));
}

#[test]
fn where_the_platform_cannot_be_seen_evidence_is_gathered_and_people_decide() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(20);
    bench.live = None;
    bench.requests = (40, 20);
    bench.until("gathering", |bench| !bench.gathers.is_empty());
    gathered(&mut bench, Ok(found()));
    bench.until("told", |bench| bench.was_told(PageKind::RollbackRefused));
    let told = page(&bench, "not acted on: the target cannot be seen");
    assert_eq!(told.details, ["gathered: 9 files in /evidence/shop-0-1", "2 of 3 nodes are ready"]);
    assert!(bench.operations.is_empty());
}

#[test]
fn gathering_by_hand_opens_an_incident_for_its_evidence() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    let reason = Some("it feels slow".to_owned());
    let said = ask(&mut bench, RollbackOrder { reason, ..order(PlanKind::Gather) }).expect("begun");
    assert!(said.starts_with("shop-0: gathering into the evidence of shop-0-1"), "{said}");
    assert_eq!(bench.gathers, ["shop-0-1".into()]);
    let again = ask(&mut bench, order(PlanKind::Gather));
    assert!(matches!(&again, Err(Refusal::Conflict(why)) if why.contains("already")), "{again:?}");
    gathered(&mut bench, Err(Reason::new("list the nodes: forbidden")));
    bench.pass(1);
    page(&bench, "nothing could be gathered for the evidence: failed to list the nodes: forbidden");
    assert!(bench.operations.is_empty());
    // As often as somebody wants it.
    ask(&mut bench, order(PlanKind::Gather)).expect("begun");
    assert_eq!(bench.gathers.len(), 2);
}
