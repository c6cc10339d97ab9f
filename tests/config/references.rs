//! References to secrets.

use std::path::PathBuf;

use backstop::config::{self, form::ChannelKind};
use secrecy::ExposeSecret;

use crate::support::{Tables, in_tree, tables};

const SERVICE: &str = "services: [{name: api, target: {command: {current: [a], previous: [b], roll_back: [c]}}, probes: {ready: {tcp: \
                       \"127.0.0.1:1\"}}}]\n";

#[test]
fn values_are_put_in_from_environment_and_file() {
    let text = format!(
        "notify: {{channels: {{audit: {{webhook: {{url: \"https://${{env:HOST}}/in/${{file:/path}}\", secret: \"$${{x}}\"}}}}}}}}\n{SERVICE}"
    );
    let secrets = Tables {
        environment: [("HOST", "hooks.example.com".into())].into_iter().collect(),
        files: [(PathBuf::from("/path"), b"17\r\n".to_vec())].into_iter().collect(),
    };
    let checked = config::check_bytes("x", text.into_bytes(), Some(&secrets));
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.diagnostics));
    let ChannelKind::Webhook { url, secret } = &config.channels[0].kind;
    assert_eq!(url.expose_secret(), "https://hooks.example.com/in/17");
    assert_eq!(secret.as_ref().expect("written").expose_secret(), "${x}");
}

#[test]
fn without_secrets_checks_that_need_them_are_skipped() {
    let text = std::fs::read_to_string(in_tree("tests/config/broken/secrets_missing.yaml")).expect("it is there");
    let checked = config::check_bytes("x", text.into_bytes(), None);
    let messages: Vec<&str> = checked.diagnostics.list.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "server.tokens(vague).token: this value has a reference of an unknown kind",
            "server.tokens(near).token: this value has a reference to a file without its whole path",
            "server.tokens(open).token: this value has a reference that is not closed",
        ]
    );
}

#[test]
fn no_diagnostic_shows_a_secret() {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(in_tree("tests/config/broken")).expect("the folder is there") {
        texts.push(std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    }
    // References in every place that has a text, to meet every message. (Aliases have none, and take long to expand.)
    let everywhere: Vec<String> = texts
        .iter()
        .filter(|text| !text.contains("*a"))
        .flat_map(|text| {
            text.match_indices(": ").map(|(place, _)| {
                let rest = &text[place + 2..];
                let end = rest.find([',', '}', '\n']).unwrap_or(rest.len());
                format!("{}: \"${{env:TOKEN}}\"{}", &text[..place], &rest[end..])
            })
        })
        .collect();
    texts.extend(everywhere);
    let mut told = 0;
    for text in &texts {
        let checked = config::check_bytes("x", text.clone().into_bytes(), Some(&tables()));
        let rendered = checked.diagnostics.render(true);
        for secret in ["t0ps3cret", "s3cret", "hunter2", "whsec_c2V", "pass word", "user:password"] {
            assert!(!rendered.contains(secret), "{secret} is shown:\n{rendered}");
        }
        told += checked.diagnostics.list.len();
    }
    assert!(told > 500, "{told} diagnostics are too few to show anything");
}

/// Secrets written out, each beside its key and in block style, where a line holds nothing else.
const WRITTEN_OUT: &str = r#"server:
  tokens:
    - {name: a, role: viewer, token: hunter2-1}
    - name: b
      role: viewer
      token: >-
        hunter2-2
prometheus:
  url: https://user:hunter2-3@prometheus.example.com
  basic_auth:
    username: a
    password: 'hunter2-4'
notify:
  channels:
    audit:
      webhook:
        url: https://hooks.example.com/in/hunter2-5
        secret: "hunter2-6"
  heartbeat: {url: "https://deadman.example.com/ping/hunter2-7"}
services:
  - name: api
    target: {command: {current: [a], previous: [b], roll_back: [c]}}
    probes:
      ready:
        http:
          url: https://user:hunter2-8@api.example.com/
          headers: {X-Any: hunter2-9, Cookie: "hunter2-10"}
      run: {command: {run: [a], environment: {KEY: hunter2-11}}}
"#;

#[test]
fn secrets_written_out_are_not_shown_wherever_it_breaks() {
    let breaks = ["", "]", "}", ": ", "\n - ", "'", "\"", "*x", "\t", "x", "[", "!t ", "\nx: "];
    let mut told = 0;
    for (place, _) in WRITTEN_OUT.char_indices().step_by(5) {
        for put_in in breaks {
            // Cut in two in the middle of a secret, its rest would be another word: what follows goes on behind it.
            let (before, after) = WRITTEN_OUT.split_at(place);
            if before.rfind("hunter2").is_some_and(|start| place - start < 10) && !put_in.is_empty() {
                continue;
            }
            let text = if put_in.is_empty() { before.to_owned() } else { format!("{before}{put_in}{after}") };
            let checked = config::check_bytes("x", text.clone().into_bytes(), Some(&tables()));
            let rendered = checked.diagnostics.render(false);
            assert!(!rendered.contains("hunter2"), "{text}\n{rendered}");
            told += checked.diagnostics.list.len();
        }
    }
    assert!(told > 500, "{told}");
}
