//! Looks at targets, samples of version endpoints, and checks of the watchdog's own network: one task each, that never
//! overlaps itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};

use super::{clock::Clock, completions::Completions};
use crate::{
    core::{
        event::Event,
        name::ServiceName,
        operation::{Look, StepKey},
        release::Observation,
        sample::Reason,
    },
    probe::{self_check::SelfCheck, version::VersionProbe},
    target::Target,
};

/// A look that takes longer saw nothing.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);
/// A link is glanced at so often.
pub(super) const GLANCE_EVERY: Duration = Duration::from_secs(1);
/// The watchdog's own network is checked so often, and one check may take half of it.
const SELF_CHECK_EVERY: Duration = Duration::from_secs(2);

/// Looks at one target: at once, from `apart` later on regularly, and when asked.
pub(super) fn watch_target(
    tasks: &mut JoinSet<()>,
    service: Arc<ServiceName>,
    target: Arc<Target>,
    (every, apart): (Duration, Duration),
    clock: Clock,
    completions: Completions,
) -> Arc<Notify> {
    let asked = Arc::new(Notify::new());
    let wanted = Arc::clone(&asked);
    tasks.spawn(async move {
        let look = async || {
            let began = clock.boot();
            // On the heap, so that a thousand waiting tasks do not each keep room for a running look.
            let observation = Box::pin(observe(&target)).await;
            completions.observed(&service, observation, began);
        };
        look().await;
        let mut regular = interval_at(Instant::now() + apart, every);
        regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Ends with the process: the set of tasks is dropped.
        loop {
            tokio::select! {
                _ = regular.tick() => {}
                () = wanted.notified() => {}
            }
            look().await;
        }
    });
    asked
}

async fn observe(target: &Target) -> Result<Observation, Reason> {
    match tokio::time::timeout(LOOK_DEADLINE, target.observe()).await {
        Ok(observation) => observation,
        Err(_) => Err(Reason::new(&format!("the target did not answer within {LOOK_DEADLINE:?}"))),
    }
}

/// Glances at a group of targets every second, from `apart` later on, and asks for a look at each that has changed.
pub(super) fn glance(tasks: &mut JoinSet<()>, group: Vec<(Arc<Target>, Arc<Notify>)>, apart: Duration) {
    let group: Arc<[_]> = group.into();
    tasks.spawn(async move {
        let mut regular = interval_at(Instant::now() + apart, GLANCE_EVERY);
        regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            regular.tick().await;
            let (group, given_up) = (Arc::clone(&group), Arc::new(AtomicBool::new(false)));
            let is_given_up = Arc::clone(&given_up);
            let glances = tokio::task::spawn_blocking(move || {
                for (target, look) in group.iter() {
                    if is_given_up.load(Ordering::Acquire) {
                        return;
                    }
                    if target.has_changed() {
                        look.notify_one();
                    }
                }
            });
            // One that hangs keeps its thread and is left out until it comes back; the others go on without it.
            given_up.store(tokio::time::timeout(GLANCE_EVERY, glances).await.is_err(), Ordering::Release);
        }
    });
}

/// Waits for what an earlier attempt left running, reads its receipt, and looks.
pub(super) async fn look_after(target: &Target, key: &StepKey, clock: &Clock) -> Look {
    let receipt = target.receipt(key).await;
    let began = clock.boot();
    match receipt {
        Ok(receipt) => Look { observation: observe(target).await, receipt: Some(receipt), began },
        Err(reason) => Look { observation: Err(reason), receipt: None, began },
    }
}

/// Asks a version endpoint.
pub(super) fn watch_version(
    tasks: &mut JoinSet<()>,
    service: Arc<ServiceName>,
    probe: VersionProbe,
    every: Duration,
    completions: Completions,
) {
    tasks.spawn(async move {
        let mut regular = interval(every);
        regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            regular.tick().await;
            completions.version_seen(&service, probe.sample().await);
        }
    });
}

/// Checks the watchdog's own network.
pub(super) fn watch_self(tasks: &mut JoinSet<()>, check: SelfCheck, completions: Completions) {
    tasks.spawn(async move {
        let mut regular = interval(SELF_CHECK_EVERY);
        regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            regular.tick().await;
            let outcome = check.sample(SELF_CHECK_EVERY / 2).await;
            completions.send(Event::SelfCheck(outcome));
        }
    });
}
