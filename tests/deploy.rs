//! The files of `deploy/`, held against the product and against the tools that read them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use backstop::{
    config::{self, Secrets},
    serve::metrics::Metrics,
    target::{PERMISSIONS, Scope},
};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every document of a file of YAML.
fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("YAML")
}

/// Every object that `deploy/kubernetes` makes.
fn objects() -> Vec<Value> {
    let kustomization = documents(&text("deploy/kubernetes/kustomization.yaml")).remove(0);
    let files = kustomization["resources"].as_array().expect("a list").iter();
    files.flat_map(|file| documents(&text(&format!("deploy/kubernetes/{}", file.as_str().expect("a name"))))).collect()
}

fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

type Rule = (String, String, String);

/// What a Role gives: group, resource and verb, each by itself.
fn rules(role: &Value) -> BTreeSet<Rule> {
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().expect("a list");
        all.iter().map(|one| one.as_str().expect("a text").to_owned()).collect()
    };
    let mut rules = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let is_new = rules.insert((group.clone(), resource.clone(), verb.clone()));
                    assert!(is_new, "{group}/{resource} {verb} is given twice");
                }
            }
        }
    }
    rules
}

fn needed(scope: Scope) -> BTreeSet<Rule> {
    let of_scope = PERMISSIONS.iter().filter(|permission| permission.scope == scope);
    of_scope.map(|one| (one.group.to_owned(), one.resource.to_owned(), one.verb.to_owned())).collect()
}

/// The blocks of YAML in the README.
fn readme_objects() -> Vec<Value> {
    let readme = text("README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("kind: ")).flat_map(documents).collect()
}

#[test]
fn roles_give_just_what_is_used() {
    for (place, objects) in [("deploy/kubernetes", objects()), ("README.md", readme_objects())] {
        assert_eq!(rules(object(&objects, "Role")), needed(Scope::Namespace), "the Role of {place}");
        assert_eq!(rules(object(&objects, "ClusterRole")), needed(Scope::Cluster), "the ClusterRole of {place}");
    }
    let is_of_owners = |object: &&Value| object["kind"] == "Role" && object["metadata"]["name"] == "backstop-gitops";
    let component: Vec<Value> =
        ["argo-cd", "flux"].iter().flat_map(|file| documents(&text(&format!("deploy/gitops/{file}.yaml")))).collect();
    for (place, objects) in [("deploy/gitops", component), ("README.md", readme_objects())] {
        let given: Vec<BTreeSet<Rule>> = objects.iter().filter(is_of_owners).map(rules).collect();
        let all: BTreeSet<Rule> = given.iter().flatten().cloned().collect();
        assert_eq!(all, needed(Scope::Owner), "the Roles of {place}");
        assert_eq!(all.len(), given.iter().map(BTreeSet::len).sum::<usize>(), "each is given once in {place}");
    }
}

#[test]
fn every_manifest_is_named_and_belongs_together() {
    let named: BTreeSet<String> = documents(&text("deploy/kubernetes/kustomization.yaml"))[0]["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("deploy/kubernetes"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(named, there);
    let objects = objects();
    let deployment = object(&objects, "Deployment");
    let pod = &deployment["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    for (kind, selector) in [("Service", "/spec/selector"), ("NetworkPolicy", "/spec/podSelector/matchLabels")] {
        assert_eq!(object(&objects, kind).pointer(selector), Some(labels), "{kind}");
    }
    let monitor = documents(&text("deploy/pod-monitor/pod-monitor.yaml")).remove(0);
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
    let port = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], port["name"]);
    // What it mounts is made, and what it writes to is mounted.
    for (volume, kind, name) in [
        ("/configMap/name", "ConfigMap", "backstop"),
        ("/persistentVolumeClaim/claimName", "PersistentVolumeClaim", "backstop"),
    ] {
        assert!(
            pod["spec"]["volumes"]
                .as_array()
                .expect("volumes")
                .iter()
                .any(|one| one.pointer(volume) == Some(&name.into()))
        );
        assert_eq!(object(&objects, kind)["metadata"]["name"], name);
    }
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(pod["spec"]["serviceAccountName"], object(&objects, "ServiceAccount")["metadata"]["name"]);
}

/// As the profile `restricted` of Kubernetes' Pod Security Standards asks for, and a root that nobody writes to.
#[test]
fn the_pod_is_restricted() {
    let objects = objects();
    let spec = object(&objects, "Deployment")["spec"]["template"]["spec"].clone();
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(container["readOnlyRootFilesystem"], true);
    let allowed = ["configMap", "emptyDir", "persistentVolumeClaim"];
    for volume in spec["volumes"].as_array().expect("volumes") {
        assert!(allowed.iter().any(|kind| !volume[kind].is_null()), "{volume}");
    }
    // The same number as the image's.
    let user = spec["securityContext"]["runAsUser"].as_u64().expect("a number");
    assert!(instructions().contains(&("USER".to_owned(), format!("{user}:{user}"))), "{user}");
    assert_ne!(user, 0);
}

/// Knows the secrets that `deploy/` asks for.
struct Known;

impl Secrets for Known {
    fn environment(&self, name: &str) -> Option<std::ffi::OsString> {
        ["WEBHOOK_SECRET", "BACKSTOP_ONCALL_TOKEN"].contains(&name).then(|| "0123456789abcdef0123".into())
    }

    fn file(&self, _path: &Path, _limit: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn configuration() -> config::Checked {
    let objects = objects();
    let text = object(&objects, "ConfigMap")["data"]["backstop.yaml"].as_str().expect("a text").to_owned();
    config::check_bytes("backstop.yaml", text.into_bytes(), Some(&Known))
}

#[test]
fn the_configuration_is_good_and_listens_where_it_is_looked_for() {
    let checked = configuration();
    assert_eq!(checked.diagnostics.render(false), "");
    let config = checked.config.expect("a configuration");
    let objects = objects();
    let container = &object(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["containerPort"], config.server.listen.port());
    assert_eq!(object(&objects, "Service")["spec"]["ports"][0]["port"], config.server.listen.port());
    assert!(config.server.listen.ip().is_unspecified());
    let mounted: Vec<PathBuf> = container["volumeMounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .map(|mount| PathBuf::from(mount["mountPath"].as_str().expect("a path")))
        .collect();
    for written in [&config.store, &config.history, &config.evidence.directory, &config.server.socket] {
        assert!(mounted.iter().any(|mount| written.starts_with(mount)), "{} is on no volume", written.display());
    }
}

/// The Dockerfile's instructions, in order; continued lines are joined.
fn instructions() -> Vec<(String, String)> {
    let joined = text("deploy/Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no instruction: {line}"));
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

#[test]
fn the_dockerfile_copies_what_is_there_and_names_no_registry() {
    const KNOWN: [&str; 9] = ["ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT"];
    let instructions = instructions();
    let mut stages = Vec::new();
    let mut users = Vec::new();
    for (word, rest) in &instructions {
        assert!(KNOWN.contains(&word.as_str()) || word == "CMD", "{word} {rest}");
        match word.as_str() {
            "ARG" => {
                let (name, image) = rest.split_once('=').expect("a default");
                assert!(name.ends_with("_IMAGE") && !image.contains('/'), "{rest} names a registry");
            }
            "FROM" => {
                assert!(rest.starts_with("${") && rest.contains("_IMAGE}"), "the image of {rest} is no argument");
                stages.push(rest.split_once(" AS ").map(|(_, name)| name.to_owned()));
                users.clear();
            }
            "COPY" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                match words[0].strip_prefix("--from=") {
                    Some(stage) => assert!(stages.iter().flatten().any(|known| known == stage), "no stage {stage}"),
                    None => {
                        for source in &words[..words.len() - 1] {
                            assert!(root().join(source).exists(), "COPY {source}: it is not there");
                        }
                    }
                }
            }
            "USER" => users.push(rest.clone()),
            _ => {}
        }
    }
    assert_eq!(stages.len(), 2);
    assert_eq!(users.len(), 1, "the last stage has its user");
}

/// What the Dockerfile copies from the repository.
fn copied() -> Vec<String> {
    let copies = instructions().into_iter().filter(|(word, rest)| word == "COPY" && !rest.starts_with("--from="));
    copies
        .flat_map(|(_, rest)| {
            let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect()
}

#[test]
fn what_the_dockerfile_copies_is_sent_and_is_a_whole_package() {
    let sent = text("deploy/Dockerfile.dockerignore");
    let folder = tempfile::tempdir().expect("a folder");
    for name in copied() {
        assert!(sent.lines().any(|line| line == format!("!{name}")), "{name} is not sent to the builder");
        std::os::unix::fs::symlink(root().join(&name), folder.path().join(&name)).expect("linked");
    }
    // Cargo refuses a manifest that names a target whose file is not there.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn promtool_takes_the_rules() {
    for arguments in [["check", "rules", "backstop.rules.yaml"], ["test", "rules", "backstop.rules.test.yaml"]] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(root().join("deploy/prometheus"))
            .output()
            .expect("promtool is there: `tests/run` installs Debian's package prometheus");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
    // Each alert is tested where it fires, and says what to do.
    let tests = text("deploy/prometheus/backstop.rules.test.yaml");
    let rules = documents(&text("deploy/prometheus/backstop.rules.yaml")).remove(0);
    for rule in rules["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("a name");
        let fires = format!("alertname: {name}\n        exp_alerts");
        assert!(tests.contains(&fires), "{name} is never seen to fire");
        assert!(rule["annotations"]["action"].is_string(), "{name} says nothing about what to do");
    }
}

/// Names of metrics in an expression, each with the labels that are asked of it.
fn metrics_in(expression: &str) -> Vec<(String, Vec<String>)> {
    let name = regex::Regex::new(r"(backstop_\w+)(\{[^}]*\})?").expect("a pattern");
    let label = regex::Regex::new(r#"(\w+)\s*[=!]~?\s*""#).expect("a pattern");
    name.captures_iter(expression)
        .map(|found| {
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            (found[1].to_owned(), label.captures_iter(labels).map(|one| one[1].to_owned()).collect())
        })
        .collect()
}

#[test]
fn what_dashboard_and_rules_ask_for_is_on_the_metrics_page() {
    let config = configuration().config.expect("a configuration");
    let metrics = Metrics::new(&config.policy).expect("metrics");
    metrics.lag(Duration::from_millis(1));
    metrics.evaluation_duration(Duration::from_micros(1));
    metrics.upkeep();
    let page = metrics.render();
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/backstop.json")).expect("JSON");
    let mut expressions: Vec<String> = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{} shows nothing", panel["title"]);
        expressions.extend(targets.iter().map(|target| target["expr"].as_str().expect("a query").to_owned()));
    }
    let query = &dashboard["templating"]["list"][1]["query"]["query"];
    expressions.push(query.as_str().expect("a query").to_owned());
    let rules = documents(&text("deploy/prometheus/backstop.rules.yaml")).remove(0);
    let rules = rules["groups"][0]["rules"].as_array().expect("rules").clone();
    expressions.extend(rules.iter().map(|rule| rule["expr"].as_str().expect("a query").to_owned()));
    let mut asked = BTreeSet::new();
    for expression in &expressions {
        for (name, labels) in metrics_in(expression) {
            let base = name.strip_suffix("_bucket").unwrap_or(&name);
            let series: Vec<&str> = page
                .lines()
                .filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
                .collect();
            // A histogram that has counted nothing yet has no series.
            assert!(
                !series.is_empty() || name == "backstop_rollback_duration_seconds_bucket",
                "{name} is not there: {expression}"
            );
            for label in labels {
                let is_there = series.iter().any(|line| line.contains(&format!("{label}=\"")));
                assert!(is_there, "{name} has no label {label}: {expression}");
            }
            asked.insert(base.to_owned());
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
    // The whole of what README and design promise is shown somewhere.
    let readme = text("README.md");
    let promised: BTreeSet<String> = regex::Regex::new(r"`(backstop_\w+)")
        .expect("a pattern")
        .captures_iter(&readme)
        .map(|found| found[1].to_owned())
        .collect();
    let unknown: Vec<_> = asked.difference(&promised).collect();
    assert!(unknown.is_empty(), "the README does not list {unknown:?}");
    let unseen: Vec<_> = promised.difference(&asked).collect();
    assert!(unseen.is_empty(), "neither dashboard nor rules show {unseen:?}");
}
