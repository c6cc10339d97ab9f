//! A small world: a service with releases, a daemon that watches it, and somebody who is told.

pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod port;
pub(crate) mod prometheus;
pub(crate) mod receiver;
pub(crate) mod times;
pub(crate) mod traffic;
pub(crate) mod wait;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use self::{
    daemon::{Cli, Daemon},
    port::Port,
    receiver::Receiver,
    wait::{eventually, until},
};

/// Thresholds for a test's patience. What a scenario is about stands in the scenario.
pub(crate) const QUICK: &str = "
    thresholds: {down_after: 3, confirm_every: 200ms, down_for: 1500ms}
    gates: {known_good_after: 2s, settle: 8s}
    verify: {healthy_for: 2s, timeout: 40s}
";

/// Everything of one scenario; removed, and its processes ended, when it goes out of scope.
#[derive(Debug)]
pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) service: Port,
    api: Port,
    pub(crate) receiver: Receiver,
    pub(crate) cli: Cli,
}

impl World {
    /// A service with these releases, the first of them live and running. Nothing watches it yet.
    pub(crate) fn new(releases: &[(&str, Value)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for below in ["releases", "state"] {
            fs::create_dir(directory.path().join(below)).expect("a directory");
        }
        let cli = Cli { configuration: directory.path().join("backstop.yaml") };
        let world =
            Self { directory, service: Port::reserve(), api: Port::reserve(), receiver: Receiver::start(), cli };
        for (version, faults) in releases {
            let home = world.release(version);
            fs::create_dir(&home).expect("a directory");
            let mut release = faults.clone();
            release["version"] = json!(version);
            fs::write(home.join("release.json"), release.to_string()).expect("written");
        }
        world.write_restart(RESTART);
        world.deploy(releases[0].0);
        until("the first release answers", || http::get(world.service.number, "/health").is_ok());
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn release(&self, version: &str) -> PathBuf {
        self.path("releases").join(version)
    }

    /// Replaces the restart command. It finds `$home`, `$port` and `$service`.
    pub(crate) fn write_restart(&self, script: &str) {
        let head = format!(
            "#!/bin/sh\nset -eu\nhome='{}'\nport={}\nservice='{}'\n",
            self.directory.path().display(),
            self.service.number,
            env!("CARGO_BIN_EXE_backstop-test-service")
        );
        let path = self.path("restart");
        let new = self.path("restart.new");
        fs::write(&new, head + script).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("made executable");
        fs::rename(new, path).expect("replaced");
    }

    /// Makes `version` the live one, as a deploy script does.
    pub(crate) fn deploy(&self, version: &str) {
        let new = self.path("current.new");
        symlink(self.release(version), &new).expect("a link");
        fs::rename(new, self.path("current")).expect("replaced");
        self.restart();
    }

    /// Restarts the service by hand. What Backstop itself restarts is logged apart.
    pub(crate) fn restart(&self) {
        let status = Command::new(self.path("restart"))
            .stdin(Stdio::null())
            .env("BACKSTOP_VERSION_TO", "by-hand")
            .status()
            .expect("the script runs");
        assert!(status.success(), "{status}");
    }

    /// Makes the release that runs answer 503 from now on.
    pub(crate) fn break_release(&self, version: &str) {
        fs::write(self.release(version).join("broken"), "").expect("written");
    }

    /// And heals it again.
    pub(crate) fn heal_release(&self, version: &str) {
        fs::remove_file(self.release(version).join("broken")).expect("it was broken");
    }

    pub(crate) fn live(&self) -> String {
        let link = fs::read_link(self.path("current")).expect("a link");
        link.file_name().and_then(|name| name.to_str()).expect("a version").to_owned()
    }

    /// The version that the running service says.
    pub(crate) fn running(&self) -> Option<String> {
        let body = http::get(self.service.number, "/health").ok()?.body;
        let body: Value = serde_json::from_str(&body).ok()?;
        body["version"].as_str().map(str::to_owned)
    }

    /// The target of the ordinary kind.
    pub(crate) fn releases_target(&self) -> String {
        let home = self.directory.path().display();
        format!(
            "releases: {{directory: {home}/releases, current: {home}/current, restart: [{home}/restart], \
             rollout_timeout: 15s}}"
        )
    }

    /// The service of the configuration, with an HTTP probe and a version.
    pub(crate) fn service_yaml(&self, target: &str, rest: &str) -> String {
        let port = self.service.number;
        format!(
            "  - name: api
    target:
      {target}
    version: {{http: http://127.0.0.1:{port}/health, pointer: /version, every: 500ms, timeout: 500ms}}
    probes:
      ready: {{http: http://127.0.0.1:{port}/health/ready, every: 500ms, timeout: 500ms}}
{rest}"
        )
    }

    /// Writes the configuration: `top` at its top level, `services` as its list of services.
    pub(crate) fn configure(&self, top: &str, services: &str) {
        let home = self.directory.path().display();
        let text = format!(
            "server: {{listen: 127.0.0.1:{}, socket: {home}/backstop.sock}}
store: {{path: {home}/state/backstop.db}}
history: {{file: {home}/state/rollback-history.json}}
evidence: {{directory: {home}/state/evidence}}
notify:
  channels:
    audit: {{webhook: {{url: http://127.0.0.1:{}/hook, secret: \"${{env:WEBHOOK_SECRET}}\"}}}}
{top}
services:
{services}",
            self.api.number, self.receiver.port.number
        );
        fs::write(&self.cli.configuration, text).expect("written");
    }

    /// The ordinary configuration: releases, one probe, a version; `rest` belongs to the service.
    pub(crate) fn configure_service(&self, rest: &str) {
        self.configure("", &self.service_yaml(&self.releases_target(), rest));
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub(crate) fn watch(&self) -> Daemon {
        let mut daemon = self.start();
        until("the daemon answers", || {
            daemon.must_run();
            self.cli.run(&["status"]).status.success()
        });
        daemon
    }

    /// Starts the daemon.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&self.cli.configuration, &self.path("daemon.log"))
    }

    /// The API over TCP.
    pub(crate) fn api(&self, path: &str) -> http::Message {
        http::get(self.api.number, path).expect("the daemon answers")
    }

    /// The API over its socket, for when TCP is not to be had.
    pub(crate) fn api_by_socket(&self, path: &str) -> http::Message {
        http::get_by_socket(&self.path("backstop.sock"), path).expect("the daemon answers")
    }

    pub(crate) fn api_port(&self) -> u16 {
        self.api.number
    }

    /// Waits until a release is known to be good.
    #[track_caller]
    pub(crate) fn wait_until_good(&self, version: &str) {
        until(&format!("{version} is known to be good"), || {
            self.releases().iter().any(|(one, standing)| one == version && standing == "known_good")
        });
    }

    /// Waits until the daemon has noticed that `version` is live, and that its rollout is over.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self, version: &str) {
        until(&format!("{version} is live and healthy"), || {
            let services = self.cli.json(&["status"]);
            let service = &services["services"][0];
            service["release"]["version"] == version
                && service["rolling_out"] == false
                && service["verdict"] == "healthy"
        });
    }

    fn releases(&self) -> Vec<(String, String)> {
        let deploys = self.cli.json(&["deploys", "api"]);
        let deploys = deploys["services"][0]["deploys"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        deploys.iter().map(|one| (text(&one["release"]["version"]), text(&one["standing"]))).collect()
    }

    /// An incident as the command line shows it. A page may be quicker than what is shown, which is renewed a few times
    /// a second.
    #[track_caller]
    pub(crate) fn incident(&self, id: &str) -> Value {
        eventually(&format!("incident {id} is shown"), || {
            let output = self.cli.run(&["incident", "show", id, "--json"]);
            serde_json::from_slice(&output.stdout).ok()
        })
    }

    /// Waits until a rollback's outcome is this.
    #[track_caller]
    pub(crate) fn wait_for_outcome(&self, id: &str, outcome: &str) -> Value {
        eventually(&format!("a rollback that ended {outcome}"), || {
            let output = self.cli.run(&["incident", "show", id, "--json"]);
            let incident: Value = serde_json::from_slice(&output.stdout).ok()?;
            (incident["plans"][0]["outcome"] == outcome).then_some(incident)
        })
    }

    /// The history file.
    pub(crate) fn history(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state/rollback-history.json")).unwrap_or_else(|_| "{}".to_owned());
        let history: Value = serde_json::from_str(&text).expect("a history is JSON");
        history["rollbacks"].as_array().cloned().unwrap_or_default()
    }

    /// What the restart command wrote down of its runs by Backstop: `begin VERSION` and `end VERSION`.
    pub(crate) fn restarts(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("restarts")).unwrap_or_default();
        log.lines().filter(|line| !line.ends_with("by-hand")).map(str::to_owned).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- events: {:?}", self.receiver.kinds());
        }
        end_service(&self.path("service.pid"));
    }
}

/// Ends the service whose pid was written down, if that is what runs under it.
fn end_service(file: &Path) {
    let Some(pid) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return };
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if let (true, Some(process)) = (command.contains("backstop-test-service"), rustix::process::Pid::from_raw(pid)) {
        let _over = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

/// Ends the running service and starts the one that the link leads to, in background. Each run is written down.
pub(crate) const RESTART: &str = r#"
echo "begin ${BACKSTOP_VERSION_TO-}" >>"$home/restarts"
if [ -s "$home/service.pid" ]; then
    old="$(cat "$home/service.pid")"
    kill -9 "$old" 2>/dev/null || true
    while kill -0 "$old" 2>/dev/null; do sleep 0.02; done
fi
"$service" "$port" "$home/current" </dev/null >>"$home/service.log" 2>&1 &
echo $! >"$home/service.pid"
echo "end ${BACKSTOP_VERSION_TO-}" >>"$home/restarts"
"#;
