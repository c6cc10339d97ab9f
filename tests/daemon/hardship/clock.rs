//! The wall clock is stepped by an hour. Cooldown, budget and the rest under it are in `tests/engine/clock.rs`, in virtual time.

use std::{fs, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{acts_as_ever, nothing_is_done, releases};
use crate::world::{QUICK, World, daemon::Daemon, wait::until};

/// Makes a process believe another time; Debian's libfaketime, which `tests/run` installs.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("there").flatten();
    let found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is installed")
}

/// Sets the daemon's wall clock so far from the true one. Its boot time stays what it is.
fn set_clock(world: &World, offset: &str) {
    let (new, path) = (world.path("clock.new"), world.path("clock"));
    fs::write(&new, offset).expect("written");
    fs::rename(new, path).expect("replaced");
}

fn watch(world: &World) -> Daemon {
    set_clock(world, "+0");
    let (library, clock) = (library(), world.path("clock"));
    let environment = [
        ("LD_PRELOAD", library.to_str().expect("UTF-8")),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    let daemon = Daemon::start_with(&world.cli.configuration, &world.path("daemon.log"), &environment);
    until("the daemon answers", || world.cli.run(&["status"]).status.success());
    daemon
}

/// How far the time that the daemon shows is from the true one.
fn shown_offset(world: &World) -> SignedDuration {
    let status = world.cli.json(&["status"]);
    let shown: Timestamp = status["services"][0]["at"].as_str().expect("a time").parse().expect("a time");
    shown.duration_since(Timestamp::now())
}

fn is_about(offset: SignedDuration, wanted: Duration) -> bool {
    offset.abs_diff_from(wanted) < Duration::from_secs(30)
}

trait AbsoluteDifference {
    fn abs_diff_from(self, wanted: Duration) -> Duration;
}

impl AbsoluteDifference for SignedDuration {
    fn abs_diff_from(self, wanted: Duration) -> Duration {
        (self - SignedDuration::try_from(wanted).expect("small")).unsigned_abs()
    }
}

#[test]
fn a_step_of_an_hour_moves_nothing() {
    let world = releases();
    world.configure_service(&QUICK.replace("known_good_after: 2s", "known_good_after: 12s"));
    let mut daemon = watch(&world);
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    let hour = Duration::from_secs(3600);
    for (offset, wanted) in [("+3600", hour), ("+0", Duration::ZERO)] {
        set_clock(&world, offset);
        until("the clock was stepped", || is_about(shown_offset(&world), wanted));
        nothing_is_done(&world, &mut daemon, Duration::from_secs(3));
        let status = world.cli.json(&["status"]);
        assert_eq!(status["services"][0]["standing"], "unproven", "an hour was not soaked: {status:#}");
    }
    let said = daemon.said();
    let steps = said.matches("the wall clock was stepped").count();
    assert_eq!(steps, 2, "{said}");
    assert!(world.receiver.kinds().iter().all(|kind| kind != "signal.lost"), "{:?}", world.receiver.kinds());
    acts_as_ever(&world);
    let opened = world.receiver.wait_for("incident.opened");
    let incident = world.incident("api-1");
    let shown: Timestamp = incident["opened_at"].as_str().expect("a time").parse().expect("a time");
    let ago = Timestamp::now().duration_since(shown);
    assert!(
        is_about(ago, opened.at.elapsed()),
        "opened {ago:#} ago, as it is written down; told {:?} ago",
        opened.at.elapsed()
    );
}
