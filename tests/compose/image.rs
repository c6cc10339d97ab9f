//! The image of `deploy/Dockerfile`, built by a real engine, and what comes out of it.
//!
//! Every instruction is carried out but for the compiler's work: the image to build in is one of the test's own, whose `cargo`
//! takes the one command that the Dockerfile gives, finds the package whole, and puts the binary there that the tests run.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::bed::Bed;

/// What its `cargo` does.
const CARGO: &str = r#"#!/bin/sh
set -e
[ "$*" = "build --locked --release --bin backstop" ]
for part in Cargo.toml Cargo.lock src/main.rs benches examples tests; do [ -e "$part" ]; done
mkdir -p target/release
cp /backstop target/release/backstop
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is sent to the builder, and nothing else: not every engine takes note of `Dockerfile.dockerignore`.
fn context() -> tempfile::TempDir {
    let context = tempfile::tempdir().expect("a directory");
    let sent = fs::read_to_string(root().join("deploy/Dockerfile.dockerignore")).expect("read");
    for name in sent.lines().filter_map(|line| line.strip_prefix('!')) {
        let copied = Command::new("cp").arg("-R").arg(root().join(name)).arg(context.path()).status().expect("cp runs");
        assert!(copied.success(), "{name}");
    }
    context
}

/// An image to build in.
fn build_image(bed: &Bed) {
    let root = tempfile::tempdir().expect("a directory");
    let at = |path: &str| root.path().join(path);
    Bed::busybox(root.path());
    fs::create_dir_all(at("etc/ssl/certs")).expect("a directory");
    fs::write(at("etc/ssl/certs/ca-certificates.crt"), "the authorities\n").expect("written");
    fs::copy(env!("CARGO_BIN_EXE_backstop"), at("backstop")).expect("copied");
    fs::write(at("bin/cargo"), CARGO).expect("written");
    fs::set_permissions(at("bin/cargo"), fs::Permissions::from_mode(0o755)).expect("executable");
    bed.import(root.path(), "build", &["ENV PATH=/bin"]);
}

/// An image to run in: the C library, and nothing that could start a shell.
fn base_image(bed: &Bed) {
    let root = tempfile::tempdir().expect("a directory");
    Bed::libraries_of(Path::new(env!("CARGO_BIN_EXE_backstop")), root.path());
    for directory in ["tmp", "etc/ssl/certs"] {
        fs::create_dir_all(root.path().join(directory)).expect("a directory");
    }
    bed.import(root.path(), "base", &[]);
}

#[test]
fn the_image_of_deploy_is_built_and_runs_as_nobody_on_a_root_that_nobody_writes_to() {
    let bed = Bed::new("image");
    build_image(&bed);
    base_image(&bed);
    let context = context();
    let dockerfile = root().join("deploy/Dockerfile");
    let [build, base] =
        [("BUILD_IMAGE", "build"), ("BASE_IMAGE", "base")].map(|(name, tag)| format!("{name}={}", bed.name_of(tag)));
    let (image, text) = (bed.name_of("built"), |path: &Path| path.to_str().expect("text").to_owned());
    let [dockerfile, context] = [text(&dockerfile), text(context.path())];
    bed.docker_says(&[
        "build",
        "--network",
        "none",
        "--file",
        &dockerfile,
        "--tag",
        &image,
        "--build-arg",
        &build,
        "--build-arg",
        &base,
        &context,
    ]);
    let says = |format: &str| bed.docker_says(&["image", "inspect", "--format", format, &image]);
    assert_eq!(says("{{.Config.User}}"), "65532:65532");
    assert_eq!(says("{{json .Config.Entrypoint}} {{json .Config.Cmd}}"), r#"["/usr/local/bin/backstop"] ["run"]"#);
    assert_eq!(says("{{json .Config.ExposedPorts}}"), r#"{"9464/tcp":{}}"#);

    let shut = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"];
    let version = bed.docker_says(&[&shut[..], &[&image, "--version"]].concat());
    assert_eq!(version, concat!("backstop ", env!("CARGO_PKG_VERSION")));
    // Where it looks for its configuration, and that it can read one.
    let missing = bed.docker(&[&shut[..], &[&image]].concat());
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(78) && said.contains("/etc/backstop/backstop.yaml"), "{missing:?}");
    let configuration: PathBuf = bed.here().join("backstop.yaml");
    let probe = "{http: {url: 'http://shop.example/health'}}";
    let target = "{releases: {directory: /srv/shop/releases, current: /srv/shop/current, restart: [/bin/true]}}";
    let services = format!("services: [{{name: shop, target: {target}, probes: {{ready: {probe}}}}}]\n");
    fs::write(&configuration, services).expect("written");
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o644)).expect("readable by all");
    let mounted = format!("{}:/etc/backstop/backstop.yaml:ro", configuration.display());
    bed.docker_says(&[&shut[..], &["--volume", &mounted, &image, "check", "/etc/backstop/backstop.yaml"]].concat());
}
