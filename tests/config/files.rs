//! The reference files, and files that are none.

use backstop::{
    cli,
    config::{self, Gravity, SystemSecrets},
};

use crate::support::{Tables, in_tree, schema_takes};

fn reference() -> String {
    std::fs::read_to_string(in_tree("config/backstop.yaml")).expect("it is there")
}

#[test]
fn the_schema_takes_the_reference_files() {
    let instance: serde_json::Value = serde_saphyr::from_str(&reference()).expect("YAML");
    let errors: Vec<String> = crate::support::validator()
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(schema_takes(&std::fs::read_to_string(in_tree("config/minimal.yaml")).expect("it is there")));
}

/// The name of every key below an object of the schema.
fn keys_of(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(serde_json::Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|inner| keys_of(inner, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|inner| keys_of(inner, found)),
        _ => {}
    }
}

#[test]
fn the_reference_holds_every_key() {
    let mut keys = std::collections::BTreeSet::new();
    keys_of(&config::schema(), &mut keys);
    assert!(keys.len() > 100, "{keys:?}");
    let text = reference();
    let words: std::collections::BTreeSet<&str> =
        text.split(|character: char| !character.is_alphanumeric() && character != '_').collect();
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "not in config/backstop.yaml: {missing:?}");
}

#[test]
fn the_minimal_file_passes() {
    let secrets = Tables {
        environment: [("WEBHOOK_SECRET", "any text of its receiver".into())].into_iter().collect(),
        ..Tables::default()
    };
    let (config, warnings) = config::load(&in_tree("config/minimal.yaml"), &secrets).expect("nothing is wrong");
    assert_eq!(warnings, []);
    assert_eq!((config.services.len(), config.channels.len()), (1, 1));
}

#[test]
fn what_is_no_configuration_is_one_diagnostic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let cases = [
        (folder.path().join("missing.yaml"), "cannot read the configuration"),
        (folder.path().to_owned(), "this is a directory"),
        (file("latin1.yaml", b"# caf\xe9\nmode: act\n"), "not UTF-8: byte 5, on line 1"),
        (file("large.yaml", &vec![b'#'; config::limits::FILE_LIMIT_BYTES + 1]), "larger than 1 MiB"),
        (file("empty.yaml", b""), "the file is empty"),
        (file("null.yaml", b"~\n"), "the file is empty"),
    ];
    for (path, expected) in cases {
        let checked = config::check(&path, Some(&SystemSecrets));
        assert!(checked.config.is_none());
        let [only] = checked.diagnostics.list.as_slice() else { panic!("{}", checked.diagnostics) };
        assert!(only.message.contains(expected), "{only}");
        assert!(only.render(false).contains(&path.display().to_string()), "{only}");
    }
}

#[test]
fn the_command_tells_and_summarises() {
    let run = |path: &str, secrets: Option<&dyn config::Secrets>| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = cli::check::run(&in_tree(path), secrets, &mut out, &mut err);
        let code = format!("{code:?}");
        (code, String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
    };
    let (code, out, err) = run("config/minimal.yaml", None);
    assert_eq!(code, format!("{:?}", std::process::ExitCode::SUCCESS));
    assert!(err.is_empty(), "{err}");
    for line in ["services  1", "mode      act", "probes    1", "channels  audit", "not looked up"] {
        assert!(out.contains(line), "{out}");
    }
    let (code, out, err) = run("config/minimal.yaml", Some(&Tables::default()));
    assert_eq!(code, format!("{:?}", std::process::ExitCode::from(cli::check::EXIT_CONFIGURATION)));
    assert!(out.is_empty() && err.contains("WEBHOOK_SECRET"), "{err}");
}

#[test]
fn warnings_are_no_errors() {
    let text = "server: {listen: \"0.0.0.0:9464\"}\nnotify: {channels: {audit: {webhook: {url: https://hooks.example.com/x}}, \
                spare: {webhook: {url: https://hooks.example.com/y}}}}\nseverities: {S1: {notify: [audit]}, S2: {notify: [audit]}, S3: \
                {notify: [audit]}}\nservices: [{name: api, target: {command: {current: [a], previous: [b], roll_back: [c]}}, probes: \
                {ready: {tcp: \"127.0.0.1:1\"}}}]\n";
    let checked = crate::support::check(text);
    assert!(checked.config.is_some(), "{}", checked.diagnostics);
    let found: Vec<_> = checked.diagnostics.list.iter().map(|found| (found.gravity, found.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (Gravity::Warning, "server.listen: anybody who reaches this address can read everything"),
            (Gravity::Warning, "notify.channels.spare: no severity notifies it"),
        ]
    );
}

#[test]
fn nobody_relies_on_an_acknowledgement_that_is_not_there_yet() {
    let text = "severities: {S1: {repeat: 1m, until: acknowledged, acknowledge_expires: 30m}}\nservices: [{name: api, target: \
                {command: {current: [a], previous: [b], roll_back: [c]}}, probes: {ready: {tcp: \"127.0.0.1:1\"}}}]\n";
    let checked = crate::support::check(text);
    assert!(checked.config.is_some(), "{}", checked.diagnostics);
    let found = checked.diagnostics.list.iter().filter(|found| found.message.starts_with("severities"));
    let found: Vec<_> = found.map(|found| (found.gravity, found.message.as_str(), found.help.as_str())).collect();
    let help = "leave it out; pages repeat until the incident is over";
    assert_eq!(
        found,
        [
            (Gravity::Warning, "severities.S1.until: not in this version yet: acknowledging", help),
            (Gravity::Warning, "severities.S1.acknowledge_expires: not in this version yet: acknowledging", help),
        ]
    );
}

#[test]
fn a_token_that_can_be_guessed_is_warned_of_and_not_shown() {
    let secrets = |token: &'static str| Tables {
        environment: [("SHORT", token.into())].into_iter().collect(),
        ..Tables::default()
    };
    let text = "server: {tokens: [{name: ann, role: operator, token: \"${env:SHORT}\"}]}\nservices: [{name: api, target: \
                {command: {current: [a], previous: [b], roll_back: [c]}}, probes: {ready: {tcp: \"127.0.0.1:1\"}}}]\n";
    for (token, expected) in [
        ("fifteen-bytes-0", vec!["server.tokens(ann).token: this token is short enough to be guessed"]),
        ("sixteen-bytes-00", vec![]),
    ] {
        let checked = config::check_bytes("b.yaml", text.as_bytes().to_vec(), Some(&secrets(token)));
        assert!(checked.config.is_some(), "{}", checked.diagnostics);
        let found = checked.diagnostics.list.iter().filter(|found| found.message.starts_with("server."));
        let found: Vec<_> = found.map(|found| found.message.as_str()).collect();
        assert_eq!(found, expected);
        assert!(!checked.diagnostics.render(false).contains(token), "{}", checked.diagnostics);
    }
}

#[test]
fn the_schema_is_printed_as_json() {
    let mut out = Vec::new();
    cli::schema::run(&mut out).expect("written");
    let schema: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn the_reference_passes_as_it_is() {
    let secrets = Tables {
        environment: [
            ("BACKSTOP_CI_TOKEN", "0123456789abcdef-ci".into()),
            ("PAGER_SECRET", "whsec_c2VjcmV0LXdlYmhvb2stb2YtdGVzdHM=".into()),
            ("WEBHOOK_SECRET", "whsec_c2VjcmV0LXdlYmhvb2stb2YtdGVzdHM=".into()),
        ]
        .into_iter()
        .collect(),
        files: [
            ("/etc/backstop/oncall.token".into(), b"0123456789abcdef\n".to_vec()),
            ("/etc/backstop/chat.url".into(), b"https://hooks.example.com/chat\n".to_vec()),
        ]
        .into_iter()
        .collect(),
    };
    for secrets in [None, Some(&secrets as &dyn config::Secrets)] {
        let checked = config::check_bytes("backstop.yaml", reference().into_bytes(), secrets);
        assert!(checked.config.is_some() && checked.diagnostics.list.is_empty(), "{}", checked.diagnostics);
    }
}

#[test]
fn every_bound_is_told() {
    let head = "notify: {channels: {audit: {webhook: {url: https://hooks.example.com/x}}}}\nservices:\n";
    let service = |name: &str, probes: &str, rest: &str| {
        format!(
            "  - {{name: {name}, target: {{command: {{current: [a], previous: [b], roll_back: [c]}}}}, probes: {{{probes}}}, {rest}}}\n"
        )
    };
    let probe = |number: usize| format!("p{number}: {{tcp: \"127.0.0.1:1\"}}, ");
    let many = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().concat();
    let question = "{ask: a, when: complaints, then: consider}, ";
    let nested = format!("{{ask: a, when: complaints, ask_next: [{}]}}, ", question.repeat(200));
    let cases = [
        (many(2_001, &|number| service(&format!("s{number}"), &probe(0), "")), "services: more than 2000 items"),
        (service("a", &many(257, &probe), ""), "services(a).probes: more than 256 entries"),
        (
            service("a", &many(200, &probe), &format!("features: {{{}}}", many(57, &|number| probe(1_000 + number)))),
            "services(a): more than 256 probes and features",
        ),
        (
            service(
                "a",
                &probe(0),
                &format!("conditions: {{{}}}", many(257, &|number| format!("c{number}: complaints, "))),
            ),
            "services(a).conditions: more than 256 entries",
        ),
        (
            service(
                "a",
                &probe(0),
                &format!(
                    "conditions: {{{}}}",
                    many(20, &|number| format!("c{number}: {{any: [{}]}}, ", "complaints, ".repeat(110)))
                ),
            ),
            "services(a).conditions: more than 2048 parts in all conditions together",
        ),
        (
            service("a", &probe(0), &format!("decision_tree: [{}]", question.repeat(257))),
            "services(a).decision_tree: more than 256 items",
        ),
        (
            service("a", &probe(0), &format!("decision_tree: [{nested}{nested}]")),
            "services(a).decision_tree: more than 256 questions",
        ),
        (service(&"n".repeat(64), &probe(0), ""), "is longer than 63 bytes"),
    ];
    for (services, expected) in cases {
        let checked = crate::support::check(&format!("{head}{services}"));
        let [only] = checked.diagnostics.list.as_slice() else { panic!("{expected}:\n{}", checked.diagnostics) };
        assert!(only.message.contains(expected), "{only}");
    }
}
