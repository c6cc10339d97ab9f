//! What a good file compiles to.

use std::{sync::Arc, time::Duration};

use backstop::{
    config::{
        self,
        form::{Role, SignalSource, Target},
    },
    core::{
        name::SignalIndex,
        policy::{
            Atom, Expression, Finding, GitopsPolicy, LatencyLimit, MaintenancePolicy, Mode, RateLimit, ReportKind,
            ServicePolicy, Severity, SharedCausePolicy, SignalKind, SustainIndex, Then,
        },
        time::WallTime,
        verdict::{PlanKind, VerdictKind},
    },
};
use secrecy::ExposeSecret;

use crate::support::{check, good, in_tree, tables};

const HEAD: &str = r#"
prometheus: {url: http://127.0.0.1:9090, bearer_token: "${env:TOKEN}"}
notify:
  channels:
    pager: {webhook: {url: https://hooks.example.com/pager, secret: "${env:WEBHOOK_SECRET}"}}
    chat: {webhook: {url: https://hooks.example.com/chat}}
    mail: {webhook: {url: https://hooks.example.com/mail}}
    audit: {webhook: {url: https://hooks.example.com/audit}}
"#;

const SERVICE: &str = r#"
services:
  - name: api
    target:
      releases: {directory: /srv/api/releases, current: /srv/api/current, restart: [systemctl, restart, api]}
    probes:
      ready: {http: {url: http://127.0.0.1:8000/health/ready}}
      port: {tcp: "127.0.0.1:8000", every: 500ms}
      side: {tcp: "127.0.0.1:8001", critical: false}
    requests:
      prometheus: {total: requests_total, errors: 'requests_total{code=~"5.."}', latency: request_seconds_bucket}
    features:
      smoke: {command: {run: [smoke, --fast]}}
"#;

/// The lines of the reference between two markers.
fn reference(from: &str, to: Option<&str>) -> String {
    let text = std::fs::read_to_string(in_tree("config/backstop.yaml")).expect("it is there");
    let start = text.find(from).unwrap_or_else(|| panic!("{from} is there"));
    let rest = &text[start..];
    let end = to.map_or(rest.len(), |to| rest.find(to).unwrap_or_else(|| panic!("{to} is there")));
    rest[..end].to_owned()
}

fn only_service(text: &str) -> Arc<ServicePolicy> {
    Arc::clone(&good(text).policy.services[0])
}

#[test]
fn defaults_spelled_out_are_the_defaults() {
    let spelled_out =
        format!("{HEAD}{}{SERVICE}{}", reference("mode: act", Some("services:")), reference("    thresholds:\n", None));
    let (left_out, spelled_out) = (good(&format!("{HEAD}{SERVICE}")), good(&spelled_out));
    assert_eq!(left_out.policy.services, spelled_out.policy.services);
    let (left, right) = (&left_out.policy.escalation, &spelled_out.policy.escalation);
    assert_eq!((&left.findings, left.rollback_too_long_over), (&right.findings, right.rollback_too_long_over));
    for severity in Severity::ALL {
        let (left, right) = (&left.severities[&severity], &right.severities[&severity]);
        assert_eq!((left.repeat, left.acknowledge_expires), (right.repeat, right.acknowledge_expires), "{severity}");
    }
    // Who hears of it depends on the channels that there are; the reference's own list for S3 is shorter.
    assert_eq!(left.severities[&Severity::S3].notify.len(), 4);
    assert_eq!(right.severities[&Severity::S3].notify.len(), 2);
}

#[test]
fn the_built_in_conditions_and_tree() {
    let service = only_service(&format!("{HEAD}{SERVICE}"));
    let names: Vec<&str> = service.conditions.iter().map(|condition| condition.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "system_down",
            "rollout_failing",
            "data_at_risk",
            "security_exploited",
            "error_rate_critical",
            "error_rate_elevated",
            "key_feature_broken",
            "performance_degraded",
            "complaints",
        ]
    );
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let requests = SignalIndex(4);
    let rate = |above, over| RateLimit {
        above,
        over,
        confidence: 0.99,
        min_requests: 100,
        widen_to: 10 * minute,
        min_errors: 3,
    };
    let failing = |signal, failing| Atom::Failing { signal: SignalIndex(signal), failing };
    let reported = |kind, at_least, over| Atom::Reported { kind, at_least, over };
    assert_eq!(
        service.atoms,
        [
            failing(0, 3),
            failing(1, 3),
            Atom::RolloutFailing,
            reported(ReportKind::DataCorruption, 1, 60 * minute),
            reported(ReportKind::SecurityExploited, 1, 60 * minute),
            Atom::ErrorRate { signal: requests, limit: rate(0.05, minute) },
            Atom::ErrorRate { signal: requests, limit: rate(0.01, minute) },
            failing(3, 2),
            Atom::Latency {
                signal: requests,
                limit: LatencyLimit {
                    quantile: 0.99,
                    factor: Some(2.0),
                    at_least: Duration::from_millis(200),
                    rate: rate(1.0 - 0.99, 5 * minute)
                }
            },
            reported(ReportKind::Complaint, 3, 10 * minute),
        ]
    );
    let sustained = |atom, index| Expression::Sustained {
        inner: Box::new(Expression::Atom(atom)),
        duration: 5 * minute,
        index: SustainIndex(index),
    };
    let expressions: Vec<&Expression> = service.conditions.iter().map(|condition| &condition.expression).collect();
    assert_eq!(
        expressions,
        [
            &Expression::Any(vec![Expression::Atom(0), Expression::Atom(1)]),
            &Expression::Atom(2),
            &Expression::Atom(3),
            &Expression::Atom(4),
            &Expression::Atom(5),
            &sustained(6, 0),
            &Expression::Atom(7),
            &sustained(8, 1),
            &Expression::Atom(9),
        ]
    );
    assert_eq!(service.sustained_count, 2);
    let asked: Vec<_> = service.tree.iter().map(|question| (question.when, question.plan)).collect();
    let expected: Vec<_> = (0..9).map(|when| (when, (when == 2).then_some(PlanKind::StopWrites))).collect();
    assert_eq!(asked, expected);
    assert!(service.tree[..5].iter().all(|question| question.then == Then::Verdict(VerdictKind::RollBack)));
    assert!(service.tree[5..].iter().all(|question| question.then == Then::Verdict(VerdictKind::Consider)));

    // A default gives way to what is written beside it.
    assert_eq!(service.thresholds.confirm_every, second / 4);
    let times: Vec<_> =
        service.signals.iter().map(|signal| (signal.name.as_str(), signal.every, signal.timeout)).collect();
    assert_eq!(
        times,
        [
            ("ready", 2 * second, second),
            ("port", second / 2, second / 2),
            ("side", 2 * second, second),
            ("smoke", minute, 30 * second),
            ("requests", 5 * second, 4 * second),
        ]
    );
    assert_eq!(service.signals[2].kind, SignalKind::Probe { critical: false });
}

#[test]
fn what_nothing_measures_is_said() {
    let text = format!("{HEAD}{SERVICE}");
    let end = text.find("    requests:").expect("it is there");
    let service = only_service(&text[..end]);
    let not_measured: Vec<String> = service
        .atoms
        .iter()
        .filter_map(|atom| match atom {
            Atom::NotMeasured { why } => Some(why.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(not_measured, ["no requests are configured", "no critical features are configured"]);
}

#[test]
fn own_conditions_and_nested_questions() {
    let own = r#"    conditions:
      late: {all: [half, {not: complaints}]}
      half: {any: [{probe: {name: side}}, {probe: {name: ready, failing: 7}}, {feature: {name: smoke}}]}
      rate: {error_rate: {above: 5%, over: 1m}}
      held: {error_rate: {above: 20%, over: 2m, for: 90s}}
      slow: {latency_p95: {above: 750ms, over: 20m}}
      told: {reports: {kind: minor_ui, at_least: 2, over: 1h}}
      same: {condition: rate}
    decision_tree:
      - ask: "Late?"
        when: late
        ask_next:
          - {ask: "Slow too?", when: slow, then: consider}
          - {ask: "Held?", when: held, then: roll_back, plan: quick}
      - {ask: "Told?", when: told, then: monitor}
"#;
    // A window may be longer than the default bound of widening, which then follows.
    let service = only_service(&format!("{HEAD}{SERVICE}{own}"));
    let place = |name: &str| {
        service
            .conditions
            .iter()
            .position(|condition| condition.name.as_str() == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    for (index, condition) in service.conditions.iter().enumerate() {
        assert!(earlier_only(&condition.expression, index), "{} names a later one", condition.name);
    }
    // Equal facts are shared: the rate is the built-in one's.
    assert_eq!(
        service.conditions[place("rate")].expression,
        service.conditions[place("error_rate_critical")].expression
    );
    assert_eq!(
        service.conditions[place("same")].expression,
        Expression::Condition(u16::try_from(place("rate")).expect("few"))
    );
    let Expression::All(parts) = &service.conditions[place("late")].expression else { panic!("late is all") };
    let complaints = Expression::Condition(u16::try_from(place("complaints")).expect("few"));
    assert_eq!(parts[1], Expression::Not(Box::new(complaints)));
    let latency = service.atoms.iter().find_map(|atom| match atom {
        Atom::Latency { limit, .. } if limit.factor.is_none() => Some(limit),
        _ => None,
    });
    let latency = latency.expect("slow is absolute");
    assert_eq!((latency.quantile, latency.at_least), (0.95, Duration::from_millis(750)));
    assert_eq!(latency.rate.widen_to, Duration::from_secs(20 * 60));
    assert_eq!(service.sustained_count, 3);
    let Then::AskNext(next) = &service.tree[0].then else { panic!("questions follow") };
    assert_eq!(next[1].plan, Some(PlanKind::Quick));
    assert_eq!(usize::from(next[0].when), place("slow"));
    assert_eq!(service.tree[1].then, Then::Verdict(VerdictKind::Monitor));
}

fn earlier_only(expression: &Expression, than: usize) -> bool {
    match expression {
        Expression::Atom(_) => true,
        Expression::Condition(place) => usize::from(*place) < than,
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(|part| earlier_only(part, than)),
        Expression::Not(inner) | Expression::Sustained { inner, .. } => earlier_only(inner, than),
    }
}

#[test]
fn the_edges() {
    let text = r#"
server:
  listen: "[::1]:9000"
  external_url: https://backstop.example.com/
  tokens: [{name: oncall, role: operator, token: "${env:TOKEN}"}]
self_check: {tcp: ["10.0.0.2:53", "[::1]:53"]}
notify:
  channels: {audit: {webhook: {url: https://hooks.example.com/x}}}
  heartbeat: {url: https://deadman.example.com/ping}
severities: {S3: {notify: [audit], repeat: 1h}}
escalation: {signal_lost: {severity: S1}, rollback_took_too_long: {over: 5m}}
mode: observe
services:
  - name: one
    mode: ask
    target:
      command: {current: [now], previous: [before], roll_back: [back], stop: [stop], start: [start], rollout_timeout: 30s}
    version: {http: {url: https://127.0.0.1/health, tls: {server_name: api.example.com}}, pointer: /app/version}
    probes:
      ready: {http: {url: http://127.0.0.1/, method: POST, headers: {X-Key: "${env:TOKEN}"}, status: [200, 204], body: ok, redirects: 2}}
      run: {command: {run: [true], directory: /srv, environment: {KEY: "${env:TOKEN}"}}, every: 10s}
    requests:
      metrics: {url: http://127.0.0.1/metrics, total: a_total, errors: b_total}
  - name: two
    target: {releases: {directory: /srv/releases, current: /srv/current, restart: [restart]}}
    probes: {ready: {http: "http://127.0.0.1/"}}
    requests: {prometheus: {url: http://127.0.0.1:9090, total: a_total, errors: b_total, basic_auth: {username: u, password: "${env:TOKEN}"}}}
"#
    .replace("run: [true]", "run: [\"true\"]");
    let config = good(&text);
    assert_eq!(config.server.listen.to_string(), "[::1]:9000");
    assert_eq!(config.server.external_url, "https://backstop.example.com");
    assert_eq!(config.server.tokens[0].role, Role::Operator);
    assert_eq!(config.self_check[1].host, "::1");
    assert_eq!(config.heartbeat.as_ref().expect("written").every, Duration::from_secs(60));
    let [one, two] = config.policy.services.as_slice() else { panic!("two services") };
    assert_eq!((one.mode, two.mode), (Mode::Ask, Mode::Observe));
    assert!(one.can_stop_traffic && one.checks_version && !two.can_stop_traffic && !two.checks_version);
    let escalation = &config.policy.escalation;
    assert_eq!(escalation.severity(Finding::SignalLost), Severity::S1);
    assert_eq!(escalation.action(Finding::SignalLost), Finding::SignalLost.default_action());
    assert_eq!(escalation.rollback_too_long_over, Duration::from_secs(300));
    assert_eq!(escalation.severities[&Severity::S3].repeat, Some(Duration::from_secs(3600)));
    let Target::Command(target) = &config.services[0].target else { panic!("a command target") };
    assert_eq!(target.rollout_timeout, Duration::from_secs(30));
    let version = config.services[0].version.as_ref().expect("written");
    assert_eq!(
        (version.pointer.as_str(), version.http.tls.server_name.as_deref()),
        ("/app/version", Some("api.example.com"))
    );
    let SignalSource::Http(http) = &config.services[0].signals[0] else { panic!("http") };
    assert_eq!((http.method.as_str(), http.status.as_slice(), http.redirects), ("POST", [200, 204].as_slice(), 2));
    assert_eq!((http.headers[0].0.as_str(), http.headers[0].1.expose_secret()), ("X-Key", crate::support::TOKEN));
    let SignalSource::Command(command) = &config.services[0].signals[1] else { panic!("a command") };
    assert_eq!(command.environment["KEY"].expose_secret(), crate::support::TOKEN);
    assert!(matches!(&config.services[0].signals[2], SignalSource::Metrics(metrics) if metrics.total == "a_total"));
    assert!(
        matches!(&config.services[1].signals[1], SignalSource::Prometheus(source) if source.server.basic_auth.is_some())
    );
}

#[test]
fn credentials_stay_with_their_server() {
    let other = SERVICE.replace("prometheus: {", "prometheus: {url: http://127.0.0.1:9191, ");
    for (text, url, sent) in [(SERVICE, "http://127.0.0.1:9090", true), (&*other, "http://127.0.0.1:9191", false)] {
        let config = good(&format!("{HEAD}{text}"));
        let SignalSource::Prometheus(source) = &config.services[0].signals[4] else { panic!("prometheus") };
        assert_eq!((source.server.url.as_str(), source.server.bearer_token.is_some()), (url, sent));
    }
}

#[test]
fn contradictions_that_a_snapshot_does_not_show() {
    let cases = [
        ("    thresholds: {slow_above: {latency_p99: 500ms, at_least: 200ms}}\n", "slow_above.at_least: has no effect"),
        ("    thresholds: {widen_to: 2m}\n", "the window of 5m is longer than `widen_to`, 2m"),
        ("    thresholds: {consider_above: {error_rate: 5%}}\n", "5% is not above consider_above.error_rate, 5%"),
        ("    thresholds: {min_requests: 2}\n", "3 errors are more than the 2 requests"),
        ("    gates: {deployed_within: 1m}\n", "2m is not shorter than `deployed_within`, 1m"),
        ("    verify: {timeout: 60s}\n", "60s cannot pass within"),
        ("    conditions: {a: {latency_p99: {above: 1s, at_least: 1ms}}}\n", "latency_p99.at_least: has no effect"),
        ("    conditions: {a: {error_rate: {above: 1%, for: 1s}}}\n", "1s has no effect"),
    ];
    for (extra, expected) in cases {
        let expected = expected.replace("60s", "1m");
        let checked = check(&format!("{HEAD}{SERVICE}{extra}"));
        let messages: Vec<&str> = checked.diagnostics.list.iter().map(|found| found.message.as_str()).collect();
        assert!(
            !messages.is_empty() && messages.iter().all(|message| message.contains(&expected)),
            "{extra}: {messages:#?}"
        );
    }
}

#[test]
fn neighbours_and_maintenance() {
    let more = "    depends_on: [cart]\n    gates: {shared_cause: {services: 5, within: 2m, wait: 4s}}\n    maintenance: \
                [{from: 2026-01-07T10:30:00Z, to: \"2026-01-07T12:30:00+01:00\", why: the disks are replaced}]\n  - \
                name: cart\n    target: {command: {current: [a], previous: [b], roll_back: [c]}}\n    probes: {ready: {tcp: \
                \"127.0.0.1:1\"}}\n";
    let text = format!("{HEAD}{SERVICE}{more}");
    let service = only_service(&text);
    assert_eq!(service.depends_on, ["cart".into()]);
    assert_eq!(service.gates.shared_cause, SharedCausePolicy { services: 5, within: Duration::from_secs(120) });
    assert_eq!(service.gates.acting_wait, Duration::from_secs(4));
    let at = |text: &str| -> WallTime { serde_json::from_str(&format!("\"{text}\"")).expect("a time") };
    let (from, to) = (at("2026-01-07T10:30:00Z"), at("2026-01-07T11:30:00Z"));
    assert_eq!(service.maintenance, [MaintenancePolicy { from, to, why: "the disks are replaced".to_owned() }]);
    let warnings = |now: &str| -> Vec<String> {
        let checked =
            config::check_bytes_at("backstop.yaml", text.clone().into_bytes(), Some(&tables()), Some(at(now)));
        assert!(checked.config.is_some(), "{}", checked.diagnostics);
        checked.diagnostics.list.into_iter().map(|one| one.message).collect()
    };
    assert_eq!(warnings("2026-01-07T11:29:59Z"), [""; 0]);
    assert_eq!(warnings("2026-01-07T11:30:00Z"), ["services(api).maintenance[1]: this time is over"]);
    let defaults = only_service(&format!("{HEAD}{SERVICE}"));
    assert_eq!((&defaults.depends_on[..], &defaults.maintenance[..]), (&[][..], &[][..]));
    assert_eq!(defaults.gates.shared_cause, SharedCausePolicy { services: 3, within: Duration::from_secs(300) });
}

#[test]
fn a_key_that_can_be_guessed_is_warned_of_without_being_shown() {
    for (secret, length) in [("x", Some(1)), ("whsec_c2VjcmV0LXdlYmhvb2s=", Some(14)), ("sixteen letters!", None)] {
        let text = format!("{}{SERVICE}", HEAD.replace("${env:WEBHOOK_SECRET}", secret));
        let checked = config::check_bytes("one.yaml", text.into_bytes(), Some(&tables()));
        assert!(checked.config.is_some(), "{}", checked.diagnostics);
        let told: Vec<_> = checked.diagnostics.list.iter().map(|one| one.message.as_str()).collect();
        let warned = told.iter().find(|one| one.contains("can be guessed")).copied();
        let expected = length.map(|length| {
            format!(
                "notify.channels.pager.webhook.secret: the key is so short ({length} bytes) that it can be guessed from \
                 one signed page"
            )
        });
        assert_eq!(warned, expected.as_deref(), "{told:?}");
    }
}

#[test]
fn a_sync_is_suspended_where_the_gate_says_so() {
    for (gitops, policy, suspends) in [
        ("", GitopsPolicy::Refuse, false),
        ("    gates: {gitops: act}\n", GitopsPolicy::Act, false),
        ("    gates: {gitops: suspend}\n", GitopsPolicy::Suspend, true),
    ] {
        let service = "services:\n  - name: api\n    target: {kubernetes: {namespace: prod, deployment: api}}\n    \
                       probes: {ready: {http: {url: 'http://127.0.0.1:8000/health/ready'}}}\n";
        let config = good(&format!("{service}{gitops}"));
        assert_eq!(config.policy.services[0].gates.gitops, policy);
        let Target::Kubernetes(target) = &config.services[0].target else { panic!("another target") };
        assert_eq!(target.suspends_sync, suspends);
    }
}
