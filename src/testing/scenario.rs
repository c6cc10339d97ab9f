//! What happens in one run, drawn from its seed.

use std::time::Duration;

use super::random::Random;
use crate::core::time::WallTime;

/// What is wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing.
    None,
    /// It answers nothing from its first moment on.
    DeadOnArrival,
    /// It answers at first and is down some seconds later.
    DownLater,
    /// 12 % of its requests fail.
    Errors,
    /// 0.8 % of its requests fail: that is no reason to roll back.
    FewErrors,
    /// It answers every other probe.
    Flapping,
    /// Whatever is deployed, the system is down: something else is broken.
    NotTheRelease,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::DeadOnArrival,
        Self::DownLater,
        Self::Errors,
        Self::FewErrors,
        Self::Flapping,
        Self::NotTheRelease,
    ];
}

/// How hostile the world is, in so many times out of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chaos {
    /// Samples that are missed.
    pub missed: u64,
    /// Commits that fail before they are durable.
    pub commit_lost: u64,
    /// Commits that are durable but reported as failed.
    pub commit_unknown: u64,
    /// Operations that fail and change nothing.
    pub operation_fails: u64,
    /// Operations of which nothing is heard until their deadline.
    pub operation_hangs: u64,
    /// Switches that change what is live and then fail.
    pub operation_half: u64,
    /// Looks that see nothing.
    pub look_fails: u64,
    /// Deliveries that fail.
    pub delivery_fails: u64,
    /// Looks at the watchdog's own network that fail; what failed once goes on failing for a while.
    pub self_check_fails: u64,
    /// Seconds after which a person does something at random; 0 for never.
    pub people_every_seconds: u64,
}

/// Something that services share breaks, whatever is deployed; it is mended when chaos ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// It begins after this.
    pub after: Duration,
    /// Services that are down while it lasts, by place.
    pub services: Vec<usize>,
}

/// Runs begin at this wall time unless they say otherwise: an afternoon.
const STARTS_AT: WallTime = WallTime::from_millis(1_780_000_000_000);

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Everything else is drawn from it.
    pub seed: u64,
    /// Services watched.
    pub services: usize,
    /// The fault of each service's second release.
    pub faults: Vec<Fault>,
    /// How hostile the world is while chaos lasts.
    pub chaos: Chaos,
    /// The second release comes after this.
    pub deploy_after: Duration,
    /// Chaos and faults of the world (not of the releases) end after this.
    pub chaos_until: Duration,
    /// The run ends after this: long enough to come to rest.
    pub ends_after: Duration,
    /// Something that services share breaks.
    pub outage: Option<Outage>,
    /// Every other service depends on the first.
    pub depends_on_first: bool,
    /// A maintenance time of every service, from and to after the start.
    pub maintenance: Option<(Duration, Duration)>,
    /// The wall clock at the start.
    pub starts_at: WallTime,
}

impl Scenario {
    /// Draws a run.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xb5ad_4ece_da1c_e2a9);
        let few = 1 + usize::try_from(random.below(2)).expect("a small number");
        let mut faults: Vec<Fault> = (0..few).map(|_| random.pick(&Fault::ALL)).collect();
        let mut some = |most: u64| if random.per_mille(500) { random.below(most) } else { 0 };
        let mut chaos = Chaos {
            missed: some(200),
            commit_lost: some(200),
            commit_unknown: some(200),
            operation_fails: some(300),
            operation_hangs: some(200),
            operation_half: some(200),
            look_fails: some(300),
            delivery_fails: some(600),
            people_every_seconds: some(60),
            self_check_fails: 0,
        };
        let deploy_after = random.between(Duration::from_secs(30), Duration::from_secs(60));
        if random.per_mille(250) {
            let more = 3 + usize::try_from(random.below(3)).expect("a small number");
            faults.resize_with(more, || random.pick(&Fault::ALL));
        }
        let services = faults.len();
        let outage = random.per_mille(300).then(|| Outage {
            after: random.between(Duration::from_secs(20), Duration::from_secs(150)),
            services: (0..services).filter(|_| random.per_mille(800)).collect(),
        });
        let depends_on_first = random.per_mille(300);
        let maintenance = random.per_mille(150).then(|| {
            let from = random.between(Duration::ZERO, Duration::from_secs(150));
            (from, from + random.between(Duration::from_secs(5), Duration::from_secs(90)))
        });
        if random.per_mille(300) {
            chaos.self_check_fails = random.below(100);
        }
        Self {
            seed,
            services,
            faults,
            chaos,
            deploy_after,
            chaos_until: Duration::from_secs(200),
            ends_after: Duration::from_secs(480),
            outage,
            depends_on_first,
            maintenance,
            starts_at: STARTS_AT,
        }
    }

    /// A run of one service without any chaos.
    pub fn calm(seed: u64, fault: Fault) -> Self {
        Self {
            seed,
            services: 1,
            faults: vec![fault],
            chaos: Chaos::default(),
            deploy_after: Duration::from_secs(40),
            chaos_until: Duration::from_secs(41),
            ends_after: Duration::from_secs(240),
            outage: None,
            depends_on_first: false,
            maintenance: None,
            starts_at: STARTS_AT,
        }
    }

    /// A run of several services without any chaos, one fault for each.
    pub fn calm_crowd(seed: u64, faults: &[Fault]) -> Self {
        Self { services: faults.len(), faults: faults.to_vec(), ..Self::calm(seed, Fault::None) }
    }
}
