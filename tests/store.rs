//! The store in a process that is killed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use backstop::{
    core::{
        durable::Durable,
        entry::{Entry, Fact},
        event::Sequence,
        release::Mark,
        time::WallTime,
    },
    store::{CompactionBounds, SqliteStore, StoreError, StoreEvent, spawn},
};

/// Turns this test's program into the process that writes until it is killed.
const WRITER: &str = "BACKSTOP_TEST_WRITER";

/// Makes that process keep the store small while it writes.
const COMPACTS: &str = "BACKSTOP_TEST_COMPACTS";

fn entry(number: u64) -> Entry {
    let at = WallTime::from_millis(i64::try_from(number).expect("small"));
    let (version, by) = (format!("v{}", number % 40).into(), format!("number {number}"));
    Entry { at, boot: None, service: Some("api".into()), fact: Fact::Marked { version, mark: Mark::Good, by } }
}

/// Writes entry after entry, and says after each which one is durable.
fn write_for_ever(path: &Path) {
    let mut store = SqliteStore::open(path).expect("opened");
    if std::env::var_os(COMPACTS).is_some() {
        store.compact_within(CompactionBounds { keep: Duration::ZERO, snapshot_after: 7, covered_limit: 3 });
    }
    let mut next = store.last().0 + 1;
    let (tell, told) = mpsc::channel();
    let handle = spawn(store, move |event| tell.send(event).expect("heard"));
    loop {
        handle.append(vec![(Sequence(next), Arc::new(entry(next)))]).expect("queued");
        next += 1;
        if let StoreEvent::Committed(Sequence(number)) = told.recv().expect("told") {
            writeln!(std::io::stdout(), "committed {number}").expect("the parent listens");
        }
    }
}

#[test]
fn what_was_committed_outlives_kill_minus_nine() {
    if let Some(path) = std::env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.db");
    let mut before = 0;
    for round in 1..=5 {
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "what_was_committed_outlives_kill_minus_nine", "--nocapture"])
            .env(WRITER, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut committed = 0;
        let mut seen = 0;
        for line in BufReader::new(writer.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            let Some((_, number)) = line.split_once("committed ") else { continue };
            committed = number.parse().expect("a number");
            seen += 1;
            if seen == 10 * round {
                let error = SqliteStore::open(&path).expect_err("it has an owner");
                let named = writer.id().to_string();
                assert!(matches!(&error, StoreError::Owned { process, .. } if *process == named), "{error}");
                writer.kill().expect("killed");
            }
        }
        writer.wait().expect("reaped");
        let store = SqliteStore::open(&path).expect("opened anew");
        let mut all = BTreeMap::new();
        let last = store.read_all(Sequence(1), |sequence, entry| drop(all.insert(sequence.0, entry))).expect("read");
        assert!(last.0 >= committed && committed >= before + 10 * round, "{last:?}, {committed}, {before}");
        assert!(all.iter().all(|(number, found)| *found == entry(*number)));
        assert_eq!(all.len() as u64, last.0);
        before = last.0;
    }
}

/// Each look at the store, beside the writer and after its end, finds the state of all that was committed.
fn finds_everything(store: &SqliteStore, committed: u64) -> u64 {
    let durable = store.recover().expect("recovered");
    assert!(durable.last.0 >= committed, "{:?}, {committed}", durable.last);
    let mut expected = Durable::default();
    for number in 1..=durable.last.0 {
        expected.apply(Sequence(number), &entry(number)).expect("it folds");
    }
    assert_eq!(durable, expected);
    durable.last.0
}

#[test]
fn a_kill_while_it_is_compacted_loses_nothing() {
    if let Some(path) = std::env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.db");
    let mut before = 0;
    for round in 1..=8 {
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_kill_while_it_is_compacted_loses_nothing", "--nocapture"])
            .env(WRITER, &path)
            .env(COMPACTS, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut committed = 0;
        let mut seen = 0;
        for line in BufReader::new(writer.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            let Some((_, number)) = line.split_once("committed ") else { continue };
            committed = number.parse().expect("a number");
            seen += 1;
            if seen % 25 == 0 && seen < 60 {
                finds_everything(&SqliteStore::open_read_only(&path).expect("opened"), committed);
            }
            if seen == 60 + round {
                writer.kill().expect("killed");
            }
        }
        writer.wait().expect("reaped");
        let store = SqliteStore::open(&path).expect("opened anew");
        assert!(store.covered().0 > before, "it was compacted: {:?}, {before}", store.covered());
        assert!(matches!(store.read_all(Sequence(1), |_, _| {}), Err(StoreError::Gap(_))), "and entries are gone");
        before = finds_everything(&store, committed);
    }
}
