use std::sync::Arc;

use super::*;
use crate::{
    core::{
        entry::{Entry, Fact},
        time::WallTime,
    },
    store::Journal as _,
};

fn append(store: &mut SqliteStore, numbers: std::ops::RangeInclusive<u64>) {
    let batch: Vec<_> = numbers
        .map(|number| {
            let fact = Fact::Resumed { by: number.to_string() };
            let entry = Entry { at: WallTime::from_millis(0), boot: None, service: None, fact };
            (Sequence(number), Arc::new(entry))
        })
        .collect();
    store.append(&batch).expect("appended");
}

/// A store with a backup of its first two entries, and its log as a kill leaves it, with three more.
fn killed() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, backup) = (directory.path().join("b.db"), directory.path().join("backup.db"));
    let (main, log) = (directory.path().join("main"), directory.path().join("log"));
    let mut store = SqliteStore::open(&path).expect("made");
    append(&mut store, 1..=2);
    SqliteStore::back_up(&path, &backup).expect("copied");
    append(&mut store, 3..=5);
    // Closing it would bring the log into the file.
    fs::copy(&path, &main).expect("copied");
    fs::copy(beside(&path, "-wal"), &log).expect("copied");
    drop(store);
    fs::rename(main, &path).expect("put back");
    fs::rename(log, beside(&path, "-wal")).expect("put back");
    (directory, path, backup)
}

#[test]
fn a_log_that_was_left_is_read_into_its_own_store_and_into_no_other() {
    let (_directory, path, backup) = killed();
    let left = fs::read(beside(&path, "-wal")).expect("left");
    assert_eq!(SqliteStore::open(&path).expect("its own").last(), Sequence(5));

    fs::copy(&backup, &path).expect("copied over it by hand");
    fs::write(beside(&path, "-wal"), left).expect("left");
    for _again in 0..2 {
        let refused = SqliteStore::open(&path).expect_err("it is another's");
        assert!(refused.is_damage(), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("-wal is of another") && said.contains("backstop store restore"), "{said}");
    }
    // As it says.
    assert_eq!(SqliteStore::restore(&path, &backup).expect("restored").last, Sequence(2));
    assert_eq!(SqliteStore::open(&path).expect("opened").recover().expect("folds").last, Sequence(2));
}

#[test]
fn a_restore_leaves_the_backup_and_all_that_was_there() {
    let (_directory, path, backup) = killed();
    let before = fs::read(&backup).expect("read");
    let restored = SqliteStore::restore(&path, &backup).expect("restored");
    let aside = beside(&path, ".replaced-1");
    assert_eq!(restored, Restored { last: Sequence(2), aside: vec![aside.clone(), beside(&aside, "-wal")] });
    assert_eq!(fs::read(&backup).expect("there"), before);
    let mut store = SqliteStore::open(&path).expect("opened");
    assert_eq!(store.last(), Sequence(2), "nothing of the old log");
    append(&mut store, 3..=3);
    drop(store);
    assert_eq!(SqliteStore::open_read_only(&aside).expect("whole").last(), Sequence(5), "the old one can be read");
    // Twice the same backup is two installations, and the first is kept, too.
    let first = SqliteStore::open(&path).expect("opened").installation();
    let again = SqliteStore::restore(&path, &backup).expect("restored");
    assert_eq!(again.aside, [beside(&path, ".replaced-2")]);
    assert_ne!(SqliteStore::open(&path).expect("opened").installation(), first);
}

#[test]
fn what_cannot_be_restored_changes_nothing() {
    let (directory, path, backup) = killed();
    let store = || (fs::read(&path).expect("there"), fs::read(beside(&path, "-wal")).expect("there"));
    let before = store();
    let mut bytes = fs::read(&backup).expect("read");
    bytes[4096..].fill(0x55);
    let damaged = directory.path().join("damaged.db");
    fs::write(&damaged, bytes).expect("written");
    for (backup, words) in
        [(&damaged, "not whole"), (&directory.path().join("none.db"), "not whole"), (&path, "the store itself")]
    {
        let refused = SqliteStore::restore(&path, backup).expect_err("refused").to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(store(), before);
    }
    let owner = Owner::of(&path).expect("nobody has it");
    let refused = SqliteStore::restore(&path, &backup).expect_err("a daemon has it").to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    assert_eq!(store(), before);
    drop(owner);
    assert!(!is_there(&beside(&path, STAGED)) && !is_there(&beside(&path, ".replaced-1")));
}

/// At every point where it may be killed: the old store, or one that is refused until it is restored again.
#[test]
fn a_restore_that_was_cut_short_is_done_again() {
    for moved in 0..=3 {
        let (_directory, path, backup) = killed();
        fs::write(beside(&path, "-shm"), "left").expect("written");
        let owner = Owner::of(&path).expect("nobody has it");
        stage(&path, &backup, &owner).expect("staged");
        drop(owner);
        for part in PARTS.into_iter().filter(|part| is_there(&beside(&path, part))).take(moved).collect::<Vec<_>>() {
            fs::rename(beside(&path, part), beside(&beside(&path, ".replaced-1"), part)).expect("moved");
        }
        let refused = SqliteStore::open(&path).expect_err("between two stores");
        assert!(refused.is_damage() && refused.to_string().contains("cut short"), "{moved}: {refused}");
        SqliteStore::restore(&path, &backup).expect("done again");
        assert_eq!(SqliteStore::open(&path).expect("opened").last(), Sequence(2), "{moved}");
        let aside = beside(&path, ".replaced-1");
        assert_eq!(SqliteStore::open_read_only(&aside).expect("whole").last(), Sequence(5), "{moved}");
    }
}
