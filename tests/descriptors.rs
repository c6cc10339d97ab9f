//! No descriptors left is the watchdog's own fault. A test binary of its own: the limit holds for the whole process.

use std::{fs::File, time::Duration};

use backstop::{
    config::form::{HostPort, HttpCheck, TlsOptions},
    core::sample::Outcome,
    probe::{http::HttpProbe, net::Network, tcp::TcpProbe},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

/// Descriptors for what the test itself needs.
const DESCRIPTORS: u64 = 64;

fn missed_for_descriptors(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Missed(reason) if reason.as_str().ends_with("this machine: too many open files"))
}

#[tokio::test]
async fn a_sample_without_a_descriptor_is_missed_and_the_next_one_sees_again() {
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

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), ..limit }).expect("lowered");
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    let outcomes = [tcp.sample(patience).await, http.sample(patience).await];
    drop(held);
    assert!(outcomes.iter().all(missed_for_descriptors), "{outcomes:?}");
    assert_eq!(tcp.sample(patience).await, Outcome::Passed);
}
