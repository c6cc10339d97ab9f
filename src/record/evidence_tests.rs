use std::{fs::File, os::unix::fs::symlink};

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// The installation of most tests.
const HERE: &str = "0123456789abcdef0123456789abcdef";

fn incident(name: &str) -> IncidentId {
    name.into()
}

fn names(directory: &Path, of: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory.join(of)) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<String> = names.filter(|name| name != MARK).collect();
    names.sort_unstable();
    names
}

/// Makes a folder and all in it look as old as this.
fn age(folder: &Path, by: Duration) {
    let then = SystemTime::now() - by;
    for entry in fs::read_dir(folder).expect("listed") {
        File::open(entry.expect("an entry").path()).expect("opened").set_modified(then).expect("dated");
    }
    File::open(folder).expect("opened").set_modified(then).expect("dated");
}

#[test]
fn files_are_written_and_replaced() {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("made/when/needed");
    assert_eq!(names(&directory, "api-1"), Vec::<String>::new());
    let path = write(&directory, HERE, &incident("api-1"), "path.txt", "one").expect("written");
    write(&directory, HERE, &incident("api-1"), "step.2.txt", "two").expect("written");
    write(&directory, HERE, &incident("api-1"), "path.txt", "three").expect("replaced");
    write(&directory, HERE, &incident("api-2"), "other.txt", "").expect("written");
    assert_eq!(fs::read_to_string(&path).expect("read"), "three");
    assert_eq!(names(&directory, "api-1"), ["path.txt", "step.2.txt"]);
}

#[test]
fn no_name_leads_elsewhere() {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("evidence");
    let long = "x".repeat(129);
    for name in ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a\0b", "a b", "é", "a\nb", long.as_str()] {
        for error in [
            write(&directory, HERE, &incident("api-1"), name, "x").map(drop),
            write(&directory, HERE, &incident(name), "x", "x").map(drop),
        ] {
            if let Err(error) = error {
                assert!(matches!(error, EvidenceError::Name(_)), "{name:?}: {error}");
            } else {
                panic!("{name:?} was taken");
            }
        }
    }
    assert!(!directory.exists());
}

#[test]
fn sizes_and_counts_are_bounded() {
    let root = tempfile::tempdir().expect("a directory");
    let long = "é".repeat(FILE_LIMIT_BYTES / 2 + 10);
    let path = write(root.path(), HERE, &incident("api-1"), "long", &format!("x{long}")).expect("written");
    let kept = fs::read_to_string(path).expect("still text");
    assert!(kept.len() < FILE_LIMIT_BYTES + 100 && kept.starts_with("xéé"));
    assert!(kept.ends_with(&format!("cut: {} of {} bytes are kept …\n", FILE_LIMIT_BYTES - 1, long.len() + 1)));
    for number in 1..FILES_LIMIT {
        File::create(root.path().join("api-1").join(number.to_string())).expect("made");
    }
    let error = write(root.path(), HERE, &incident("api-1"), "one-more", "x").expect_err("enough");
    assert!(matches!(error, EvidenceError::TooMany { .. }), "{error}");
    write(root.path(), HERE, &incident("api-1"), "long", "short").expect("one that is there may be replaced");
}

#[test]
fn old_folders_go_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path();
    for name in ["old-1", "young-1", "written-1", "known-1"] {
        write(directory, HERE, &incident(name), "a", "x").expect("written");
    }
    age(&directory.join("old-1"), 91 * DAY);
    age(&directory.join("young-1"), 89 * DAY);
    age(&directory.join("known-1"), 900 * DAY);
    let known = [incident("known-1")].into();
    age(&directory.join("written-1"), 91 * DAY);
    fs::write(directory.join("written-1/a"), "late").expect("written");
    // Not ours: no mark, a file, and a link to what is ours.
    fs::create_dir(directory.join("theirs")).expect("made");
    fs::write(directory.join("theirs/precious"), "").expect("written");
    age(&directory.join("theirs"), 900 * DAY);
    fs::write(directory.join("file"), "").expect("written");
    let elsewhere = tempfile::tempdir().expect("a directory");
    write(elsewhere.path(), HERE, &incident("x-1"), "a", "x").expect("written");
    age(&elsewhere.path().join("x-1"), 900 * DAY);
    symlink(elsewhere.path().join("x-1"), directory.join("link")).expect("linked");

    let pruned = prune(directory, HERE, 90 * DAY, SystemTime::now(), &known, false).expect("pruned");
    assert_eq!(pruned.removed, [directory.join("old-1")]);
    assert!(pruned.failed.is_empty());
    for left in ["young-1/a", "written-1/a", "known-1/a", "theirs/precious", "file", "link/a"] {
        assert!(directory.join(left).exists(), "{left}");
    }
    assert!(!directory.join("old-1").exists());
    let prune = |directory: &Path, now| prune(directory, HERE, 90 * DAY, now, &known, false).expect("pruned").removed;
    assert!(prune(&directory.join("none"), SystemTime::now()).is_empty());
    assert!(prune(directory, SystemTime::UNIX_EPOCH).is_empty(), "a wrong clock");
    let removed = prune(directory, SystemTime::now() + 1000 * DAY);
    assert!(!removed.contains(&directory.join("known-1")) && directory.join("known-1/a").exists(), "{removed:?}");
}

#[test]
fn nothing_of_another_installation_is_written_to() {
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path();
    let read = |path: &str| fs::read_to_string(directory.join(path)).expect(path);
    write(directory, OTHER, &incident("api-1"), "incident.json", "theirs").expect("written");
    // The store was restored from a backup, and counts from there.
    let path = write(directory, HERE, &incident("api-1"), "incident.json", "ours").expect("written");
    assert_eq!(path, directory.join("api-1.456789abcdef/incident.json"));
    assert_eq!(
        (read("api-1/incident.json"), read("api-1.456789abcdef/incident.json")),
        ("theirs".into(), "ours".into())
    );
    assert_eq!(names(directory, "api-1.456789abcdef"), ["incident.json"], "theirs has nothing to do with it");
    write(directory, OTHER, &incident("api-1"), "more", "theirs").expect("theirs is still theirs");
    // Ours stays where it is, also when theirs is gone.
    fs::remove_dir_all(directory.join("api-1")).expect("removed");
    assert_eq!(write(directory, HERE, &incident("api-1"), "more", "").expect("written"), path.with_file_name("more"));
    // Of a folder of an earlier version nobody knows whose it is, and what has no mark is not Backstop's.
    for (name, mark) in [("old-1", true), ("theirs-1", false)] {
        fs::create_dir(directory.join(name)).expect("made");
        fs::write(directory.join(name).join("precious"), "kept").expect("written");
        if mark {
            fs::write(directory.join(name).join(MARK), "").expect("written");
        }
        let path = write(directory, HERE, &incident(name), "precious", "ours").expect("written");
        assert_eq!(path.parent(), Some(directory.join(format!("{name}.456789abcdef")).as_path()));
        // Whoever finds the one is told of the other, if it may be the same incident's.
        let note = fs::read_to_string(path.with_file_name("earlier-folder.txt")).ok();
        let other = directory.join(name).display().to_string();
        assert_eq!(note.map(|note| note.contains(&other)), mark.then_some(true));
        assert_eq!(read(&format!("{name}/precious")), "kept");
    }
    // A folder that was only begun is gone on with.
    fs::create_dir(directory.join("begun-1")).expect("made");
    write(directory, HERE, &incident("begun-1"), "a", "x").expect("written");
    assert_eq!(read("begun-1/a"), "x");
    // Both names taken: nothing is written.
    write(directory, OTHER, &incident("both-1"), "a", "theirs").expect("written");
    write(directory, OTHER, &incident("both-1.456789abcdef"), "a", "theirs").expect("written");
    let error = write(directory, HERE, &incident("both-1"), "a", "ours").expect_err("it is taken");
    assert!(matches!(&error, EvidenceError::Taken { .. }) && error.to_string().contains("move it away"), "{error}");
    // What is known stays under either name.
    for name in ["api-1.456789abcdef", "old-1"] {
        age(&directory.join(name), 900 * DAY);
    }
    let known = [incident("api-1")].into();
    let spared = prune(directory, HERE, 90 * DAY, SystemTime::now(), &known, true).expect("pruned");
    assert!(spared.removed.is_empty(), "it is not sure that it is ours: {spared:?}");
    let pruned = prune(directory, HERE, 90 * DAY, SystemTime::now(), &known, false).expect("pruned");
    assert_eq!(pruned.removed, [directory.join("old-1")]);
}
