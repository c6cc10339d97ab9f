//! Bad surroundings that take minutes or weeks, in virtual time: a process that stood still, a certificate that runs out.
//! What the real daemon does is in `tests/daemon/hardship`; stepped wall clocks are in `tests/engine/clock.rs`.

use std::time::Duration;

use backstop::{
    core::{
        entry::Fact,
        event::Event,
        name::{ServiceIndex, SignalIndex},
        page::PageKind,
        policy::{Finding, Mode, ServicePolicy, Severity},
        time::WallTime,
    },
    testing::{Bench, SERVICE},
};

const TEN_MINUTES: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);

const fn as_it_is(_: &mut ServicePolicy) {}

/// As under SIGSTOP: time passes and nothing is heard. The first thing afterwards is that nothing was looked at.
fn stand_still(bench: &mut Bench) {
    bench.now = bench.now.after(TEN_MINUTES);
    bench.feed(Event::Woke);
    let ready = bench.ready.take();
    bench.pass(1);
    bench.ready = ready;
}

#[test]
fn ten_minutes_of_standing_still_are_no_ten_minutes_of_failure() {
    // Failing when it stopped, for too short a time to act; well when it goes on.
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.ready = Some(true);
    stand_still(&mut bench);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    assert!(bench.switches().is_empty(), "{:?}", bench.told());

    // Failing before and after: what is acted on is seen afterwards, unbroken for `down_for`.
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    stand_still(&mut bench);
    let went_on = bench.now.boot;
    assert!(bench.switches().is_empty(), "{:?}", bench.told());
    bench.until("switched", |bench| !bench.switches().is_empty());
    assert!(bench.now.boot.since(went_on) >= Duration::from_secs(2), "down_for is 3 s, and one of them was missed");
}

#[test]
fn ten_minutes_of_standing_still_while_all_is_well_are_a_lost_signal_and_nothing_more() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    stand_still(&mut bench);
    bench.until("told", |bench| bench.was_told(PageKind::SignalLost));
    bench.until("seen again", |bench| bench.was_told(PageKind::SignalRestored));
    assert!(!bench.was_told(PageKind::IncidentOpened) && bench.switches().is_empty(), "{:?}", bench.told());
    // And nothing was soaked meanwhile, nor is what comes now taken for older than it is.
    bench.ready = Some(false);
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
}

#[test]
fn a_plan_that_stood_still_goes_on_once_or_is_left_to_people() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    stand_still(&mut bench);
    bench.ready = Some(true);
    bench.until("over", |bench| bench.incident(1).plans[0].ended.is_some());
    assert_eq!(bench.switches(), ["v2>v1"], "{:?}", bench.told());
}

fn sees(bench: &mut Bench, signal: u16, expires: WallTime) {
    bench.feed(Event::CertificateSeen { service: ServiceIndex(0), signal: SignalIndex(signal), expires });
    bench.pass(2);
}

fn certificate_pages(bench: &Bench) -> Vec<(PageKind, Severity, String)> {
    let about = bench.pages.iter().filter(|page| page.finding == Some(Finding::CertificateExpiring));
    about.map(|page| (page.kind, page.severity, page.summary.clone())).collect()
}

#[test]
fn a_certificate_is_told_of_at_two_weeks_at_three_days_and_on_its_last() {
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    let expires = bench.now.wall.after(20 * DAY);
    sees(&mut bench, 0, expires);
    assert!(certificate_pages(&bench).is_empty());
    let mut told = 0;
    // A day passes at a time, as for a process that sleeps at night; each time it is seen again, by two signals.
    for day in 1..=20 {
        bench.now = bench.now.after(DAY);
        sees(&mut bench, 0, expires);
        sees(&mut bench, 1, expires);
        if day % 5 == 0 {
            // It forgets nothing that it said.
            bench.restart(1);
            sees(&mut bench, 1, expires);
            sees(&mut bench, 0, expires);
        }
        told += match day {
            6 | 17 | 19 => 1,
            _ => 0,
        };
        assert_eq!(certificate_pages(&bench).len(), told, "on day {day}: {:?}", bench.told());
    }
    let pages = certificate_pages(&bench);
    assert!(pages.iter().all(|(kind, severity, _)| (*kind, *severity) == (PageKind::IncidentEscalated, Severity::S3)));
    assert!(
        pages[0].2.starts_with(&format!("{SERVICE}: the certificate that ready sees expires in 13 days")),
        "{pages:?}"
    );
    // It is renewed, of which people are told once, when the old one was seen no more for an hour; and then it is the next
    // one's turn.
    let renewed = bench.now.wall.after(90 * DAY);
    for minute in 0..=60 {
        assert_eq!(certificate_pages(&bench).len(), 3, "in minute {minute}");
        sees(&mut bench, 0, renewed);
        sees(&mut bench, 1, renewed);
        bench.now = bench.now.after(Duration::from_secs(56));
    }
    sees(&mut bench, 0, renewed);
    let pages = certificate_pages(&bench);
    assert_eq!((pages.len(), pages[3].0), (4, PageKind::SignalRestored), "{pages:?}");
    assert!(bench.record().certificates.is_empty());
    bench.now = bench.now.after(80 * DAY);
    sees(&mut bench, 0, renewed);
    assert_eq!(certificate_pages(&bench).len(), 5);
}

#[test]
fn certificates_of_two_instances_behind_one_address_are_told_of_once() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    let (old, renewed) = (bench.now.wall.after(5 * DAY), bench.now.wall.after(80 * DAY));
    let entries = bench.journal.len();
    for _ in 0..60 {
        sees(&mut bench, 0, old);
        sees(&mut bench, 0, renewed);
        bench.now = bench.now.after(Duration::from_secs(120));
    }
    assert_eq!(certificate_pages(&bench).len(), 1, "{:?}", bench.told());
    assert!(bench.journal.len() - entries < 10, "{} entries", bench.journal.len() - entries);
    // For two hours only the renewed one answers; then the old one again, of which everything was said.
    for _ in 0..60 {
        sees(&mut bench, 0, renewed);
        bench.now = bench.now.after(Duration::from_secs(120));
    }
    sees(&mut bench, 0, old);
    bench.restart(1);
    sees(&mut bench, 0, old);
    let kinds: Vec<_> = certificate_pages(&bench).into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, [PageKind::IncidentEscalated, PageKind::SignalRestored], "{:?}", bench.told());
    // Until its next bound.
    bench.now = bench.now.after(3 * DAY);
    sees(&mut bench, 0, old);
    assert_eq!(certificate_pages(&bench).len(), 3, "{:?}", bench.told());
}

#[test]
fn a_wall_clock_once_far_ahead_silences_no_certificate() {
    const AHEAD_DAYS: i64 = 100;
    let mut bench = Bench::new(Mode::Act, as_it_is);
    let expires = bench.now.wall.after(80 * DAY);
    bench.step_wall_clock(AHEAD_DAYS * 86_400);
    sees(&mut bench, 0, expires);
    assert_eq!(certificate_pages(&bench).len(), 1);
    bench.step_wall_clock(-AHEAD_DAYS * 86_400);
    sees(&mut bench, 0, expires);
    assert_eq!(certificate_pages(&bench).len(), 1);
    for (day, told) in [(65, 0), (67, 1), (76, 1), (78, 2), (79, 3)] {
        let wanted = expires.before(80 * DAY).after(day * DAY);
        bench.now = bench.now.after(wanted.since(bench.now.wall));
        sees(&mut bench, 0, expires);
        assert_eq!(certificate_pages(&bench).len(), 1 + told, "on day {day}: {:?}", bench.told());
    }
}

#[test]
fn a_wall_clock_once_far_ahead_puts_off_no_night() {
    const AHEAD_DAYS: i64 = 100;
    let mut bench = Bench::new(Mode::Act, as_it_is);
    let dry_runs = |bench: &Bench| {
        let is_look = |fact: &Fact| matches!(fact, Fact::NightlyDryRun { .. });
        bench.journal.iter().filter(|(_, entry)| is_look(&entry.fact)).count()
    };
    bench.step_wall_clock(AHEAD_DAYS * 86_400);
    bench.pass(700);
    bench.step_wall_clock(-AHEAD_DAYS * 86_400);
    bench.pass(2);
    let before = dry_runs(&bench);
    for night in 1..=10 {
        bench.now = bench.now.after(DAY);
        bench.pass(700);
        assert_eq!(dry_runs(&bench), before + night);
        // Back and forth over an hour, it stays one dry run a night.
        bench.step_wall_clock(-3600);
        bench.pass(2);
        bench.step_wall_clock(3600);
    }
}
