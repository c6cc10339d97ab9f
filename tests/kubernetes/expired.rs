//! Watches that the API server has forgotten: 410, "too old resource version".

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use backstop::config::form::KubernetesTarget;

use super::{
    bed::{Bed, current, until},
    is_settled_at,
    proxy::{Asked, Fate, Proxy},
    watched::PATIENCE,
};

fn is_watch(asked: &Asked) -> bool {
    asked.what().contains("watch=true")
}

#[tokio::test]
async fn a_watch_that_has_expired_is_begun_anew_after_a_list_and_misses_nothing() {
    let bed = Bed::new("expired").await;
    let proxy = Proxy::begin(&bed.client).await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = Some(proxy.kubeconfig(directory.path()));
    bed.workload("Deployment", "shop:1.4.2").await;
    let target = bed.target_of(KubernetesTarget { kubeconfig, ..bed.form("Deployment") });
    until(&target, "the first release", is_settled_at("1.4.2")).await;

    // The first watch of each kind that goes on has expired.
    let told = Mutex::new(BTreeSet::new());
    proxy.decide(move |asked| {
        let is_new = is_watch(asked) && told.lock().expect("paths").insert(asked.path.clone());
        if is_new { Fate::Busy(410, "") } else { Fate::Passes }
    });
    let before = proxy.asked().len();
    proxy.cut();
    bed.deploy("Deployment", "shop:1.4.3").await;
    let seen = until(&target, "the second release", is_settled_at("1.4.3")).await;
    assert_eq!(current(&seen), "1.4.3");
    for kind in ["deployments", "replicasets", "pods"] {
        let is_its = |one: &Asked| one.path.ends_with(&format!("/{kind}"));
        let after = || -> Vec<Asked> {
            let asked: Vec<Asked> = proxy.asked().into_iter().skip(before).filter(is_its).collect();
            let expired = asked.iter().position(|one| one.answered == 410).expect("one has expired");
            asked[expired..].to_vec()
        };
        let is_begun_anew = async {
            while after().len() < 3 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_begun_anew).await.expect("it is begun anew");
        let [expired, list, watch, ..] = &after()[..] else { panic!("{:#?}", after()) };
        assert!(is_watch(expired) && !is_watch(list) && is_watch(watch), "{kind}: {:#?}", after());
    }
}
