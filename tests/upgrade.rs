//! Stores of every released form can be gone on with.
//!
//! `tests/fixtures/store-v1.db` was made by version 0.1.0's daemon: a service whose first release was known-good, whose
//! second one was broken and rolled back. `store-v1-by-hand.db` holds a pin, a pause and a report beside; `store-v2.db` is
//! the same one compacted: a snapshot and its last entry. `store-v3.db` is that with a checksum of the last entry. To make
//! the fixture of the present form:
//!
//! ```console
//! $ BACKSTOP_KEEP_STORE=$PWD/store.db cargo test --all-features --test daemon a_backup_beside
//! $ BACKSTOP_KEEP_COMPACTED=$PWD/compacted.db cargo test --all-features --test upgrade by_hand
//! ```

use std::{fs, path::Path, time::Duration};

use backstop::{
    core::{
        durable::Durable,
        entry::{Entry, Fact, PlanOutcome},
        event::Sequence,
        release::{Mark, Standing},
        time::WallTime,
    },
    store::{CompactionBounds, Journal as _, SqliteStore, Tidied},
};

/// One of each form that was ever released.
const FIXTURES: [&str; 4] = ["store-v1.db", "store-v1-by-hand.db", "store-v2.db", "store-v3.db"];

fn fold(store: &SqliteStore) -> Durable {
    store.recover().expect("it is read, and folds")
}

/// Makes a snapshot, and deletes what it covers.
fn compact(store: &mut SqliteStore) {
    store.compact_within(CompactionBounds { keep: Duration::ZERO, snapshot_after: 1, covered_limit: 0 });
    loop {
        match store.tidy() {
            Tidied::Nothing => return,
            Tidied::More | Tidied::Waits => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_store_of_each_released_form_is_read_and_gone_on_with() {
    for name in FIXTURES {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("backstop.db");
        fs::copy(&fixture, &path).expect("copied");
        // Whoever only looks does not bring it to another form.
        let before = fold(&SqliteStore::open_read_only(&path).expect("opened for reading"));

        let mut store = SqliteStore::open(&path).expect("opened, and brought to the present form");
        let durable = fold(&store);
        assert_eq!(durable, before, "{name}");
        let service = durable.service(&"api".into());
        assert_eq!(service.standing(&"v1".into()), Standing::KnownGood, "{name}");
        assert_eq!(service.standing(&"v2".into()), Standing::KnownBad, "{name}");
        let incident = durable.incidents.get("api-1").expect("it was rolled back");
        assert_eq!(incident.plans[0].ended.map(|(_, outcome)| outcome), Some(PlanOutcome::Verified), "{name}");

        let next = Sequence(durable.last.0 + 1);
        let fact = Fact::Paused { until: None, by: "somebody".to_owned(), reason: "an upgrade".to_owned() };
        let entry = Entry { at: WallTime::from_millis(0), boot: None, service: None, fact };
        store.append(&[(next, entry.into())]).expect("appended");
        drop(store);
        let mut store = SqliteStore::open(&path).expect("opened again");
        let after = fold(&store);
        assert_eq!(after.last, next, "{name}");
        assert!(after.paused.is_some(), "{name}");
        compact(&mut store);
        assert_eq!(store.covered(), next, "{name}");
        assert_eq!(fold(&store), after, "{name}");
        drop(store);
        assert_eq!(fold(&SqliteStore::open(&path).expect("opened again")), after, "{name}");
    }
}

#[test]
fn what_people_did_by_hand_outlives_an_upgrade() {
    for name in &FIXTURES[1..] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("backstop.db");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), &path).expect("copied");
        let mut store = SqliteStore::open(&path).expect("opened");
        let durable = fold(&store);
        let service = durable.service(&"api".into());
        assert!(service.pins.contains_key("v1") && service.paused.is_some(), "{name}: {service:?}");
        assert_eq!(service.reports.len(), 1, "{name}");
        // The fixture of the present form is made so.
        if let Some(keep) = std::env::var_os("BACKSTOP_KEEP_COMPACTED").filter(|_| *name == FIXTURES[1]) {
            let next = Sequence(durable.last.0 + 1);
            let fact = Fact::Marked { version: "v0".into(), mark: Mark::Bad, by: "somebody".to_owned() };
            let entry = Entry { at: WallTime::from_millis(0), boot: None, service: Some("api".into()), fact };
            store.append(&[(next, entry.into())]).expect("an entry of the present form");
            compact(&mut store);
            SqliteStore::back_up(&path, Path::new(&keep)).expect("a new file");
        }
    }
}
