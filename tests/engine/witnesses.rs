//! Who is believed about what is live: the target, and only where that cannot tell, the version endpoint.

use backstop::{
    core::{
        event::{Event, Request},
        name::ServiceIndex,
        operation::Look,
        page::PageKind,
        policy::Mode,
        release::{DeploySource, Mark, Observation, Release, Standing},
    },
    testing::{Bench, SERVICE},
};

use super::{as_it_is, first};

/// The deploys, as their versions and how they became known.
fn deploys(bench: &Bench) -> Vec<(String, DeploySource)> {
    let deploys = bench.record().deploys.iter();
    deploys.map(|one| (one.deploy.release.version.to_string(), one.deploy.source)).collect()
}

/// For so many seconds the link is not there, and the version endpoint answers one of these each second.
fn without_a_link(bench: &mut Bench, seconds: usize, answers: &[&str]) {
    bench.tells_current = false;
    for answer in answers.iter().cycle().take(seconds) {
        bench.pass(1);
        bench.answer_version(answer);
    }
    bench.tells_current = true;
    bench.pass(2);
}

#[test]
fn a_link_that_is_away_for_a_while_is_no_deploy_whatever_the_endpoint_says() {
    for answers in [&["build-77"][..], &["v2", "v1"], &["v1"]] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        let before = (deploys(&bench), bench.pages.len());
        without_a_link(&mut bench, 20, answers);
        assert_eq!((deploys(&bench), bench.pages.len()), before, "{answers:?}");
    }
}

#[test]
fn nor_is_it_one_where_only_the_journal_knows_that_the_target_could_tell() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    assert_eq!(deploys(&bench), [("v1".to_owned(), DeploySource::FirstSeen)]);
    bench.tells_current = false;
    bench.restart(1);
    without_a_link(&mut bench, 20, &["build-77"]);
    assert_eq!(deploys(&bench), [("v1".to_owned(), DeploySource::FirstSeen)]);
}

#[test]
fn a_denial_outlives_a_link_that_is_exchanged() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (80, 3);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(Request::Deny { incident: first(), approval: None, reason: None }).expect("denied");
    without_a_link(&mut bench, 5, &["build-77"]);
    bench.requests = (40, 20);
    bench.pass(300);
    let asked = bench.pages.iter().filter(|page| page.kind == PageKind::ApprovalRequested).count();
    assert!(bench.switches().is_empty() && asked == 2, "graver than what was denied is asked: {:?}", bench.told());
}

#[test]
fn a_release_that_was_gone_back_to_is_no_place_to_go_further_back_from() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    for version in ["v1", "v2"] {
        let mark = Request::MarkRelease { service: SERVICE.into(), version: version.into(), mark: Mark::Good };
        bench.ask(mark).expect("marked");
    }
    for version in ["v2", "v3"] {
        bench.live = Some(version);
        bench.pass(10);
    }
    bench.requests = (40, 20);
    bench.until("switched", |bench| bench.switches() == ["v3>v2"]);
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    without_a_link(&mut bench, 10, &["build-77"]);
    bench.pass(600);
    bench.requests = (40, 20);
    bench.pass(200);
    assert_eq!(bench.switches(), ["v3>v2"], "{:?}", bench.told());
}

#[test]
fn where_the_target_never_could_tell_an_endpoint_is_believed_once_it_says_the_same_in_a_row() {
    let mut bench = Bench::with_mute_target(Mode::Act);
    let answer = |bench: &mut Bench, versions: &[&str]| {
        for version in versions {
            bench.pass(5);
            bench.answer_version(version);
        }
    };
    answer(&mut bench, &["v1", "v1"]);
    assert_eq!(deploys(&bench), []);
    answer(&mut bench, &["v1"]);
    let first = ("v1".to_owned(), DeploySource::FirstSeen);
    assert_eq!(deploys(&bench), std::slice::from_ref(&first));
    // A balancer before an old and a new instance; then the new one alone.
    answer(&mut bench, &["v2", "v2", "v1", "v2", "v1", "v2", "v2", "v1"]);
    assert_eq!(deploys(&bench), std::slice::from_ref(&first));
    bench.restart(1);
    answer(&mut bench, &["v2", "v2", "v2"]);
    assert_eq!(deploys(&bench), [first, ("v2".to_owned(), DeploySource::VersionEndpoint)]);
    assert!(bench.record().deploys[0].deploy.by_endpoint_alone);
}

#[test]
fn a_look_from_before_a_switch_shows_what_was_however_late_it_is_taken_in() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    let before = bench.now.boot;
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let known = deploys(&bench);
    let mut look = |began| {
        let available = ["v1", "v3"].map(Release::of).into();
        let current = Some(Release::of("v2"));
        let observation =
            Ok(Observation { current, untold: None, available, rolling_out: false, ..Observation::default() });
        let look = Look { observation, receipt: None, began };
        bench.feed(Event::Looked { service: ServiceIndex(0), key: None, look });
        deploys(&bench)
    };
    assert_eq!(look(before), known, "it was queued all the while");
    let now = look(before.after(std::time::Duration::from_secs(3600)));
    assert_eq!(now.last(), Some(&("v2".to_owned(), DeploySource::Target)), "one that began since is believed");
}

#[test]
fn a_target_that_tells_more_by_now_of_what_is_live_has_no_deploy() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = Some("v2");
    bench.configuration = Some("base");
    bench.until("known to be good", |bench| bench.record().standing(&"v2".into()) == Standing::KnownGood);
    let known = deploys(&bench);
    // Days later another Backstop begins, which looks at ConfigMaps as well.
    bench.restart(3 * 24 * 60 * 60);
    bench.configuration = Some("whole.base.one");
    bench.pass(60);
    assert_eq!(deploys(&bench), known);
    // A fault is not put down to a release that is days old.
    bench.ready = Some(false);
    bench.pass(60);
    assert!(bench.switches().is_empty(), "{:?}", bench.told());
    bench.ready = Some(true);
    bench.pass(60);
    bench.configuration = Some("other.changed.one");
    bench.pass(2);
    assert_eq!(deploys(&bench).len(), known.len() + 1, "another template is a deploy");
}
