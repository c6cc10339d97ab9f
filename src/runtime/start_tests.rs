use super::*;
use crate::{
    config::{self, SystemSecrets},
    core::event::Sequence,
};

/// A configuration whose one probe is refused: nothing listens there.
fn config(directory: &std::path::Path) -> Config {
    let text = format!(
        "server: {{listen: '127.0.0.1:0', socket: {0}/backstop.sock}}\n\
         store: {{path: {0}/backstop.db}}\n\
         history: {{file: {0}/history.json}}\n\
         evidence: {{directory: {0}/evidence}}\n\
         services:\n\
         - name: shop\n  target: {{releases: {{directory: {0}/releases, current: {0}/current, restart: ['true']}}}}\n  \
         probes: {{ready: {{tcp: '127.0.0.1:1', every: 200ms, timeout: 200ms}}}}\n",
        directory.display()
    );
    let path = directory.join("backstop.yaml");
    std::fs::write(&path, text).expect("a temporary file");
    config::load(&path, &SystemSecrets).expect("a good configuration").0
}

/// Watching without a journal is for what is damaged: here another version of the program is all that is needed.
#[tokio::test]
async fn a_store_of_a_later_version_is_not_begun_on() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path());
    drop(SqliteStore::open(&config.store).expect("made"));
    let entry = r#"{"at": "2026-05-28T20:26:40Z", "fact": "moon_rose", "phase": 3}"#;
    let raw = rusqlite::Connection::open(&config.store).expect("opened");
    let checksum = store::checksum(Sequence(1), entry);
    raw.execute("INSERT INTO journal (sequence, entry, checksum) VALUES (1, ?1, ?2)", (entry, checksum))
        .expect("written");
    drop(raw);
    let refused = assemble(config, None).await.err().expect("it does not start").to_string();
    assert!(refused.contains("moon_rose") && refused.contains("run that version"), "{refused}");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: not within a minute"));
}

/// A journal whose thread dies at the first thing that it does.
struct Dying;

impl store::Journal for Dying {
    fn append(&mut self, _: &[(Sequence, Arc<crate::core::entry::Entry>)]) -> Result<(), StoreError> {
        panic!("a mistake in the store")
    }

    fn prove_writable(&mut self) -> Result<(), StoreError> {
        panic!("a mistake in the store")
    }

    fn tidy(&mut self) -> store::Tidied {
        panic!("a mistake in the store")
    }
}

#[tokio::test]
async fn a_store_whose_thread_died_ends_the_process_so_that_a_new_one_is_started() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut parts = assemble(config(directory.path()), None).await.expect("a daemon");
    parts.turning.hands.store = store::spawn(Dying, |_| {});
    let running = parts.begin(CancellationToken::new()).expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("it ends");
    assert!(matches!(ended, Err(RunError::Store(StoreError::Gone))), "{ended:?}");
}

#[tokio::test]
async fn a_server_whose_thread_died_ends_the_process_in_order() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let parts = assemble(config(directory.path()), None).await.expect("a daemon");
    let shutdown = CancellationToken::new();
    let mut running = parts.begin(shutdown.clone()).expect("it runs");
    let (dies, served) = oneshot::channel();
    running.served = served;
    let waits = tokio::spawn(running.wait());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished(), "all is well");
    drop(dies);
    let ended = tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it ends").expect("no panic");
    assert!(matches!(ended, Err(RunError::ServingEnded)), "{ended:?}");
    assert!(shutdown.is_cancelled(), "what was in flight got its time");
}

#[tokio::test]
async fn a_panic_of_the_core_is_survived_once() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Parts { board, turning, .. } = assemble(config(directory.path()), None).await.expect("a daemon");
    let completions = turning.hands.completions.clone();
    let loop_task = tokio::spawn(turning.run(CancellationToken::new()));
    until("the first view", || board.ready().is_ok()).await;
    // The store never says this of itself: the core asserts it, in release too.
    let nonsense = Event::Committed(Sequence(u64::MAX));
    completions.send(nonsense.clone());
    let seen = board.service("shop").flatten().map(|view| view.now.at);
    until("a view after the panic", || board.service("shop").flatten().map(|view| view.now.at) > seen).await;
    assert!(board.alive().is_ok());
    completions.send(nonsense);
    let ended = loop_task.await.expect("no panic of the loop itself");
    assert!(matches!(ended, Err(RunError::PanickedTwice)), "{ended:?}");
}

#[tokio::test]
async fn the_first_heartbeat_goes_out_when_it_has_turned_for_one_interval() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let monitor = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = monitor.local_addr().expect("bound");
    let file = directory.path().join("backstop.yaml");
    drop(config(directory.path()));
    let text = std::fs::read_to_string(&file).expect("it was written");
    std::fs::write(&file, format!("{text}notify: {{heartbeat: {{url: 'http://{address}/', every: 1s}}}}\n"))
        .expect("written");
    let config = config::load(&file, &SystemSecrets).expect("a good configuration").0;
    let every = config.heartbeat.as_ref().expect("it is there").every;
    let Parts { turning, .. } = assemble(config, None).await.expect("a daemon");
    let began = std::time::Instant::now();
    let loop_task = tokio::spawn(turning.run(CancellationToken::new()));
    let beat = tokio::time::timeout(Duration::from_secs(60), monitor.accept()).await;
    beat.expect("it beats").expect("a connection");
    assert!(began.elapsed() >= every, "a daemon that ends again and again is none: {:?}", began.elapsed());
    loop_task.abort();
}

#[test]
fn which_incidents_there_are_is_not_told_while_the_journal_fails() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path());
    let (publisher, board) = board(&config.policy, Arc::new(|| crate::core::time::BootTime::from_nanos(0)));
    let board = Arc::new(board);
    assert_eq!(known_incidents(None, &board)(), None, "it was damaged at the start");
    let mut known = known_incidents(Some(&Durable::default()), &board);
    assert_eq!(known(), Some(BTreeSet::new()));
    let well = (*board.daemon()).clone();
    publisher.daemon(crate::core::view::DaemonView { store_failing: Some("malformed".to_owned()), ..well.clone() });
    assert_eq!(known(), None);
    publisher.daemon(well);
    assert_eq!(known(), Some(BTreeSet::new()));
}
