//! Standard error is a pipe that nobody reads, and full: as under a supervisor that hangs, or a log on a disk that does.

use super::{acts_as_ever, releases};
use crate::world::{
    QUICK,
    daemon::{Daemon, PIPE_BYTES},
    wait::until,
};

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let world = releases();
    world.configure_service(QUICK);
    let mut daemon = Daemon::start_unread(&world.cli.configuration);
    until("the daemon answers", || world.cli.run(&["status"]).status.success());
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    acts_as_ever(&world);
    daemon.must_run();
    // What a rollback logs is many times as much: no further line went in.
    let unread = daemon.unread_bytes();
    assert!((PIPE_BYTES as u64 * 3 / 4..=PIPE_BYTES as u64).contains(&unread), "{unread}");
    let metrics = world.api("/metrics").body;
    assert!(metrics.lines().any(|line| line.starts_with("backstop_log_lines_lost_total ")), "{metrics}");
    assert!(daemon.terminate().success(), "it ends as ever");
}
