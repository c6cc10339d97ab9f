use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn record(incident: &str) -> HistoryRecord {
    HistoryRecord {
        date: "2026-01-07T10:30:00Z".to_owned(),
        version_from: "v2".to_owned(),
        version_to: "v1".to_owned(),
        reason: "probes fail".to_owned(),
        duration_minutes: 2,
        root_cause: String::new(),
        post_mortem_link: String::new(),
        service: "api".to_owned(),
        incident: incident.to_owned(),
        outcome: "verified".to_owned(),
    }
}

fn with(content: &str) -> (tempfile::TempDir, History) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("rollback-history.json");
    fs::write(&path, content).expect("written");
    (directory, History::new(path))
}

fn text(history: &History) -> String {
    fs::read_to_string(history.path()).expect("read")
}

/// As the runbook shows it, and with what people add.
const EXISTING: &str = r#"{
  "owner": "the platform team",
  "rollbacks": [
    {
      "date": "2026-01-07T10:30:00Z",
      "version_from": "v1.2.4",
      "version_to": "v1.2.3",
      "reason": "Error rate spike after deploy",
      "duration_minutes": 8,
      "root_cause": "Missing null check in new code path",
      "post_mortem_link": "...",
      "zone": {"z": 1, "a": [1.50, "é"]},
      "annotation": null
    }
  ],
  "archive": "s3"
}"#;

#[test]
fn a_new_file_has_the_runbooks_form() {
    let directory = tempfile::tempdir().expect("a directory");
    let history = History::new(directory.path().join("rollback-history.json"));
    assert_eq!(history.read().expect("there is none yet"), []);
    history.record(&record("api-1")).expect("recorded");
    let expected = r#"{
  "rollbacks": [
    {
      "date": "2026-01-07T10:30:00Z",
      "version_from": "v2",
      "version_to": "v1",
      "reason": "probes fail",
      "duration_minutes": 2,
      "root_cause": "",
      "post_mortem_link": "",
      "service": "api",
      "incident": "api-1",
      "outcome": "verified"
    }
  ]
}
"#;
    assert_eq!(text(&history), expected);
    assert_eq!(history.read().expect("read"), [record("api-1")]);
    let (_directory, empty) = with("\n");
    empty.record(&record("api-1")).expect("recorded");
    assert_eq!(text(&empty), expected);
}

#[test]
fn an_existing_file_keeps_everything_and_its_order() {
    let (_directory, history) = with(EXISTING);
    fs::set_permissions(history.path(), fs::Permissions::from_mode(0o664)).expect("mode set");
    let before = history.read().expect("read");
    assert_eq!((before.len(), before[0].duration_minutes, before[0].incident.as_str()), (1, 8, ""));
    history.record(&record("api-1")).expect("recorded");
    let after = text(&history);
    let mut last = 0;
    for part in [
        "owner",
        "rollbacks",
        "Missing null check",
        "zone",
        "\"z\": 1",
        "\"a\": [",
        "1.5",
        "é",
        "annotation",
        "api-1",
        "archive",
    ] {
        let found = after[last..].find(part).unwrap_or_else(|| panic!("{part} is in its place:\n{after}"));
        last += found;
    }
    assert_eq!(history.read().expect("read"), [before[0].clone(), record("api-1")]);
    assert_eq!(fs::metadata(history.path()).expect("there").permissions().mode() & 0o777, 0o664);
}

#[test]
fn the_same_rollback_again_completes_its_entry() {
    let (_directory, history) = with(EXISTING);
    history.record(&HistoryRecord { outcome: String::new(), ..record("api-1") }).expect("recorded");
    history.record(&record("api-2")).expect("recorded");
    let edited = text(&history).replacen(r#""root_cause": """#, r#""root_cause": "a bad index", "ticket": 7"#, 1);
    fs::write(history.path(), edited).expect("a person wrote");
    history.record(&HistoryRecord { duration_minutes: 5, ..record("api-1") }).expect("recorded");
    let all = history.read().expect("read");
    let expected = HistoryRecord { duration_minutes: 5, root_cause: "a bad index".to_owned(), ..record("api-1") };
    assert_eq!(all[1..], [expected.clone(), record("api-2")]);
    assert!(text(&history).contains("\"ticket\": 7"));
    let closed = HistoryRecord { root_cause: "a missing index".to_owned(), ..expected };
    history.record(&closed).expect("recorded");
    assert_eq!(history.read().expect("read")[1], closed);
    // In a new store incidents count from 1 again, and an incident may have several: those are other rollbacks.
    history.record(&HistoryRecord { version_from: "v9".to_owned(), ..record("api-1") }).expect("recorded");
    history.record(&HistoryRecord { date: "2026-01-07T11:00:00Z".to_owned(), ..record("api-1") }).expect("recorded");
    assert_eq!(history.read().expect("read").len(), 5);
    let before = text(&history);
    history.record(&record("api-2")).expect("nothing is new");
    assert_eq!(text(&history), before);
}

#[test]
fn what_is_only_kept_is_added_once_and_changes_nothing_that_is_there() {
    let (_directory, history) = with(EXISTING);
    history.record(&record("api-1")).expect("recorded");
    let before = history.read().expect("read");
    let by_hand = HistoryRecord { version_from: String::new(), incident: String::new(), ..record("") };
    let overtaken = HistoryRecord { outcome: "overtaken".to_owned(), ..record("api-1") };
    history.keep(&[overtaken, record("api-2"), by_hand.clone()]).expect("kept");
    history.keep(&[record("api-2"), by_hand.clone()]).expect("kept");
    assert_eq!(history.read().expect("read"), [&before[..], &[record("api-2"), by_hand]].concat());
}

#[test]
fn a_start_finds_out_whether_a_rollback_could_be_put_on_record() {
    let (directory, history) = with(EXISTING);
    history.check().expect("it is a history");
    assert_eq!(text(&history), EXISTING, "nothing is changed");
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing is left beside it");
    History::new(directory.path().join("none-yet.json")).check().expect("a new one can be made");
    let error = History::new("/no/such/place/history.json").check().expect_err("no directory").to_string();
    assert!(error.contains("/no/such/place/history.json") && error.contains("directory must be there"), "{error}");
    let error = History::new(directory.path()).check().expect_err("a directory").to_string();
    assert!(error.contains("history"), "{error}");
    let (_directory, damaged) = with("{\"rollbacks\": [");
    let error = damaged.check().expect_err("no JSON").to_string();
    assert!(error.contains("line 1") && error.contains("mend it or move it away"), "{error}");
}

#[test]
fn what_is_not_understood_is_named_and_never_written_over() {
    for (content, expected) in [
        ("{\"rollbacks\": [", "line 1"),
        ("// a comment\n{}", "line 1"),
        ("[]", "it is no object"),
        ("{\"rollbacks\": {}}", "`rollbacks` is no list"),
    ] {
        let (_directory, history) = with(content);
        for error in [history.read().map(drop), history.record(&record("api-1"))] {
            let error = error.expect_err(content).to_string();
            assert!(error.contains(expected) && error.contains("rollback-history.json"), "{error}");
        }
        assert_eq!(text(&history), content);
    }
    for (entry, expected) in [
        ("7", "`rollbacks[0]` is no object"),
        ("{\"date\": 7}", "`rollbacks[0].date` is no text"),
        ("{\"duration_minutes\": \"long\"}", "`rollbacks[0].duration_minutes` is no number"),
        ("{\"duration_minutes\": -1.5}", "`rollbacks[0].duration_minutes` is no number"),
    ] {
        let (_directory, history) = with(&format!("{{\"rollbacks\": [{entry}]}}"));
        let error = history.read().expect_err(entry).to_string();
        assert!(error.contains(expected), "{error}");
        // Another's odd entry is kept, and does not keep ours from being added.
        history.record(&record("api-1")).expect("recorded");
        let parsed: Value = serde_json::from_str(&text(&history)).expect("JSON");
        assert_eq!(parsed["rollbacks"][0], serde_json::from_str::<Value>(entry).expect("JSON"));
    }
    let (_directory, history) = with("{\"rollbacks\": [{\"duration_minutes\": 7.2}]}");
    assert_eq!(history.read().expect("read")[0].duration_minutes, 8);
}

#[test]
fn a_link_stays_a_link_and_a_missing_directory_is_told() {
    let (directory, history) = with(EXISTING);
    let link = directory.path().join("link.json");
    symlink("rollback-history.json", &link).expect("linked");
    History::new(&link).record(&record("api-1")).expect("recorded");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert_eq!(history.read().expect("read").len(), 2);
    let error = History::new("/no/such/place/history.json").record(&record("api-1")).expect_err("no directory");
    assert!(matches!(error, HistoryError::Write { .. }), "{error}");
}

#[test]
fn records_of_several_threads_are_all_kept() {
    let (_directory, history) = with(EXISTING);
    std::thread::scope(|scope| {
        for number in 0..10 {
            let history = &history;
            scope.spawn(move || history.record(&record(&format!("api-{number}"))).expect("recorded"));
        }
    });
    assert_eq!(history.read().expect("read").len(), 11);
}
