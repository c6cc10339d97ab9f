//! The unit under a real systemd, installed by the README's own lines: it starts, is watched over, reloads, refuses a wrong
//! configuration, and rolls back from within all that closes it.

mod machine;

use self::machine::Machine;

/// A service whose release is well as long as it has a file.
const CONFIGURATION: &str = "
notify:
  channels:
    audit: {webhook: {url: http://127.0.0.1:9/hook, secret: \"${env:WEBHOOK_SECRET}\"}}
services:
  - name: api
    target:
      releases: {directory: /srv/api/releases, current: /srv/api/current, restart: [\"true\"], rollout_timeout: 15s}
    probes:
      ready: {command: {run: [test, -e, /srv/api/current/well]}, every: 500ms, timeout: 500ms}
    thresholds: {down_after: 3, confirm_every: 200ms, down_for: 1500ms}
    gates: {known_good_after: 2s, settle: 8s}
    verify: {healthy_for: 2s, timeout: 40s}
";

/// v1 is live, and v2 is there.
const RELEASES: &str = "
mkdir -p /srv/api/releases/v1 /srv/api/releases/v2
touch /srv/api/releases/v1/well /srv/api/releases/v2/well
ln -s releases/v1 /srv/api/current
chown -R backstop /srv/api
";

/// The command line, as the unit's own user.
fn backstop(words: &str) -> String {
    format!("setpriv --reuid=backstop --regid=backstop --clear-groups backstop {words}")
}

#[test]
fn a_fresh_installation_watches_reloads_and_ends() {
    let machine = Machine::installed(CONFIGURATION);
    assert_eq!(machine.property("ActiveState"), "active", "started by the README's last line: {}", machine.journal());
    assert_eq!(machine.property("NRestarts"), "0");
    let process = machine.property("MainPID");
    assert_eq!(machine.must(&format!("stat -c %U /proc/{process}")).trim(), "backstop");
    machine.until(&format!("{} --json | grep '\"api\"'", backstop("status")));
    // What the README says of secrets: the unit's environment alone has them.
    let refused = machine.run(&backstop("check /etc/backstop/backstop.yaml"));
    assert!(!refused.0.status.success() && refused.1.contains("WEBHOOK_SECRET"), "{}", refused.1);

    machine.write("/etc/backstop/backstop.yaml", &CONFIGURATION.replace("name: api", "name: web"));
    machine.must("systemctl reload backstop");
    machine.until(&format!("{} --json | grep '\"web\"'", backstop("status")));
    machine.write("/etc/backstop/backstop.yaml", "nonsense: true");
    machine.must("systemctl reload backstop");
    machine.until("journalctl --unit=backstop --no-pager | grep nonsense");
    machine.must(&format!("{} --json | grep '\"web\"'", backstop("status")));
    assert_eq!(machine.property("MainPID"), process, "it was never started anew");

    machine.must("systemctl stop backstop");
    assert_eq!(machine.property("Result"), "success", "{}", machine.journal());
    // Checked before the start: it is not even tried with this one.
    let (started, _) = machine.run("timeout 20 systemctl start backstop");
    assert!(!started.status.success());
    assert!(machine.journal().contains("nonsense"), "{}", machine.journal());
    machine.write("/etc/backstop/backstop.yaml", CONFIGURATION);
    machine.until("systemctl is-active backstop");
}

#[test]
fn one_that_ends_or_stands_still_is_started_again() {
    let machine = Machine::installed(CONFIGURATION);
    let first = machine.property("MainPID");
    machine.must(&format!("kill -KILL {first}"));
    machine
        .until("test \"$(systemctl show backstop --value --property=NRestarts)\" = 1 && systemctl is-active backstop");
    assert_ne!(machine.property("MainPID"), first);

    // The unit's own 30 s, but shorter.
    machine.write("/etc/systemd/system/backstop.service.d/watchdog.conf", "[Service]\nWatchdogSec=2s");
    machine.must("systemctl daemon-reload && systemctl restart backstop");
    let stands = machine.property("MainPID");
    // As long as it turns it is fed.
    machine.must("sleep 5");
    assert_eq!(machine.property("MainPID"), stands, "{}", machine.journal());
    machine.must(&format!("kill -STOP {stands}"));
    machine.until(&format!(
        "test \"$(systemctl show backstop --value --property=MainPID)\" != {stands} && systemctl is-active backstop"
    ));
    assert!(machine.must("journalctl --no-pager --unit=backstop").contains("atchdog"), "systemd says why");
}

#[test]
fn it_rolls_back_from_within_all_that_closes_it() {
    let machine = Machine::installed(CONFIGURATION);
    machine.must(RELEASES);
    machine.must(
        "mkdir -p /etc/systemd/system/backstop.service.d
cp /repository/systemd/drop-ins/releases.conf /etc/systemd/system/backstop.service.d/
systemctl daemon-reload && systemctl restart backstop",
    );
    let logged = |line: &str| machine.until(&format!("journalctl --unit=backstop --no-pager | grep '{line}'"));
    logged("version=v1 standing=\"known_good\"");
    machine.must("ln -sfn releases/v2 /srv/api/current");
    logged("the rollout ended, healthy service=\"api\" deploy=2");
    machine.must("rm /srv/api/releases/v2/well");
    machine.until("test \"$(readlink -f /srv/api/current)\" = /srv/api/releases/v1");
    machine.until(&format!("{} | grep verified", backstop("incident show api-1")));
    // The record of it, which people keep.
    machine.until("grep v2 /var/lib/backstop/rollback-history.json");
}
