//! The store while the daemon runs: copied, full, and taken away.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::world::{
    QUICK, World,
    daemon::Daemon,
    wait::{eventually, until},
};

/// A daemon that watches v2 and knows v1 to be good.
fn watched(world: &World) -> Daemon {
    world.configure_service(QUICK);
    let daemon = world.watch();
    world.wait_until_good("v1");
    world.deploy("v2");
    world.wait_until_settled("v2");
    daemon
}

fn releases() -> World {
    World::new(&[("v1", json!({})), ("v2", json!({}))])
}

/// The journal fails: told as S1 from memory, watched on, and nothing done.
fn is_told_and_nothing_is_done(world: &World, daemon: &mut Daemon, why: &str) {
    let about_the_store = || {
        let told = world.receiver.of("incident.escalated");
        told.into_iter().find(|one| one.text("finding") == "store_failed")
    };
    let told = eventually("a page about the store", about_the_store);
    assert_eq!(told.text("severity"), "S1");
    assert!(told.text("summary").contains(why), "{told:?}");
    until("status says it", || {
        let status = world.cli.json(&["status"]);
        status["daemon"]["store_failing"].as_str().is_some_and(|text| text.contains(why))
    });
    assert_eq!(world.api("/healthz").status(), 200);
    assert_eq!(world.api("/readyz").status(), 503);
    world.break_release("v2");
    until("it is watched on", || world.cli.json(&["status"])["services"][0]["verdict"] == "roll_back");
    std::thread::sleep(std::time::Duration::from_secs(3));
    daemon.must_run();
    assert_eq!(world.restarts(), Vec::<String>::new(), "nothing is done that could not be put on record before");
}

/// What waited is put on record and told; a rollback that was told to be refused meanwhile waits for a human.
fn goes_on(world: &World) {
    world.receiver.wait_for("signal.restored");
    world.receiver.wait_for("incident.opened");
    until("it is rolled back, by itself or by approval", || {
        if world.receiver.kinds().iter().any(|kind| kind == "approval.requested") {
            // Said again and again: only the first time does anything.
            world.cli.run(&["incident", "approve", "api-1"]);
        }
        let incident = world.incident("api-1");
        incident["plans"][0]["outcome"] == "verified"
    });
    assert_eq!(world.running().as_deref(), Some("v1"));
    assert_eq!(world.restarts().iter().filter(|line| *line == "end v1").count(), 1);
}

/// Asks for something that goes into the journal, and does not wait for the answer.
fn write_something(world: &World) {
    let cli = world.cli.clone();
    std::thread::spawn(move || cli.run(&["deploys", "mark", "api", "v0", "bad"]));
}

/// A small file system, taken away again at the end.
struct SmallDisk {
    path: PathBuf,
    filling: Arc<AtomicBool>,
}

impl SmallDisk {
    /// Needs root, or sudo that asks nothing, as `tests/run` does.
    fn mount(path: PathBuf) -> Self {
        let options = format!("size=1m,mode=0700,uid={}", rustix::process::geteuid().as_raw());
        let mounted = as_root().args(["mount", "-t", "tmpfs", "-o", &options, "backstop-test"]).arg(&path).status();
        assert!(mounted.expect("mount runs").success(), "a small tmpfs is mounted, as root or by sudo");
        Self { path, filling: Arc::default() }
    }

    /// Fills it to the last page, and takes what becomes free, as a log that runs over does.
    fn fill(&self) {
        let mut file = fs::File::create(self.path.join("other")).expect("made");
        self.filling.store(true, Ordering::Relaxed);
        while file.write_all(&[7; 4096]).is_ok() {}
        let filling = Arc::clone(&self.filling);
        std::thread::spawn(move || {
            while filling.load(Ordering::Relaxed) {
                while file.write_all(&[7; 4096]).is_ok() {}
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
    }

    fn free(&self) {
        self.filling.store(false, Ordering::Relaxed);
        fs::remove_file(self.path.join("other")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.filling.store(false, Ordering::Relaxed);
        let _over = as_root().args(["umount", "--lazy"]).arg(&self.path).status();
    }
}

fn as_root() -> Command {
    if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("-n");
        sudo
    }
}

#[test]
fn a_full_disk_stops_acting_and_not_watching() {
    let world = releases();
    let disk = SmallDisk::mount(world.path("state"));
    let mut daemon = watched(&world);
    disk.fill();
    write_something(&world);
    is_told_and_nothing_is_done(&world, &mut daemon, "full");
    disk.free();
    goes_on(&world);
    assert!(daemon.terminate().success());
}

/// After a clean end there is no log beside the store, and no room for one; after a kill there is one to be read.
#[test]
fn a_daemon_that_starts_on_a_full_disk_watches_and_goes_on_once_there_is_room() {
    for is_killed in [true, false] {
        let world = releases();
        let disk = SmallDisk::mount(world.path("state"));
        let mut daemon = watched(&world);
        if is_killed {
            disk.fill();
            daemon.kill();
        } else {
            assert!(daemon.terminate().success());
            disk.fill();
        }
        let mut daemon = world.watch();
        write_something(&world);
        is_told_and_nothing_is_done(&world, &mut daemon, "full");
        let known: Value = world.cli.json(&["deploys", "api"]);
        assert!(known.to_string().contains("known_good"), "what was known before is: {known}");
        disk.free();
        goes_on(&world);
        assert!(daemon.terminate().success());
    }
}

#[test]
fn a_store_that_is_taken_away_stops_acting_and_not_watching() {
    let world = releases();
    let mut daemon = watched(&world);
    let (store, aside) = (world.path("state/backstop.db"), world.path("aside.db"));
    fs::rename(&store, &aside).expect("moved");
    write_something(&world);
    is_told_and_nothing_is_done(&world, &mut daemon, "removed or replaced");
    fs::rename(&aside, &store).expect("moved back");
    goes_on(&world);
}

#[test]
fn a_store_that_is_damaged_while_in_use_stops_acting_and_not_watching() {
    let world = releases();
    let mut daemon = watched(&world);
    let store = world.path("state/backstop.db");
    // What is still in the log would hide it: a copy brings it all into the file.
    let rows = Connection::open(&store).expect("opened");
    rows.query_row("PRAGMA wal_checkpoint(FULL)", [], |_row| Ok(())).expect("checkpointed");
    drop(rows);
    let file = OpenOptions::new().write(true).open(&store).expect("opened");
    let length = file.metadata().expect("read").len();
    assert!(length > 4096, "{length}");
    let nonsense = vec![0x55; usize::try_from(length - 4096).expect("small")];
    file.write_all_at(&nonsense, 4096).expect("written");
    // Nobody writes meanwhile: it is noticed all the same.
    is_told_and_nothing_is_done(&world, &mut daemon, "backstop store restore");
    // What cannot be done is refused at once, and by its reason.
    let asked = std::time::Instant::now();
    let (code, said) = world.cli.refused(&["deploys", "mark", "api", "v1", "bad"]);
    assert!(code == 1 && said.contains("nothing was done") && said.contains("backstop.db"), "{said}");
    assert!(asked.elapsed() < std::time::Duration::from_secs(3), "{:?}", asked.elapsed());
    // What only keeps something from being done holds, and is said not to be on record.
    let said = world.cli.text(&["pause", "--reason", "a drill"]);
    assert!(said.contains("holds in memory only"), "{said}");
    assert!(daemon.terminate().success());
}

#[test]
fn a_store_that_is_damaged_at_the_start_is_told_and_left_alone() {
    is_told_at_the_start_and_left_alone(|store| store[4096..].fill(0x55), "malformed");
}

#[test]
fn a_store_whose_first_page_is_lost_is_told_at_the_start_and_left_alone() {
    is_told_at_the_start_and_left_alone(|store| store[..4096].fill(0), "its head is damaged");
}

#[test]
fn a_store_that_is_empty_all_at_once_is_told_at_the_start_and_not_begun_anew() {
    is_told_at_the_start_and_left_alone(Vec::clear, "it is empty");
}

fn is_told_at_the_start_and_left_alone(damage: fn(&mut Vec<u8>), why: &str) {
    let world = releases();
    let mut daemon = watched(&world);
    assert!(daemon.terminate().success());
    let store = world.path("state/backstop.db");
    let good = fs::read(&store).expect("read");
    let mut damaged = good.clone();
    damage(&mut damaged);
    fs::write(&store, &damaged).expect("written");
    let mut daemon = world.watch();
    is_told_and_nothing_is_done(&world, &mut daemon, why);
    assert!(daemon.terminate().success());
    assert_eq!(fs::read(&store).expect("read"), damaged, "it may still be saved by somebody");
    // People restore it, and heal the release.
    fs::write(&store, good).expect("written");
    world.heal_release("v2");
    let _daemon = world.watch();
    world.wait_until_settled("v2");
    assert_eq!(world.api("/readyz").status(), 200);
}

#[test]
fn a_backup_is_restored_over_what_a_killed_daemon_left() {
    let world = releases();
    let mut daemon = watched(&world);
    let (copy, store) = (world.path("copy.db"), world.path("state/backstop.db"));
    let restore = ["store", "restore", copy.to_str().expect("UTF-8")];
    world.cli.text(&["pin", "api", "v1", "--reason", "an audit"]);
    world.cli.text(&["store", "backup", restore[2]]);
    world.cli.text(&["unpin", "api", "v1"]);
    world.cli.text(&["pin", "api", "v2", "--reason", "a campaign"]);
    let (code, said) = world.cli.refused(&restore);
    assert!(code == 1 && said.contains(&format!("process {}", daemon.pid())), "{said}");
    daemon.kill();
    let left = fs::metadata(world.path("state/backstop.db-wal")).expect("a kill leaves the log");
    assert!(left.len() > 0);
    // By hand, as one would with any file: that is told, and nothing is built on it.
    fs::copy(&copy, &store).expect("copied");
    let mut daemon = world.watch();
    until("it is told", || {
        let status = world.cli.json(&["status"]);
        status["daemon"]["store_failing"].as_str().is_some_and(|why| why.contains("-wal is of another store"))
    });
    assert!(daemon.terminate().success());

    let said = world.cli.text(&restore);
    assert!(said.contains("backstop.db.replaced-1-wal") && said.contains("up to entry"), "{said}");
    let _daemon = world.watch();
    let pins = || world.api("/api/v1/services/api").body;
    until("the backup is in force", || pins().contains("an audit"));
    assert!(!pins().contains("a campaign"), "{}", pins());
    assert_eq!(world.api("/readyz").status(), 200);
    // What is done shows to whoever looks next.
    for number in 0..20 {
        let reason = format!("drill {number}");
        let service: &[&str] = if number % 2 == 0 { &["api"] } else { &[] };
        world.cli.text(&[&["pause", "--reason", &reason][..], service].concat());
        assert!(pins().contains(&reason), "{reason}: {}", pins());
        world.cli.text(&[&["resume"][..], service].concat());
        assert!(!pins().contains(&reason), "{reason}: {}", pins());
    }
}

#[test]
fn a_backup_beside_the_daemon_can_be_gone_on_with() {
    let world = releases();
    let mut daemon = watched(&world);
    let copy = world.path("copy.db");
    let said = world.cli.text(&["store", "backup", copy.to_str().expect("UTF-8")]);
    assert!(said.contains("copy.db"), "{said}");
    let (code, said) = world.cli.refused(&["store", "backup", copy.to_str().expect("UTF-8")]);
    assert!(code == 1 && said.contains("not written over"), "{said}");
    // Life goes on after the copy, with an incident that the copy does not know of.
    world.break_release("v2");
    world.wait_for_outcome("api-1", "verified");
    world.receiver.wait_for("incident.resolved");
    assert!(daemon.terminate().success());
    // The store is lost; the copy takes its place.
    for name in fs::read_dir(world.path("state")).expect("listed").filter_map(Result::ok) {
        if name.file_name().to_string_lossy().starts_with("backstop.db") {
            fs::remove_file(name.path()).expect("removed");
        }
    }
    fs::rename(&copy, world.path("state/backstop.db")).expect("in its place");
    let _daemon = world.watch();
    let deploys: Value = world.cli.json(&["deploys", "api"]);
    let all = deploys["services"][0]["deploys"].as_array().expect("a list");
    assert!(all.iter().any(|one| one["release"]["version"] == "v1" && one["standing"] == "known_good"), "{deploys:#}");
    world.heal_release("v2");
    world.deploy("v2");
    world.wait_until_settled("v2");
    world.break_release("v2");
    // The receipts of that incident's steps are not taken for this one's.
    world.wait_for_outcome("api-1", "verified");
    assert_eq!(world.running().as_deref(), Some("v1"));
    // And who drops what was received before drops none of the new pages.
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for page in world.receiver.all() {
        let summary = page.text("summary").to_owned();
        let known = pages.entry(page.id.clone()).or_insert_with(|| summary.clone());
        assert_eq!(*known, summary, "{} stands for two pages", page.id);
    }
    // How the fixtures of `tests/upgrade.rs` are made.
    if let Some(keep) = std::env::var_os("BACKSTOP_KEEP_STORE") {
        world.receiver.wait_for("incident.resolved");
        world.cli.text(&["pin", "api", "v1", "--reason", "an audit"]);
        world.cli.text(&["report", "api", "complaint", "--detail", "slow"]);
        world.cli.text(&["pause", "api", "--reason", "a campaign"]);
        world.cli.text(&["store", "backup", keep.to_str().expect("UTF-8")]);
    }
}
