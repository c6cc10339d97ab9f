//! The document of the HTTP API: it has every route, and each of its examples is run as it stands there.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use backstop::{config::form::Role, serve::Limits};
use serde_json::Value;

use crate::daemon::{Core, Daemon, daemon, token};

const TOKEN: &str = "0123456789abcdef";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A section's heading, its commands, and after each the answer that is shown.
struct Section {
    heading: String,
    examples: Vec<(String, Option<Value>)>,
}

fn sections() -> Vec<Section> {
    let text = file("docs/api.md");
    let mut sections = vec![Section { heading: String::new(), examples: Vec::new() }];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')) {
            sections.push(Section { heading: heading.to_owned(), examples: Vec::new() });
        }
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (block, section) = (block.join("\n"), sections.last_mut().expect("there is one"));
        match language {
            "sh" => section.examples.push((block, None)),
            "json" => {
                let answer = serde_json::from_str(&block).unwrap_or_else(|error| panic!("{error}: {block}"));
                if let Some((_, shown)) = section.examples.last_mut() {
                    *shown = Some(answer);
                }
            }
            other => panic!("what is {other}?"),
        }
    }
    sections
}

/// Every route of the router, as `METHOD /path`.
fn routes() -> BTreeSet<String> {
    let source = file("src/serve/routes/mod.rs");
    let mut routes = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        let Some((path, methods)) = line.strip_prefix(".route(\"").and_then(|rest| rest.split_once("\", ")) else {
            continue;
        };
        let is_open = ["/healthz", "/readyz", "/metrics"].contains(&path);
        let path = if is_open { path.to_owned() } else { format!("/api/v1{path}") };
        for (word, method) in [("get(", "GET"), ("post(", "POST")] {
            if methods.contains(word) {
                routes.insert(format!("{method} {path}"));
            }
        }
    }
    routes
}

/// Whether what is shown is a part of what came: every key is there, and of lists the first items are alike.
fn is_part(shown: &Value, came: &Value, at: &str) -> Result<(), String> {
    match (shown, came) {
        (Value::Object(shown), Value::Object(came)) => shown.iter().try_for_each(|(key, shown)| {
            let at = format!("{at}.{key}");
            is_part(shown, came.get(key).ok_or_else(|| format!("{at} did not come"))?, &at)
        }),
        (Value::Array(shown), Value::Array(came)) => match (shown.first(), came.first()) {
            (Some(shown), Some(came)) => is_part(shown, came, &format!("{at}[0]")),
            (Some(_), None) => Err(format!("{at} came empty")),
            (None, _) => Ok(()),
        },
        _ if std::mem::discriminant(shown) == std::mem::discriminant(came) => Ok(()),
        _ => Err(format!("{at} is {came}, and {shown} is shown")),
    }
}

#[test]
fn it_has_every_route_and_no_other() {
    let routes = routes();
    assert!(routes.len() > 20, "{routes:?}");
    let headings = sections()
        .into_iter()
        .filter(|section| section.heading.starts_with("GET /") || section.heading.starts_with("POST /"));
    let documented: BTreeSet<String> = headings
        .map(|section| {
            assert!(!section.examples.is_empty(), "{} has no example", section.heading);
            section.heading
        })
        .collect();
    assert_eq!(documented, routes);
}

async fn run(daemon: &Daemon, command: &str) -> (bool, String) {
    let command = command
        .replace("/run/backstop/backstop.sock", daemon.socket.to_str().expect("text"))
        .replace("127.0.0.1:9464", &daemon.address.to_string());
    let output = tokio::task::spawn_blocking(move || {
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).env("BACKSTOP_TOKEN", TOKEN).stdin(Stdio::null());
        shell.output().expect("bash is there")
    });
    let output = output.await.expect("no panic");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.stderr.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn its_examples_are_answered_as_it_says() {
    let tokens = [token("oncall", Role::Operator, TOKEN)];
    let daemon = daemon(&tokens, Core::Answers, Limits::default()).await;
    let mut run_count = 0;
    for section in sections() {
        for (command, shown) in section.examples {
            let (is_done, said) = run(&daemon, &command).await;
            assert!(is_done, "{}: {command}\n{said}", section.heading);
            // Where it asks for what the heading says, and not for something else.
            if let Some((method, path)) = section.heading.split_once(' ').filter(|(_, path)| path.starts_with('/')) {
                assert_eq!(method == "POST", command.contains(" -d "), "{command}");
                let first = path.split('{').next().expect("a path");
                assert!(command.contains(first), "{}: {command}", section.heading);
            }
            if let Some(shown) = shown {
                let came = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
                is_part(&shown, &came, "").unwrap_or_else(|why| panic!("{}: {why}\n{said}", section.heading));
            }
            run_count += 1;
        }
    }
    assert!(run_count > 25, "{run_count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_errors_are_what_comes() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = "curl -sS --unix-socket /run/backstop/backstop.sock -w '\n%{http_code}' http://backstop/api/v1";
    let body = "-H 'Content-Type: application/json' -d";
    for (command, status) in [
        (format!("{socket}/services/shop"), 404),
        (format!("{socket}/services/billing/pause {body} '{{}}'"), 422),
        (format!("{socket}/services/billing/pause {body} '{{\"reason\": \"x\", \"fro\": 1}}'"), 422),
        (format!("{socket}/services/billing/pause {body} '{{'"), 400),
        (format!("{socket}/services/billing/pause -d '{{\"reason\": \"x\"}}'"), 415),
        (format!("{socket}/services/billing/rollback {body} '{{\"override\": [\"not_pinned\"]}}'"), 422),
        (format!("{socket}/services/solvereign-api/rollback {body} '{{\"reason\": \"gate\"}}'"), 409),
        (format!("{socket}/incidents/solvereign-api-17/approve {body} '{{\"approval\": 9}}'"), 409),
        (format!("{socket}/services -X DELETE"), 405),
        (
            format!("curl -sS -w '\n%{{http_code}}' http://127.0.0.1:9464/api/v1/pause {body} '{{\"reason\": \"x\"}}'"),
            403,
        ),
    ] {
        let (_, said) = run(&daemon, &command).await;
        let (answer, code) = said.rsplit_once('\n').expect("two lines");
        assert_eq!(code, status.to_string(), "{command}: {answer}");
        let problem: Value = serde_json::from_str(answer).expect("a problem document");
        for key in ["type", "title", "status", "detail"] {
            assert!(problem.get(key).is_some(), "{key}: {answer}");
        }
        assert!(file("docs/api.md").contains(&format!("| {status} ")), "{status} is in the table");
    }
}
