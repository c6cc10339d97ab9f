//! Metrics, and what they count.

use std::time::Duration;

use backstop::{
    core::{
        durable::Durable,
        entry::{Entry, Fact, PlanOutcome},
        event::Sequence,
        gate::Gate,
        name::{ServiceIndex, SignalIndex},
        page::DeliveryOutcome,
        policy::{Finding, Severity},
        sample::{Measurement, Outcome, Reason},
        verdict::{PlanKind, VerdictKind},
    },
    serve::metrics::Metrics,
};
use reqwest::header;

use super::plain;
use crate::{daemon, views};

fn counted(metrics: &Metrics) -> Vec<String> {
    let mut lines: Vec<String> = metrics
        .render()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("_bucket{"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn metrics_count_what_happened() {
    let metrics = Metrics::new(&daemon::policy(&["solvereign-api"])).expect("metrics");
    let (service, signal) = (ServiceIndex(0), SignalIndex(0));
    metrics.sample(service, signal, &Measurement::Check(Outcome::Passed), false);
    metrics.sample(service, signal, &Measurement::Check(Outcome::Failed(Reason::new("503"))), false);
    metrics.sample(service, signal, &Measurement::RequestsMissed(Reason::new("away")), false);
    metrics.sample(service, signal, &Measurement::Check(Outcome::Failed(Reason::new("503"))), true);
    metrics.lag(Duration::from_millis(3));
    metrics.evaluation_duration(Duration::from_micros(2));
    metrics.service(service, &views::rolling_back(), None);
    metrics.delivery(&"audit".into(), &DeliveryOutcome::Delivered);
    metrics.daemon(&views::daemon());
    metrics.heartbeat_succeeded(views::at(0));
    metrics.config_reload(true);
    let entry =
        |seconds, fact| Entry { at: views::at(seconds), boot: None, service: Some("solvereign-api".into()), fact };
    let incident = backstop::core::name::IncidentId::from("solvereign-api-17");
    let opened = entry(
        0,
        Fact::IncidentOpened {
            incident: incident.clone(),
            verdict: VerdictKind::RollBack,
            path: views::path(),
            deploy: Some(3),
            onset: None,
            by: None,
        },
    );
    metrics.entry_appended(&opened);
    metrics.entry_appended(&entry(
        1,
        Fact::Found {
            incident: Some(incident.clone()),
            finding: Finding::RollbackRefused,
            severity: Severity::S1,
            detail: String::new(),
            gate: Some(Gate::Cooldown),
        },
    ));
    // The plan began in an earlier process.
    let begun = Fact::PlanStarted {
        incident: incident.clone(),
        number: 1,
        plan: PlanKind::Quick,
        from: "v2".into(),
        to: "v1".into(),
        deploy: 3,
        object: None,
        steps: Vec::new(),
        approved_by: None,
        by_hand: None,
    };
    let mut durable = Durable::default();
    for (sequence, entry) in [(Sequence(1), opened), (Sequence(2), entry(10, begun))] {
        durable.apply(sequence, &entry).expect("it folds");
    }
    metrics.recovered(&durable);
    metrics.entry_appended(&entry(
        100,
        Fact::PlanEnded { incident, plan: 1, outcome: PlanOutcome::Verified, detail: String::new() },
    ));
    metrics.upkeep();
    insta::assert_snapshot!(counted(&metrics).join("\n"));
    let text = metrics.render();
    assert!(text.contains("backstop_rollback_duration_seconds_bucket{le=\"120\"} 1"), "{text}");
    assert!(text.contains("# HELP backstop_condition A condition's answer"), "{text}");
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let daemon = plain().await;
    let response = daemon.get("/metrics").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.expect("text");
    assert!(text.contains("backstop_build_info{version="), "{text}");
}
