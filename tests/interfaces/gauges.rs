//! Gauges of how a service stands, from a real core.

use backstop::{
    core::{event::Request, name::ServiceIndex, policy::Mode},
    serve::metrics::Metrics,
    testing::{Bench, Ends, SERVICE},
};

use crate::daemon;

const NAMES: [&str; 4] =
    ["backstop_open_incidents{", "backstop_verdict{", "backstop_paused{", "backstop_rollback_running{"];

/// What is said of the bench's service just now: the series that are not 0, without their label of the service.
fn said(bench: &mut Bench, metrics: &Metrics) -> Vec<String> {
    let view = bench.state.service_view(bench.now, ServiceIndex(0));
    metrics.service(ServiceIndex(0), &view, bench.state.durable().open_incident(&SERVICE.into()));
    shown(metrics, " 1")
}

fn shown(metrics: &Metrics, value: &str) -> Vec<String> {
    let text = metrics.render();
    let lines = text.lines().filter(|line| NAMES.iter().any(|name| line.starts_with(name)));
    let label = format!("service=\"{SERVICE}\"");
    let mut lines: Vec<String> =
        lines.filter_map(|line| Some(line.strip_suffix(value)?.replace(&label, "").replace("{,", "{"))).collect();
    lines.sort();
    lines
}

#[test]
fn gauges_say_how_a_service_stands() {
    let mut bench = Bench::with_v2(Mode::Act, |_| {});
    let policy = daemon::policy(&[SERVICE]);
    let metrics = Metrics::new(&policy).expect("metrics");
    assert_eq!(shown(&metrics, " 0").len(), 3 + 4 + 1 + 1, "every series is there before anything happens");
    assert_eq!(said(&mut bench, &metrics), ["backstop_verdict{verdict=\"healthy\"}"]);
    bench.ends = [Ends::Silent].into();
    bench.ready = Some(false);
    bench.until("rolls back", |bench| !bench.operations.is_empty());
    let open = [
        "backstop_open_incidents{severity=\"S1\"}",
        "backstop_rollback_running{}",
        "backstop_verdict{verdict=\"roll_back\"}",
    ];
    assert_eq!(said(&mut bench, &metrics), open);
    // A reload does not look like the incident's end.
    metrics.reload(&policy);
    assert_eq!(shown(&metrics, " 1"), open);
    metrics.reload(&daemon::policy(&[SERVICE, "another"]));
    metrics.reload(&policy);
    assert_eq!(shown(&metrics, " 1"), open, "nor where another service goes");
    bench.ready = Some(true);
    bench.until("over", |bench| !bench.incident(1).is_open());
    let pause = Request::Pause { service: None, for_seconds: None, reason: "a drill".to_owned() };
    bench.ask(pause).expect("paused");
    assert_eq!(said(&mut bench, &metrics), ["backstop_paused{}", "backstop_verdict{verdict=\"healthy\"}"]);
}
