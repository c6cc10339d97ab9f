//! The whole core in simulated worlds. `BACKSTOP_SEEDS=from..to` runs other seeds; a failing seed is printed.

#![expect(clippy::print_stdout, reason = "what happened in how many runs is shown when it is asked for")]

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backstop::{
    core::{
        entry::PlanOutcome,
        gate::night_of,
        page::PageKind,
        policy::{Finding, Mode, Severity},
    },
    testing::{Fault, GitOps, Kill, Outage, Parent, Report, Scenario, Tally, Told, simulate},
};

/// Seeds of an ordinary run of the tests.
const SEEDS: Range<u64> = 0..2000;

/// What must have happened in so many of [`SEEDS`] at least: every fault that is injected, and what can come of it.
const EXPECTED: &[(&str, u64)] = &[
    ("fault: sample missed", 480),
    ("fault: sample slow", 180),
    ("fault: blind to a probe", 90),
    ("fault: blind to requests", 90),
    ("fault: blind to a feature", 60),
    ("fault: own network ill", 180),
    ("fault: version unanswered", 120),
    ("fault: version contradicts", 60),
    ("fault: version lies", 30),
    ("fault: look failed", 420),
    ("fault: look slow", 180),
    ("fault: target cannot tell", 180),
    ("fault: target does not tell", 120),
    ("fault: target does not tell for long", 60),
    ("fault: operation failed", 90),
    ("fault: operation hangs", 48),
    ("fault: switched, and the restart failed", 14),
    ("fault: target lied", 8),
    ("fault: target lied that it restarted", 8),
    ("fault: deploy in the middle of a plan", 15),
    ("fault: commit lost", 360),
    ("fault: commit unknown", 360),
    ("fault: store full", 60),
    ("fault: store hangs", 60),
    ("store: hang told", 20),
    ("fault: delivery failed", 300),
    ("fault: delivery hangs", 72),
    ("fault: delivery refused for good", 90),
    ("fault: clock stepped back", 90),
    ("fault: clock stepped on", 90),
    ("fault: suspended", 120),
    ("fault: killed", 240),
    ("fault: killed in the middle of a plan", 36),
    ("fault: killed while an operation was carried out", 30),
    ("fault: an operation outlived the process", 6),
    ("fault: away for long", 24),
    ("fault: panicked", 48),
    ("fault: panicked twice", 9),
    ("plan: begun by itself", 210),
    ("plan: approved", 36),
    ("plan: ordered by hand", 24),
    ("plan: ordered by hand, with overrides", 12),
    ("plan: verified", 150),
    ("plan: persists", 60),
    ("plan: unverified", 30),
    ("plan: failed", 24),
    ("plan: stuck", 4),
    ("plan: overtaken", 24),
    ("plan: aborted", 24),
    ("plan: too old to be gone on with", 2),
    ("fault: some instances fail", 120),
    ("fault: restarted by half, and failed", 3),
    ("fault: gathering failed", 6),
    ("fault: gathering hangs", 6),
    ("restart: begun by itself", 24),
    ("restart: approved", 3),
    ("restart: ordered by hand", 18),
    ("restart: verified", 5),
    ("restart: persists", 6),
    ("gathering: begun by itself", 24),
    ("gathering: done", 12),
    ("gathering: cut short", 3),
    ("step: undone", 9),
    ("step: not known to be done", 90),
    ("step: found done when looked at", 3),
    ("seen: a look waited for an operation of an earlier process", 3),
    ("approval_requested", 210),
    ("approval: asked for again", 60),
    ("approval: denied", 24),
    ("approval: void", 120),
    ("incident: cleared", 300),
    ("rollback_refused", 210),
    ("no_deploy_to_blame", 48),
    ("shared_cause", 72),
    ("signal_lost", 480),
    ("observer_impaired", 90),
    ("page: given up", 90),
    ("people: approve", 150),
    ("people: deny", 90),
    ("people: mark", 90),
    ("people: pause", 90),
    ("people: pin", 120),
    ("people: abort", 120),
    ("people: roll back", 120),
    ("people: report", 120),
    ("people: verify", 120),
    ("people: refused by a gate", 72),
    ("people: refused, no such thing", 60),
    ("people: refused, the situation is another", 240),
];

fn seeds() -> Range<u64> {
    let Ok(given) = std::env::var("BACKSTOP_SEEDS") else { return SEEDS };
    let (from, to) = given.split_once("..").expect("BACKSTOP_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn run(scenario: &Scenario, mode: Mode, kills: &[Kill]) -> Report {
    simulate(scenario, mode, kills)
        .unwrap_or_else(|violation| panic!("seed {}: {violation}\nkills: {kills:?}\n{scenario:#?}", scenario.seed))
}

fn mode(seed: u64) -> Mode {
    match seed % 8 {
        0 => Mode::Observe,
        1 | 2 => Mode::Ask,
        _ => Mode::Act,
    }
}

/// Kills of a seed: up to three, anywhere in the run.
fn kills(seed: u64, effects: u64) -> Vec<Kill> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let count = next() % 4;
    (0..count).map(|_| Kill { effect: 1 + next() % effects.max(1), before: next() % 2 == 0 }).collect()
}

/// Seeds whose run broke an invariant, and what happened in how many of the others.
fn run_seeds(seeds: Range<u64>, draw: impl Fn(u64) -> Scenario + Sync) -> (BTreeMap<u64, String>, Tally) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let threads = threads.min(seeds.end.saturating_sub(seeds.start)).max(1);
    let failed = Mutex::new(BTreeMap::new());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for lane in 0..threads {
            let (failed, tally, draw) = (&failed, &tally, &draw);
            let lane = seeds.clone().filter(move |seed| seed % threads == lane);
            scope.spawn(move || {
                for seed in lane {
                    let (scenario, kills) = (draw(seed), kills(seed, 600));
                    match std::panic::catch_unwind(|| simulate(&scenario, mode(seed), &kills)) {
                        Ok(Ok(report)) => tally.lock().expect("no panic").add_run(&report.tally),
                        Ok(Err(violation)) => {
                            let told = format!("{violation}\nkills: {kills:?}\n{scenario:#?}");
                            failed.lock().expect("no panic").insert(seed, told);
                        }
                        Err(panic) => {
                            let said = panic.downcast_ref::<String>().cloned();
                            let told = format!("the core panicked: {}", said.unwrap_or_default());
                            failed.lock().expect("no panic").insert(seed, told);
                        }
                    }
                }
            });
        }
    });
    (failed.into_inner().expect("no panic"), tally.into_inner().expect("no panic"))
}

/// Every fault is really injected, and everything that can come of it does, in so many of the runs at least.
#[test]
fn seeds_hold_every_invariant() {
    let seeds = seeds();
    let (failed, tally) = run_seeds(seeds.clone(), Scenario::drawn);
    if let Some((seed, violation)) = failed.first_key_value() {
        let all: Vec<u64> = failed.keys().copied().collect();
        panic!(
            "{} of {} seeds broke an invariant: {all:?}\nseed {seed}: {violation}\nagain: BACKSTOP_SEEDS={seed}..{} cargo \
             test --all-features --test simulator seeds_hold",
            all.len(),
            seeds.end - seeds.start,
            seed + 1
        );
    }
    let all: Vec<String> = tally.all().map(|(what, runs)| format!("{runs:>7} {what}")).collect();
    let all = all.join("\n");
    if std::env::var_os("BACKSTOP_TALLY").is_some() {
        println!("{} runs; those in which it happened:\n{all}", seeds.end - seeds.start);
    }
    if seeds.end - seeds.start >= SEEDS.end - SEEDS.start {
        let rare: Vec<_> = EXPECTED.iter().filter(|(what, least)| tally.of(what) < *least).collect();
        assert!(rare.is_empty(), "too rare: {rare:?}\n{all}");
    }
}

/// The same where a GitOps controller owns every target; Git leaves the release or not, and a parent reverts or not.
fn owned(seed: u64) -> Scenario {
    let mut scenario = Scenario::drawn(seed);
    // Of a target that lies about its switch nobody can tell whether Git differs from it.
    scenario.chaos.operation_lies = 0;
    let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
    scenario.gitops = Some(GitOps {
        compares: seed.is_multiple_of(2),
        parent: [Parent::TurnsOn, Parent::Replaces, Parent::Forgets]
            [usize::try_from(seed / 3 % 3).expect("it is small")],
        reverted_after: if seed.is_multiple_of(3) { seconds(seed % 90) } else { None },
        left_after: if seed % 5 < 3 { seconds(5 + seed % 100) } else { None },
    });
    scenario
}

#[test]
fn seeds_with_an_owner_hold_every_invariant() {
    const OWNED: Range<u64> = 0..400;
    let (failed, tally) = run_seeds(OWNED, owned);
    let seeds: Vec<u64> = failed.keys().copied().collect();
    if let Some((seed, violation)) = failed.first_key_value() {
        panic!("{} of {} seeds broke an invariant: {seeds:?}\nseed {seed}: {violation}", seeds.len(), OWNED.end);
    }
    for what in
        ["sync_suspended", "sync: not held", "sync: resumed", "plan: verified", "fault: killed in the middle of a plan"]
    {
        assert!(tally.of(what) >= 5, "{what} in {} of {} runs", tally.of(what), OWNED.end);
    }
}

#[test]
fn a_calm_world_with_an_owner_ends_as_it_should() {
    let calm = |seed: u64, parent: Parent, reverted_after: Option<u64>, left_after: Option<u64>| {
        let mut scenario = Scenario::calm(seed, Fault::Errors);
        let seconds = |after: Option<u64>| after.map(Duration::from_secs);
        let (reverted_after, left_after) = (seconds(reverted_after), seconds(left_after));
        scenario.gitops = Some(GitOps { compares: seed.is_multiple_of(2), parent, reverted_after, left_after });
        scenario.ends_after = Duration::from_secs(500);
        run(&scenario, Mode::Act, &[])
    };
    let is_over =
        |report: &Report| report.told.iter().any(|page| page.summary.contains("is not suspended for it any more"));
    for seed in 0..10 {
        let report = calm(seed, Parent::TurnsOn, None, Some(100));
        assert_eq!(report.outcomes, [PlanOutcome::Verified], "seed {seed}: {}", report.journal.join("\n"));
        // A controller that compares nothing while its sync is off never says that Git has left.
        assert_eq!(
            (told(&report, Finding::SyncSuspended).is_empty(), is_over(&report)),
            (false, seed.is_multiple_of(2)),
            "seed {seed}: {}\n{:#?}",
            report.journal.join("\n"),
            report.told
        );
        let report = calm(seed, Parent::TurnsOn, None, None);
        assert!(told(&report, Finding::SyncSuspended).len() > 1 && !is_over(&report), "seed {seed}: told again");
        let parent = if seed % 4 < 2 { Parent::TurnsOn } else { Parent::Replaces };
        let report = calm(seed, parent, Some(5), None);
        let mut lifted = told(&report, Finding::SyncNotHeld);
        lifted.retain(|page| page.kind == PageKind::RollbackFailed);
        let [lifted] = lifted[..] else { panic!("seed {seed}: {:#?}", report.told) };
        assert_eq!(lifted.severity, Severity::S1, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let scenario = Scenario::drawn(seed);
        let kills = kills(seed, 600);
        assert_eq!(run(&scenario, mode(seed), &kills), run(&scenario, mode(seed), &kills), "seed {seed}");
    }
}

#[test]
fn calm_worlds_end_as_they_should() {
    for (fault, outcomes) in [
        (Fault::None, &[][..]),
        (Fault::FewErrors, &[]),
        (Fault::DeadOnArrival, &[PlanOutcome::Verified]),
        (Fault::DownLater, &[PlanOutcome::Verified]),
        (Fault::Errors, &[PlanOutcome::Verified]),
    ] {
        for seed in 0..20 {
            let report = run(&Scenario::calm(seed, fault), Mode::Act, &[]);
            assert_eq!(report.outcomes, outcomes, "{fault:?}, seed {seed}");
        }
    }
}

/// One rollback, killed before and after every single effect of it.
#[test]
fn killed_at_every_effect_of_a_rollback() {
    for fault in [Fault::DeadOnArrival, Fault::Errors] {
        let scenario = Scenario::calm(7, fault);
        let undisturbed = run(&scenario, Mode::Act, &[]);
        let told = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        std::thread::scope(|scope| {
            for lane in 0..threads {
                let (scenario, told) = (&scenario, &told);
                scope.spawn(move || {
                    for effect in (1..=undisturbed.effects).filter(|effect| effect % threads == lane) {
                        for before in [true, false] {
                            let report = run(scenario, Mode::Act, &[Kill { effect, before }]);
                            assert_eq!(report.kills, 1, "effect {effect}");
                            let journal = report.journal.join("\n");
                            // Killed between the arrival of the bad release and the incident, nobody can say since when it is bad:
                            // people decide.
                            let is_told = report.outcomes.is_empty()
                                && journal.contains("fault_after_deploy: since when it is so is not known")
                                && journal.contains("ApprovalRequested");
                            assert!(
                                report.outcomes == [PlanOutcome::Verified] || is_told,
                                "{fault:?}, killed at {effect}, before: {before}: {:?}\n{journal}",
                                report.outcomes
                            );
                            told.fetch_add(u64::from(is_told), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let told = told.into_inner();
        assert!(told * 5 <= undisturbed.effects, "{fault:?}: {told} of {} runs only told", undisturbed.effects * 2);
    }
}

fn told(report: &Report, finding: Finding) -> Vec<&Told> {
    report.told.iter().filter(|page| page.finding == Some(finding)).collect()
}

fn opened(report: &Report, service: &str) -> Vec<Severity> {
    let of = |page: &&Told| page.kind == PageKind::IncidentOpened;
    let pages = report.told.iter().filter(of);
    pages
        .filter(|page| page.service.as_ref().is_some_and(|name| name.as_str() == service))
        .map(|page| page.severity)
        .collect()
}

/// Three to five services that go down together are put down to what they share: told once, and none is rolled back.
#[test]
fn services_that_fail_together_are_not_rolled_back() {
    for seed in 0..30 {
        let services = 3 + usize::try_from(seed % 3).expect("small");
        let mut scenario = Scenario::calm_crowd(seed, &vec![Fault::None; services]);
        scenario.outage = Some(Outage { after: Duration::from_secs(80), services: (0..services).collect() });
        scenario.chaos_until = Duration::from_secs(130);
        let report = run(&scenario, Mode::Act, &[]);
        assert_eq!(report.rolled_back, [], "seed {seed}");
        assert_eq!((report.incidents, report.open), (services as u64, 0), "seed {seed}");
        let pages: Vec<_> = told(&report, Finding::SharedCause);
        let of_all: Vec<_> = pages.iter().filter(|page| page.service.is_none()).collect();
        let [only] = of_all.as_slice() else { panic!("seed {seed}: {pages:#?}") };
        assert_eq!((only.severity, only.kind), (Severity::S1, PageKind::IncidentEscalated));
        for service in 0..services {
            assert!(only.summary.contains(&format!("shop-{service}")), "seed {seed}: {}", only.summary);
        }
        assert_eq!(told(&report, Finding::RollbackRefused), Vec::<&Told>::new(), "seed {seed}: once for all");
    }
}

#[test]
fn one_bad_release_among_healthy_services_is_rolled_back() {
    for fault in [Fault::DeadOnArrival, Fault::DownLater, Fault::Errors] {
        for seed in 0..10 {
            let scenario =
                Scenario::calm_crowd(seed, &[Fault::None, fault, Fault::None, Fault::None, Fault::FewErrors]);
            let report = run(&scenario, Mode::Act, &[]);
            assert_eq!(report.outcomes, [PlanOutcome::Verified], "{fault:?}, seed {seed}");
            assert_eq!(report.rolled_back, ["shop-1".into()], "{fault:?}, seed {seed}");
        }
    }
}

/// What depends on something ill is told quietly and is not rolled back; theirs is the page.
#[test]
fn a_dependency_that_is_down_is_to_blame() {
    for seed in 0..20 {
        let mut scenario = Scenario::calm_crowd(seed, &[Fault::NotTheRelease, Fault::None]);
        scenario.depends_on_first = true;
        // The first goes down 25 seconds after its deploy, and what depends on it a little later.
        scenario.outage = Some(Outage { after: Duration::from_secs(71), services: vec![1] });
        scenario.chaos_until = Duration::from_secs(130);
        let report = run(&scenario, Mode::Act, &[]);
        assert!(!report.rolled_back.contains(&"shop-1".into()), "seed {seed}");
        assert_eq!(opened(&report, "shop-0"), [Severity::S1], "seed {seed}");
        assert_eq!(opened(&report, "shop-1"), [Severity::S3], "seed {seed}: {:#?}", report.told);
        let is_alarm = |page: &&Told| page.severity == Severity::S1 && page.kind != PageKind::IncidentResolved;
        let loud = |page: &&Told| is_alarm(page) && page.service == Some("shop-1".into());
        assert_eq!(report.told.iter().find(loud), None, "seed {seed}: {}", report.journal.join("\n"));
    }
}

#[test]
fn in_a_time_of_maintenance_nothing_is_done() {
    for fault in [Fault::DownLater, Fault::Errors] {
        for seed in 0..10 {
            let mut scenario = Scenario::calm(seed, fault);
            scenario.maintenance = Some((Duration::from_secs(30), Duration::from_secs(180)));
            let report = run(&scenario, Mode::Act, &[]);
            assert_eq!(report.rolled_back, [], "{fault:?}, seed {seed}");
            assert_eq!(opened(&report, "shop-0"), [Severity::S1], "{fault:?}, seed {seed}: watched and told");
            let refused = told(&report, Finding::RollbackRefused);
            let refused: Vec<_> = refused.iter().filter(|page| page.kind == PageKind::RollbackRefused).collect();
            let [refused] = refused.as_slice() else { panic!("{}", report.journal.join("\n")) };
            assert!(refused.summary.contains("the switches are replaced"), "{}", refused.summary);
            scenario.maintenance = Some((Duration::ZERO, Duration::from_secs(30)));
            assert_eq!(run(&scenario, Mode::Act, &[]).outcomes, [PlanOutcome::Verified], "{fault:?}, seed {seed}");
        }
    }
}

/// While the watchdog's own network is ill nothing is opened and nothing is begun, whatever it seems to see: the
/// simulator holds every entry against that. Afterwards it sees what is there.
#[test]
fn an_ill_watchdog_decides_nothing() {
    let mut rolled_back = 0;
    for seed in 0..40 {
        let mut scenario = Scenario::calm_crowd(seed, &[Fault::DownLater]);
        scenario.chaos.self_check_fails = 300;
        scenario.chaos_until = Duration::from_secs(140);
        scenario.ends_after = Duration::from_secs(400);
        let report = run(&scenario, Mode::Act, &[]);
        assert!(report.incidents >= 1, "seed {seed}");
        rolled_back += report.rolled_back.len();
    }
    assert!(rolled_back > 0, "a packet that is lost is no refusal");
}

/// A run that begins a minute before the night's dry run of the first service.
fn night(seed: u64) -> Scenario {
    let mut scenario = Scenario::calm(seed, Fault::None);
    let name = "shop-0".into();
    let evening = scenario.starts_at;
    let tonight = night_of(&name, evening) + 1;
    let minutes = (0..24 * 60).map(|minute| evening.after(Duration::from_secs(60 * minute)));
    let first = minutes.into_iter().find(|at| night_of(&name, *at) == tonight).expect("a night begins once a day");
    scenario.starts_at = first.before(Duration::from_secs(120));
    scenario
}

#[test]
fn the_nightly_dry_run_is_made_once_a_night_through_restarts() {
    for seed in 0..20 {
        let scenario = night(seed);
        let calm = run(&scenario, Mode::Act, &[]);
        assert_eq!(calm.nights, [("shop-0".into(), false)], "seed {seed}: it could be rolled back");
        let report = run(&scenario, Mode::Act, &kills(seed, calm.effects));
        assert!(report.nights.len() <= 1, "seed {seed}: {:?}", report.nights);
        // The first release has not soaked when the second comes: there is nothing to go back to.
        let early = Scenario { deploy_after: Duration::from_secs(4), ..scenario.clone() };
        let report = run(&early, Mode::Act, &[]);
        assert_eq!(report.nights, [("shop-0".into(), true)], "seed {seed}");
        let tonight = |page: &&&Told| page.summary.contains("a rollback tonight would be refused");
        let pages = told(&report, Finding::NothingToGoBackTo);
        let [page] = pages.iter().filter(tonight).collect::<Vec<_>>()[..] else { panic!("{pages:#?}") };
        assert_eq!(page.severity, Severity::S3);
        assert_eq!(run(&early, Mode::Observe, &[]).nights, [], "who only observes rolls nothing back");
    }
}
