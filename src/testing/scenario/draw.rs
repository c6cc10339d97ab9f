//! Draws scenarios.

use std::time::Duration;

use super::{Blindness, Chaos, Cure, Fault, Outage, PartialFailure, Scenario, VersionEndpoint};
use crate::{core::time::WallTime, testing::random::Random};

/// Runs begin at this wall time unless they say otherwise: an afternoon.
const STARTS_AT: WallTime = WallTime::from_millis(1_780_000_000_000);

/// Chaos lasts so long in drawn runs: several plans fit in.
const CHAOS_FOR: Duration = Duration::from_secs(200);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A rate below `most`, in half of the runs.
fn some(random: &mut Random, most: u64) -> u64 {
    if random.per_mille(500) { random.below(most) } else { 0 }
}

/// A rate below `most`, in so many runs out of a thousand.
fn rarely(random: &mut Random, in_runs: u64, most: u64) -> u64 {
    if random.per_mille(in_runs) { 1 + random.below(most) } else { 0 }
}

fn chaos(random: &mut Random) -> Chaos {
    Chaos {
        // Past a fifth a signal is lost.
        missed: some(random, 200) + rarely(random, 100, 500),
        sample_slow: rarely(random, 250, 400),
        commit_lost: some(random, 200),
        commit_unknown: some(random, 200),
        operation_fails: some(random, 300),
        operation_hangs: some(random, 200),
        operation_half: some(random, 200),
        operation_lies: rarely(random, 250, 400),
        deploy_mid_plan: rarely(random, 250, 400),
        look_fails: some(random, 300),
        look_slow: rarely(random, 300, 300),
        current_unknown: rarely(random, 250, 300),
        // Drawn last.
        untold: 0,
        delivery_fails: some(random, 600),
        delivery_refused: rarely(random, 200, 200),
        delivery_hangs: rarely(random, 200, 150),
        version_unanswered: rarely(random, 500, 500),
        version_contradicts: rarely(random, 300, 400),
        self_check_fails: rarely(random, 300, 100),
        killed_mid_plan: rarely(random, 300, 400),
        long_absence: rarely(random, 300, 700),
        people_every_seconds: some(random, 60),
    }
}

fn span(random: &mut Random, latest: u64, shortest: u64, longest: u64) -> (Duration, Duration) {
    let from = random.between(seconds(10), seconds(latest));
    (from, from + random.between(seconds(shortest), seconds(longest)))
}

fn blindness(random: &mut Random) -> Blindness {
    let (after, until) = span(random, 150, 15, 150);
    let signals = random.pick(&[vec![0], vec![1], vec![0, 1, 2], vec![0, 1, 2]]);
    Blindness { after, lasts: until.checked_sub(after).unwrap_or_default(), signals }
}

/// An hour on, or back, or first the one and then the other; or a few seconds, as a time server corrects.
fn clock_steps(random: &mut Random) -> Vec<(Duration, i64)> {
    let mut moment = || random.between(seconds(10), seconds(190));
    let (first, second) = (moment(), moment());
    let by = random.pick(&[3600, -3600, 7, -7, 40 * 60, -86_400]);
    let mut steps = vec![(first, by)];
    if random.per_mille(500) {
        steps.push((second, -by));
    }
    steps
}

impl Scenario {
    /// Draws a run.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xb5ad_4ece_da1c_e2a9);
        let random = &mut random;
        let crowd = random.per_mille(200);
        let services = usize::try_from(if crowd { 3 + random.below(3) } else { 1 + random.below(2) }).expect("few");
        let faults: Vec<Fault> = (0..services).map(|_| random.pick(&Fault::ALL)).collect();
        let third = if random.per_mille(300) { random.pick(&Fault::ALL) } else { Fault::None };
        let chaos = chaos(random);
        let outage = random.per_mille(300).then(|| Outage {
            after: random.between(seconds(20), seconds(150)),
            services: (0..services).filter(|_| random.per_mille(800)).collect(),
        });
        let maintenance = random.per_mille(150).then(|| {
            let from = random.between(Duration::ZERO, seconds(150));
            (from, from + random.between(seconds(5), seconds(90)))
        });
        let suspends = if random.per_mille(150) {
            vec![(random.between(seconds(20), seconds(190)), random.between(seconds(5), seconds(600)))]
        } else {
            Vec::new()
        };
        let panics = match random.below(20) {
            0 => vec![1 + random.below(2500)],
            1 => vec![1 + random.below(1500), 1 + random.below(2500)],
            _ => Vec::new(),
        };
        let version = match random.below(20) {
            0..=5 => Some(VersionEndpoint::Honest),
            6 => Some(VersionEndpoint::Lies),
            _ => None,
        };
        let blindness = random.per_mille(150).then(|| blindness(random));
        let store_full = random.per_mille(100).then(|| span(random, 150, 5, 90));
        let clock_steps = if random.per_mille(200) { clock_steps(random) } else { Vec::new() };
        let mut scenario = Self {
            seed,
            services,
            faults,
            third,
            chaos,
            deploy_after: random.between(seconds(30), seconds(60)),
            chaos_until: CHAOS_FOR,
            // Whoever was away for long needs the longer to come to rest.
            ends_after: if chaos.long_absence > 0 { seconds(620) } else { seconds(480) },
            outage,
            blindness,
            untold: None,
            store_full,
            store_hangs: None,
            clock_steps,
            suspends,
            panics,
            version,
            features: true,
            target_is_mute: random.per_mille(if version.is_some() { 150 } else { 20 }),
            second_channel: random.per_mille(300),
            channel_is_dead: random.per_mille(40),
            consider_rolls_back: random.per_mille(300),
            depends_on_first: random.per_mille(300),
            gitops: None,
            maintenance,
            starts_at: STARTS_AT,
            // Last, so that what else happens in a run hangs on nothing of it.
            partial: random.per_mille(250).then(|| PartialFailure {
                after: random.between(seconds(20), seconds(150)),
                failing: 1 + usize::try_from(random.below(3)).expect("a few"),
                cure: random.pick(&[Cure::Restart, Cure::Restart, Cure::Rollback, Cure::Nothing]),
            }),
        };
        scenario.chaos.untold = rarely(random, 200, 400);
        scenario.untold = random.per_mille(100).then(|| span(random, 150, 5, 90));
        // From what is not noticed to what is longer than every deadline.
        scenario.store_hangs = random.per_mille(100).then(|| span(random, 100, 5, 300));
        // Of the few restarts some are to be lies.
        if scenario.partial.is_some() && random.per_mille(200) {
            scenario.chaos.operation_lies = 200 + random.below(400);
        }
        scenario
    }

    /// A run of one service without any chaos.
    pub fn calm(seed: u64, fault: Fault) -> Self {
        Self {
            seed,
            services: 1,
            faults: vec![fault],
            third: Fault::None,
            chaos: Chaos::default(),
            deploy_after: seconds(40),
            chaos_until: seconds(41),
            ends_after: seconds(240),
            outage: None,
            partial: None,
            blindness: None,
            untold: None,
            store_full: None,
            store_hangs: None,
            clock_steps: Vec::new(),
            suspends: Vec::new(),
            panics: Vec::new(),
            version: None,
            features: false,
            target_is_mute: false,
            second_channel: false,
            channel_is_dead: false,
            consider_rolls_back: false,
            depends_on_first: false,
            gitops: None,
            maintenance: None,
            starts_at: STARTS_AT,
        }
    }

    /// A run of several services without any chaos, one fault for each.
    pub fn calm_crowd(seed: u64, faults: &[Fault]) -> Self {
        Self { services: faults.len(), faults: faults.to_vec(), ..Self::calm(seed, Fault::None) }
    }
}
