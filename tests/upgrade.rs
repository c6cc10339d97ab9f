//! Stores of every released form can be gone on with.
//!
//! `tests/fixtures/store-v1.db` was made by version 0.1.0's daemon: a service whose first release was known-good, whose
//! second one was broken and rolled back. To make the fixture of the present form:
//!
//! ```console
//! $ BACKSTOP_KEEP_STORE=$PWD/tests/fixtures/store-vN.db cargo test --all-features --test daemon a_backup_beside
//! ```

use std::{fs, path::Path};

use backstop::{
    core::{
        durable::Durable,
        entry::{Entry, Fact, PlanOutcome},
        event::Sequence,
        release::Standing,
        time::WallTime,
    },
    store::{Journal as _, SqliteStore},
};

/// One of each form that was ever released.
const FIXTURES: [&str; 1] = ["store-v1.db"];

fn fold(store: &SqliteStore) -> Durable {
    let mut durable = Durable::default();
    let read = store.read_all(Sequence(1), |sequence, entry| durable.apply(sequence, &entry).expect("it folds"));
    read.expect("it is read");
    durable
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
        let after = fold(&SqliteStore::open(&path).expect("opened again"));
        assert_eq!(after.last, next, "{name}");
        assert!(after.paused.is_some(), "{name}");
    }
}
