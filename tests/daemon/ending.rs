//! What the service manager hears, and how the daemon ends.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::world::{QUICK, RESTART, World, daemon::Daemon, http, wait::until};

/// A socket in the place of systemd's.
struct ServiceManager {
    path: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl ServiceManager {
    fn listen(world: &World) -> Self {
        let path = world.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listed = Arc::clone(&heard);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                listed.lock().expect("no panic").extend(text.lines().map(str::to_owned));
            }
        });
        Self { path: path.display().to_string(), heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    fn count(&self, line: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == line).count()
    }

    fn place(&self, begins: &str) -> Option<usize> {
        self.heard().iter().position(|line| line.starts_with(begins))
    }
}

#[test]
fn the_service_manager_hears_how_it_is() {
    let world = World::new(&[("v1", json!({}))]);
    world.configure_service(QUICK);
    let manager = ServiceManager::listen(&world);
    let environment = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "1000000")];
    let mut daemon = Daemon::start_with(&world.cli.configuration, &world.path("daemon.log"), &environment);
    until("it is ready", || manager.count("READY=1") == 1);
    assert_eq!(world.api("/readyz").status(), 200, "what was said is so");
    until("a line for people", || manager.place("STATUS=watching 1 services, 0 incidents open").is_some());
    let signs = manager.count("WATCHDOG=1");
    until("the watchdog is fed again and again", || manager.count("WATCHDOG=1") >= signs + 5);

    daemon.signal(Signal::STOP);
    let signs = manager.count("WATCHDOG=1");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(manager.count("WATCHDOG=1") <= signs + 1, "not while it stands still");
    daemon.signal(Signal::CONT);
    until("it is fed again", || manager.count("WATCHDOG=1") > signs + 2);

    daemon.signal(Signal::HUP);
    until("it is ready again", || manager.count("READY=1") == 2);
    let (reloading, since) = (manager.place("RELOADING=1"), manager.place("MONOTONIC_USEC="));
    assert!(reloading.is_some() && since.is_some(), "{:?}", manager.heard());
    assert_eq!(manager.count("STOPPING=1"), 0);
    assert!(daemon.terminate().success());
    until("it is said", || manager.count("STOPPING=1") == 1);
}

/// A reader of a named pipe waits for a writer, as whoever reads from a file system that is away.
#[test]
fn sigterm_ends_the_process_though_a_call_hangs() {
    let world = World::new(&[("v1", json!({}))]);
    world.configure_service(QUICK);
    let history = world.path("state/rollback-history.json");
    let made = std::process::Command::new("mkfifo").arg(&history).status().expect("mkfifo runs");
    assert!(made.success());
    // The check of the configuration gets an answer, and the daemon itself gets none any more.
    let answers = std::thread::spawn(move || fs::write(history, "{\"rollbacks\": []}"));
    let mut daemon = world.watch();
    answers.join().expect("no panic").expect("it was read");
    assert!(daemon.terminate().success());
    assert!(daemon.said().contains("stopped"), "in order: {}", daemon.said());
}

fn steps(world: &World) -> Vec<(String, String)> {
    let incident: Value = world.cli.json(&["incident", "show", "api-1"]);
    let steps = incident["plans"][0]["steps"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    steps.iter().map(|step| (text(&step["title"]), text(&step["status"]))).collect()
}

/// A rollback is under way whose restart command takes so many seconds.
fn restarting(seconds: u32) -> (World, Daemon) {
    let world = World::new(&[("v1", json!({})), ("v2", json!({}))]);
    world.configure_service(QUICK);
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    let slow = format!("sleep {seconds}\n\"$service\" \"$port\"");
    world.write_restart(&RESTART.replace("\"$service\" \"$port\"", &slow));
    world.break_release("v2");
    until("the restart command runs", || world.restarts() == ["begin v1"]);
    (world, daemon)
}

#[test]
fn what_is_in_flight_may_end_and_nothing_else_begins() {
    let (world, mut daemon) = restarting(3);
    daemon.signal(Signal::TERM);
    until("no work is to be sent there", || {
        http::get(world.api_port(), "/readyz").is_ok_and(|answer| answer.status() == 503)
    });
    assert_eq!(http::get(world.api_port(), "/healthz").expect("it still serves").status(), 200);
    assert!(daemon.wait().success());
    assert_eq!(world.restarts(), ["begin v1", "end v1"], "the command came to its own end");
    // Its outcome is in the journal, and the next step was not begun.
    let steps = steps(&world);
    let place = steps.iter().rposition(|(_, status)| status == "done").expect("a step was done");
    assert!(steps[place].0.contains("roll back"), "{steps:?}");
    assert!(steps[place + 1..].iter().all(|(_, status)| status == "pending"), "{steps:?}");
    let _daemon = world.watch();
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.restarts(), ["begin v1", "end v1"], "nothing was done twice");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (world, mut daemon) = restarting(100);
    daemon.signal(Signal::TERM);
    until("it is ending", || http::get(world.api_port(), "/readyz").is_ok_and(|answer| answer.status() == 503));
    daemon.must_run();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.said());
    assert!(daemon.said().contains("at once"));
    // The command ended with it, and the next start looks at what became of it.
    world.write_restart(RESTART);
    let _daemon = world.watch();
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(fs::read_link(world.path("current")).expect("a link"), world.path("releases").join("v1"));
}
