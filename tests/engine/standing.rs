//! What is known of a release: what was measured, what a person says over it, and what takes nothing from it.

use std::time::Duration;

use backstop::{
    core::{
        event::Request,
        name::SignalIndex,
        page::PageKind,
        policy::{Atom, LatencyLimit, Mode, RateLimit, ServicePolicy},
        release::{Mark, Standing},
    },
    testing::{Bench, SERVICE},
};

use super::{
    as_it_is,
    by_hand::{marked, view},
    nothing_soaks,
};

fn standing(bench: &Bench, version: &str) -> Standing {
    bench.record().standing(&version.into())
}

const fn again_and_again(policy: &mut ServicePolicy) {
    policy.gates.cooldown = Duration::ZERO;
    policy.gates.rollbacks.at_most = 10;
}

fn clear(bench: &mut Bench, version: &str) -> String {
    let request = Request::MarkRelease { service: SERVICE.into(), version: version.into(), mark: Mark::Clear };
    bench.ask(request).expect("an answer")
}

/// What is live fails, until it is rolled back from and the incident is over.
fn rolled_back(bench: &mut Bench) {
    let before = bench.switches().len();
    bench.requests = (40, 20);
    bench.until("switched", |bench| bench.switches().len() > before);
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.record().open_incident.is_none());
}

#[test]
fn a_release_that_is_known_to_be_bad_stays_so_whatever_a_later_rollback_from_it_proves() {
    let mut bench = Bench::with_v2(Mode::Act, again_and_again);
    rolled_back(&mut bench);
    assert_eq!(standing(&bench, "v2"), Standing::KnownBad);
    let aborted = |bench: &mut Bench| {
        bench.requests = (40, 0);
        let incident = bench.record().open_incident.clone().expect("a plan is under way");
        bench.ask(Request::Abort { incident, reason: None }).expect("aborted");
    };
    // Nothing is served by which it could be verified.
    let unverified = |bench: &mut Bench| bench.requests = (1, 0);
    for end in [&aborted as &dyn Fn(&mut Bench), &unverified] {
        let before = bench.switches().len();
        bench.live = Some("v2");
        bench.requests = (40, 0);
        bench.pass(5);
        bench.requests = (40, 20);
        bench.until("switched", |bench| bench.switches().len() > before);
        end(&mut bench);
        bench.until("ended", |bench| {
            let last = bench.state.durable().incidents.values().flat_map(|one| &one.plans).last();
            last.is_some_and(|plan| plan.ended.is_some())
        });
        assert_eq!(standing(&bench, "v2"), Standing::KnownBad, "{:?}", bench.told());
        bench.requests = (40, 0);
        bench.until("over", |bench| bench.record().open_incident.is_none());
    }
}

#[test]
fn clear_takes_a_persons_word_away_and_nothing_that_was_measured() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    let soaked = bench.record().standings.get("v1").cloned().expect("it soaked");
    assert_eq!((soaked.standing, soaked.by_hand), (Standing::KnownGood, false));
    for (mark, means) in
        [(Mark::Bad, Standing::KnownBad), (Mark::Good, Standing::KnownGood), (Mark::Bad, Standing::KnownBad)]
    {
        marked(&mut bench, "v1", mark);
        assert_eq!(standing(&bench, "v1"), means);
    }
    bench.restart(1);
    assert_eq!(clear(&mut bench, "v1"), format!("shop-0 v1 cleared: it is known good: {}", soaked.why));
    assert_eq!(bench.record().standings.get("v1"), Some(&soaked));
    assert_eq!(clear(&mut bench, "v1"), format!("shop-0 v1 was not marked: it is known good: {}", soaked.why));
    assert_eq!(bench.record().standings.get("v1"), Some(&soaked));
    // Of what nothing was measured nothing remains.
    marked(&mut bench, "v3", Mark::Good);
    assert_eq!(clear(&mut bench, "v3"), "shop-0 v3 cleared");
    assert_eq!(bench.record().standings.get("v3"), None);
}

#[test]
fn what_is_measured_while_a_persons_word_stands_is_kept_beneath_it() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    marked(&mut bench, "v2", Mark::Good);
    rolled_back(&mut bench);
    assert_eq!(standing(&bench, "v2"), Standing::KnownGood, "a person's word stands");
    clear(&mut bench, "v2");
    assert_eq!(standing(&bench, "v2"), Standing::KnownBad);
}

#[test]
fn who_marks_a_release_hears_what_follows() {
    let mark = || Request::MarkRelease { service: SERVICE.into(), version: "v1".into(), mark: Mark::Good };
    let mut bench = Bench::with_v2(Mode::Ask, nothing_soaks);
    assert_eq!(bench.ask(mark()).expect("a mark"), "shop-0 v1 marked good");
    clear(&mut bench, "v1");
    bench.requests = (40, 20);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    let said = bench.ask(mark()).expect("a mark");
    assert!(said.starts_with("shop-0 v1 marked good; approval 1 waits until"), "{said}");
    assert!(said.contains("`backstop incident approve shop-0-1 --approval 1`"), "{said}");
    assert_eq!(bench.ask(mark()).expect("a mark"), "shop-0 v1 marked good", "nothing more follows");
    // And where it is acted on at once.
    let mut bench = Bench::with_v2(Mode::Act, nothing_soaks);
    bench.requests = (80, 3);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.pass(2);
    assert!(bench.ask(mark()).expect("a mark").contains("waits until"), "{:?}", bench.told());
}

/// The version endpoint answers `version` each second.
fn says(bench: &mut Bench, version: &str, seconds: u64) {
    for _ in 0..seconds {
        bench.pass(1);
        bench.answer_version(version);
    }
}

fn asks_the_version(policy: &mut ServicePolicy) {
    policy.checks_version = true;
    policy.gates.settle = Duration::from_secs(10);
}

#[test]
fn a_release_that_the_service_does_not_say_it_is_does_not_soak_and_people_hear_of_it() {
    let mut bench = Bench::new(Mode::Act, asks_the_version);
    says(&mut bench, "1", 5);
    bench.live = Some("v2");
    says(&mut bench, "v1", 60);
    let shown = view(&mut bench).now;
    assert_eq!(
        shown.disagreement().as_deref(),
        Some("the service says v1, the target v2: v2 does not soak until they agree")
    );
    assert!(!bench.was_told(PageKind::SignalLost), "it may be restarted yet: {:?}", bench.told());
    says(&mut bench, "v1", 30);
    let told = bench.told().join("\n");
    assert!(told.contains("the service says v1, the target v2: was it restarted after the switch?"), "{told}");
    says(&mut bench, "v1", 600);
    assert_eq!(bench.pages.iter().filter(|page| page.kind == PageKind::SignalLost).count(), 1);
    let live = bench.record().live().expect("v2").clone();
    assert_eq!((live.deploy.release.version.as_str(), live.soaked_ms, live.soaked_requests), ("v2", 0, 0));
    assert_eq!(standing(&bench, "v2"), Standing::Unproven);
    // It is restarted.
    says(&mut bench, "v2", 2);
    assert_eq!(view(&mut bench).now.service_says, None);
    says(&mut bench, "v2", 120);
    assert_eq!(standing(&bench, "v2"), Standing::KnownGood);
    assert!(bench.was_told(PageKind::SignalRestored), "{:?}", bench.told());
}

#[test]
fn what_another_release_took_is_no_baseline_of_the_one_at_the_target() {
    let measures_latency = |policy: &mut ServicePolicy| {
        asks_the_version(policy);
        let rate = policy.atoms.iter().find_map(|atom| match atom {
            Atom::ErrorRate { limit, .. } => Some(limit.clone()),
            _ => None,
        });
        let rate = RateLimit { above: 0.01, ..rate.expect("it has one") };
        let limit = LatencyLimit { quantile: 0.99, factor: Some(2.0), at_least: Duration::from_millis(200), rate };
        policy.atoms.push(Atom::Latency { signal: SignalIndex(1), limit });
    };
    let baseline = |bench: &Bench| bench.record().live().expect("it is known").baseline.clone();
    let mut bench = Bench::new(Mode::Observe, measures_latency);
    bench.is_slow = Some(false);
    says(&mut bench, "v1", 120);
    bench.live = Some("v2");
    says(&mut bench, "v1", 2);
    let before = baseline(&bench);
    assert!(matches!(before[..], [(_, seconds)] if seconds <= 0.05), "{before:?}");
    // `v2` was never started, and what answers in its place becomes slow.
    bench.is_slow = Some(true);
    says(&mut bench, "v1", 120);
    bench.live = Some("v3");
    says(&mut bench, "v3", 2);
    assert_eq!(bench.record().live().map(|live| live.deploy.number), Some(3));
    assert_eq!(baseline(&bench), before);
    // Of one that runs it is taken.
    says(&mut bench, "v3", 120);
    bench.live = Some("v2");
    says(&mut bench, "v2", 2);
    assert!(matches!(baseline(&bench)[..], [(_, seconds)] if seconds > 0.1), "{:?}", baseline(&bench));
}

#[test]
fn nothing_soaks_while_a_link_leads_nowhere() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.untold = Some("see what is live: the link current leads to ghost, which is not there");
    bench.pass(300);
    assert_eq!(standing(&bench, "v2"), Standing::Unproven);
    assert!(bench.record().deploys.iter().all(|one| one.deploy.release.version.as_str() != "ghost"));
    bench.untold = None;
    bench.until("it soaks", |bench| standing(bench, "v2") == Standing::KnownGood);
}

#[test]
fn a_version_endpoint_that_says_nothing_contradicts_nothing() {
    let mut bench = Bench::new(Mode::Act, asks_the_version);
    says(&mut bench, "v1", 5);
    bench.live = Some("v2");
    bench.pass(200);
    assert_eq!(view(&mut bench).now.service_says, None);
    assert_eq!(standing(&bench, "v2"), Standing::KnownGood);
    assert!(!bench.was_told(PageKind::SignalLost), "{:?}", bench.told());
}

fn blocks(policy: &mut ServicePolicy) {
    again_and_again(policy);
    policy.blocks_known_bad = true;
}

/// Somebody deploys v2 again, and it is healthy as far as anybody can see.
fn deployed_again(bench: &mut Bench) {
    bench.live = Some("v2");
    bench.requests = (40, 0);
    bench.pass(10);
}

#[test]
fn a_known_bad_release_that_comes_back_is_undone_once_where_that_is_wanted() {
    let mut bench = Bench::with_v2(Mode::Act, blocks);
    rolled_back(&mut bench);
    let before = bench.switches().len();
    deployed_again(&mut bench);
    bench.until("over", |bench| bench.record().open_incident.is_none());
    assert_eq!(bench.switches().len(), before + 1, "{:?}", bench.told());
    assert_eq!(bench.live, Some("v1"));
    let incident = bench.incident(2);
    assert_eq!(incident.opened_by.as_deref(), Some("Backstop"));
    assert!(incident.plans[0].by_hand.as_ref().is_some_and(|order| order.words().contains("block_known_bad")));
    // Whoever deploys it once more may mean it.
    deployed_again(&mut bench);
    assert_eq!((bench.switches().len(), bench.live), (before + 1, Some("v2")));
    assert!(bench.record().open_incident.is_none(), "it is told, and nothing more");
}

#[test]
fn a_known_bad_release_that_comes_back_stays_where_nobody_wants_it_undone() {
    let mut bench = Bench::with_v2(Mode::Act, again_and_again);
    rolled_back(&mut bench);
    let before = bench.switches().len();
    deployed_again(&mut bench);
    assert_eq!((bench.switches().len(), bench.live), (before, Some("v2")), "{:?}", bench.told());
}

#[test]
fn a_gate_holds_the_undoing_of_a_known_bad_release() {
    let mut bench = Bench::with_v2(Mode::Act, blocks);
    rolled_back(&mut bench);
    let pause = Request::Pause { service: Some(SERVICE.into()), for_seconds: None, reason: "we look".to_owned() };
    bench.ask(pause).expect("paused");
    let before = bench.switches().len();
    deployed_again(&mut bench);
    assert_eq!((bench.switches().len(), bench.live), (before, Some("v2")));
}
