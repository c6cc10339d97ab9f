//! Bad input and bad engines, each made to happen.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    time::Duration,
};

use backstop::{
    config::form::EngineTls,
    core::{
        operation::{Operation, OperationOutcome},
        release::Hindrance,
    },
};

use super::bed::{Bed, Fate, available, current, done, failed, is_settled_at, ready, switch, until};

#[tokio::test]
async fn no_engine_is_told_with_where_it_was_looked_for() {
    let bed = Bed::new("no-engine");
    bed.write(&bed.file("shop:1", ""));
    let gone = format!("unix://{}/nobody.sock", bed.directory.path().display());
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("tcp://{}", listener.local_addr().expect("an address"))
    };
    let left = bed.directory.path().join("left.sock");
    drop(UnixListener::bind(&left).expect("a socket"));
    for (host, why) in [
        (gone, "there is no such socket: is the engine running?"),
        (format!("unix://{}", left.display()), "nobody listens there: is the engine running?"),
        (closed, "nobody listens there: is the engine running?"),
        ("ssh://far".to_owned(), "unix, tcp, http and https are known here"),
    ] {
        let mut form = bed.form();
        form.docker_host = Some(host.clone());
        let said = bed.target_of(form).observe().await.expect_err("nobody is there").to_string();
        assert!(said.contains(why) && said.contains(&host), "{said}");
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_no_answer_and_changes_nothing() {
    let bed = Bed::new("hanging");
    bed.write(&bed.file("shop:1", ""));
    // Takes connections, and says nothing.
    let path = bed.directory.path().join("hanging.sock");
    let _hangs = UnixListener::bind(&path).expect("a socket");
    let mut form = bed.form();
    form.docker_host = Some(format!("unix://{}", path.display()));
    let target = bed.target_of(form);
    let said = target.observe().await.expect_err("it hangs").to_string();
    assert!(said.contains("no answer within 10s: the engine hangs"), "{said}");
    let switched = bed.operate(&target, switch("2", "1"), 20).await;
    assert!(matches!(&switched, OperationOutcome::Unknown(why) if why.as_str().contains("hangs")), "{switched:?}");
}

#[tokio::test]
async fn no_permission_on_the_socket_is_told_with_what_mends_it() {
    let bed = Bed::new("forbidden");
    bed.write(&bed.file("shop:1", ""));
    let configuration = format!(
        "services:\n- name: api\n  target: {{compose: {{project_directory: {}, service: api}}}}\n  \
         probes: {{ready: {{tcp: '127.0.0.1:1'}}}}\n",
        bed.here().display()
    );
    let path = bed.directory.path().join("backstop.yaml");
    fs::write(&path, configuration).expect("written");
    for public in [bed.directory.path(), &bed.here(), &path] {
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(public, mode).expect("made readable");
    }
    // As a user who is in no group that owns the socket, with a copy of the program that it may run.
    let program = bed.directory.path().join("backstop");
    fs::copy(env!("CARGO_BIN_EXE_backstop"), &program).expect("copied");
    let host = std::env::var("DOCKER_HOST").expect("an engine");
    let socket = std::path::PathBuf::from(host.trim_start_matches("unix://"));
    let place = socket.parent().expect("a directory");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(place, mode).expect("the socket is found");
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["check", "--live"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("permission denied: let the user that Backstop runs as use the socket"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_service_or_a_project_that_is_not_there_is_named() {
    let bed = Bed::new("unknown");
    bed.write(&bed.file("shop:1", ""));
    let mut form = bed.form();
    form.service = "shop".to_owned();
    let said = bed.target_of(form).observe().await.expect_err("unknown").to_string();
    assert!(said.contains("find the service shop in the Compose project") && said.contains("it has api"), "{said}");
    let mut form = bed.form();
    form.project_directory = bed.directory.path().join("nowhere");
    let said = bed.target_of(form).observe().await.expect_err("unknown").to_string();
    assert!(said.contains("read the Compose project in") && said.contains("there is none of compose.yaml"), "{said}");
    // Known, and never started.
    let seen = bed.target().observe().await.expect("it is seen");
    assert!(seen.untold.as_ref().is_some_and(|why| why.contains("has no container")), "{seen:?}");
}

#[tokio::test]
async fn a_file_that_no_longer_parses_holds_a_rollback_and_the_watch_goes_on() {
    let bed = Bed::new("broken");
    let target = bed.two_releases(Fate::Serves, &bed.published()).await;
    until(&target, "settled", is_settled_at("2")).await;
    bed.write("services: {api: [");
    let is_held = |why: &Hindrance| matches!(why, Hindrance::NotUndoable { why } if why.contains("its project cannot be used: failed to read the Compose project"));
    let seen = until(&target, "it is held", |seen| seen.hindrances().iter().any(is_held)).await;
    assert_eq!((current(&seen), available(&seen)), ("2", vec!["1"]));
    let switched = bed.operate(&target, switch("2", "1"), 20).await;
    assert!(failed(&switched).contains("its project cannot be used"), "{switched:?}");
    assert_eq!(bed.serves().as_deref(), Some("2"), "nothing was stopped");
    // As after a restart of the daemon, which never saw a good one.
    let again = bed.target_anew(&[]);
    assert_eq!(current(&again.observe().await.expect("its containers say whose they are")), "2");
}

#[tokio::test]
async fn a_container_that_will_not_stop_is_ended_after_its_grace() {
    let bed = Bed::new("stubborn");
    bed.image("1", Fate::Serves);
    bed.image("2", Fate::Stubborn);
    let target = bed.target();
    bed.deploy("1");
    until(&target, "the first release", is_settled_at("1")).await;
    bed.write(&bed.file(&bed.name_of("2"), &bed.published()).replace("    init: true\n", ""));
    bed.up();
    until(&target, "the second release", is_settled_at("2")).await;
    done(bed.operate(&target, switch("2", "1"), 40).await);
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.serves().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_what_was_there_comes_back_once_it_is_free() {
    let bed = Bed::new("port-taken");
    let target = bed.two_releases(Fate::Serves, "").await;
    until(&target, "settled", is_settled_at("2")).await;
    // The second release publishes a port by now, which somebody else has when the older one wants it.
    bed.deploy("2");
    until(&target, "published", |seen| ready(seen) == 1 && bed.serves().is_some()).await;
    bed.docker_says(&["compose", "stop", "--timeout", "1", "api"]);
    // The engine lets go of it a moment later.
    let taken = loop {
        match TcpListener::bind(("127.0.0.1", bed.port.number)) {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let live = target.observe().await.expect("it is seen").current.expect("told").version;
    let switched = bed.operate(&target, switch(live.as_str(), "1"), 30).await;
    assert!(
        failed(&switched).contains("address already in use") || failed(&switched).contains("already allocated"),
        "{switched:?}"
    );
    let seen = target.observe().await.expect("it is seen");
    assert!(seen.failing.as_ref().is_some_and(|why| why.contains("could not be started")), "{seen:?}");
    drop(taken);
    done(bed.operate(&target, switch(live.as_str(), "1"), 30).await);
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.serves().as_deref(), Some("1"));
}

#[tokio::test]
async fn an_image_that_is_gone_is_pulled_again_by_its_digest_before_anything_stops() {
    let bed = Bed::new("pulled");
    let registry = std::env::var("BACKSTOP_TEST_REGISTRY").expect("a registry");
    let name = |tag: &str| format!("{registry}/{}:{tag}", bed.project);
    let target = bed.target();
    for tag in ["1", "2"] {
        bed.image(tag, Fate::Serves);
        bed.docker_says(&["tag", &bed.name_of(tag), &name(tag)]);
        bed.docker_says(&["push", "--quiet", &name(tag)]);
        bed.write(&bed.file(&name(tag), &bed.published()));
        bed.up();
        until(&target, "a release", is_settled_at(tag)).await;
    }
    // The tag has moved on in the registry: the digest has not.
    bed.docker_says(&["tag", &bed.name_of("2"), &name("1")]);
    bed.docker_says(&["push", "--quiet", &name("1")]);
    let first = bed.docker_says(&["image", "inspect", "--format", "{{.Id}}", &bed.name_of("1")]);
    bed.docker_says(&["rmi", "--force", &first]);
    let seen = until(&target, "it can be had", |seen| available(seen) == ["1"]).await;
    assert_eq!(seen.hindrances(), []);
    let ensured = done(bed.operate(&target, Operation::EnsureAvailable { version: "1".into() }, 60).await);
    assert!(ensured.contains("was pulled again as"), "{ensured}");
    assert_eq!(bed.serves().as_deref(), Some("2"), "all that serves goes on");
    done(bed.operate(&target, switch("2", "1"), 40).await);
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.serves().as_deref(), Some("1"));
}

#[tokio::test]
async fn an_engine_behind_tls_is_spoken_to_and_one_that_is_not_trusted_is_not() {
    let bed = Bed::new("remote");
    bed.image("1", Fate::Serves);
    bed.image("2", Fate::Serves);
    let place = std::env::var("BACKSTOP_TEST_ENGINE_TLS").expect("an engine behind TLS");
    let certificates = std::path::PathBuf::from(std::env::var("BACKSTOP_TEST_CERTIFICATES").expect("certificates"));
    let form = |ca: &str, with_identity: bool| {
        let mut form = bed.form();
        form.docker_host = Some(format!("tcp://{place}"));
        let identity = (certificates.join("cert.pem"), certificates.join("key.pem"));
        form.tls = Some(EngineTls { ca_file: certificates.join(ca), identity: with_identity.then_some(identity) });
        form
    };
    let target = bed.target_of(form("ca.pem", true));
    bed.deploy("1");
    until(&target, "the first release", is_settled_at("1")).await;
    bed.deploy("2");
    until(&target, "the second release", is_settled_at("2")).await;
    done(bed.operate(&target, switch("2", "1"), 40).await);
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.serves().as_deref(), Some("1"));
    let said = bed.target_of(form("cert.pem", true)).observe().await.expect_err("another authority").to_string();
    assert!(said.contains(&place), "{said}");
    let said = bed.target_of(form("ca.pem", false)).observe().await.expect_err("no certificate").to_string();
    assert!(said.contains(&place), "{said}");
    let said = bed.target_of(form("nowhere.pem", true)).observe().await.expect_err("no such file").to_string();
    assert!(said.contains("nowhere.pem"), "{said}");
}

#[tokio::test]
async fn several_files_and_projects_are_kept_apart() {
    let (one, other) = (Bed::new("files-one"), Bed::new("files-other"));
    for bed in [&one, &other] {
        bed.image("1", Fate::Serves);
        bed.image("2", Fate::Serves);
    }
    let target_of = |bed: &Bed| {
        let mut form = bed.form();
        form.files = vec!["base.yaml".into(), "production.yaml".into()];
        bed.target_of(form)
    };
    let up = |bed: &Bed, tag: &str| {
        fs::write(bed.here().join("base.yaml"), bed.file(&bed.name_of(tag), "")).expect("written");
        let more = format!("services:\n  api:\n{}", bed.published());
        fs::write(bed.here().join("production.yaml"), more).expect("written");
        bed.docker_says(&["compose", "-f", "base.yaml", "-f", "production.yaml", "up", "--detach", "--timeout", "1"]);
    };
    let targets = [target_of(&one), target_of(&other)];
    for (bed, target) in [&one, &other].into_iter().zip(&targets) {
        up(bed, "1");
        until(target, "the first release", is_settled_at("1")).await;
        up(bed, "2");
        until(target, "the second release", is_settled_at("2")).await;
    }
    done(one.operate(&targets[0], switch("2", "1"), 40).await);
    done(one.operate(&targets[0], Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(one.serves().as_deref(), Some("1"), "and its port is that of the second file");
    assert_eq!(other.serves().as_deref(), Some("2"));
}

#[tokio::test]
async fn traffic_is_stopped_and_restored_to_what_ran() {
    let bed = Bed::new("traffic");
    bed.image("1", Fate::Serves);
    let worker = format!("  worker:\n    image: {}\n    init: true\n    scale: 2\n", bed.name_of("1"));
    bed.write(&(bed.file(&bed.name_of("1"), &bed.published()) + &worker));
    bed.up();
    let mut form = bed.form();
    form.stop_traffic = vec!["api".to_owned(), "worker".to_owned()];
    let target = bed.target_of(form.clone());
    until(&target, "it serves", is_settled_at("1")).await;
    target.can_stop_traffic().await.expect("both are there");
    // One of the workers stood still before.
    bed.docker_says(&["stop", "--time", "1", &format!("{}-worker-2", bed.project)]);
    let before = bed.containers();
    done(target.stop_traffic(&bed.key(), Duration::from_secs(30)).await);
    assert!(bed.containers().iter().all(|one| one.ends_with("exited")), "{:?}", bed.containers());
    // Whoever goes on after a crash finds what ran.
    let again = bed.target_of(form.clone());
    done(again.stop_traffic(&bed.key(), Duration::from_secs(30)).await);
    done(again.start_traffic(&bed.key(), Duration::from_secs(30)).await);
    assert_eq!(bed.containers(), before);
    let nothing = done(again.start_traffic(&bed.key(), Duration::from_secs(30)).await);
    assert!(nothing.contains("nothing of ours"), "{nothing}");
    form.stop_traffic = vec!["proxy".to_owned()];
    let said = bed.target_of(form).can_stop_traffic().await.expect_err("there is none").to_string();
    assert!(said.contains("proxy") && said.contains("api, worker"), "{said}");
}

#[tokio::test]
async fn what_a_human_would_look_at_first_is_gathered_from_stopped_containers_too() {
    let bed = Bed::new("gathered");
    bed.image("1", Fate::Exits);
    bed.deploy_with("1", "");
    let target = bed.target();
    until(&target, "it has exited", |seen| seen.failing.is_some()).await;
    let files = target.gather(Duration::from_secs(30)).await.expect("gathered");
    let file = |name: &str| {
        let found = files.iter().find(|file| file.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name}: {files:?}"))
    };
    assert!(file("docker-ps.txt").content.contains("Exited (3)"), "{files:?}");
    assert!(file("docker-ps.txt").seen[0].contains("not up:"), "{files:?}");
    assert!(file("log-").content.contains("cannot find its configuration"), "{files:?}");
    assert!(file("engine.txt").content.contains("ServerVersion"), "{files:?}");
    assert!(file("events.txt").content.contains("container  die"), "{files:?}");
    assert!(!file("service-status.txt").content.is_empty(), "{files:?}");
}
