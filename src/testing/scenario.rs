//! What happens in one run, drawn from its seed.

mod draw;

use std::time::Duration;

use super::owner::GitOps;
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
    /// 2.5 % of its requests fail: people are to consider it.
    SomeErrors,
    /// It answers every other probe.
    Flapping,
    /// Whatever is deployed, the system is down: something else is broken.
    NotTheRelease,
    /// Its probe passes, while 40 % of its requests fail and its feature does not work.
    Contradictory,
    /// Its feature does not work; everything else does.
    FeatureBroken,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::DeadOnArrival,
        Self::DownLater,
        Self::Errors,
        Self::FewErrors,
        Self::SomeErrors,
        Self::Flapping,
        Self::NotTheRelease,
        Self::Contradictory,
        Self::FeatureBroken,
    ];
}

/// How hostile the world is, in so many times out of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chaos {
    /// Samples that are missed.
    pub missed: u64,
    /// Samples that take long to come back.
    pub sample_slow: u64,
    /// Commits that fail before they are durable.
    pub commit_lost: u64,
    /// Commits that are durable but reported as failed.
    pub commit_unknown: u64,
    /// Operations that fail and change nothing.
    pub operation_fails: u64,
    /// Operations of which nothing is heard until their deadline.
    pub operation_hangs: u64,
    /// Switches that change what is live and then fail to restart it.
    pub operation_half: u64,
    /// Switches that say that they are done, and are not.
    pub operation_lies: u64,
    /// Switches during which a person deploys something.
    pub deploy_mid_plan: u64,
    /// Looks that see nothing.
    pub look_fails: u64,
    /// Looks that take seconds.
    pub look_slow: u64,
    /// Looks at a target that cannot tell just then what is live.
    pub current_unknown: u64,
    /// Looks at a target that says why it does not tell just then what is live: a deploy comes in parts, or what belongs to
    /// it is away.
    pub untold: u64,
    /// Deliveries that fail for now.
    pub delivery_fails: u64,
    /// Deliveries that are refused for good.
    pub delivery_refused: u64,
    /// Deliveries of which nothing is heard.
    pub delivery_hangs: u64,
    /// Samples of the version endpoint that are not answered.
    pub version_unanswered: u64,
    /// Samples of the version endpoint that an instance of the release before answers.
    pub version_contradicts: u64,
    /// Checks of the watchdog's own network that fail; what failed once goes on failing for a while.
    pub self_check_fails: u64,
    /// Operations during which the process is killed.
    pub killed_mid_plan: u64,
    /// Restarts after a kill that take so long that a plan may not be gone on with.
    pub long_absence: u64,
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

/// What mends instances that fail while the others serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cure {
    /// Others in their place.
    Restart,
    /// Another release.
    Rollback,
    /// Nothing, until chaos ends.
    Nothing,
}

/// Services run on a platform, and some instances of the first one begin to fail while the others serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialFailure {
    /// It begins after this.
    pub after: Duration,
    /// So many fail, of four.
    pub failing: usize,
    /// What mends them.
    pub cure: Cure,
}

/// What is not seen of a service, for a long time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blindness {
    /// It begins after this.
    pub after: Duration,
    /// And ends after so long, or with chaos.
    pub lasts: Duration,
    /// Signals of which every sample is missed, by place; of every service.
    pub signals: Vec<usize>,
}

/// What a service's version endpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionEndpoint {
    /// The version that runs.
    Honest,
    /// The first version, always, as from a cache that nobody empties.
    Lies,
}

/// One run.
#[expect(clippy::struct_excessive_bools, reason = "each is a condition of its own, drawn apart from the others")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Everything else is drawn from it.
    pub seed: u64,
    /// Services watched.
    pub services: usize,
    /// The fault of each service's second release.
    pub faults: Vec<Fault>,
    /// The fault of every service's third release, which people deploy at random.
    pub third: Fault,
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
    /// Services have several instances, and some of them begin to fail.
    pub partial: Option<PartialFailure>,
    /// Nothing is seen for a while.
    pub blindness: Option<Blindness>,
    /// No look tells what is live, and each says why, from and to after the start: what belongs to the release is away.
    pub untold: Option<(Duration, Duration)>,
    /// No commit succeeds, from and to after the start: the disk is full.
    pub store_full: Option<(Duration, Duration)>,
    /// No commit is answered, from and to after the start: the disk hangs.
    pub store_hangs: Option<(Duration, Duration)>,
    /// The wall clock is stepped, by so many seconds.
    pub clock_steps: Vec<(Duration, i64)>,
    /// The machine is suspended, from then on and for so long.
    pub suspends: Vec<(Duration, Duration)>,
    /// Steps of the core at which it panics, counted over the whole run.
    pub panics: Vec<u64>,
    /// Whether there is a version endpoint, and what it says.
    pub version: Option<VersionEndpoint>,
    /// A feature is checked, too.
    pub features: bool,
    /// The target never tells what is live.
    pub target_is_mute: bool,
    /// A second channel hears of everything, too.
    pub second_channel: bool,
    /// The first channel never takes anything.
    pub channel_is_dead: bool,
    /// A verdict of consider that stands for its window is acted on.
    pub consider_rolls_back: bool,
    /// Every other service depends on the first.
    pub depends_on_first: bool,
    /// A GitOps controller owns every target, and its sync is suspended for a rollback.
    pub gitops: Option<GitOps>,
    /// A maintenance time of every service, from and to after the start.
    pub maintenance: Option<(Duration, Duration)>,
    /// The wall clock at the start.
    pub starts_at: WallTime,
}
