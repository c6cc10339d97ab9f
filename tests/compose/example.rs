//! The stack of `deploy/compose`, as the README says it.

use std::{fs, path::Path, process::Command};

use backstop::config::{self, Secrets};

use super::bed::{Bed, done, is_settled_at, switch, until};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copied(&path, &target);
        } else {
            fs::copy(&path, target).expect("copied");
        }
    }
}

/// The variables of the example.
struct Example;

impl Secrets for Example {
    fn environment(&self, name: &str) -> Option<std::ffi::OsString> {
        let text = fs::read_to_string(root().join("deploy/compose/example.env")).expect("read");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
        value.map(Into::into)
    }

    fn file(&self, _path: &Path, _limit: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn its_configuration_passes_the_check_without_a_warning() {
    let text = fs::read(root().join("deploy/compose/backstop.yaml")).expect("read");
    let checked = config::check_bytes("backstop.yaml", text, Some(&Example));
    assert!(checked.config.is_some(), "{}", checked.diagnostics);
}

#[test]
fn the_readme_names_what_is_there() {
    let readme = fs::read_to_string(root().join("README.md")).expect("read");
    let (_, section) = readme.split_once("### On Docker Compose").expect("a section");
    let (section, _) = section.split_once("\n### ").expect("another one follows");
    for path in ["deploy/Dockerfile", "deploy/compose", "deploy/compose/shop"] {
        assert!(section.contains(path) && root().join(path).exists(), "{path}");
    }
    let example = fs::read_to_string(root().join("deploy/compose/example.env")).expect("read");
    for line in section.lines().filter_map(|line| line.strip_prefix("$ docker build --tag shop:1.0.0")) {
        assert!(line.contains("deploy/compose/shop") && example.contains("SHOP_IMAGE=shop:1.0.0"));
    }
    // Each variable of the stack is in the example, and none is there for nothing.
    let stack = fs::read_to_string(root().join("deploy/compose/compose.yaml")).expect("read");
    let used = stack.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
    for name in used.filter(|name| !["PROMETHEUS_IMAGE", "BACKSTOP_IMAGE"].contains(name)) {
        assert!(example.lines().any(|line| line.starts_with(&format!("{name}="))), "{name}");
    }
    for name in example.lines().filter_map(|line| Some(line.split_once('=')?.0)).filter(|name| !name.starts_with('#')) {
        assert!(stack.contains(&format!("${{{name}}}")), "{name}");
    }
}

#[tokio::test]
async fn its_shop_is_deployed_and_rolled_back() {
    let bed = Bed::new("example");
    copied(&root().join("deploy/compose"), &bed.here());
    let port = bed.port.number;
    let stack = fs::read_to_string(bed.here().join("compose.yaml")).expect("read");
    let stack = stack.replace("name: shop\n", &format!("name: {}\n", bed.project));
    let stack = stack.replace("127.0.0.1:8000:8000", &format!("127.0.0.1:{port}:8000"));
    // A moment is enough here.
    fs::write(bed.here().join("compose.yaml"), stack.replace("interval: 5s", "interval: 300ms")).expect("written");
    for (tag, fails_every) in [("1.0.0", 0), ("1.1.0", 8)] {
        bed.shop_image(tag, &bed.here().join("shop"), fails_every);
    }
    let example = fs::read_to_string(bed.here().join("example.env")).expect("read");
    let deploy = |tag: &str| {
        let environment = example.replace("shop:1.0.0", &bed.name_of(tag));
        let here = format!("PROJECT_DIRECTORY={}", bed.here().display());
        let environment = environment.replace("PROJECT_DIRECTORY=/srv/backstop/deploy/compose", &here);
        fs::write(bed.here().join(".env"), environment).expect("written");
        bed.docker_says(&["compose", "up", "--detach", "shop"]);
    };
    let mut form = bed.form();
    form.service = "shop".to_owned();
    let target = bed.target_of(form);
    deploy("1.0.0");
    until(&target, "the first release", is_settled_at("1.0.0")).await;
    deploy("1.1.0");
    let seen = until(&target, "the second release", is_settled_at("1.1.0")).await;
    assert_eq!(seen.hindrances(), []);
    let page = || {
        for _ in 0..16 {
            let url = format!("http://127.0.0.1:{port}/cgi-bin/order");
            let _failed = Command::new("curl").args(["-s", &url]).output().expect("curl runs");
        }
        let url = format!("http://127.0.0.1:{port}/cgi-bin/metrics");
        let output = Command::new("curl").args(["-fsS", &url]).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let counted = page();
    assert!(counted.contains("http_requests_total{code=\"500\"} 2\n"), "{counted}");
    done(bed.operate(&target, switch("1.1.0", "1.0.0"), 40).await);
    until(&target, "rolled back", is_settled_at("1.0.0")).await;
    let counted = page();
    assert!(counted.contains("http_requests_total{code=\"500\"} 0\n"), "{counted}");
}
