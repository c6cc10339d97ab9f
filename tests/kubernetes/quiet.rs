//! What a daemon asks of the API server while nothing happens, by the API server's own audit log.
//!
//! With `BACKSTOP_QUIET_SECONDS=300` a hundred Deployments are watched for so long, and the requests a minute are printed:
//! `BACKSTOP_QUIET_SECONDS=300 tests/kubernetes/with cargo test --all-features --test kubernetes quiet -- --nocapture`
#![expect(clippy::print_stdout, reason = "the number is shown when it is asked for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    bed::Bed,
    watched::{Service, Watch},
};

/// How many Deployments are watched, and for how long it is counted, in an ordinary run of the tests.
const FEW: usize = 10;
const SHORTLY: Duration = Duration::from_secs(10);
/// And where it is measured.
const MANY: usize = 100;

/// Requests of the account `backstop`, which only this daemon has: how many of each verb and resource.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked(BTreeMap<String, usize>);

impl Asked {
    /// All that the audit log tells of by now. Each request has an identity there, a watch that runs too.
    fn by_now() -> BTreeMap<String, String> {
        let path = std::env::var_os("BACKSTOP_AUDIT_LOG").map(PathBuf::from);
        let path = path.expect("an audit log: run this by `tests/kubernetes/with`");
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut all = BTreeMap::new();
        // The last line may be half written.
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            // What is about no object is known by its path: discovery, the server's version.
            let path = word("/requestURI");
            let what = event.pointer("/objectRef/resource").and_then(Value::as_str).unwrap_or(&path).to_owned();
            all.insert(word("/auditID"), format!("{} {what}", word("/verb")));
        }
        all
    }

    /// What was asked between the two.
    fn between(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Self {
        let mut counted = BTreeMap::new();
        for (_, what) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
            *counted.entry(what.clone()).or_default() += 1;
        }
        Self(counted)
    }
}

/// Makes a Deployment with a ConfigMap and a Secret of its own.
async fn deploy(bed: &Bed, name: &str) {
    let own = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let mut map = own("ConfigMap");
    map["data"] = json!({"limit": "5"});
    bed.create("", map).await;
    bed.create("", own("Secret")).await;
    let from = json!([{"configMapRef": {"name": name}}, {"secretRef": {"name": name}}]);
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "shop", "image": "shop:1.4.2", "envFrom": from}]}}});
    bed.create(
        "apps",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}),
    )
    .await;
}

fn configuration(bed: &Bed, names: &[String], port: u16) -> String {
    let kubeconfig = std::env::var("KUBECONFIG").expect("a cluster");
    let services = names.iter().map(|name| {
        format!(
            "- name: {name}\n  target: {{kubernetes: {{namespace: {}, deployment: {name}, kubeconfig: '{kubeconfig}', \
             context: backstop}}}}\n  \
             probes: {{ready: {{http: {{url: 'http://127.0.0.1:{port}/'}}, every: 5s, timeout: 4s}}}}\n  \
             gates: {{known_good_after: 2s, settle: 10s}}\n",
            bed.namespace
        )
    });
    format!("services:\n{}", services.collect::<String>())
}

/// Services whose release has soaked: nothing more is expected of them.
fn known_good(watch: &Watch) -> Option<usize> {
    let deploys: Value = serde_json::from_str(&watch.ask(&["deploys", "--json"])?).ok()?;
    let services = deploys["services"].as_array()?;
    let is_good = |service: &&Value| service["deploys"][0]["standing"] == "known_good";
    Some(services.iter().filter(is_good).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_happens_nothing_is_asked_but_watches() {
    let measured = std::env::var("BACKSTOP_QUIET_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let (count, counted_for) = measured.map_or((FEW, SHORTLY), |seconds| (MANY, Duration::from_secs(seconds)));
    let bed = Bed::new("quiet").await;
    let names: Vec<String> = (1..=count).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        deploy(&bed, name).await;
    }
    let service = Service::begin();
    let watch = Watch::with(&configuration(&bed, &names, service.port));
    watch.wait("each is known to be good", |watch| (known_good(watch)? == count).then_some(())).await;
    let before = Asked::by_now();
    assert!(!before.is_empty(), "the audit log tells of nothing");
    tokio::time::sleep(counted_for).await;
    let asked = Asked::between(&before, &Asked::by_now());
    let other: BTreeSet<&String> = asked.0.keys().filter(|what| !what.starts_with("watch ")).collect();
    assert_eq!(other, BTreeSet::new(), "{asked:?}");
    let all: usize = asked.0.values().sum();
    if measured.is_some() {
        let a_minute = all as f64 * 60.0 / counted_for.as_secs_f64();
        println!(
            "{count} Deployments, each with a ConfigMap and a Secret: {a_minute:.1} requests a minute: {:?}",
            asked.0
        );
    }
}
