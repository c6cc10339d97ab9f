use std::{
    fs::File,
    time::{Duration, UNIX_EPOCH},
};

use super::*;

/// Releases a, b and c, older to newer, and a link to c.
fn releases(link_text: &str) -> (tempfile::TempDir, Link) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("releases");
    for (age, name) in [(3, "a"), (2, "b"), (1, "c")] {
        let release = directory.join(name);
        fs::create_dir_all(&release).expect("made");
        fs::write(release.join("program"), name).expect("written");
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000 - age * 60);
        File::open(&release).expect("opened").set_modified(time).expect("dated");
    }
    let link = Link { directory, link: root.path().join("current") };
    symlink(link_text.replace("ROOT", &root.path().display().to_string()), &link.link).expect("linked");
    (root, link)
}

fn text(link: &Link) -> String {
    fs::read_link(&link.link).expect("a link").display().to_string()
}

#[test]
fn a_link_of_either_kind_is_read_and_replaced_by_its_like() {
    for (form, expected) in [
        ("releases/c", "releases/b"),
        ("ROOT/releases/c", "ROOT/releases/b"),
        ("./releases/../releases/c/", "./releases/../releases/b"),
    ] {
        let (root, link) = releases(form);
        assert_eq!(link.current().expect("read").as_str(), "c");
        assert!(link.switch(&"c".into(), &"b".into()).expect("switched"));
        assert_eq!(link.current().expect("read").as_str(), "b");
        assert_eq!(text(&link), expected.replace("ROOT", &root.path().display().to_string()));
        assert_eq!(fs::read_to_string(link.link.join("program")).expect("it leads there"), "b");
        assert!(!link.switch(&"c".into(), &"b".into()).expect("so already"));
        assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 2, "nothing is left beside the link");
    }
}

#[test]
fn others_are_listed_newest_first() {
    let (root, link) = releases("releases/b");
    let directory = root.path().join("releases");
    symlink("c", directory.join("latest")).expect("linked");
    symlink(root.path(), directory.join("elsewhere")).expect("linked");
    fs::create_dir(directory.join(".cache")).expect("made");
    fs::write(directory.join("README"), "").expect("written");
    let names = |current: Option<&str>| {
        let current = current.map(Version::from);
        link.available(current.as_ref())
            .expect("listed")
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    // What a release is linked from, on another disk say, is one; another name of one that is here is not.
    assert_eq!(names(Some("b"))[1..], ["c", "a"]);
    assert_eq!(names(Some("b"))[0], "elsewhere");
    assert_eq!(names(None)[1..], ["c", "b", "a"]);
    fs::remove_file(&link.link).expect("removed");
    symlink("releases/latest", &link.link).expect("linked");
    assert_eq!(link.current().expect("read").as_str(), "c", "by its own name");
}

#[test]
fn of_the_same_time_the_greater_name_is_first_and_only_so_many() {
    let (_root, link) = releases("releases/a");
    for number in 0..300 {
        let release = link.directory.join(format!("{number:03}"));
        fs::create_dir(&release).expect("made");
        File::open(&release).expect("opened").set_modified(UNIX_EPOCH).expect("dated");
    }
    let found = link.available(Some(&"a".into())).expect("listed");
    assert_eq!(found.len(), AVAILABLE_LIMIT);
    assert_eq!(found[..4], ["c", "b", "299", "298"].map(Version::from));
}

#[test]
fn links_that_name_no_release() {
    type Change = fn(&Path);
    let cases: [(&str, Change, &str); 6] = [
        ("none", |_| {}, "it is not there"),
        ("a folder", |link| fs::create_dir(link).expect("made"), "not a symbolic link"),
        ("a file", |link| fs::write(link, "").expect("written"), "not a symbolic link"),
        ("to elsewhere", |link| symlink("/etc/hostname", link).expect("linked"), "not directly inside"),
        ("to the directory", |link| symlink("releases", link).expect("linked"), "not directly inside"),
        ("deeper", |link| symlink("releases/c/program", link).expect("linked"), "not directly inside"),
    ];
    for (what, change, expected) in cases {
        let (root, link) = releases("releases/c");
        fs::remove_file(&link.link).expect("removed");
        change(&link.link);
        let error = link.current().expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
        link.switch(&"c".into(), &"b".into()).expect_err(what);
        assert!(fs::read_dir(root.path()).expect("listed").count() <= 2, "{what}");
    }
}

#[test]
fn a_link_to_a_release_that_is_gone_still_names_it() {
    let (_root, link) = releases("releases/c");
    fs::remove_dir_all(link.directory.join("c")).expect("removed");
    assert_eq!(link.current().expect("read").as_str(), "c");
    assert!(link.leads_nowhere());
    assert!(link.switch(&"c".into(), &"b".into()).expect("switched"));
    assert!(!link.leads_nowhere());
}

#[test]
fn what_cannot_be_gone_back_to() {
    let (root, link) = releases("releases/c");
    fs::create_dir(link.directory.join("empty")).expect("made");
    fs::write(link.directory.join("file"), "").expect("written");
    fs::create_dir(root.path().join("outside")).expect("made");
    for (version, expected) in [
        ("none", "No such file"),
        ("empty", "is empty"),
        ("file", "Not a directory"),
        ("../outside", "no single name"),
        ("..", "no single name"),
        (".", "no single name"),
        ("a/", "no single name"),
        ("", "no single name"),
        ("/etc", "no single name"),
    ] {
        for error in [link.ensure_available(&version.into()), link.switch(&"c".into(), &version.into()).map(drop)] {
            let error = error.expect_err(version).to_string();
            assert!(error.contains(expected), "{version}: {error}");
        }
    }
    assert_eq!(text(&link), "releases/c");
    let error = link.switch(&"a".into(), &"b".into()).expect_err("c is live").to_string();
    assert!(error.contains("c is live by now"), "{error}");
    assert_eq!(text(&link), "releases/c");
}

#[test]
fn a_glance_sees_a_link_far_down_the_chain_replaced() {
    let (root, link) = releases("releases/latest");
    let channel = root.path().join("channel");
    symlink(link.directory.join("c"), &channel).expect("linked");
    symlink("../channel", link.directory.join("latest")).expect("linked");
    assert_eq!(link.current().expect("read").as_str(), "c");
    let before = link.print();
    let is_still = |link: &Link| link.is_still(&before.expect("both are there"));
    assert_eq!(link.print(), before, "nothing happened");
    assert!(is_still(&link));
    fs::write(link.directory.join("c/written"), "").expect("written");
    assert_eq!(link.print(), before, "what a release writes is no news");
    assert!(is_still(&link));
    let another = root.path().join("another");
    symlink(link.directory.join("b"), &another).expect("linked");
    fs::rename(&another, &channel).expect("replaced");
    assert_eq!(link.current().expect("read").as_str(), "b");
    assert_ne!(link.print(), before, "a deploy");
    assert!(!is_still(&link));
    // The same where the release goes that it leads to.
    let before = link.print();
    fs::remove_file(&channel).expect("removed");
    assert_ne!(link.print(), before);
}

#[test]
fn a_glance_at_a_link_straight_to_a_release_sees_it_replaced_and_releases_come_and_go() {
    type Change = fn(&Link);
    let cases: [(&str, Change, bool); 6] = [
        ("nothing", |_| {}, false),
        ("written in a release", |link| fs::write(link.directory.join("c/more"), "").expect("written"), false),
        ("a deploy", |link| link.replace(Path::new("releases/b")).expect("replaced"), true),
        ("a release more", |link| fs::create_dir(link.directory.join("d")).expect("made"), true),
        (
            "the live one made anew",
            |link| {
                fs::rename(link.directory.join("c"), link.directory.join("old")).expect("renamed");
                fs::create_dir(link.directory.join("c")).expect("made");
            },
            true,
        ),
        ("no link", |link| fs::remove_file(&link.link).expect("removed"), true),
    ];
    for (what, change, is_seen) in cases {
        let (_root, link) = releases("releases/c");
        let before = link.print().expect("both are there");
        assert!(before.is_direct, "{what}");
        change(&link);
        assert_eq!(!link.is_still(&before), is_seen, "{what}");
        assert_eq!(link.print() != Some(before), is_seen, "{what}: by the whole print, too");
    }
}
