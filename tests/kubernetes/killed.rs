//! kill -9 at the entries of the journal, from the noticing of a fault until all of it is over: it goes on, nothing is done
//! twice, nothing is lost. In each scenario, on the real API server.
//!
//! Each test kills the daemon at some entries of one incident. With `BACKSTOP_KILLS=all` each kills it at every single one,
//! just before it is durable and just after, once in an incident of its own:
//! `BACKSTOP_KILLS=all tests/kubernetes/with cargo test --all-features --test kubernetes killed::`

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    bed::{Bed, until},
    image,
    ingress::Ingress,
    is_settled_at,
    nodes::Fate,
    partial::pods,
    watched::{QUICK, Service, Watch, Watched},
    world::{http, receiver::Receiver, times},
};

/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Far more than an incident has.
const MOST_ENTRIES: u64 = 400;
/// A node writes a changed ConfigMap into its pods after so long.
const WRITTEN_AFTER: Duration = Duration::from_secs(4);
/// Where it is killed again and again: a step that is cut short is looked at and done once more, which are some entries, and
/// one that is cut short ten times is left to people.
const STRIDE: u64 = 9;
/// Incidents of a scenario at once, where there are many: they mostly wait.
const LANES: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    CrashLooping,
    Errors,
    BadConfiguration,
    FailingPod,
}

/// Just before an entry is durable, or just after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Where the daemon is killed, counted from the first entry after the fault.
#[derive(Debug, Clone, Copy)]
enum Kills {
    Once(Side, u64),
    /// Again and again, each time so many entries after those that are durable by then.
    Each(u64),
}

/// A trusted release that is watched, before anything happens to it.
struct Scene {
    scenario: Scenario,
    bed: Bed,
    watch: Watch,
    receiver: Receiver,
    before: Vec<String>,
    /// What stands before the pods.
    _ingress: Option<Ingress>,
    reads: Option<JoinHandle<()>>,
    maps: ConfigMaps,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(reads) = &self.reads {
            reads.abort();
        }
    }
}

/// Each version of the bed's ConfigMap that the API server told of: its `limit`.
struct ConfigMaps {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    task: JoinHandle<()>,
}

impl Drop for ConfigMaps {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConfigMaps {
    fn begin(bed: &Bed) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (keeps, api) = (Arc::clone(&seen), bed.api("", "ConfigMap"));
        let task = tokio::spawn(async move {
            let mut events =
                std::pin::pin!(watcher(api, watcher::Config::default().fields("metadata.name=shop-config")));
            // Ends with this value.
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(map) | Event::InitApply(map)) = event else { continue };
                let version = map.metadata.resource_version.unwrap_or_default();
                let limit = map.data["data"]["limit"].as_str().unwrap_or_default().to_owned();
                let mut seen: MutexGuard<'_, Vec<(String, String)>> = keeps.lock().expect("no panic");
                // A watch that begins anew tells of the last one again.
                if seen.last().is_none_or(|(last, _)| *last != version) {
                    seen.push((version, limit));
                }
            }
        });
        Self { seen, task }
    }

    fn limits(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").iter().map(|(_, limit)| limit.clone()).collect()
    }
}

impl Scene {
    async fn new(scenario: Scenario, name: &str) -> Self {
        let bed = Bed::new(name).await;
        let receiver = Receiver::start();
        let maps = ConfigMaps::begin(&bed);
        match scenario {
            Scenario::BadConfiguration => bed.configured("Deployment", "shop:1.4.2").await,
            _ => bed.workload("Deployment", "shop:1.4.2").await,
        }
        if scenario == Scenario::FailingPod {
            bed.change("apps", "Deployment", "shop", json!({"spec": {"replicas": 4}})).await;
        }
        until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
        let (mut rest, mut ingress, mut reads) = (QUICK.to_owned(), None, None);
        let port;
        match scenario {
            Scenario::CrashLooping | Scenario::FailingPod => port = Service::begin().port,
            Scenario::Errors => {
                let began = Ingress::begin(&bed);
                port = began.port;
                rest = began.counted();
                ingress = Some(began);
            }
            Scenario::BadConfiguration => {
                let (service, task) = Service::configured(&bed, WRITTEN_AFTER);
                port = service.port;
                reads = Some(task);
                // Longer than what it takes to fail: a bad one is not trusted before.
                rest = rest.replace("known_good_after: 2s", "known_good_after: 8s");
            }
        }
        let kubeconfig = std::env::var("KUBECONFIG").expect("a cluster");
        let target = format!("deployment: shop, restore_config: true, kubeconfig: '{kubeconfig}'");
        let top = format!(
            "notify: {{channels: {{audit: {{webhook: {{url: 'http://127.0.0.1:{}/hook', \
             secret: '${{env:WEBHOOK_SECRET}}'}}}}}}}}\n",
            receiver.port.number
        );
        let watch = Watch::over(&bed, &Watched { port, target: &target, rest: &rest, top: &top });
        watch.trusts("1.4.2").await;
        let before = pods(&bed).await;
        Self { scenario, bed, watch, receiver, before, _ingress: ingress, reads, maps }
    }

    async fn fail(&self) {
        match self.scenario {
            Scenario::CrashLooping => self.bed.deploy("Deployment", "shop:1.4.3-crash").await,
            Scenario::Errors => self.bed.deploy("Deployment", "shop:1.4.3-errors").await,
            Scenario::BadConfiguration => self.bed.configure(json!({"limit": "0"})).await,
            Scenario::FailingPod => self.bed.nodes.decide(&self.before[0], Fate::CrashLooping),
        }
    }

    /// The last entry that is durable.
    fn last_entry(&self) -> u64 {
        let path = self.watch.directory().join("store.db");
        let store = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        let last = store.and_then(|store| {
            store.query_row("SELECT coalesce(max(sequence), 0) FROM journal", [], |row| row.get::<_, i64>(0))
        });
        last.expect("a journal").try_into().expect("no negative number")
    }

    fn order(&self, side: Side, entry: u64) {
        let side = if side == Side::Before { "before" } else { "after" };
        let path = self.watch.directory().join("failpoint");
        // Whoever reads it meanwhile reads the old one or the new one.
        fs::write(path.with_extension("new"), format!("{side} {entry}")).expect("written");
        fs::rename(path.with_extension("new"), path).expect("renamed");
    }

    fn order_nothing(&self) {
        // It may not be there.
        let _none = fs::remove_file(self.watch.directory().join("failpoint"));
    }

    /// Whether all that follows from the fault is over and told.
    fn is_over(&self, incidents: &[Value]) -> bool {
        // Pages of one incident come in their order: after this one there is none.
        let told = |one: &Value| {
            let told = self.receiver.told_of(one["id"].as_str().expect("an id"));
            told.iter().any(|page| page.kind == "incident.resolved")
        };
        !incidents.is_empty()
            && incidents.iter().all(|one| one["state"] != "open" && told(one))
            && incidents.iter().any(|one| one["plans"][0]["outcome"] == "verified")
            && http::get_by_socket(&self.watch.directory().join("socket"), "/metrics")
                .is_ok_and(|page| page.body.contains("backstop_outbox_depth 0"))
    }

    /// Whether people were asked, since nobody knows whether the deploy is to blame.
    fn is_left(&self, incidents: &[Value]) -> bool {
        let [one] = incidents else { return false };
        let asked = self.receiver.all().iter().any(|page| page.text("finding") == "no_deploy_to_blame");
        asked && one["plans"].as_array().is_some_and(Vec::is_empty)
    }

    fn incidents(&self) -> Option<Vec<Value>> {
        let listed: Value = serde_json::from_str(&self.watch.ask(&["incident", "list", "--json"])?).ok()?;
        let ids = listed["incidents"].as_array()?.iter().map(|one| one["id"].as_str());
        ids.map(|id| self.watch.incident(id?)).collect()
    }

    /// Whether an incident is durable.
    fn has_incident(&self) -> bool {
        let path = self.watch.directory().join("store.db");
        let store = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        let found = store.and_then(|store| {
            let opened = "SELECT count(*) FROM journal WHERE entry ->> 'fact' = 'incident_opened'";
            store.query_row(opened, [], |row| row.get::<_, i64>(0))
        });
        found.expect("a journal") > 0
    }

    async fn next(&mut self) -> Heard {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.watch.has_ended() {
                return Heard::Killed(self.last_entry());
            }
            match self.incidents() {
                Some(incidents) if self.is_over(&incidents) => return Heard::Over,
                Some(incidents) if self.is_left(&incidents) => return Heard::LeftToPeople,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        let log = self.watch.log();
        let last: Vec<&str> = log.lines().rev().take(40).collect();
        panic!(
            "{:?}: neither over nor killed within {PATIENCE:?}: {:?}; the log, backwards: {last:#?}",
            self.scenario,
            self.watch.ask(&["incident", "list"])
        );
    }
}

/// What is heard of the daemon next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It was killed; the last entry that is durable then.
    Killed(u64),
    /// All is over, verified and told.
    Over,
    /// Since when it is bad nobody knows, and people are asked.
    LeftToPeople,
}

/// What became of an incident.
#[derive(Debug)]
struct Outcome {
    /// How many entries after the fault were durable each time that it was killed.
    killed: Vec<u64>,
    is_left: bool,
}

async fn live(scenario: Scenario, name: String, kills: Kills) -> Outcome {
    let mut scene = Scene::new(scenario, &name).await;
    let first = scene.last_entry() + 1;
    match kills {
        Kills::Once(side, entry) => scene.order(side, first + entry),
        Kills::Each(stride) => scene.order(Side::After, first + stride - 1),
    }
    scene.fail().await;
    let mut killed = Vec::new();
    let mut may_be_left = false;
    // Ends at the latest with the last entry of the incident.
    let heard = loop {
        let last = match scene.next().await {
            Heard::Killed(last) => last,
            heard => break heard,
        };
        killed.push(last + 1 - first);
        // Killed between the fault and the incident it cannot say since when it is so: people decide. Not so of a rollout
        // that fails, which accuses its deploy whenever it is seen.
        may_be_left |= !scene.has_incident();
        match kills {
            Kills::Once(..) => scene.order_nothing(),
            Kills::Each(stride) => {
                let side = if killed.len() % 2 == 0 { Side::After } else { Side::Before };
                scene.order(side, last + stride + u64::from(side == Side::Before));
            }
        }
        assert!(last < first + MOST_ENTRIES, "{scenario:?} does not come to its end: killed at {killed:?}");
        scene.watch.kill();
    };
    let how = format!("{scenario:?} {kills:?} killed at {killed:?}");
    let is_left = heard == Heard::LeftToPeople;
    if is_left {
        assert!(may_be_left && scenario != Scenario::CrashLooping, "{how}: left to people");
        scene.is_untouched(&how).await;
    } else {
        scene.went_on(&how).await;
    }
    Outcome { killed, is_left }
}

impl Scene {
    /// Everything that must hold in the end, however often the daemon was killed.
    async fn went_on(&self, how: &str) {
        let incidents = self.incidents().expect("it answers");
        let plans: Vec<&Value> = incidents.iter().flat_map(|one| one["plans"].as_array().expect("plans")).collect();
        let [plan] = plans[..] else { panic!("{how}: one plan: {incidents:#?}") };
        assert_eq!(plan["outcome"], "verified", "{how}: {incidents:#?}");
        let steps = plan["steps"].as_array().expect("steps");
        assert!(steps.iter().all(|step| step["status"] == "done"), "{how}: {steps:#?}");
        let history =
            fs::read_to_string(self.watch.directory().join("history.json")).unwrap_or_else(|_| "{}".to_owned());
        let history: Value = serde_json::from_str(&history).expect("JSON");
        let recorded = history["rollbacks"].as_array().map_or(0, Vec::len);
        // A restart is no rollback.
        assert_eq!(recorded, usize::from(self.scenario != Scenario::FailingPod), "{how}: {history:#}");
        self.told_once(how, &incidents);
        self.written_once(how).await;
    }

    /// Nothing lost: each kind was told. Nothing told as two things: what came twice has the same identity.
    fn told_once(&self, how: &str, incidents: &[Value]) {
        let all = self.receiver.all();
        let mut contents: BTreeMap<&str, &Value> = BTreeMap::new();
        for one in &all {
            let before = contents.entry(&one.id).or_insert(&one.data);
            assert_eq!(*before, &one.data, "{how}: one identity, two contents");
        }
        let mut kinds: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for one in &all {
            kinds.entry((one.text("incident"), &one.kind)).or_default().insert(&one.id);
        }
        for incident in incidents {
            let id = incident["id"].as_str().expect("an id");
            let is_rolled_back = incident["plans"].as_array().is_some_and(|plans| !plans.is_empty())
                && self.scenario != Scenario::FailingPod;
            let of_plans: &[&str] = if is_rolled_back { &["rollback.started", "rollback.completed"] } else { &[] };
            for kind in ["incident.opened", "incident.resolved"].iter().chain(of_plans) {
                assert_eq!(kinds.get(&(id, *kind)).map(BTreeSet::len), Some(1), "{how}: {id} {kind}: {kinds:#?}");
            }
        }
    }

    /// Nothing was done on the API server.
    async fn is_untouched(&self, how: &str) {
        let workload = self.bed.get("apps", "Deployment", "shop").await;
        let made_and_changed = if self.scenario == Scenario::BadConfiguration { 1 } else { 2 };
        assert_eq!(workload.metadata.generation, Some(made_and_changed), "{how}");
        if self.scenario == Scenario::BadConfiguration {
            assert_eq!(self.maps.limits(), ["5", "0"], "{how}");
        }
    }

    /// On the API server.
    async fn written_once(&self, how: &str) {
        let workload = self.bed.get("apps", "Deployment", "shop").await;
        let (generation, annotations) = (workload.metadata.generation, workload.metadata.annotations.expect("some"));
        let revision = annotations["deployment.kubernetes.io/revision"].as_str();
        assert_eq!(image(&self.bed, "Deployment").await, "shop:1.4.2", "{how}");
        // Each write of a Deployment's spec or annotations counts its generation up, each of its template makes a revision.
        let expected = match self.scenario {
            // Made, deployed, undone.
            Scenario::CrashLooping | Scenario::Errors => (Some(3), "3"),
            // Made, noted that its ConfigMap goes back, restarted.
            Scenario::BadConfiguration => (Some(3), "2"),
            // Made, scaled by its owner.
            Scenario::FailingPod => (Some(2), "1"),
        };
        assert_eq!((generation, revision), expected, "{how}: {annotations:#?}");
        match self.scenario {
            Scenario::BadConfiguration => assert_eq!(self.maps.limits(), ["5", "0", "5"], "{how}"),
            Scenario::FailingPod => {
                let after = pods(&self.bed).await;
                let stayed: Vec<&String> = self.before.iter().filter(|pod| after.contains(pod)).collect();
                assert_eq!(
                    stayed,
                    self.before.iter().skip(1).collect::<Vec<_>>(),
                    "{how}: the one that failed is gone"
                );
            }
            _ => assert_eq!(self.maps.limits(), Vec::<String>::new()),
        }
    }
}

fn is_exhaustive() -> bool {
    std::env::var("BACKSTOP_KILLS").is_ok_and(|which| which == "all")
}

async fn killed_in(scenario: Scenario, name: &str, stride: u64) {
    let begun = Instant::now();
    if !is_exhaustive() {
        let outcome = live(scenario, format!("kills-{name}"), Kills::Each(stride)).await;
        assert!(outcome.killed.len() > 1, "{outcome:?}");
        let words = format!("{scenario:?}, killed {} times: fault to over and told", outcome.killed.len());
        times::note(&words, begun.elapsed());
        return;
    }
    let lanes = (0..LANES).map(|lane| tokio::spawn(exhaust(scenario, name.to_owned(), lane))).collect::<Vec<_>>();
    let (mut count, mut left) = (0, 0);
    for lane in lanes {
        let (more, of_them) = lane.await.expect("it held");
        count += more;
        left += of_them;
    }
    let each = begun.elapsed() / u32::try_from(count.max(1)).expect("a few");
    let words =
        format!("{scenario:?}, killed once in each of {count} incidents ({each:.1?} each), {left} left to people");
    times::note(&words, begun.elapsed());
}

/// Kills it once at each entry that is this lane's, in an incident of its own; tells in how many, and how many
/// of them were left to people.
async fn exhaust(scenario: Scenario, name: String, lane: u64) -> (usize, usize) {
    let (mut entry, mut count, mut left) = (lane, 0, 0);
    while entry < MOST_ENTRIES {
        let at = |side: Side| {
            live(scenario, format!("kills-{name}-{side:?}-{entry}").to_lowercase(), Kills::Once(side, entry))
        };
        let after = at(Side::After).await;
        // What is durable together is before or after a kill together.
        let Some(durable) = after.killed.first() else { return (count, left) };
        let before = at(Side::Before).await;
        count += 1 + before.killed.len();
        left += usize::from(after.is_left) + usize::from(before.is_left);
        while entry < *durable {
            entry += LANES;
        }
    }
    panic!("{scenario:?} does not come to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_looping_release() {
    killed_in(Scenario::CrashLooping, "crash", STRIDE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_with_errors() {
    killed_in(Scenario::Errors, "errors", STRIDE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_config_map() {
    killed_in(Scenario::BadConfiguration, "config", STRIDE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_pod_among_healthy_ones() {
    killed_in(Scenario::FailingPod, "pod", STRIDE).await;
}
