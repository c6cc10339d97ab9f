//! The whole core in simulated worlds. `BACKSTOP_SEEDS=from..to` runs other seeds; a failing seed is printed.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use backstop::{
    core::{entry::PlanOutcome, policy::Mode},
    testing::{Fault, Kill, Report, Scenario, simulate},
};

/// Seeds of an ordinary run of the tests.
const SEEDS: Range<u64> = 0..2000;

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

#[test]
fn seeds_hold_every_invariant() {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    std::thread::scope(|scope| {
        for lane in 0..threads {
            let lane = seeds.clone().filter(move |seed| seed % threads == lane);
            scope.spawn(move || {
                for seed in lane {
                    let scenario = Scenario::drawn(seed);
                    run(&scenario, mode(seed), &kills(seed, 600));
                }
            });
        }
    });
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
                            let is_told = report.outcomes.is_empty() && journal.contains("NoDeployToBlame");
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
