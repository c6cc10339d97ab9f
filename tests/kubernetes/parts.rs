//! A configuration of more than one ConfigMap goes back part by part; and what others have to do with one of them.

use backstop::{
    config::form::{KubernetesTarget, Workload},
    core::{name::Version, release::Release},
    target::Target,
};
use serde_json::{Value, json};

use super::{
    bed::{Bed, current, switch, until},
    configuration::{hindered, next, restoring},
    done, failed, is_settled_at, overtaken,
    proxy::{Part, Proxy},
};

const MAPS: [&str; 2] = ["shop-config", "shop-limits"];

/// The workload `shop` of two ConfigMaps, each changed since its first release.
struct Changed {
    bed: Bed,
    proxy: Proxy,
    form: KubernetesTarget,
    second: Version,
    known: Vec<Release>,
    _directory: tempfile::TempDir,
}

impl Changed {
    async fn new(name: &str) -> Self {
        let bed = Bed::new(name).await;
        let proxy = Proxy::begin(&bed.client).await;
        let directory = tempfile::tempdir().expect("a directory");
        let form = KubernetesTarget { kubeconfig: Some(proxy.kubeconfig(directory.path())), ..restoring(&bed) };
        let target = bed.target_of(form.clone());
        bed.configured_by("shop", "shop:1.4.2", &MAPS).await;
        let first = until(&target, "the first release", is_settled_at("1.4.2")).await;
        for map in MAPS {
            bed.change("", "ConfigMap", map, json!({"data": {"limit": "0"}})).await;
        }
        let (second, seen) = next(&target, "1.4.2").await;
        let known = [first, seen].into_iter().filter_map(|seen| seen.current).collect();
        Self { bed, proxy, form, second, known, _directory: directory }
    }

    /// A target as after a restart.
    fn anew(&self) -> Target {
        self.bed.target_anew(self.form.clone(), &self.known)
    }

    /// What a daemon sees live that begins now.
    async fn live(&self) -> String {
        current(&self.anew().observe().await.expect("it is seen")).to_owned()
    }

    async fn limits(&self) -> [Value; 2] {
        let [one, other] = MAPS.map(|map| self.bed.get("", "ConfigMap", map));
        [one.await, other.await].map(|map| map.data["data"]["limit"].clone())
    }

    async fn is_between(&self) -> bool {
        let workload = self.bed.get("apps", "Deployment", "shop").await;
        workload.metadata.annotations.is_some_and(|all| all.contains_key("backstop.io/switching"))
    }

    /// Is killed before that part is written.
    async fn killed_before(&self, part: Part, from: &str, to: &str) {
        self.proxy.hold(part);
        let target = self.anew();
        tokio::select! {
            outcome = self.bed.operate(&target, switch(from, to), 30) => panic!("{part:?} was not held: {outcome:?}"),
            () = self.proxy.holds() => {}
        }
        self.proxy.let_go();
    }
}

#[tokio::test]
async fn killed_before_each_part_it_goes_on_both_ways() {
    let world = Changed::new("killed-at-parts").await;
    let second = world.second.as_str();
    for (from, to, after) in [(second, "1.4.2", "5"), ("1.4.2", second, "0")] {
        for part in [Part::Map("shop-config"), Part::Map("shop-limits"), Part::Template] {
            world.killed_before(part, from, to).await;
            assert!(world.is_between().await, "{part:?}");
            assert_eq!(world.live().await, from, "before {part:?} from {from} to {to}");
        }
        let target = world.anew();
        done(world.bed.operate(&target, switch(from, to), 20).await);
        assert_eq!(world.limits().await, [json!(after), json!(after)]);
        assert!(!world.is_between().await);
        until(&target, "rolled out", is_settled_at(to)).await;
    }
}

#[tokio::test]
async fn refused_at_a_part_it_stays_the_release_that_it_was_until_it_is_undone() {
    let world = Changed::new("refused-at-parts").await;
    let second = world.second.as_str();
    world.proxy.refuse(&[Part::Map("shop-limits")]);
    let outcome = world.bed.operate(&world.anew(), switch(second, "1.4.2"), 10).await;
    assert!(failed(&outcome).contains("shop-limits"), "{outcome:?}");
    assert_eq!((world.limits().await, world.live().await.as_str()), ([json!("5"), json!("0")], second));
    // What takes it back is refused as well.
    world.proxy.refuse(&MAPS.map(Part::Map));
    let outcome = world.bed.operate(&world.anew(), switch("1.4.2", second), 10).await;
    assert!(failed(&outcome).contains("shop-config"), "{outcome:?}");
    assert_eq!((world.limits().await, world.live().await.as_str()), ([json!("5"), json!("0")], second));
    // And killed on the way back.
    world.proxy.refuse(&[]);
    for part in [Part::Map("shop-config"), Part::Template] {
        world.killed_before(part, "1.4.2", second).await;
        assert_eq!(world.live().await, second, "before {part:?}");
    }
    let target = world.anew();
    done(world.bed.operate(&target, switch("1.4.2", second), 20).await);
    assert_eq!(world.limits().await, [json!("0"), json!("0")]);
    assert!(!world.is_between().await);
    until(&target, "the newer release", is_settled_at(second)).await;
}

#[tokio::test]
async fn whoever_comes_between_two_parts_is_told_which_went_back() {
    let world = Changed::new("between-parts").await;
    let second = world.second.as_str();
    world.killed_before(Part::Map("shop-limits"), second, "1.4.2").await;
    world.bed.change("", "ConfigMap", "shop-limits", json!({"data": {"limit": "7"}})).await;
    for (from, to) in [(second, "1.4.2"), ("1.4.2", second)] {
        let outcome = world.bed.operate(&world.anew(), switch(from, to), 10).await;
        let said = overtaken(&outcome);
        assert!(said.ends_with("is live by now, with the ConfigMap shop-config as 1.4.2 had it"), "{said}");
    }
    assert_eq!(world.limits().await, [json!("5"), json!("7")]);
}

#[tokio::test]
async fn a_config_map_that_another_watched_workload_has_is_left_to_people() {
    let bed = Bed::new("shared").await;
    let target = bed.target_of(restoring(&bed));
    bed.configured_by("shop", "shop:1.4.2", &MAPS).await;
    bed.configured_by("billing", "billing:7", &MAPS[..1]).await;
    let billing = Workload::Deployment("billing".to_owned());
    let billing = bed.target_of(KubernetesTarget { workload: billing, ..bed.form("Deployment") });
    until(&target, "the first release", is_settled_at("1.4.2")).await;
    until(&billing, "the other's", is_settled_at("7")).await;
    bed.configure(json!({"limit": "0"})).await;
    let (second, seen) = next(&target, "1.4.2").await;
    let why = format!("deployment {}/billing has it too", bed.namespace);
    assert!(hindered(&seen, "1.4.2").contains(&why), "{seen:?}");
    let outcome = bed.operate(&target, switch(second.as_str(), "1.4.2"), 10).await;
    assert!(failed(&outcome).contains(&why), "{outcome:?}");
    assert_eq!(bed.get("", "ConfigMap", "shop-config").await.data["data"]["limit"], "0");
}
