//! The process stands still, as under SIGSTOP or on a frozen machine. Ten minutes of it are in `tests/hardship.rs`, in
//! virtual time.

use std::time::Duration;

use rustix::process::Signal;

use super::{acts_as_ever, nothing_is_done, releases, watched};
use crate::world::wait::until;

/// Longer than `down_for`, and many intervals.
const STOPPED: Duration = Duration::from_secs(14);

#[test]
fn what_was_seen_before_a_stop_is_no_reason_to_act_after_it() {
    let world = releases();
    let mut daemon = watched(
        &world,
        "
    thresholds: {down_after: 3, confirm_every: 200ms, down_for: 10s}
    gates: {known_good_after: 2s, settle: 8s}
    verify: {healthy_for: 2s, timeout: 40s}
",
    );
    world.break_release("v2");
    world.receiver.wait_for("incident.opened");
    daemon.signal(Signal::STOP);
    // While nobody looks it heals, long before `down_for` is over.
    world.heal_release("v2");
    std::thread::sleep(STOPPED);
    assert_eq!(world.restarts(), Vec::<String>::new());
    daemon.signal(Signal::CONT);
    world.receiver.wait_for("incident.resolved");
    daemon.must_run();
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing was done on old evidence");
    assert!(daemon.said().contains("the watchdog stood still"), "it says so");
    // It watches on, and what is seen now counts.
    until("every probe passes", || world.cli.json(&["status"])["services"][0]["verdict"] == "healthy");
    world.break_release("v2");
    world.wait_for_outcome("api-2", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
}

#[test]
fn a_stop_while_all_is_well_opens_nothing() {
    let world = releases();
    let mut daemon = watched(&world, crate::world::QUICK);
    daemon.signal(Signal::STOP);
    std::thread::sleep(STOPPED);
    daemon.signal(Signal::CONT);
    let lost = world.receiver.wait_for("signal.lost");
    assert!(lost.text("summary").contains("stood still"), "it says what happened: {lost:?}");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(3));
    world.receiver.wait_for("signal.restored");
    acts_as_ever(&world);
}
