//! Standard error is a pipe that nobody reads, and full: as under a supervisor that hangs, or a log on a disk that does.

use super::{acts_as_ever, releases};
use crate::world::{QUICK, World, daemon::Daemon, wait::until};

/// Lines of the log that were lost so far.
fn lost_lines(world: &World) -> u64 {
    let metrics = world.api("/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix("backstop_log_lines_lost_total "));
    value.unwrap_or_else(|| panic!("{metrics}")).parse().expect("a number")
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let world = releases();
    world.configure_service(QUICK);
    let mut daemon = Daemon::start_unread(&world.cli.configuration);
    until("the daemon answers", || world.cli.run(&["status"]).status.success());
    assert_eq!(lost_lines(&world), 0, "at first there is room");
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    // Each answer is logged, too.
    until("lines are lost", || lost_lines(&world) > 0);
    acts_as_ever(&world);
    daemon.must_run();
    assert!(daemon.terminate().success(), "it ends as ever");
}
