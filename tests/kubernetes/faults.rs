//! An API server that refuses, asks for patience, or accepts and never answers: none of it is health, failure or a reason
//! to do anything twice.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use serde_json::Value;

use super::{
    bed::{Bed, until},
    image, is_settled_at,
    proxy::{Asked, Fate, Part, Proxy},
    watched::{Service, Watch},
};

/// A daemon that watches the bed's `shop` through a proxy, and trusts what is live.
struct World {
    bed: Bed,
    proxy: Proxy,
    watch: Watch,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new(name: &str) -> Self {
        let bed = Bed::new(name).await;
        let proxy = Proxy::begin(&bed.client).await;
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = proxy.kubeconfig(directory.path());
        bed.workload("Deployment", "shop:1.4.2").await;
        until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
        let target = format!("deployment: shop, rollout_timeout: 5s, kubeconfig: '{}'", kubeconfig.display());
        let watch = Watch::of(&bed, &Service::begin(), &target);
        watch.trusts("1.4.2").await;
        Self { bed, proxy, watch, _directory: directory }
    }

    /// Waits for the rollback, and makes sure that it was done once: each write of a template is another revision.
    async fn rolled_back_once(&self) -> Value {
        let incident = self.watch.verified("shop-1").await;
        assert_eq!(image(&self.bed, "Deployment").await, "shop:1.4.2");
        let annotations = self.bed.get("apps", "Deployment", "shop").await.metadata.annotations.expect("annotations");
        assert_eq!(annotations["deployment.kubernetes.io/revision"], "3", "{incident:#}");
        let plans = incident["plans"].as_array().map(Vec::len);
        assert_eq!(plans, Some(1), "{incident:#}");
        self.nobody_is_called_down();
        incident
    }

    /// What decided was what pods and rollout showed, and all is well in the end.
    fn nobody_is_called_down(&self) {
        let explained = self.watch.ask(&["explain", "shop", "--json"]).expect("it explains");
        let explained: Value = serde_json::from_str(&explained).expect("JSON");
        assert_eq!(explained["path"]["verdict"], "healthy", "{explained:#}");
        let incident = self.watch.incident("shop-1").expect("the incident");
        let questions = incident["path"]["questions"].as_array().expect("questions");
        let decided: Vec<&Value> = questions.iter().filter(|one| one["decided"] == true).collect();
        assert!(!decided.is_empty() && decided.iter().all(|one| one["when"] != "system_down"), "{incident:#}");
        assert!(self.watch.incident("shop-2").is_none());
    }
}

#[tokio::test]
async fn a_conflict_at_every_second_write_is_gone_through_and_nothing_is_done_twice() {
    let world = World::new("conflicts").await;
    let writes = Mutex::new(0_u32);
    world.proxy.decide(move |asked| {
        if !asked.is_write() {
            return Fate::Passes;
        }
        let mut writes = writes.lock().expect("a count");
        *writes += 1;
        if *writes % 2 == 1 { Fate::Conflict } else { Fate::Passes }
    });
    world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let incident = world.rolled_back_once().await;
    let asked = world.proxy.asked();
    let templates: Vec<u16> = asked.iter().filter(|one| one.is(Part::Template)).map(|one| one.answered).collect();
    assert_eq!(templates.iter().filter(|status| **status == 200).count(), 1, "{templates:?}");
    assert!(asked.iter().filter(|one| one.is_write() && one.answered == 409).count() >= 2, "{asked:#?}");
    let steps = incident["plans"][0]["steps"].as_array().map_or(0, Vec::len);
    let log = world.watch.log();
    assert_eq!(log.matches("step begun").count(), steps, "a conflict is no failure of a step: {log}");
    assert!(!log.contains("step failed") && !log.contains("what became of the step is not known"), "{log}");
}

#[tokio::test]
async fn an_api_server_that_asks_for_patience_gets_it() {
    let world = World::new("patience").await;
    // Each of these is asked for patience twice, in both ways.
    let told = Mutex::new(BTreeMap::new());
    world.proxy.decide(move |asked| {
        let mut told = told.lock().expect("counts");
        let times: &mut u32 = told.entry(asked.what()).or_default();
        *times += 1;
        match times {
            1 => Fate::Busy(429, "1"),
            2 => Fate::Busy(503, "1"),
            _ => Fate::Passes,
        }
    });
    world.proxy.cut();
    world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
    world.rolled_back_once().await;
    let mut asked: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    // Events are told beside each other.
    for one in world.proxy.asked().into_iter().filter(|one| !one.path.ends_with("/events")) {
        asked.entry(one.what()).or_default().push(one);
    }
    let busy = |one: &Asked| matches!(one.answered, 429 | 503);
    assert!(asked.values().flatten().filter(|one| busy(one)).count() > 10, "{asked:#?}");
    for (what, times) in &asked {
        for two in times.windows(2).filter(|two| busy(&two[0])) {
            let apart = two[1].at - two[0].at;
            assert!(apart >= Duration::from_secs(1), "{what} was asked again after {apart:?}: {times:#?}");
        }
    }
}

#[tokio::test]
async fn an_api_server_that_never_answers_is_told_as_a_lost_signal_and_nobody_is_down() {
    let mut world = World::new("silent").await;
    world.proxy.decide(|_| Fate::Silent);
    world.proxy.cut();
    world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let lost = |watch: &Watch| watch.log().contains("finding=SignalLost").then_some(());
    world.watch.wait("people are told that the target cannot be seen", lost).await;
    let log = world.watch.log();
    assert!(log.contains("the target: see the deployments of namespace silent-"), "{log}");
    assert!(log.contains("the API server did not answer within 15s"), "{log}");
    let explained: Value =
        serde_json::from_str(&world.watch.ask(&["explain", "shop", "--json"]).expect("it explains")).expect("JSON");
    assert!(!["roll_back", "consider"].iter().any(|one| explained["path"]["verdict"] == *one), "{explained:#}");
    assert!(world.watch.incident("shop-1").is_none(), "what is not seen is no failure");
    world.watch.stop().await;
    // Once it sees, it does what is to be done.
    world.watch.start_again();
    assert_eq!(image(&world.bed, "Deployment").await, "shop:1.4.3-crash");
    world.proxy.decide(|_| Fate::Passes);
    world.rolled_back_once().await;
}

/// The API server stops answering at the very write of the template; `fate` is what becomes of that one.
async fn silenced_at_the_write(name: &str, fate: Fate) -> World {
    let world = World::new(name).await;
    world.proxy.silent_from(Part::Template, fate);
    world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let unknown = |watch: &Watch| {
        watch.incident("shop-1").filter(|incident| incident["plans"][0]["steps"][1]["status"] == "unknown")
    };
    world.watch.wait("the step ends, and nobody knows what became of it", unknown).await;
    world
}

#[tokio::test]
async fn a_write_whose_answer_never_came_is_looked_for_and_not_repeated() {
    let world = silenced_at_the_write("lost-answer", Fate::Lost).await;
    world.proxy.decide(|_| Fate::Passes);
    world.rolled_back_once().await;
    let written = world.proxy.asked().iter().filter(|one| one.is(Part::Template)).count();
    assert_eq!(written, 1);
}

#[tokio::test]
async fn a_write_that_never_arrived_is_made_when_the_server_is_back_and_the_daemon_stops_meanwhile() {
    let mut world = silenced_at_the_write("lost-write", Fate::Silent).await;
    world.watch.stop().await;
    world.watch.start_again();
    world.proxy.decide(|_| Fate::Passes);
    world.rolled_back_once().await;
}

/// The watches die at the very write of the template, and nobody can know for a minute; `fate` is what becomes of that write.
async fn watches_dead_at_the_write(name: &str, fate: Fate) {
    let world = World::new(name).await;
    world.proxy.watches_dead_from(Part::Template, fate);
    world.bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let incident = world.watch.verified("shop-1").await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    let written = world.proxy.asked().iter().filter(|one| one.is(Part::Template)).count();
    assert_eq!((image(&world.bed, "Deployment").await, written), ("shop:1.4.2".to_owned(), 1));
}

#[tokio::test]
async fn a_watch_that_died_unnoticed_before_a_write_is_not_believed_to_show_that_somebody_undid_it() {
    watches_dead_at_the_write("dead-watches", Fate::Passes).await;
}

#[tokio::test]
async fn nor_is_it_where_the_answer_was_lost_too() {
    watches_dead_at_the_write("dead-and-lost", Fate::Lost).await;
}
