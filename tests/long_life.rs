//! A store after years of rollbacks: as small as its bounds say, and quickly recovered.
//!
//! `BACKSTOP_ENTRIES=200000 cargo test --release --all-features --test long_life -- --nocapture` shows times and sizes.

#![expect(clippy::print_stdout, reason = "times and sizes are shown, not asserted")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use backstop::{
    core::{
        durable::{Durable, ENDED_INCIDENTS_LIMIT},
        entry::Entry,
        event::Sequence,
        page::PageKind,
        policy::Mode,
    },
    runtime::clock::Clock,
    store::{CompactionBounds, Journal as _, SqliteStore, Tidied},
    testing::{Bench, SERVICE},
};

/// Entries of an ordinary run of the tests.
const ENTRIES: usize = 12_000;

fn entries() -> usize {
    std::env::var("BACKSTOP_ENTRIES").map_or(ENTRIES, |given| given.parse().expect("a number"))
}

/// What is journalled of one bad release, from its deploy to the end of its incident.
fn one_rollback() -> Vec<Arc<Entry>> {
    let mut bench = Bench::new(Mode::Act, |_| {});
    let begins = bench.journal.len();
    bench.live = Some("v2");
    bench.pass(5);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.journal.drain(begins..).map(|(_, entry)| entry).collect()
}

/// The same in another incident, hours later.
fn again(entry: &Entry, incident: usize) -> Arc<Entry> {
    let text = serde_json::to_string(entry).expect("JSON");
    let text = text.replace(&format!("{SERVICE}-1"), &format!("{SERVICE}-{incident}"));
    let mut entry: Entry = serde_json::from_str(&text).expect("an entry");
    let hours = u64::try_from(incident).expect("small");
    entry.at = entry.at.after(Duration::from_secs(3600 * hours));
    if let Some(boot) = &mut entry.boot {
        boot.millis += 3_600_000 * hours;
    }
    Arc::new(entry)
}

/// Fills the store as a daemon does: a transaction for each of a few entries.
fn live_long(store: &mut SqliteStore, count: usize) {
    let once = one_rollback();
    let mut next = 1;
    for incident in 1..=count.div_ceil(once.len()) {
        let batch: Vec<_> = (next..).map(Sequence).zip(once.iter().map(|entry| again(entry, incident))).collect();
        next += u64::try_from(batch.len()).expect("small");
        store.append(&batch).expect("appended");
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("there").len()
}

#[test]
fn years_of_rollbacks_are_kept_small() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.db");
    let count = entries();
    let mut store = SqliteStore::open(&path).expect("made");
    live_long(&mut store, count);
    drop(store);
    let whole = size(&path);

    let clock = Clock::new();
    let timed = |what: &str| {
        let began = clock.boot();
        let durable = SqliteStore::open(&path).expect("opened").recover().expect("recovered");
        println!("recovered {what} in {:?}; {} KiB", clock.boot().since(began), size(&path) / 1024);
        durable
    };
    let before = timed("from every entry");
    assert!(before.last.0 >= u64::try_from(count).expect("small"));

    let mut store = SqliteStore::open(&path).expect("opened");
    let limit = u64::try_from(count / 10).expect("small");
    store.compact_within(CompactionBounds {
        covered_limit: limit.min(50_000),
        ..CompactionBounds::keeping(Duration::from_secs(90 * 86_400))
    });
    let (began, mut longest) = (clock.boot(), Duration::ZERO);
    loop {
        let asked = clock.boot();
        let tidied = store.tidy();
        longest = longest.max(clock.boot().since(asked));
        match tidied {
            Tidied::Nothing => break,
            Tidied::Waits => std::thread::sleep(Duration::from_millis(5)),
            Tidied::More => {}
        }
    }
    println!("compacted in {:?}; never longer at a time than {longest:?}", clock.boot().since(began));
    drop(store);
    let after: Durable = timed("from a snapshot");
    assert_eq!(after, before);
    let snapshot = u64::try_from(after.to_snapshot().len()).expect("small");
    // Its share of the entries, the snapshot and the one before it, and what is left free for what comes.
    let bound = whole / 8 + 2 * snapshot + 5 * 1024 * 1024;
    assert!(size(&path) < bound.min(whole), "{} of {whole} bytes; the snapshot has {snapshot}", size(&path));
    let ended = after.incidents.values().filter(|incident| !incident.is_open()).count();
    assert!(ended <= ENDED_INCIDENTS_LIMIT, "{ended}");
    println!("{} entries, {ended} incidents; the snapshot has {} KiB", before.last.0, snapshot / 1024);
}
