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
