//! The daemon as a container of `deploy/` runs it: by the account of its pod, as a user that is not root and has no
//! capability, on a root file system that nobody writes to, with the configuration of `deploy/`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    account::token,
    bed::Bed,
    deployed::{apply, documents, moved},
    two_releases,
    world::port::Port,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Whatever a test leaves behind ends by itself.
const ENDS_AFTER_SECONDS: &str = "120";
const OPERATOR: &str = "a-token-that-nobody-guesses";

/// Makes the pod's file system out of this machine's, in mounts that nobody else sees, and runs what follows in it.
const SCRIPT: &str = r#"set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount /run/backstop /run/etc
cp "$SECRETS"/token "$SECRETS"/ca.crt "$SECRETS"/namespace /run/secrets/kubernetes.io/serviceaccount/
cp "$CONFIG" /run/etc/backstop.yaml
touch /run/program
mount --bind "$PROGRAM" /run/program
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/backstop
mount -t tmpfs -o mode=1777 tmpfs /tmp
chown "$OWNER:$OWNER" /run/backstop /var/lib/backstop
chmod -R a+rX /run/etc /run/secrets
mount -o remount,bind,ro /
if touch /written 2>/dev/null; then echo "the root file system can be written to" >&2; exit 9; fi
cd /
exec setpriv --reuid "$OWNER" --regid "$OWNER" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    env -i KUBERNETES_SERVICE_HOST="$HOST" KUBERNETES_SERVICE_PORT="$PORT" WEBHOOK_SECRET=a-secret-of-its-own \
    BACKSTOP_ONCALL_TOKEN="$ONCALL" BACKSTOP_CONFIG=/run/etc/backstop.yaml /run/program "$@"
"#;

struct Pod {
    directory: tempfile::TempDir,
    user: u64,
    host: String,
    port: String,
}

impl Pod {
    /// With what the API server gives a pod, and `configuration`.
    async fn new(bed: &Bed, configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode set");
        let own = fs::read_to_string(std::env::var("KUBECONFIG").expect("a cluster")).expect("a file");
        let own: Value = serde_saphyr::from_str(&own).expect("YAML");
        let cluster = &own["clusters"][0]["cluster"];
        let authority = cluster["certificate-authority"].as_str().expect("a file of authorities");
        let server: http::Uri = cluster["server"].as_str().expect("a server").parse().expect("a URL");
        let secret = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
        secret("token", &token(bed, "backstop").await);
        secret("ca.crt", &fs::read_to_string(authority).expect("authorities"));
        secret("namespace", &bed.namespace);
        secret("backstop.yaml", configuration);
        let deployment = documents("deployment.yaml").remove(0);
        let user = deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"].as_u64().expect("a number");
        let host = server.host().expect("a host").to_owned();
        Self { directory, user, host, port: server.port_u16().expect("a port").to_string() }
    }

    /// Needs root, or sudo that asks nothing, as `tests/run` does.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("unshare")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "--preserve-env", "timeout", ENDS_AFTER_SECONDS, "unshare"]);
            sudo
        };
        command.args(["--mount", "--", "sh", "-c", SCRIPT, "sh"]).args(arguments);
        command
            .env("SECRETS", self.directory.path())
            .env("CONFIG", self.directory.path().join("backstop.yaml"))
            .env("PROGRAM", env!("CARGO_BIN_EXE_backstop"))
            .env("OWNER", self.user.to_string())
            .env("HOST", &self.host)
            .env("PORT", &self.port)
            .env("ONCALL", OPERATOR)
            .stdin(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Answers every request with 200.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _read = stream.read(&mut [0; 4096]);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    port
}

/// The status of a GET.
fn get(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: backstop\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

/// The configuration of `deploy/`, of which only the places are others: they are this machine's.
fn configuration(bed: &Bed, listen: u16) -> String {
    let map = documents("config.yaml").remove(0);
    let mut text = map["data"]["backstop.yaml"].as_str().expect("a text").to_owned();
    let service = format!("http://127.0.0.1:{}/", serve());
    for (theirs, ours) in [
        ("0.0.0.0:9464", format!("127.0.0.1:{listen}")),
        ("namespace: prod", format!("namespace: {}", bed.namespace)),
        ("http://shop.prod.svc/health/ready", service.clone()),
        ("https://hooks.example.com/backstop", service),
    ] {
        assert!(text.contains(theirs), "{theirs} is not in {text}");
        text = text.replace(theirs, &ours);
    }
    text
}

fn status(port: u16) -> Option<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
    let asked = command
        .args(["status", "--json", "--server", &format!("http://127.0.0.1:{port}")])
        .env("BACKSTOP_TOKEN", OPERATOR)
        .output()
        .expect("it runs");
    serde_json::from_slice(&asked.stdout).ok()
}

async fn wait(what: &str, log: &Path, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within {PATIENCE:?}: {what}: {}", fs::read_to_string(log).unwrap_or_default());
}

#[tokio::test]
async fn it_runs_as_the_container_of_deploy_runs_it() {
    let bed = Bed::new("inside").await;
    for file in ["account.yaml", "cluster-role.yaml", "watched.yaml"] {
        for object in moved(&bed, file) {
            apply(&bed, &object).await;
        }
    }
    drop(two_releases(&bed, "Deployment", "1.4.3").await);
    let reserved = Port::reserve();
    let port = reserved.number;
    let pod = Pod::new(&bed, &configuration(&bed, port)).await;

    let mut check = pod.command(&["check", "--live", "/run/etc/backstop.yaml"]);
    let checked = tokio::task::spawn_blocking(move || check.output()).await.expect("no panic").expect("unshare runs");
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && said.contains("nothing would fail tonight"), "{said}");

    let log = fs::File::create(pod.log()).expect("a log");
    let mut run = pod.command(&["run"]);
    run.stdout(Stdio::null()).stderr(log);
    let _running = Running(run.spawn().expect("unshare runs"));
    wait("it is ready", &pod.log(), || get(port, "/readyz") == Some(200)).await;
    assert_eq!(get(port, "/healthz"), Some(200));
    assert_eq!(get(port, "/metrics"), Some(200));
    let live = || status(port).is_some_and(|status| status["services"][0].to_string().contains("1.4.3"));
    wait("it sees the release", &pod.log(), live).await;
}
