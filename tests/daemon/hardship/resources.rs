//! What the machine runs out of: file descriptors and ports. Nothing of it is the service's fault.

use std::{fs, net::TcpStream, process::Command, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{acts_as_ever, nothing_is_done, releases, samples, watched};
use crate::world::{QUICK, daemon::Daemon, wait::until};

fn limit_descriptors(daemon: &Daemon, limit: Rlimit) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).expect("a process")).expect("not zero");
    prlimit(Some(pid), Resource::Nofile, limit).expect("it is ours")
}

#[test]
fn without_descriptors_everything_is_missed_and_nothing_done() {
    let world = releases();
    let mut daemon = watched(&world, QUICK);
    let before = limit_descriptors(&daemon, rustix::process::getrlimit(Resource::Nofile));
    let failed = samples(&world, "ready", "failed");
    // Every number below this is taken: it gets no new one.
    limit_descriptors(&daemon, Rlimit { current: Some(3), ..before });
    let _waiting = TcpStream::connect(("127.0.0.1", world.api_port())).expect("the kernel's queue has room");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(6));
    assert!(daemon.said().contains("failed to take a connection"), "it says so where it can: {}", daemon.said());
    limit_descriptors(&daemon, before);
    let lost = world.receiver.wait_for("signal.lost");
    assert!(lost.text("summary").contains("this machine: too many open files"), "{lost:?}");
    assert!(samples(&world, "ready", "missed") > 0);
    assert_eq!(samples(&world, "ready", "failed"), failed, "none of it was the service's");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
    world.receiver.wait_for("signal.restored");
    acts_as_ever(&world);
}

/// Ports that outgoing connections may have, in a network of the test's own.
const PORTS: &str = "40000 40003";

/// Says to this program that it runs in a network of its own.
const IN_OWN_NETWORK: &str = "BACKSTOP_TEST_OWN_NETWORK";

/// Runs `test` of this program again in a network of its own, where outgoing connections have [`PORTS`]. Needs root, or
/// sudo that asks nothing, as `tests/run` does.
fn in_own_network(test: &str) {
    let script = format!(
        "ip link set lo up && echo '{PORTS}' >/proc/sys/net/ipv4/ip_local_port_range && exec env {IN_OWN_NETWORK}=1 \"$@\""
    );
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "unshare"]);
        sudo
    };
    let program = std::env::current_exe().expect("this program");
    let output = command
        .args(["--net", "--", "sh", "-c", &script, "sh"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

#[test]
fn without_ports_everything_is_missed_and_nothing_done() {
    if std::env::var_os(IN_OWN_NETWORK).is_none() {
        return in_own_network("hardship::resources::without_ports_everything_is_missed_and_nothing_done");
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("it is there");
    assert_eq!(range.split_whitespace().collect::<Vec<_>>().join(" "), PORTS);
    let world = releases();
    let mut daemon = watched(&world, QUICK);
    let failed = samples(&world, "ready", "failed");
    // Somebody on this machine takes every port towards the service, and keeps it.
    let mut held = Vec::new();
    until("nothing is left", || {
        if let Ok(connection) = TcpStream::connect(("127.0.0.1", world.service.number)) {
            held.push(connection);
        }
        samples(&world, "ready", "missed") > 0
    });
    let lost = world.receiver.wait_for("signal.lost");
    let summary = lost.text("summary");
    assert!(summary.contains("this machine: cannot assign requested address"), "{summary}");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(3));
    assert_eq!(samples(&world, "ready", "failed"), failed, "none of it was the service's");
    drop(held);
    world.receiver.wait_for("signal.restored");
    acts_as_ever(&world);
}
