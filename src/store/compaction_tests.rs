use std::time::Duration;

use super::*;
use crate::{
    core::{
        durable::Durable,
        entry::Fact,
        time::{BootStamp, BootTime, MachineStart, WallTime},
        verdict::{Path as Asked, PlanKind, VerdictKind},
    },
    store::CompactionBounds,
};

const DAY: Duration = Duration::from_secs(86_400);

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.db");
    (directory, path)
}

/// One entry an hour.
fn entry(number: u64) -> Entry {
    let at = WallTime::from_millis(1_767_781_800_000).after(Duration::from_secs(3600 * number));
    let mark =
        if number.is_multiple_of(3) { crate::core::release::Mark::Bad } else { crate::core::release::Mark::Good };
    let fact = Fact::Marked { version: format!("v{}", number % 50).into(), mark, by: format!("number {number}") };
    Entry { at, boot: None, service: Some("api".into()), fact }
}

fn append(store: &mut SqliteStore, numbers: std::ops::RangeInclusive<u64>) {
    let batch: Vec<_> = numbers.map(|number| (Sequence(number), Arc::new(entry(number)))).collect();
    store.append(&batch).expect("appended");
}

fn fold(last: u64) -> Durable {
    let mut durable = Durable::default();
    for number in 1..=last {
        durable.apply(Sequence(number), &entry(number)).expect("it folds");
    }
    durable
}

/// Lets it do everything that there is to do.
fn tidy(store: &mut SqliteStore) {
    loop {
        match store.tidy() {
            Tidied::Nothing => return,
            Tidied::More => {}
            Tidied::Waits => std::thread::yield_now(),
        }
    }
}

fn rows(path: &Path) -> (i64, i64) {
    let first_and_count = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let connection = Connection::open(path).expect("opened");
    connection.query_row("SELECT min(sequence), count(*) FROM journal", [], first_and_count).expect("read")
}

const SMALL: CompactionBounds = CompactionBounds { keep: DAY, snapshot_after: 100, covered_limit: 1000 };

#[test]
fn what_is_old_goes_and_what_is_known_stays() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    append(&mut store, 1..=99);
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(0), (1, 99)), "too few for a snapshot");
    append(&mut store, 100..=3000);
    let reader = SqliteStore::open_read_only(&path).expect("opened");
    tidy(&mut store);
    // Of the last day, at one an hour, 25 are kept.
    assert_eq!((store.covered(), rows(&path)), (Sequence(3000), (2976, 25)));
    assert_eq!(reader.recover().expect("recovered"), fold(3000), "by whoever had it open, too");
    append(&mut store, 3001..=3050);
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(3000), (2976, 75)), "nothing to do");
    drop(store);
    let mut store = SqliteStore::open(&path).expect("opened");
    assert_eq!((store.last(), store.covered()), (Sequence(3050), Sequence(3000)));
    assert_eq!(store.recover().expect("recovered"), fold(3050));
    append(&mut store, 3051..=3052);
    let error = store.append(&[(Sequence(7), Arc::new(entry(7)))]).expect_err("long gone");
    assert!(matches!(error, StoreError::Conflict(Sequence(7))), "{error}");
    // A copy holds it all.
    let copy = path.with_file_name("copy.db");
    SqliteStore::back_up(&path, &copy).expect("copied");
    assert_eq!(SqliteStore::open(&copy).expect("opened").recover().expect("recovered"), fold(3052));
}

#[test]
fn a_wall_clock_once_far_ahead_makes_nothing_old() {
    const AHEAD: Duration = Duration::from_secs(100 * 86_400);
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    let stamped = |number: u64| {
        let passed = Duration::from_secs(3600 * number);
        let boot = BootTime::from_nanos(u64::try_from(passed.as_nanos()).expect("few"));
        let entry = entry(number);
        // The last ones were written while the clock was wrong.
        let at = if number > 290 { entry.at.after(AHEAD) } else { entry.at };
        Entry { at, boot: Some(BootStamp::new(MachineStart(1), boot)), ..entry }
    };
    let batch: Vec<_> = (1..=300).map(|number| (Sequence(number), Arc::new(stamped(number)))).collect();
    store.append(&batch).expect("appended");
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(300), (276, 25)), "the last day is kept");
    // And the clock is right again.
    let batch: Vec<_> = (301..=500)
        .map(|number| (Sequence(number), Arc::new(Entry { at: entry(number).at, ..stamped(number) })))
        .collect();
    store.append(&batch).expect("appended");
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(500), (476, 25)));
}

#[test]
fn the_young_are_bounded_too() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(CompactionBounds { keep: 10_000 * DAY, ..SMALL });
    append(&mut store, 1..=900);
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(900), (1, 900)), "all of them are to be kept");
    append(&mut store, 901..=4000);
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(4000), (3001, 1000)));
    assert_eq!(store.recover().expect("recovered"), fold(4000));
}

#[test]
fn at_least_the_last_entry_stays() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(CompactionBounds { keep: Duration::ZERO, snapshot_after: 1, covered_limit: 0 });
    append(&mut store, 1..=10);
    tidy(&mut store);
    assert_eq!(rows(&path), (10, 1));
}

#[test]
fn a_plan_under_way_puts_it_off() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    let at = WallTime::from_millis(0);
    let asked = Asked { verdict: VerdictKind::RollBack, questions: Vec::new(), because: String::new(), plan: None };
    let opened = Fact::IncidentOpened {
        incident: "api-1".into(),
        verdict: VerdictKind::RollBack,
        path: asked,
        deploy: None,
        onset: None,
        by: None,
    };
    let begun = Fact::PlanStarted {
        incident: "api-1".into(),
        number: 1,
        plan: PlanKind::Quick,
        from: "v2".into(),
        to: "v1".into(),
        deploy: 1,
        object: None,
        steps: Vec::new(),
        approved_by: None,
        by_hand: None,
    };
    let facts = [opened, begun].map(|fact| Arc::new(Entry { at, boot: None, service: Some("api".into()), fact }));
    store.append(&[(Sequence(1), Arc::clone(&facts[0])), (Sequence(2), Arc::clone(&facts[1]))]).expect("appended");
    append(&mut store, 3..=399);
    tidy(&mut store);
    assert_eq!(store.covered(), Sequence(0));
    // Not asked again for each entry, and not for ever: a plan that stays would let the journal grow.
    append(&mut store, 400..=500);
    assert_eq!(store.tidy(), Tidied::Nothing);
    append(&mut store, 501..=700);
    tidy(&mut store);
    assert_eq!(store.covered(), Sequence(700));
    let durable = store.recover().expect("recovered");
    assert!(durable.incidents["api-1"].active_plan().is_some());
}

/// A compacted store, damaged by `statement`, and what is said of it.
fn damaged(statement: &str) -> StoreError {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    append(&mut store, 1..=500);
    tidy(&mut store);
    drop(store);
    Connection::open(&path).and_then(|raw| raw.execute(statement, [])).expect("damaged");
    let error = SqliteStore::open(&path).expect("it opens").recover().expect_err("damaged");
    assert!(error.is_damage(), "{error}");
    error
}

#[test]
fn a_damaged_snapshot_is_never_a_fresh_start() {
    for (statement, words) in [
        ("UPDATE snapshot SET state = substr(state, 2)", "its digest is not that of what it says"),
        ("UPDATE snapshot SET state = replace(state, 'known_bad', 'known_good')", "its digest is not that"),
        ("UPDATE snapshot SET sequence = 480", "its digest is not that"),
        ("UPDATE snapshot SET form = 9", "its digest is not that"),
        ("UPDATE snapshot SET digest = ''", "its digest is not that"),
    ] {
        let error = damaged(statement).to_string();
        assert!(error.contains(words) && error.contains("backstop store restore"), "{statement}: {error}");
    }
    assert!(matches!(damaged("DELETE FROM snapshot"), StoreError::Gap(Sequence(1))));
    // The last entry that is covered is the first that would be missed.
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    append(&mut store, 1..=500);
    tidy(&mut store);
    append(&mut store, 501..=510);
    Connection::open(&path).and_then(|raw| raw.execute("DELETE FROM journal WHERE sequence = 501", [])).expect("done");
    assert!(matches!(store.recover(), Err(StoreError::Gap(Sequence(501)))));
}

#[test]
fn what_a_later_version_wrote_is_no_damage() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    append(&mut store, 1..=500);
    tidy(&mut store);
    append(&mut store, 501..=502);
    drop(store);
    let raw = Connection::open(&path).expect("opened");
    let refused = |words: &str| {
        let error = SqliteStore::open(&path).expect("it opens").recover().expect_err("a later version's");
        assert!(matches!(&error, StoreError::Newer { .. }) && !error.is_damage(), "{error}");
        let said = error.to_string();
        assert!(said.contains(words) && said.contains("a later version") && !said.contains("backup"), "{said}");
    };
    for (change, words) in [
        ("'$.fact', 'moon_rose'", "entry 501: unknown variant `moon_rose`;"),
        ("'$.mark', 'splendid'", "entry 501: unknown variant `splendid`;"),
    ] {
        let before: String =
            raw.query_row("SELECT entry FROM journal WHERE sequence = 501", [], |row| row.get(0)).expect("read");
        let changed: String =
            raw.query_row(&format!("SELECT json_set(?1, {change})"), [&before], |row| row.get(0)).expect("changed");
        let write = |text: &str| {
            let checksum = crate::store::recovery::checksum(Sequence(501), text);
            raw.execute("UPDATE journal SET entry = ?1, checksum = ?2 WHERE sequence = 501", (text, checksum))
                .expect("written");
        };
        write(&changed);
        refused(words);
        write(&before);
    }
    let mut good: (String, u32) =
        raw.query_row("SELECT state, form FROM snapshot", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
    good.0.insert_str(1, "\"moons\":7,");
    for (state, form, words) in [(&good.0, good.1, "unknown field `moons`"), (&good.0, good.1 + 1, "of form 2")] {
        let digest = crate::store::recovery::digest(Sequence(500), form, state);
        let row = (state, form, digest);
        raw.execute("UPDATE snapshot SET state = ?1, form = ?2, digest = ?3", row).expect("written");
        refused(words);
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_all_as_it_was() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    append(&mut store, 1..=500);
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON snapshot BEGIN SELECT RAISE(ABORT, 'full'); END";
    Connection::open(&path).and_then(|raw| raw.execute_batch(refuse)).expect("made");
    tidy(&mut store);
    assert_eq!((store.covered(), rows(&path)), (Sequence(0), (1, 500)));
    append(&mut store, 501..=600);
    assert_eq!(store.tidy(), Tidied::Nothing, "not at once again");
    Connection::open(&path).and_then(|raw| raw.execute_batch("DROP TRIGGER full")).expect("dropped");
    append(&mut store, 601..=800);
    tidy(&mut store);
    assert_eq!(store.covered(), Sequence(800));
    assert_eq!(store.recover().expect("recovered"), fold(800));
}

#[test]
fn room_is_given_back() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.compact_within(SMALL);
    for first in (1..=60_000).step_by(4000) {
        append(&mut store, first..=first + 3999);
    }
    let pages = |what| pragma(&Connection::open(&path).expect("opened"), what).expect("read");
    let before = pages("page_count");
    assert!(before > 1500, "{before}");
    tidy(&mut store);
    assert!(pages("freelist_count") <= 1024 && pages("page_count") < 1200, "{before}, {}", pages("page_count"));
    assert_eq!(store.recover().expect("recovered"), fold(60_000));
}

#[test]
fn a_store_of_the_first_form_is_written_anew_once_it_is_mostly_empty() {
    let (_directory, path) = place();
    let raw = Connection::open(&path).expect("made");
    raw.execute_batch(SCHEMA).expect("made");
    raw.execute("INSERT INTO meta VALUES ('installation', ?1)", [Uuid::now_v7().to_string()]).expect("made");
    raw.pragma_update(None, "application_id", APPLICATION_ID).expect("made");
    raw.pragma_update(None, "user_version", 1).expect("made");
    drop(raw);
    let mut store = SqliteStore::open(&path).expect("opened");
    store.compact_within(SMALL);
    for first in (1..=44_000).step_by(4000) {
        append(&mut store, first..=first + 3999);
    }
    tidy(&mut store);
    drop(store);
    let large = fs::metadata(&path).expect("there").len();
    let store = SqliteStore::open(&path).expect("opened");
    assert_eq!(store.recover().expect("recovered"), fold(44_000));
    drop(store);
    let small = fs::metadata(&path).expect("there").len();
    assert!(small < large / 4, "{small} of {large}");
    assert_eq!(pragma(&Connection::open(&path).expect("opened"), "auto_vacuum").expect("read"), INCREMENTAL);
}
