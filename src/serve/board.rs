//! Where the loop pins its finished views, and readers take them from.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};

use crate::core::{
    entry::Entry,
    event::Sequence,
    name::{ServiceIndex, ServiceName},
    policy::Policy,
    time::BootTime,
    view::{DaemonView, DeploysView, IncidentView, ServiceView},
};

/// A loop that has not turned for so long is taken for stuck: it turns several times a second, and even a machine under
/// heavy load schedules it within a few.
pub const LOOP_TURN_LIMIT: Duration = Duration::from_secs(10);

/// Journal entries that wait for the slowest reader of events; who is further behind is dropped. A rollback has a few
/// dozen entries, and a reader on the same machine is never behind by more than a turn of the loop.
const EVENTS_LIMIT: usize = 1024;

/// Most readers of events at once: each takes a connection, and the rest of the API needs some too.
const EVENT_READERS_LIMIT: usize = 32;

/// A journal entry on its way to readers of events.
pub(crate) type Followed = (Sequence, Arc<Entry>);

/// Reads the boot clock. Handed in, so that one place makes the clock.
pub type BootClock = Arc<dyn Fn() -> BootTime + Send + Sync>;

/// What only ever goes up, or is said once.
#[derive(Debug, Default)]
struct Liveness {
    started: AtomicBool,
    ending: AtomicBool,
    turned_nanos: AtomicU64,
}

/// Where one service's views are pinned.
#[derive(Debug)]
struct Pins {
    view: watch::Sender<Option<Arc<ServiceView>>>,
    deploys: watch::Sender<Arc<DeploysView>>,
}

/// The loop's end. Publishing replaces what was there; nobody waits.
#[derive(Debug)]
pub struct Publisher {
    services: Vec<Pins>,
    places: watch::Sender<Arc<Shelves>>,
    incidents: watch::Sender<Arc<Vec<Arc<IncidentView>>>>,
    daemon: watch::Sender<Arc<DaemonView>>,
    events: broadcast::Sender<Followed>,
    liveness: Arc<Liveness>,
}

impl Publisher {
    /// The journal is folded, and the loop begins.
    pub fn started(&self) {
        self.liveness.started.store(true, Ordering::Release);
    }

    /// The process is about to end: no new work is to be sent here.
    pub fn ending(&self) {
        self.liveness.ending.store(true, Ordering::Release);
    }

    /// From here on the services are those of `policy`. What readers see of a service that stays is kept; the others'
    /// places are empty until their first view.
    pub fn reload(&mut self, policy: &Policy) {
        let old = self.places.borrow().clone();
        let (pins, shelves) = shelves(policy);
        for (pin, service) in pins.iter().zip(&policy.services) {
            if let Some(before) = old.get(&service.name) {
                pin.view.send_replace(before.view.borrow().clone());
                pin.deploys.send_replace(before.deploys.borrow().clone());
            }
        }
        self.services = pins;
        self.places.send_replace(Arc::new(shelves));
    }

    /// The loop turned at `at`.
    pub fn turned(&self, at: BootTime) {
        self.liveness.turned_nanos.store(at.as_nanos(), Ordering::Release);
    }

    /// A service's view.
    pub fn service(&self, service: ServiceIndex, view: ServiceView) {
        self.services[service.get()].view.send_replace(Some(Arc::new(view)));
    }

    /// A service's deploys, and what else is known of its releases.
    pub fn deploys(&self, service: ServiceIndex, deploys: DeploysView) {
        self.services[service.get()].deploys.send_replace(Arc::new(deploys));
    }

    /// Every incident that is kept, newest first.
    pub fn incidents(&self, incidents: Vec<Arc<IncidentView>>) {
        self.incidents.send_replace(Arc::new(incidents));
    }

    /// An entry of the journal has become durable.
    pub fn committed(&self, sequence: Sequence, entry: &Arc<Entry>) {
        // Without any reader it is nobody's news.
        let _nobody = self.events.send((sequence, Arc::clone(entry)));
    }

    /// The daemon's own state.
    pub fn daemon(&self, view: DaemonView) {
        self.daemon.send_replace(Arc::new(view));
    }
}

/// One service's places on the board.
#[derive(Debug)]
struct Places {
    view: watch::Receiver<Option<Arc<ServiceView>>>,
    deploys: watch::Receiver<Arc<DeploysView>>,
}

/// Every service's places, by name.
type Shelves = BTreeMap<ServiceName, Places>;

/// The readers' end. Never waits.
pub struct Board {
    services: watch::Receiver<Arc<Shelves>>,
    incidents: watch::Receiver<Arc<Vec<Arc<IncidentView>>>>,
    daemon: watch::Receiver<Arc<DaemonView>>,
    events: broadcast::WeakSender<Followed>,
    readers: Arc<Semaphore>,
    liveness: Arc<Liveness>,
    clock: BootClock,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Board").field("services", &self.services.borrow().len()).finish_non_exhaustive()
    }
}

/// Both ends of an empty board for the services of `policy`.
pub fn board(policy: &Policy, clock: BootClock) -> (Publisher, Board) {
    let (pins, shelves) = shelves(policy);
    let (places, services) = watch::channel(Arc::new(shelves));
    let (incidents, incidents_seen) = watch::channel(Arc::default());
    let (daemon, daemon_seen) = watch::channel(Arc::default());
    let (events, _) = broadcast::channel(EVENTS_LIMIT);
    let events_seen = events.downgrade();
    let readers = Arc::new(Semaphore::new(EVENT_READERS_LIMIT));
    let liveness = Arc::new(Liveness::default());
    liveness.turned_nanos.store(clock().as_nanos(), Ordering::Release);
    (
        Publisher { services: pins, places, incidents, daemon, events, liveness: liveness.clone() },
        Board {
            services,
            incidents: incidents_seen,
            daemon: daemon_seen,
            events: events_seen,
            readers,
            liveness,
            clock,
        },
    )
}

fn shelves(policy: &Policy) -> (Vec<Pins>, Shelves) {
    let mut pins = Vec::with_capacity(policy.services.len());
    let mut shelves = BTreeMap::new();
    for service in &policy.services {
        let (view, view_seen) = watch::channel(None);
        let (deploys, deploys_seen) = watch::channel(Arc::default());
        pins.push(Pins { view, deploys });
        shelves.insert(service.name.clone(), Places { view: view_seen, deploys: deploys_seen });
    }
    (pins, shelves)
}

impl Board {
    /// The views that are there, by name.
    pub fn services(&self) -> Vec<Arc<ServiceView>> {
        self.services.borrow().values().filter_map(|places| places.view.borrow().clone()).collect()
    }

    /// One service's view: `None` where there is no such service, `Some(None)` while its view is not made yet.
    pub fn service(&self, name: &str) -> Option<Option<Arc<ServiceView>>> {
        self.services.borrow().get(name).map(|places| places.view.borrow().clone())
    }

    /// One service's deploys, and what else is known of its releases.
    pub fn deploys(&self, name: &str) -> Option<Arc<DeploysView>> {
        self.services.borrow().get(name).map(|places| places.deploys.borrow().clone())
    }

    /// Every incident that is kept, newest first.
    pub fn incidents(&self) -> Arc<Vec<Arc<IncidentView>>> {
        self.incidents.borrow().clone()
    }

    /// The daemon's own state.
    pub fn daemon(&self) -> Arc<DaemonView> {
        self.daemon.borrow().clone()
    }

    /// The journal's entries from now on, with a place among the readers; none if there is no place, or no loop any more.
    pub(crate) fn follow(&self) -> Option<(broadcast::Receiver<Followed>, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        Some((self.events.upgrade()?.subscribe(), place))
    }

    /// How long ago the loop turned.
    pub fn since_turn(&self) -> Duration {
        (self.clock)().since(BootTime::from_nanos(self.liveness.turned_nanos.load(Ordering::Acquire)))
    }

    /// Whether the loop turns; if not, why that is believed.
    pub fn alive(&self) -> Result<(), String> {
        let since = self.since_turn();
        if since <= LOOP_TURN_LIMIT {
            return Ok(());
        }
        Err(format!("the loop has not turned for {:.1} s (limit {} s)", since.as_secs_f64(), LOOP_TURN_LIMIT.as_secs()))
    }

    /// Whether everything is there that readers and pages need; if not, what is missing.
    pub fn ready(&self) -> Result<(), String> {
        if !self.liveness.started.load(Ordering::Acquire) {
            return Err("the journal is still being read".to_owned());
        }
        if let Some(why) = &self.daemon().store_failing {
            return Err(format!("the journal cannot be written: {why}"));
        }
        if self.liveness.ending.load(Ordering::Acquire) {
            return Err("the daemon is stopping".to_owned());
        }
        match self.services.borrow().iter().find(|(_, places)| places.view.borrow().is_none()) {
            Some((name, _)) => Err(format!("service {name} has not been evaluated yet")),
            None => Ok(()),
        }
    }
}
