//! Local copies of one kind of object in one namespace, kept by a watch: looking at a target asks the API server
//! nothing, and what changes is known at once.
//!
//! One watch serves every target of its namespace. A watch ends by itself every [`WATCH_FOR`] and is begun again, so
//! that a connection that died silently is found soon after; expired ones (410) and dropped ones are begun again by a
//! new list, after a growing pause. While none is up, the copies are no answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::watcher,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::configuration::{self, Key};

/// How long one watch lasts. Short, so that a dead connection is not believed for long; each costs one request.
pub(super) const WATCH_FOR: Duration = Duration::from_secs(60);
/// A list answers with its next part within this time. A watch may be quiet; the client ends one of which nothing at all
/// is read for longer than it lasts.
pub(super) const LIST_WITHIN: Duration = Duration::from_secs(15);
/// Between a fault and the next list; it doubles with each that follows without news in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause: a cluster that comes back is seen within it.
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// Which objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) resource: ApiResource,
    pub(super) namespace: String,
    /// Only the one of this name; needs no permission beyond it.
    pub(super) name: Option<String>,
}

/// What is kept of each object.
#[derive(Debug, Clone)]
pub(super) enum Copying {
    /// All but what is large and never read.
    Whole,
    /// Whose it is and its data.
    ConfigMap,
    /// Whose it is, and a hash of its data under the key.
    Secret(Key),
}

impl Copying {
    /// The copy of an object as the API server gives it.
    pub(super) fn copy(&self, mut object: DynamicObject) -> DynamicObject {
        match self {
            Self::Whole => {
                object.metadata.managed_fields = None;
                object
            }
            Self::ConfigMap => configuration::plain(object),
            Self::Secret(key) => configuration::sealed(&object, key),
        }
    }
}

/// What is known.
#[derive(Debug, Default)]
struct Copies {
    objects: BTreeMap<String, Arc<DynamicObject>>,
    /// Objects of a list that is not whole yet.
    coming: Option<BTreeMap<String, Arc<DynamicObject>>>,
    /// Whether a list has come whole, and a watch follows it.
    is_current: bool,
    trouble: Option<String>,
}

/// Local copies.
#[derive(Debug)]
pub(super) struct Mirror {
    copies: Arc<Mutex<Copies>>,
    changes: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mirror {
    /// Begins to watch.
    pub(super) fn begin(client: &Client, scope: &Scope, copying: Copying) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &scope.namespace, &scope.resource);
        let mut config = watcher::Config::default().timeout(u32::try_from(WATCH_FOR.as_secs()).unwrap_or(60));
        if let Some(name) = &scope.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let copies = Arc::new(Mutex::new(Copies::default()));
        let (news, changes) = watch::channel(0);
        let task = tokio::spawn(follow(api, config, copying, Arc::clone(&copies), news));
        Self { copies, changes, task }
    }

    /// The copies, or why there are none to rely on.
    pub(super) fn read<T>(&self, of: impl FnOnce(&BTreeMap<String, Arc<DynamicObject>>) -> T) -> Result<T, String> {
        let copies = lock(&self.copies);
        if copies.is_current {
            return Ok(of(&copies.objects));
        }
        Err(copies.trouble.clone().unwrap_or_else(|| "the first list has not come yet".to_owned()))
    }

    /// Waits until a first list has come, or a fault is known; not beyond `until`.
    pub(super) async fn begun(mut changes: watch::Receiver<u64>, until: Instant) {
        let _nothing_yet = timeout_at(until, changes.wait_for(|&count| count > 0)).await;
    }

    /// Hears of each change.
    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Counts up with each change.
    pub(super) fn changes(&self) -> u64 {
        *self.changes.borrow()
    }
}

fn lock(copies: &Mutex<Copies>) -> MutexGuard<'_, Copies> {
    copies.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    api: Api<DynamicObject>,
    config: watcher::Config,
    copying: Copying,
    copies: Arc<Mutex<Copies>>,
    news: watch::Sender<u64>,
) {
    let mut pause = FIRST_PAUSE;
    // Ends with its mirror. After any fault everything is listed anew: a watch that goes on quietly where it was would
    // not be heard, so that nobody could tell it from one that does not.
    loop {
        let mut events = std::pin::pin!(watcher(api.clone(), config.clone()));
        loop {
            let is_current = lock(&copies).is_current;
            let event = if is_current {
                events.next().await
            } else {
                let Ok(event) = timeout(LIST_WITHIN, events.next()).await else {
                    lock(&copies).lost(format!("the API server did not answer within {LIST_WITHIN:?}"));
                    news.send_modify(|count| *count += 1);
                    break;
                };
                event
            };
            let is_news = match event {
                Some(Ok(event)) => lock(&copies).take_in(event, &copying),
                Some(Err(error)) => {
                    lock(&copies).lost(words(&error));
                    news.send_modify(|count| *count += 1);
                    break;
                }
                None => break,
            };
            if is_news {
                pause = FIRST_PAUSE;
                news.send_modify(|count| *count += 1);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// A fault in one line, with what the API server says.
fn words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(source) => super::error::said(source),
        watcher::Error::WatchStartFailed(source) | watcher::Error::WatchFailed(source) => {
            format!("the watch ended: {}", super::error::said(source))
        }
        watcher::Error::WatchError(status) => format!("the watch ended: {}", status.message),
        watcher::Error::NoResourceVersion => "the API server cannot watch this".to_owned(),
    }
}

impl Copies {
    /// Whether anything is other than before.
    fn take_in(&mut self, event: watcher::Event<DynamicObject>, copying: &Copying) -> bool {
        match event {
            watcher::Event::Init => {
                self.coming = Some(BTreeMap::new());
                false
            }
            watcher::Event::InitApply(object) => {
                if let Some((name, object)) = copied(object, copying) {
                    self.coming.get_or_insert_default().insert(name, object);
                }
                false
            }
            watcher::Event::InitDone => {
                let before = self.is_current;
                self.is_current = true;
                self.trouble = None;
                let objects = self.coming.take().unwrap_or_default();
                let is_same = before && objects == self.objects;
                self.objects = objects;
                !is_same
            }
            watcher::Event::Apply(object) => {
                self.is_current = true;
                self.trouble = None;
                if let Some((name, object)) = copied(object, copying) {
                    self.objects.insert(name, object);
                }
                true
            }
            watcher::Event::Delete(object) => {
                object.metadata.name.as_ref().is_some_and(|name| self.objects.remove(name).is_some())
            }
        }
    }

    fn lost(&mut self, why: String) {
        self.is_current = false;
        self.trouble = Some(why);
    }
}

/// An object's copy by its name.
fn copied(object: DynamicObject, copying: &Copying) -> Option<(String, Arc<DynamicObject>)> {
    let object = copying.copy(object);
    let name = object.metadata.name.clone()?;
    Some((name, Arc::new(object)))
}
