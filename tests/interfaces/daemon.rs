//! A policy, and a daemon's serving half with a core that answers from a table.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backstop::{
    config::form,
    core::{
        event::{Refusal, Request},
        name::ServiceIndex,
        policy::{
            Atom, ConditionPolicy, ConsiderPolicy, ConsiderThen, Escalation, Expression, GatesPolicy, GitopsPolicy,
            KnownGoodPolicy, Mode, Policy, RollbacksPolicy, ServicePolicy, SharedCausePolicy, SignalKind, SignalPolicy,
            ThresholdsPolicy, VerifyPolicy,
        },
        time::BootTime,
    },
    serve::{Asked, Board, Limits, Listeners, Publisher, Server, board, metrics::Metrics, requests},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::views;

/// A policy of `names`, each with one probe and one condition.
pub(crate) fn policy(names: &[&str]) -> Policy {
    let seconds = Duration::from_secs;
    let service = |name: &&str| {
        Arc::new(ServicePolicy {
            name: (*name).into(),
            mode: Mode::Act,
            signals: vec![SignalPolicy {
                name: "ready".into(),
                kind: SignalKind::Probe { critical: true },
                every: seconds(2),
                timeout: seconds(1),
            }],
            checks_version: false,
            rollout_timeout: seconds(120),
            on_platform: false,
            can_stop_traffic: false,
            blocks_known_bad: false,
            atoms: vec![Atom::RolloutFailing],
            conditions: vec![ConditionPolicy { name: "system_down".into(), expression: Expression::Atom(0) }],
            sustained_count: 0,
            tree: Vec::new(),
            thresholds: ThresholdsPolicy { down_after: 3, confirm_every: seconds(1), down_for: seconds(10) },
            consider: ConsiderPolicy { then: ConsiderThen::Ask, window: seconds(300) },
            hold_back_when: Vec::new(),
            reports_expire: seconds(3600),
            gates: GatesPolicy {
                known_good: KnownGoodPolicy::Soaked,
                known_good_after: seconds(600),
                known_good_min_requests: 100,
                settle: seconds(120),
                deployed_within: seconds(86_400),
                rollbacks: RollbacksPolicy { at_most: 2, over: seconds(3600) },
                cooldown: seconds(600),
                resume_within: seconds(900),
                gitops: GitopsPolicy::Refuse,
                acting_wait: seconds(3),
                shared_cause: SharedCausePolicy { services: 3, within: Duration::from_secs(300) },
            },
            verify: VerifyPolicy { healthy_for: seconds(60), timeout: seconds(600) },
            depends_on: Vec::new(),
            maintenance: Vec::new(),
        })
    };
    Policy {
        services: names.iter().map(service).collect(),
        channels: vec!["audit".into()],
        escalation: Escalation::default(),
        keep: Duration::from_secs(90 * 86_400),
        checks_itself: false,
    }
}

/// The serving half of a daemon, on loopback and on a socket of its own.
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) shutdown: CancellationToken,
    /// Told once the core is asked to verify something.
    pub(crate) asked_to_verify: Arc<Notify>,
    pub(crate) server: tokio::task::JoinHandle<()>,
    pub(crate) _directory: tempfile::TempDir,
}

/// How the fake core answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// By [`reply`].
    Answers,
    /// It never takes anything from its queue.
    Stuck,
}

/// One answer for each kind of outcome, and who asked.
pub(crate) fn reply(asked: &Asked) -> Result<String, Refusal> {
    match &asked.request {
        Request::Approve { approval: Some(9), .. } => {
            Err(Refusal::Conflict("approval 9 is void; approval 1 is open".to_owned()))
        }
        Request::Approve { incident, .. } if incident.as_str() == "solvereign-api-404" => {
            Err(Refusal::NotFound("there is no incident solvereign-api-404".to_owned()))
        }
        Request::Deny { reason: Some(reason), .. } if reason == "gate" => {
            Err(Refusal::Gate("cooldown: the last rollback was 2m ago, 10m are needed".to_owned()))
        }
        Request::Deny { reason: Some(reason), .. } if reason == "busy" => Err(Refusal::Busy("too many".to_owned())),
        Request::RollBack { order, .. } if order.reason.as_deref() == Some("gate") => {
            Err(Refusal::Gate("gate not_pinned says no: v1.2.4 is pinned by oncall".to_owned()))
        }
        Request::RollBack { order, .. } if order.dry_run => {
            Ok(serde_json::to_string(&views::preview(order.overrides.is_empty())).expect("JSON"))
        }
        request => Ok(format!("{} asked: {}", asked.by, serde_json::to_string(request).expect("JSON"))),
    }
}

/// A token over TCP.
pub(crate) fn token(name: &str, role: form::Role, token: &str) -> form::Token {
    form::Token { name: name.to_owned(), role, token: token.to_owned().into() }
}

/// Starts one, with every view published.
pub(crate) async fn daemon(tokens: &[form::Token], core: Core, limits: Limits) -> Daemon {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("backstop.sock");
    let settings = form::Server {
        listen: "127.0.0.1:0".parse().expect("an address"),
        socket: socket.clone(),
        external_url: "http://localhost".to_owned(),
        tokens: tokens.to_vec(),
    };
    let policy = policy(&["billing", "solvereign-api"]);
    let clock = Arc::new(AtomicU64::new(1_000_000_000));
    let reads = clock.clone();
    let clock_of_board = move || {
        let nanos = reads.load(Ordering::SeqCst);
        assert_ne!(nanos, u64::MAX, "the clock is broken on purpose");
        BootTime::from_nanos(nanos)
    };
    let (publisher, board): (Publisher, Board) = board(&policy, Arc::new(clock_of_board));
    publisher.service(ServiceIndex(0), views::healthy());
    publisher.service(ServiceIndex(1), views::rolling_back());
    publisher.deploys(ServiceIndex(1), views::deploys());
    publisher.incidents(vec![Arc::new(views::open_incident()), Arc::new(views::resolved_incident())]);
    publisher.daemon(views::daemon());
    publisher.started();
    let metrics = Arc::new(Metrics::new(&policy).expect("metrics"));
    let (sender, mut receiver) = requests();
    let asked_to_verify = Arc::new(Notify::new());
    let tells = Arc::clone(&asked_to_verify);
    tokio::spawn(async move {
        if core == Core::Stuck {
            // Holds the queue's end without ever looking.
            std::future::pending::<()>().await;
        }
        while let Some(asked) = receiver.recv().await {
            let answer = reply(&asked);
            if matches!(asked.request, Request::Verify { .. }) {
                tells.notify_one();
            }
            let _gone = asked.reply.send(answer);
        }
    });
    let listeners = Listeners::open(&settings).await.expect("both ways in");
    let address = listeners.address().expect("bound");
    let shutdown = CancellationToken::new();
    let server = Server::new(listeners, tokens, Arc::new(board), metrics, sender, limits);
    let server = tokio::spawn(server.run(shutdown.clone()));
    Daemon { address, socket, publisher, clock, shutdown, asked_to_verify, server, _directory: directory }
}
