//! The running prober against listeners on loopback.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;
use crate::{
    config::form::{
        CommandCheck, CommandLine, CommandTarget, HostPort, HttpCheck, Service, SignalSource, Target, TlsOptions,
    },
    core::{
        event::Event,
        policy::{
            ConsiderPolicy, ConsiderThen, Escalation, GatesPolicy, GitopsPolicy, KnownGoodPolicy, Mode,
            RollbacksPolicy, ServicePolicy, SharedCausePolicy, SignalKind, SignalPolicy, ThresholdsPolicy,
            VerifyPolicy,
        },
        sample::{Measurement, Sample},
    },
};

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(20);

fn policy(signals: &[(&str, Duration, Duration)]) -> Policy {
    let signal = |&(name, every, timeout): &(&str, Duration, Duration)| SignalPolicy {
        name: name.into(),
        kind: SignalKind::Probe { critical: true },
        every,
        timeout,
    };
    let service = ServicePolicy {
        name: "api".into(),
        mode: Mode::Act,
        signals: signals.iter().map(signal).collect(),
        checks_version: false,
        rollout_timeout: SECOND,
        on_platform: false,
        can_stop_traffic: false,
        blocks_known_bad: false,
        atoms: Vec::new(),
        conditions: Vec::new(),
        sustained_count: 0,
        tree: Vec::new(),
        thresholds: ThresholdsPolicy { down_after: 3, confirm_every: EVERY, down_for: SECOND },
        consider: ConsiderPolicy { then: ConsiderThen::Ask, window: SECOND },
        hold_back_when: Vec::new(),
        reports_expire: SECOND,
        gates: GatesPolicy {
            known_good: KnownGoodPolicy::Soaked,
            known_good_after: SECOND,
            known_good_min_requests: 0,
            settle: SECOND,
            deployed_within: SECOND,
            rollbacks: RollbacksPolicy { at_most: 1, over: SECOND },
            acting_wait: SECOND,
            shared_cause: SharedCausePolicy { services: 3, within: Duration::from_secs(300) },
            cooldown: SECOND,
            resume_within: SECOND,
            gitops: GitopsPolicy::Refuse,
        },
        verify: VerifyPolicy { healthy_for: SECOND, timeout: SECOND },
        depends_on: Vec::new(),
        maintenance: Vec::new(),
    };
    let escalation =
        Escalation { severities: BTreeMap::new(), findings: BTreeMap::new(), rollback_too_long_over: SECOND };
    Policy { services: vec![Arc::new(service)], channels: Vec::new(), escalation, keep: SECOND, checks_itself: false }
}

fn service(signals: Vec<SignalSource>) -> Service {
    let none = CommandLine(Vec::new());
    let target = Target::Command(CommandTarget {
        current: none.clone(),
        previous: none.clone(),
        roll_back: none,
        stop: None,
        start: None,
        rollout_timeout: SECOND,
    });
    Service { name: "api".into(), target, version: None, signals }
}

fn http(address: SocketAddr) -> SignalSource {
    SignalSource::Http(HttpCheck {
        url: format!("http://{address}/"),
        method: "GET".into(),
        headers: Vec::new(),
        status: Vec::new(),
        body_contains: None,
        redirects: 0,
        tls: TlsOptions::default(),
    })
}

fn prepare(signals: Vec<SignalSource>, policy: &Policy) -> Prober {
    Prober::new(&[service(signals)], policy, &Network::new(), &Clock::new()).expect("valid signals")
}

async fn next(queue: &mut mpsc::Receiver<Event>) -> Sample {
    match queue.recv().await.expect("the prober runs") {
        Event::Sample(sample) => sample,
        other => panic!("{other:?}"),
    }
}

/// The next sample that was not missed: on a machine under load a sample may come very late.
async fn seen(queue: &mut mpsc::Receiver<Event>) -> Sample {
    loop {
        let sample = next(queue).await;
        if !matches!(sample.measurement, Measurement::Check(Outcome::Missed(_))) {
            return sample;
        }
    }
}

fn is_failed(sample: &Sample) -> bool {
    matches!(sample.measurement, Measurement::Check(Outcome::Failed(_)))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn healthy() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_hanging_target_is_looked_at_once_at_a_time_and_holds_up_nobody() {
    let (mute, address) = listener().await;
    let (open, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counting, greatest) = (Arc::clone(&open), Arc::clone(&most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = mute.accept().await {
            greatest.fetch_max(counting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let counting = Arc::clone(&counting);
            tokio::spawn(async move {
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                counting.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let policy = policy(&[("hanging", EVERY, 10 * EVERY), ("healthy", EVERY, 30 * SECOND)]);
    let prober = prepare(vec![http(address), http(healthy().await)], &policy);
    let (sink, mut queue) = mpsc::channel(1024);
    let _handle = prober.spawn(&sink);
    let (mut hanging, mut passed) = (0, 0);
    while hanging < 5 {
        let sample = seen(&mut queue).await;
        match sample.signal {
            SignalIndex(0) => {
                assert!(is_failed(&sample), "{sample:?}");
                hanging += 1;
            }
            _ => passed += u32::from(sample.measurement == Measurement::Check(Outcome::Passed)),
        }
    }
    assert!(passed > hanging, "{passed} passed beside {hanging} that hung");
    // The end of one connection and the begin of the next may be seen the other way round.
    assert!(most.load(Ordering::SeqCst) <= 2, "samples overlapped");
}

#[tokio::test]
async fn the_cadence_can_be_changed_while_a_long_one_is_waited_for() {
    let (closed, address) = listener().await;
    drop(closed);
    let policy = policy(&[("refused", Duration::from_secs(1_000_000), SECOND)]);
    let (sink, mut queue) = mpsc::channel(1024);
    let handle = prepare(vec![http(address)], &policy).spawn(&sink);
    handle.set_cadence(ServiceIndex(0), SignalIndex(0), EVERY);
    handle.set_cadence(ServiceIndex(7), SignalIndex(7), EVERY);
    let (first, second) = (seen(&mut queue).await, seen(&mut queue).await);
    assert!(is_failed(&first) && is_failed(&second));
    assert!(second.taken_at.before(second.lag) >= first.taken_at.before(first.lag).after(EVERY));
    drop(handle);
    while queue.try_recv().is_ok() {}
    drop(sink);
    assert!(queue.recv().await.is_none(), "dropping the handle ends the tasks");
}

#[tokio::test]
async fn a_full_queue_loses_nothing_silently() {
    let policy = policy(&[("healthy", EVERY, 30 * SECOND)]);
    let (sink, mut queue) = mpsc::channel(1);
    let _handle = prepare(vec![http(healthy().await)], &policy).spawn(&sink);
    while queue.is_empty() {
        tokio::time::sleep(EVERY).await;
    }
    tokio::time::sleep(10 * EVERY).await;
    assert_eq!(next(&mut queue).await.measurement, Measurement::Check(Outcome::Passed));
    loop {
        if let Measurement::Check(Outcome::Missed(reason)) = next(&mut queue).await.measurement {
            assert!(reason.as_str().starts_with("the sample queue was full: "), "{reason}");
            break;
        }
    }
}

#[tokio::test]
async fn checks_by_hand_are_taken_at_once() {
    let policy = policy(&[("healthy", 1000 * SECOND, 30 * SECOND), ("tcp", 1000 * SECOND, 30 * SECOND)]);
    let (closed, address) = listener().await;
    drop(closed);
    let tcp = SignalSource::Tcp(HostPort { host: "127.0.0.1".into(), port: address.port() });
    let (sink, _queue) = mpsc::channel(1);
    let handle = prepare(vec![http(healthy().await), tcp], &policy).spawn(&sink);
    let checker = handle.checker();
    assert_eq!(checker.check(ServiceIndex(0), SignalIndex(0)).await, Outcome::Passed);
    assert!(matches!(checker.check(ServiceIndex(0), SignalIndex(1)).await, Outcome::Failed(_)));
    assert!(matches!(checker.check(ServiceIndex(0), SignalIndex(9)).await, Outcome::Missed(_)));
}

#[test]
fn every_mistake_is_told_at_once() {
    let policy = policy(&[("a", SECOND, SECOND), ("b", SECOND, SECOND), ("c", SECOND, SECOND)]);
    let command = CommandCheck { run: CommandLine(vec!["true".into()]), directory: None, environment: BTreeMap::new() };
    let wrong = |url: &str| match http("127.0.0.1:1".parse().expect("an address")) {
        SignalSource::Http(check) => SignalSource::Http(HttpCheck { url: url.into(), ..check }),
        other => other,
    };
    let signals = vec![wrong("ftp://x/"), SignalSource::Command(command), wrong("http://")];
    let error = Prober::new(&[service(signals)], &policy, &Network::new(), &Clock::new()).expect_err("two mistakes");
    assert_eq!(error.0.len(), 2);
    assert!(error.to_string().contains("prepare a of api: read the URL"), "{error}");
    assert!(error.to_string().contains("prepare c of api"), "{error}");
}

#[tokio::test]
async fn a_waiting_signal_is_small_and_a_running_sample_is_bounded() {
    let policy = policy(&[("healthy", SECOND, SECOND)]);
    let prober = prepare(vec![http("127.0.0.1:1".parse().expect("an address"))], &policy);
    let signal = &prober.services[0][0].signal;
    let (sink, _queue) = mpsc::channel(1);
    let outlet = Outlet::new(sink, ServiceIndex(0), SignalIndex(0), false);
    let (_cadence, told) = watch::channel(SECOND);
    let grid = Grid::new(Clock::new().boot(), SECOND, SECOND);
    let waiting = size_of_val(&task::run(Arc::clone(signal), grid, told, outlet)) + size_of_val(&**signal);
    assert!(waiting <= 1024, "{waiting} bytes");
    let mut sampler = signal.sampler.lock().await;
    let running = size_of_val(&sampler.sample(SECOND, &signal.clock));
    assert!(running <= 6 * 1024, "{running} bytes");
}
