use std::{os::unix::fs::PermissionsExt, sync::mpsc::channel};

use super::*;
use crate::{
    core::{entry::Fact, time::WallTime},
    store::{StoreEvent, spawn},
};

fn entry(word: &str) -> Arc<Entry> {
    let fact = Fact::Paused { until: None, by: "someone".to_owned(), reason: word.to_owned() };
    Arc::new(Entry { at: WallTime::from_millis(1_767_781_800_123), boot: None, service: Some("api".into()), fact })
}

fn batch(words: &[(u64, &str)]) -> Vec<(Sequence, Arc<Entry>)> {
    words.iter().map(|(number, word)| (Sequence(*number), entry(word))).collect()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.db");
    (directory, path)
}

fn everything(store: &SqliteStore) -> Vec<(u64, Entry)> {
    let mut all = Vec::new();
    store.read_all(Sequence(1), |sequence, entry| all.push((sequence.0, entry))).expect("read");
    all
}

fn raw(path: &Path) -> Connection {
    Connection::open(path).expect("opened")
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    assert_eq!((store.last(), everything(&store)), (Sequence(0), Vec::new()));
    store.append(&batch(&[(1, "one"), (2, "two")])).expect("appended");
    store.append(&batch(&[(3, "three")])).expect("appended");
    let installation = store.installation();
    drop(store);
    let store = SqliteStore::open(&path).expect("opened");
    assert_eq!((store.last(), store.installation()), (Sequence(3), installation));
    let expected: Vec<_> = [(1, "one"), (2, "two"), (3, "three")].map(|(n, word)| (n, (*entry(word)).clone())).into();
    assert_eq!(everything(&store), expected);
    let mut later = Vec::new();
    assert_eq!(store.read_all(Sequence(3), |sequence, _| later.push(sequence.0)).expect("read"), Sequence(3));
    assert_eq!(later, [3]);
    assert_eq!(store.read_all(Sequence(4), |_, _| panic!("there is none")).expect("read"), Sequence(3));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_append_may_be_repeated_and_nothing_else_may_take_its_place() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one"), (2, "two")])).expect("appended");
    store.append(&batch(&[(1, "one"), (2, "two"), (3, "three")])).expect("repeated, and one more");
    let error = store.append(&batch(&[(4, "four"), (3, "another")])).expect_err("another is there");
    assert!(matches!(error, StoreError::Conflict(Sequence(3))), "{error}");
    assert_eq!((store.last(), everything(&store).len()), (Sequence(3), 3), "all of a batch or nothing");
    let error = store.append(&batch(&[(5, "five")])).expect_err("four is missing");
    assert!(matches!(error, StoreError::Gap(Sequence(4))), "{error}");
    // Somebody else wrote it behind our back.
    raw(&path).execute("INSERT INTO journal (sequence, entry) VALUES (4, '{}')", []).expect("written");
    assert!(matches!(store.append(&batch(&[(4, "four")])), Err(StoreError::Conflict(Sequence(4)))));
}

#[test]
fn entries_that_cannot_be_read_are_named() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one"), (2, "two"), (3, "three")])).expect("appended");
    raw(&path).execute("UPDATE journal SET entry = '{\"fact\": \"later\"}' WHERE sequence = 2", []).expect("written");
    let mut before = 0;
    let error = store.read_all(Sequence(1), |_, _| before += 1).expect_err("not understood");
    assert!(matches!(&error, StoreError::Entry { sequence: Sequence(2), .. }), "{error}");
    assert_eq!(before, 1);
    raw(&path).execute("DELETE FROM journal WHERE sequence = 2", []).expect("written");
    let error = store.read_all(Sequence(1), |_, _| {}).expect_err("a gap");
    assert!(matches!(error, StoreError::Gap(Sequence(2))), "{error}");
}

#[test]
fn a_damaged_word_is_damage_and_no_later_version() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one"), (2, "two"), (3, "three")])).expect("appended");
    store.inspect().expect("it is whole");
    drop(store);
    // One byte of the fact's word, in the file itself: all is well with the database, and with the JSON.
    let mut content = fs::read(&path).expect("read");
    let word = b"\"fact\":\"paused\"";
    let places: Vec<_> = content.windows(word.len()).enumerate().filter(|(_, seen)| seen == word).collect();
    let (last, _) = places[places.len() - 1];
    content[last + word.len() - 2] ^= 1;
    fs::write(&path, &content).expect("written");
    let mut store = SqliteStore::open(&path).expect("opened");
    for error in [store.recover().expect_err("not what was written"), store.inspect().expect_err("nor does it rest")] {
        assert!(error.is_damage(), "{error}");
        let said = error.to_string();
        assert!(said.contains("its checksum is not") && said.contains("backstop store restore"), "{said}");
    }
    // An entry of an earlier version has none, and knows no word that this one does not.
    raw(&path).execute("UPDATE journal SET checksum = NULL", []).expect("written");
    drop(store);
    let error = SqliteStore::open(&path).expect("opened").recover().expect_err("no such word");
    assert!(error.is_damage() && error.to_string().contains("unknown variant"), "{error}");
}

#[test]
fn a_proof_that_it_can_be_written_is_written() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one")])).expect("appended");
    let other = raw(&path);
    let version = || pragma(&other, "data_version").expect("read");
    let before = version();
    store.inspect().expect("it is whole");
    assert_eq!(version(), before, "an inspection writes nothing");
    let mut versions = std::collections::BTreeSet::from([before]);
    for _ in 0..3 {
        store.prove_writable().expect("written");
        assert!(versions.insert(version()), "each time");
    }
    assert_eq!(everything(&store).len(), 1);
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert!(store.prove_writable().is_err(), "somebody holds it");
}

#[test]
fn one_owner_and_any_readers() {
    let (_directory, path) = place();
    assert!(matches!(SqliteStore::open_read_only(&path), Err(StoreError::Absent { .. })));
    let mut store = SqliteStore::open(&path).expect("made");
    let error = SqliteStore::open(&path).expect_err("it has an owner");
    let process = std::process::id().to_string();
    assert!(matches!(&error, StoreError::Owned { process: named, .. } if *named == process), "{error}");
    store.append(&batch(&[(1, "one")])).expect("appended");
    let mut reader = SqliteStore::open_read_only(&path).expect("opened");
    assert_eq!(everything(&reader).len(), 1);
    assert!(reader.append(&batch(&[(2, "two")])).is_err());
    store.append(&batch(&[(2, "two")])).expect("a reader does not matter");
    assert_eq!(everything(&reader).len(), 2);
    drop(store);
    assert_eq!(everything(&SqliteStore::open_read_only(&path).expect("opened")).len(), 2, "without an owner too");
    SqliteStore::open(&path).expect("it has no owner any more");
}

#[test]
fn what_is_not_our_store_is_refused_and_left_alone() {
    type Make = fn(&Path);
    let cases: [(&str, Make, &str); 7] = [
        ("a folder", |path| fs::create_dir(path).expect("made"), "not an ordinary file"),
        ("some text", |path| fs::write(path, "hello ".repeat(1000)).expect("written"), "not an SQLite database"),
        (
            "another's database",
            |path| raw(path).execute_batch("CREATE TABLE theirs (a)").expect("made"),
            "another program's",
        ),
        (
            "another's empty database",
            |path| raw(path).execute_batch("PRAGMA application_id = 7").expect("made"),
            "another program's",
        ),
        (
            "a later version's",
            |path| {
                drop(SqliteStore::open(path).expect("made"));
                raw(path).pragma_update(None, "user_version", 9).expect("written");
            },
            "its schema is 9",
        ),
        (
            "one with its head overwritten",
            |path| {
                drop(SqliteStore::open(path).expect("made"));
                let mut content = fs::read(path).expect("read");
                content[..64].fill(0xff);
                fs::write(path, content).expect("written");
            },
            "damaged",
        ),
        (
            "one with its tables overwritten",
            |path| {
                drop(SqliteStore::open(path).expect("made"));
                let mut content = fs::read(path).expect("read");
                content[100..4096].fill(0xff);
                fs::write(path, content).expect("written");
            },
            "malformed",
        ),
    ];
    for (what, make, expected) in cases {
        let (_directory, path) = place();
        make(&path);
        let before = fs::read(&path).ok();
        for opened in [SqliteStore::open(&path), SqliteStore::open_read_only(&path)] {
            let error = opened.expect_err(what).to_string();
            assert!(error.contains(expected) && error.contains("backstop.db"), "{what}: {error}");
        }
        assert_eq!(fs::read(&path).ok(), before, "{what}");
    }
    let error = SqliteStore::open(Path::new("/no/such/place/backstop.db")).expect_err("no folder").to_string();
    assert!(error.contains("/no/such/place is not there"), "{error}");
}

#[test]
fn a_full_disk_is_told_and_once_there_is_room_nothing_is_missing() {
    let (_directory, path) = place();
    let store = SqliteStore::open(&path).expect("made");
    let long = "x".repeat(10_000);
    let connection = store.connection.as_ref().expect("connected");
    // So the database refuses to grow. The next connection has no such limit: then there is room again.
    connection.pragma_update_and_check(None, "max_page_count", 8, |_| Ok(())).expect("limited");
    let (tell, told) = channel();
    let handle = spawn(store, move |event| tell.send(event).expect("the test listens"));
    handle.append((1..=20).map(|number| (Sequence(number), entry(&long))).collect()).expect("queued");
    let first = told.recv().expect("told");
    assert!(matches!(&first, StoreEvent::Failing(reason) if reason.as_str().contains("full")), "{first:?}");
    assert_eq!(told.recv(), Ok(StoreEvent::Committed(Sequence(20))));
    assert!(handle.close());
    assert_eq!(everything(&SqliteStore::open(&path).expect("opened")).len(), 20);
}

#[test]
fn a_file_that_was_replaced_is_noticed() {
    let (directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one")])).expect("appended");
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).expect("moved");
    assert!(matches!(store.append(&batch(&[(2, "two")])), Err(StoreError::Replaced { .. })));
    fs::write(&path, "").expect("written");
    assert!(matches!(store.append(&batch(&[(2, "two")])), Err(StoreError::Replaced { .. })));
    fs::rename(&aside, &path).expect("moved back");
    store.append(&batch(&[(2, "two")])).expect("appended");
    assert_eq!(everything(&store).len(), 2);
}

/// What can be done to a store's file, and what is said of that.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGED_HEADS: [Damage; 4] = [
    ("a first page of nothing", |path| write_head(path, &[0; 4096]), "its head is damaged"),
    ("a torn first page", |path| write_head(path, &[0x55; 512]), "its head is damaged"),
    ("nothing in it", |path| fs::write(path, "").expect("written"), "it is empty"),
    ("a database that nobody has written to", |path| empty_database(path), "it is empty"),
];

fn write_head(path: &Path, head: &[u8]) {
    let mut content = fs::read(path).expect("read");
    content[..head.len()].copy_from_slice(head);
    fs::write(path, content).expect("written");
}

fn empty_database(path: &Path) {
    fs::remove_file(path).expect("it was there");
    raw(path).execute_batch("CREATE TABLE a (b); DROP TABLE a").expect("written");
}

#[test]
fn a_store_whose_head_is_damaged_is_a_damaged_store_where_it_was_opened_before() {
    for (what, damage, why) in DAMAGED_HEADS {
        let (_directory, path) = place();
        let mut store = SqliteStore::open(&path).expect("made");
        store.append(&batch(&[(1, "one")])).expect("appended");
        drop(store);
        damage(&path);
        let there = fs::read(&path).expect("read");
        let error = SqliteStore::open(&path).expect_err("no store any more");
        let said = error.to_string();
        assert!(error.is_damage() && said.contains(why) && said.contains("store restore"), "{what}: {said}");
        let error = SqliteStore::open_without_room(&path).expect_err("nor to be read");
        assert!(error.is_damage(), "{what}: {error}");
        assert_eq!(fs::read(&path).expect("read"), there, "{what}: it may still be saved by somebody");
        // Nothing says that a store was here: the path may be a wrong one, and what is empty is a new one.
        fs::remove_file(beside(&path, ".lock")).expect("it was there");
        match SqliteStore::open(&path) {
            Ok(store) => assert!(why.contains("empty") && store.last() == Sequence(0), "{what}"),
            Err(error) => assert!(!error.is_damage() && why.contains("head"), "{what}: {error}"),
        }
    }
}

#[test]
fn a_store_that_was_taken_away_is_begun_anew() {
    let (_directory, path) = place();
    drop(SqliteStore::open(&path).expect("made"));
    fs::remove_file(&path).expect("it was there");
    assert_eq!(SqliteStore::open(&path).expect("made").last(), Sequence(0));
}

/// No file gives this error by itself: the disk below it must be broken.
#[test]
fn a_disk_that_does_not_give_the_content_is_damage_of_a_known_store() {
    let (_directory, path) = place();
    let broken = || {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_READ);
        rusqlite::Error::SqliteFailure(code, None)
    };
    for error in [open_error(&path, &broken()), StoreError::read(broken())] {
        assert!(!error.is_damage(), "of a store that nobody knows it says nothing: {error}");
        let error = error.of_known_store(&path);
        assert!(error.is_damage() && error.to_string().contains("look at its disk"), "{error}");
    }
    let busy = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
    let error = StoreError::read(busy).of_known_store(&path);
    assert!(!error.is_damage() && !error.is_finding(), "{error}");
}

#[test]
fn a_journal_damaged_while_in_use_is_told() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    let long = "x".repeat(3000);
    store.append(&(1..=50).map(|number| (Sequence(number), entry(&long))).collect::<Vec<_>>()).expect("appended");
    drop(store);
    let mut store = SqliteStore::open(&path).expect("opened");
    let mut content = fs::read(&path).expect("read");
    content[4096..].fill(0x55);
    fs::write(&path, content).expect("written");
    // What SQLite has in memory is still good; it is not once the connection is opened anew.
    store.connection = None;
    for _ in 0..2 {
        let error = store.append(&batch(&[(51, "one more")])).expect_err("damaged");
        assert!(error.to_string().contains("malformed"), "{error}");
    }
    let error = SqliteStore::open_read_only(&path).expect_err("damaged");
    assert!(error.to_string().contains("malformed"), "{error}");
}

#[test]
fn a_backup_is_a_store_of_its_own_and_nothing_is_written_over() {
    let (directory, path) = place();
    let mut store = SqliteStore::open(&path).expect("made");
    store.append(&batch(&[(1, "one"), (2, "two")])).expect("appended");
    let copy = directory.path().join("copy.db");
    SqliteStore::back_up(&path, &copy).expect("copied beside its owner");
    store.append(&batch(&[(3, "three")])).expect("appended");
    let error = SqliteStore::back_up(&path, &copy).expect_err("it is there already").to_string();
    assert!(error.contains("copy.db") && error.contains("not written over"), "{error}");
    drop(store);
    SqliteStore::back_up(&path, &directory.path().join("second.db")).expect("copied without an owner");
    let mut copied = SqliteStore::open(&copy).expect("a store");
    assert_eq!(everything(&copied).len(), 2);
    assert_ne!(copied.installation(), SqliteStore::open(&path).expect("opened").installation());
    copied.append(&batch(&[(3, "another")])).expect("gone on with");
    assert_eq!(fs::metadata(&copy).expect("there").permissions().mode() & 0o777, 0o600);
    let left = fs::read_dir(directory.path()).expect("listed").filter_map(Result::ok);
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
    let error = SqliteStore::back_up(&path, Path::new("/no/such/place/copy.db")).expect_err("no folder").to_string();
    assert!(error.contains("/no/such/place/copy.db"), "{error}");
}

#[test]
fn migrations_run_once_each_and_in_order() {
    assert_eq!(usize::try_from(SCHEMA_VERSION - 1).expect("small"), MIGRATIONS.len(), "each step leads to one schema");
    let (_directory, path) = place();
    drop(SqliteStore::open(&path).expect("made"));
    // As if it were the first schema, to which none of the real steps was applied.
    raw(&path).pragma_update(None, "user_version", 1).expect("written");
    let steps = ["CREATE TABLE one (a) STRICT", "ALTER TABLE one ADD COLUMN b"];
    let steps = [steps[0].replace("(a)", "(a TEXT)"), format!("{} TEXT", steps[1])];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut connection = raw(&path);
    let version = |connection: &Connection| pragma(connection, "user_version").expect("read");
    let first = version(&connection);
    migrate(&mut connection, &steps[..1]).expect("migrated");
    migrate(&mut connection, &steps).expect("migrated");
    migrate(&mut connection, &steps).expect("nothing to do");
    assert_eq!(version(&connection), first + 2);
    connection.execute("INSERT INTO one (a, b) VALUES ('a', 'b')", []).expect("both are there");
    // A step that fails leaves the store as it was.
    let broken = [steps[0], steps[1], "CREATE TABLE two (a TEXT) STRICT; nonsense"];
    migrate(&mut connection, &broken).expect_err("nonsense");
    assert_eq!(version(&connection), first + 2);
    connection.execute("SELECT * FROM two", []).expect_err("rolled back");
}
