//! The engines that are spoken to: one client and one stream of events for each, whoever asks.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{ComposeError, address::Address, engine::Engine};
use crate::target::{TargetError, blocking::OneAtATime, kubernetes::configuration::Key};

/// Between the end of a stream and the next try; it doubles with each that follows at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// Longest line of a stream: an event has some KiB of labels.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;
/// The key's file, beside what is kept of each service.
const KEY: &str = ".compose-key";
/// The label by which Compose says which service a container is of.
const SERVICE: &str = "com.docker.compose.service";
/// What is heard of: each of them may change what a look would find.
const FILTERS: &str = r#"{"type":["container","image"],"event":["create","start","kill","die","destroy","oom","pause","unpause","rename","health_status","tag","untag","delete","pull","import","load","prune"]}"#;

/// Signals that a service is told something by, and goes on: HUP, USR1, USR2 and WINCH, as the engine writes them.
const TELLING: [&str; 4] = ["1", "10", "12", "28"];
/// Containers that people ended and that are remembered as such; those before them have long been removed, or are nobody's.
const ENDED_LIMIT: usize = 1_000;

/// The engines that are spoken to, and the key under which configuration is hashed.
#[derive(Debug)]
pub(in crate::target) struct Engines {
    followed: Mutex<BTreeMap<Address, Arc<Followed>>>,
    key: OnceCell<Key>,
    /// Where the key is kept; none: it is made anew each time.
    key_path: Option<PathBuf>,
}

impl Engines {
    /// With the key in that directory, which is made when needed.
    pub(in crate::target) fn new(directory: Option<&Path>) -> Self {
        let key_path = directory.map(|directory| directory.join(KEY));
        Self { followed: Mutex::default(), key: OnceCell::new(), key_path }
    }

    /// The key under which configuration is hashed.
    pub(super) async fn key(&self, calls: &OneAtATime) -> Result<Key, TargetError> {
        let load = async || {
            let Some(path) = self.key_path.clone() else {
                return Key::random().map_err(|error| TargetError::Lost(error.to_string()));
            };
            let of = path.clone();
            let load = move || Key::load_or_make(&path).map_err(|source| TargetError::Read { path, source });
            calls.run(&of, load).await
        };
        self.key.get_or_try_init(load).await.cloned()
    }

    /// The engine at that address; begins to follow what happens there where nobody does yet.
    pub(super) fn at(&self, address: &Address) -> Result<Arc<Followed>, ComposeError> {
        let mut engines = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = engines.get(address) {
            return Ok(Arc::clone(known));
        }
        let followed = Arc::new(Followed::begin(Engine::new(address.clone())?));
        engines.insert(address.clone(), Arc::clone(&followed));
        Ok(followed)
    }
}

/// How much has happened.
#[derive(Debug, Default)]
struct Counts {
    /// The stream began or ended: something may have happened unheard.
    breaks: u64,
    images: u64,
    /// By the name of a service, in whichever project.
    services: HashMap<String, u64>,
    /// Containers that were told to end since they were started last, the latest at the end.
    ended: VecDeque<String>,
}

/// An engine whose events are followed.
#[derive(Debug)]
pub(super) struct Followed {
    engine: Arc<Engine>,
    counts: Arc<Mutex<Counts>>,
    gathering: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::ops::Deref for Followed {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Followed {
    fn begin(engine: Engine) -> Self {
        let (engine, counts) = (Arc::new(engine), Arc::default());
        let task = tokio::spawn(follow(Arc::clone(&engine), Arc::clone(&counts)));
        Self { engine, counts, gathering: Arc::new(Semaphore::new(1)), task }
    }

    /// Other than before where a container of such a service, or an image, may have changed.
    pub(super) fn changes(&self, service: &str) -> u64 {
        let counts = lock(&self.counts);
        counts.breaks + counts.images + counts.services.get(service).copied().unwrap_or(0)
    }

    /// Other than before where an image may have come or gone.
    pub(super) fn image_changes(&self) -> u64 {
        let counts = lock(&self.counts);
        counts.breaks + counts.images
    }

    /// Whether somebody told it to end since it was started last, as far as the engine remembers: it did not end by itself.
    pub(super) fn was_told_to_end(&self, container: &str) -> bool {
        lock(&self.counts).ended.iter().any(|known| known == container)
    }

    /// Waits until nothing else is gathered there: when all is down every service wants it at once.
    pub(super) async fn gathers_alone(&self, until: Instant) -> Result<OwnedSemaphorePermit, ComposeError> {
        let begun = Instant::now();
        match timeout_at(until, Arc::clone(&self.gathering).acquire_owned()).await {
            Ok(turn) => Ok(turn.expect("it is never closed")),
            Err(_) => Err(ComposeError::Hangs {
                what: "wait for what is gathered for other services".to_owned(),
                place: self.engine.address().shown().to_owned(),
                limit: until.saturating_duration_since(begun),
            }),
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the events until the engine is not spoken to any more.
async fn follow(engine: Arc<Engine>, counts: Arc<Mutex<Counts>>) {
    let mut pause = FIRST_PAUSE;
    // Ends with the task.
    loop {
        let begun = Instant::now();
        if let Ok(response) = engine.events(FILTERS).await {
            lock(&counts).breaks += 1;
            let mut parts = response.bytes_stream();
            let mut line = Vec::new();
            while let Some(Ok(part)) = parts.next().await {
                for byte in part {
                    if byte == b'\n' {
                        take_in(&line, &counts);
                        line.clear();
                    } else if line.len() < LINE_LIMIT_BYTES {
                        line.push(byte);
                    }
                }
            }
            lock(&counts).breaks += 1;
        }
        pause = if begun.elapsed() > LAST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LAST_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}

/// Counts an event. What is not understood may be anything.
fn take_in(line: &[u8], counts: &Mutex<Counts>) {
    if line.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let mut counts = lock(counts);
    let Ok(event) = serde_json::from_slice::<Value>(line) else {
        counts.breaks += 1;
        return;
    };
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    if let (Some("container"), Some(id)) = (text("/Type"), text("/Actor/ID")) {
        let signal = text("/Actor/Attributes/signal").unwrap_or_default();
        match text("/Action") {
            Some("kill") if !TELLING.contains(&signal) => {
                counts.ended.retain(|known| known != id);
                counts.ended.push_back(id.to_owned());
                if counts.ended.len() > ENDED_LIMIT {
                    counts.ended.pop_front();
                }
            }
            Some("start" | "destroy") => counts.ended.retain(|known| known != id),
            _ => {}
        }
    }
    match (text("/Type"), event.pointer("/Actor/Attributes").and_then(|all| all.get(SERVICE)?.as_str())) {
        (Some("image"), _) => counts.images += 1,
        // A container of no project is nobody's here.
        (Some("container"), None) => {}
        (Some("container"), Some(service)) => *counts.services.entry(service.to_owned()).or_default() += 1,
        _ => counts.breaks += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_count_for_whom_they_are_about() {
        let counts = Mutex::default();
        for line in [
            r#"{"Type":"container","Action":"die","Actor":{"Attributes":{"com.docker.compose.service":"api"}}}"#,
            r#"{"Type":"container","Action":"die","Actor":{"Attributes":{"com.docker.compose.service":"api"}}}"#,
            r#"{"Type":"container","Action":"die","Actor":{"Attributes":{"name":"someone"}}}"#,
            r#"{"Type":"image","Action":"delete","Actor":{"Attributes":{"name":"shop:1"}}}"#,
            "",
            "what?",
        ] {
            take_in(line.as_bytes(), &counts);
        }
        let counts = lock(&counts);
        assert!(counts.ended.is_empty());
        assert_eq!((counts.breaks, counts.images, counts.services["api"], counts.services.len()), (1, 1, 2, 1));
    }

    #[test]
    fn what_was_told_to_end_is_known_until_it_is_started_again() {
        let counts = Mutex::default();
        let ended = |action: &str, signal: &str| {
            let event = serde_json::json!({"Type": "container", "Action": action,
                "Actor": {"ID": "a", "Attributes": {"com.docker.compose.service": "api", "signal": signal}}});
            take_in(event.to_string().as_bytes(), &counts);
            lock(&counts).ended.len()
        };
        for (action, signal, expected) in [
            ("kill", "1", 0),
            ("die", "", 0),
            ("kill", "15", 1),
            ("kill", "9", 1),
            ("die", "", 1),
            ("stop", "", 1),
            ("start", "", 0),
            ("kill", "3", 1),
            ("destroy", "", 0),
        ] {
            assert_eq!(ended(action, signal), expected, "{action} {signal}");
        }
    }
}
