//! The whole daemon beside a real cluster.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    bed::{Bed, until},
    image,
    ingress::Ingress,
    is_settled_at,
    nodes::Fate,
    proxy::{Part, Proxy},
    world::{receiver, times},
};

/// Far longer than anything here takes, so that a test that fails ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// A node writes a changed ConfigMap into its pods after so long.
const WRITTEN_AFTER: Duration = Duration::from_secs(3);

/// Thresholds for a test's patience.
pub(crate) const QUICK: &str = "thresholds: {down_after: 3, confirm_every: 200ms, down_for: 1s}
  gates: {known_good_after: 2s, settle: 10s}
  verify: {healthy_for: 2s, timeout: 40s}
";

/// What is watched, and how.
pub(crate) struct Watched<'a> {
    /// Where the service answers.
    pub(crate) port: u16,
    /// The target, after its namespace.
    pub(crate) target: &'a str,
    /// The rest of the service.
    pub(crate) rest: &'a str,
    /// At the top of the configuration.
    pub(crate) top: &'a str,
}

/// A daemon that watches the bed's `shop`. Ended when it goes out of scope.
pub(crate) struct Watch {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ended = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// The service as its users see it, on a port of its own.
pub(crate) struct Service {
    pub(crate) port: u16,
    is_well: Arc<AtomicBool>,
}

impl Service {
    /// Answers every request with 200: the older pods, which go on serving.
    pub(crate) fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let is_well = Arc::new(AtomicBool::new(true));
        let well = Arc::clone(&is_well);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _gone = answer(stream, well.load(Ordering::Acquire));
            }
        });
        Self { port, is_well }
    }

    /// Reads its ConfigMap again and again, as one that has it as a file, which a node writes after a while: with a `limit`
    /// of 0 it serves nobody.
    pub(crate) fn configured(bed: &Bed, after: Duration) -> (Self, JoinHandle<()>) {
        let service = Self::begin();
        let (maps, is_well) = (bed.api("", "ConfigMap"), Arc::clone(&service.is_well));
        let reads = tokio::spawn(async move {
            // Ends with the test.
            loop {
                if let Ok(map) = maps.get("shop-config").await {
                    tokio::time::sleep(after).await;
                    is_well.store(map.data.pointer("/data/limit") != Some(&json!("0")), Ordering::Release);
                }
            }
        });
        (service, reads)
    }
}

fn answer(mut stream: TcpStream, is_well: bool) -> std::io::Result<()> {
    let _read = stream.read(&mut [0; 4096])?;
    let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

impl Watch {
    pub(crate) fn begin(bed: &Bed, kind: &str) -> Self {
        Self::begin_with(bed, kind, "")
    }

    /// With `gates` beside its own, each with a comma before it.
    pub(crate) fn begin_with(bed: &Bed, kind: &str, gates: &str) -> Self {
        let kubeconfig = std::env::var("KUBECONFIG").expect("a cluster");
        let target = format!("{}: shop, kubeconfig: '{kubeconfig}'", kind.to_lowercase());
        Self::configured(bed, &Service::begin(), &target, gates)
    }

    /// With more words about the target.
    pub(crate) fn of(bed: &Bed, service: &Service, target: &str) -> Self {
        Self::over(bed, &Watched { port: service.port, target, rest: QUICK, top: "" })
    }

    /// With `gates` beside the quick ones, each with a comma before it.
    pub(crate) fn configured(bed: &Bed, service: &Service, target: &str, gates: &str) -> Self {
        let rest = QUICK.replace("settle: 10s", &format!("settle: 10s{gates}"));
        Self::over(bed, &Watched { port: service.port, target, rest: &rest, top: "" })
    }

    pub(crate) fn over(bed: &Bed, watched: &Watched<'_>) -> Self {
        let Watched { port, target, rest, top } = watched;
        Self::with(&format!(
            "{top}services:\n- name: shop\n  target: {{kubernetes: {{namespace: {}, {target}}}}}\n  \
             probes: {{ready: {{http: {{url: 'http://127.0.0.1:{port}/'}}, every: 500ms, timeout: 400ms}}}}\n  {rest}",
            bed.namespace,
        ))
    }

    /// With these services, and what else a configuration has.
    pub(crate) fn with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().display();
        let configuration = format!(
            "server: {{listen: '127.0.0.1:0', socket: {here}/socket}}\nstore: {{path: {here}/store.db}}\n\
             history: {{file: {here}/history.json}}\nevidence: {{directory: {here}/evidence}}\n{configuration}"
        );
        fs::write(directory.path().join("backstop.yaml"), configuration).expect("written");
        let daemon = Self::start(directory.path());
        Self { directory, daemon }
    }

    fn start(directory: &std::path::Path) -> Child {
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).expect("a log");
        Command::new(env!("CARGO_BIN_EXE_backstop"))
            .args(["run", "--config"])
            .arg(directory.join("backstop.yaml"))
            .env("WEBHOOK_SECRET", receiver::SECRET)
            .env("BACKSTOP_FAILPOINT", directory.join("failpoint"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts")
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        self.daemon.kill().expect("killed");
        self.daemon.wait().expect("reaped");
    }

    /// Kills it, if it runs yet, and starts it again.
    pub(crate) fn kill(&mut self) {
        self.end();
        self.daemon = Self::start(self.directory.path());
    }

    /// Whether it has ended by itself, or by its failpoint.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.daemon.try_wait().expect("it is ours").is_some()
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn stop(&mut self) {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        while !self.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "it goes on after it was asked to stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts it again after it was stopped.
    pub(crate) fn start_again(&mut self) {
        self.daemon = Self::start(self.directory.path());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Option<String> {
        let asked = Command::new(env!("CARGO_BIN_EXE_backstop"))
            .arg("--config")
            .arg(self.directory.path().join("backstop.yaml"))
            .args(arguments)
            .env("WEBHOOK_SECRET", receiver::SECRET)
            .output()
            .expect("it runs");
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
    }

    pub(crate) async fn wait<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = found(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(30).collect();
        panic!("not within {PATIENCE:?}: {what}; {:?}; the log, backwards: {last:#?}", self.ask(&["incident", "list"]));
    }

    pub(crate) fn incident(&self, id: &str) -> Option<Value> {
        serde_json::from_str(&self.ask(&["incident", "show", id, "--json"])?).ok()
    }

    /// Waits until it has seen a version live, and healthy for long enough.
    pub(crate) async fn trusts(&self, version: &str) {
        let known_good = |watch: &Self| {
            let deploys = watch.ask(&["deploys", "shop", "--json"])?;
            let deploys: Value = serde_json::from_str(&deploys).ok()?;
            let is_it = |one: &Value| one["release"]["version"] == version && one["standing"] == "known_good";
            deploys["services"][0]["deploys"].as_array()?.iter().any(is_it).then_some(())
        };
        self.wait(&format!("{version} is known to be good"), known_good).await;
    }

    pub(crate) async fn verified(&self, id: &str) -> Value {
        self.wait(&format!("{id} is over and verified"), |watch| watch.incident(id).filter(is_verified)).await
    }

    /// The same, whichever it is: one that opened before the deploy was noticed is closed for it.
    pub(crate) async fn verified_in_one_of(&self, ids: &[&str]) -> Value {
        let found = |watch: &Self| ids.iter().filter_map(|id| watch.incident(id)).find(is_verified);
        self.wait(&format!("one of {ids:?} is over and verified"), found).await
    }
}

fn is_verified(incident: &Value) -> bool {
    incident["plans"][0]["outcome"] == "verified" && incident["state"] != "open"
}

#[tokio::test]
async fn a_crash_looping_release_is_rolled_back_while_older_pods_still_serve() {
    for kind in ["Deployment", "StatefulSet"] {
        let bed = Bed::new(&format!("watched-{}", kind.to_lowercase())).await;
        bed.workload(kind, "shop:1.4.2").await;
        until(&bed.target(kind), "the first release", is_settled_at("1.4.2")).await;
        let watch = Watch::begin(&bed, kind);
        watch.trusts("1.4.2").await;
        bed.deploy(kind, "shop:1.4.3-crash").await;
        let begun = Instant::now();
        let incident = watch.verified("shop-1").await;
        times::note(&format!("crash-looping {kind}: deploy to verified"), begun.elapsed());
        assert_eq!(image(&bed, kind).await, "shop:1.4.2");
        assert!(incident.to_string().contains("CrashLoopBackOff"), "{incident:#}");
        let workload = bed.get("apps", kind, "shop").await;
        assert_eq!(workload.metadata.annotations.expect("annotations")["backstop.io/incident"], "shop-1");
    }
}

#[tokio::test]
async fn a_release_with_errors_is_rolled_back_though_its_pods_are_ready() {
    let bed = Bed::new("errors").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let ingress = Ingress::begin(&bed);
    let kubeconfig = std::env::var("KUBECONFIG").expect("a cluster");
    let target = format!("deployment: shop, kubeconfig: '{kubeconfig}'");
    let rest = ingress.counted();
    let watch = Watch::over(&bed, &Watched { port: ingress.port, target: &target, rest: &rest, top: "" });
    watch.trusts("1.4.2").await;
    bed.deploy("Deployment", "shop:1.4.3-errors").await;
    let begun = Instant::now();
    let incident = watch.verified("shop-1").await;
    times::note("12% errors of a Deployment: deploy to verified", begun.elapsed());
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
    let questions = incident["path"]["questions"].as_array().expect("the path");
    let decided = questions.iter().find(|question| question["decided"] == true).expect("one question decided");
    assert_eq!(decided["when"], "error_rate_critical", "{incident:#}");
    let from = &incident["plans"][0]["version_from"];
    assert_eq!(from, "1.4.3-errors", "{incident:#}");
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on() {
    let bed = Bed::new("killed").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let mut watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let is_begun = |watch: &Watch| watch.incident("shop-1").filter(|incident| incident["plans"][0].is_object());
    watch.wait("it is being rolled back", is_begun).await;
    watch.kill();
    let incident = watch.verified("shop-1").await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
    // Undone once: each undo would be another revision.
    let revision = bed.get("apps", "Deployment", "shop").await.metadata.annotations.expect("annotations");
    assert_eq!(revision["deployment.kubernetes.io/revision"], "3");
}

#[tokio::test]
async fn what_another_controller_owns_is_left_to_people() {
    let bed = Bed::new("owned").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    let owned = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "shop"}}});
    bed.change("apps", "Deployment", "shop", owned).await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let refused = |watch: &Watch| watch.incident("shop-1").filter(|one| one.to_string().contains("rollback_refused"));
    let incident = watch.wait("it is refused", refused).await;
    assert!(incident.to_string().contains("the Helm release shop owns it"), "{incident:#}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash");
}

#[tokio::test]
async fn where_the_older_pods_fail_as_well_the_deploy_is_not_to_blame() {
    let bed = Bed::new("both-fail").await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let watch = Watch::begin(&bed, "Deployment");
    watch.trusts("1.4.2").await;
    let pods = bed.api("", "Pod").list(&kube::api::ListParams::default()).await.expect("a list").items;
    bed.nodes.decide(&pods[0].metadata.name.clone().expect("a name"), Fate::CrashLooping);
    bed.deploy("Deployment", "shop:1.4.3-crash").await;
    let refused = |watch: &Watch| watch.incident("shop-1").filter(|one| one.to_string().contains("no_deploy_to_blame"));
    let incident = watch.wait("the deploy is not blamed", refused).await.to_string();
    assert!(
        incident.contains("only_the_new_fails") && incident.contains("the older release fails as well"),
        "{incident}"
    );
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash");
}

/// The Deployment as it is, and what its ConfigMap holds.
async fn configured(bed: &Bed) -> (Value, Value) {
    let workload = bed.get("apps", "Deployment", "shop").await;
    let restarted = workload.data.pointer("/spec/template/metadata/annotations/backstop.io~1restarted-at");
    let limit = bed.get("", "ConfigMap", "shop-config").await.data["data"]["limit"].clone();
    (restarted.cloned().unwrap_or_default(), limit)
}

#[tokio::test]
async fn a_bad_config_map_is_put_back() {
    let bed = Bed::new("bad-configuration").await;
    bed.configured("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let (service, _reads) = Service::configured(&bed, WRITTEN_AFTER);
    let kubeconfig = std::env::var("KUBECONFIG").expect("a cluster");
    let target = format!("deployment: shop, restore_config: true, kubeconfig: '{kubeconfig}'");
    let watch = Watch::of(&bed, &service, &target);
    watch.trusts("1.4.2").await;
    bed.configure(json!({"limit": "0"})).await;
    let begun = Instant::now();
    let incident = watch.verified_in_one_of(&["shop-1", "shop-2"]).await;
    times::note("bad ConfigMap: deploy to verified", begun.elapsed());
    assert!(
        incident["plans"][0]["version_from"].as_str().is_some_and(|from| from.starts_with("1.4.2+")),
        "{incident:#}"
    );
    let (restarted, limit) = configured(&bed).await;
    assert!(restarted.is_string() && limit == "5", "{restarted} {limit}");
}

#[tokio::test]
async fn killed_between_config_map_and_template_it_goes_on() {
    let bed = Bed::new("killed-between").await;
    bed.configured("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let (service, _reads) = Service::configured(&bed, WRITTEN_AFTER);
    let proxy = Proxy::begin(&bed.client).await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = proxy.kubeconfig(directory.path());
    let target = format!("deployment: shop, restore_config: true, kubeconfig: '{}'", kubeconfig.display());
    let mut watch = Watch::of(&bed, &service, &target);
    watch.trusts("1.4.2").await;
    proxy.hold(Part::Template);
    bed.configure(json!({"limit": "0"})).await;
    tokio::time::timeout(PATIENCE, proxy.holds()).await.expect("it is being rolled back");
    watch.daemon.kill().expect("killed");
    assert_eq!(configured(&bed).await, (Value::Null, json!("5")), "half of it is done");
    proxy.let_go();
    watch.kill();
    let incident = watch.verified_in_one_of(&["shop-1", "shop-2"]).await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    let (restarted, limit) = configured(&bed).await;
    assert!(restarted.is_string() && limit == "5", "{restarted} {limit}");
    let annotations = bed.get("apps", "Deployment", "shop").await.metadata.annotations.expect("annotations");
    assert!(!annotations.contains_key("backstop.io/switching"), "{annotations:?}");
}
