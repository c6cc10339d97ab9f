//! No descriptors left is the watchdog's own fault. A test binary of its own: the limit holds for the whole process.

use std::{fs::File, sync::Arc, time::Duration};

use backstop::{
    config::form::{HostPort, HttpCheck, TlsOptions},
    core::{
        entry::{Entry, Fact},
        event::Sequence,
        sample::Outcome,
        time::WallTime,
    },
    probe::{http::HttpProbe, net::Network, tcp::TcpProbe},
    store::{Journal as _, SqliteStore},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, sync::Mutex};

/// The limit holds for all tests of a process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Descriptors for what the test itself needs.
const DESCRIPTORS: u64 = 64;

fn missed_for_descriptors(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Missed(reason) if reason.as_str().ends_with("this machine: too many open files"))
}

/// Takes every descriptor that there is, until the answer is dropped.
fn take_all() -> Vec<File> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), ..limit }).expect("lowered");
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_journal_that_cannot_be_inspected_for_want_of_descriptors_is_written_on() {
    let _alone = ONE_AT_A_TIME.blocking_lock();
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = SqliteStore::open(&directory.path().join("backstop.db")).expect("made");
    let fact = Fact::Resumed { by: "someone".to_owned() };
    let entry = Arc::new(Entry { at: WallTime::from_millis(0), boot: None, service: None, fact });
    store.append(&[(Sequence(1), Arc::clone(&entry))]).expect("appended");
    let held = take_all();
    let inspected = store.inspect();
    let appended = store.append(&[(Sequence(2), entry)]);
    drop(held);
    assert!(inspected.is_err(), "there was no descriptor for it");
    appended.expect("the connection that was open is as good as before");
    store.inspect().expect("it is whole");
}

#[tokio::test]
async fn a_sample_without_a_descriptor_is_missed_and_the_next_one_sees_again() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let network = Network::new();
    let tcp = TcpProbe::new(&HostPort { host: "127.0.0.1".into(), port: address.port() }, &network);
    let check = HttpCheck {
        url: format!("http://{address}/"),
        method: "GET".into(),
        headers: Vec::new(),
        status: Vec::new(),
        body_contains: None,
        redirects: 0,
        tls: TlsOptions::default(),
    };
    let http = HttpProbe::new(&check, &network).expect("a valid check");
    let patience = Duration::from_mins(1);

    let held = take_all();
    let outcomes = [tcp.sample(patience).await, http.sample(patience).await];
    drop(held);
    assert!(outcomes.iter().all(missed_for_descriptors), "{outcomes:?}");
    assert_eq!(tcp.sample(patience).await, Outcome::Passed);
}
