//! Services.

use std::sync::Arc;

use super::{
    super::decode::shown,
    Node, Sink, View, condition, duration, expression, gate,
    limit::{self, Limits},
    neighbour, signal, target, tree, unique, visible,
};
use crate::{
    config::form::{Service, Target},
    core::{
        name::ServiceName,
        policy::{ReportKind, ServicePolicy},
    },
};

/// Compiles every service: its edges, and its policy in the same order.
pub(super) fn services(root: &View<'_>, sink: &mut Sink) -> (Vec<Service>, Vec<Arc<ServicePolicy>>) {
    let nodes = root.list("services");
    unique(nodes.iter().filter_map(|node| node.get("name")).map(|name| (name, "services".to_owned())), "service", sink);
    if let Some(prometheus) = root.section("prometheus") {
        let url = prometheus.text("url").map(|url| url.value).unwrap_or_default();
        signal::tls_has_effect(&prometheus, &url, sink);
    }
    let names: Vec<&Node> = nodes.iter().filter_map(|node| node.get("name")).collect();
    let mut edges = Vec::new();
    let mut policies = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let name = node.get("name").filter(|name| name.text().is_some()).map(visible);
        let path = name.map_or_else(|| format!("services[{}]", place + 1), |name| format!("services({})", shown(name)));
        let span = node.get("name").map_or(&node.span, |name| &name.span);
        let view = View::of(node, root.shape("services"), span, path);
        let (service, policy) = service(&view, root, &names, sink);
        edges.push(service);
        policies.push(Arc::new(policy));
    }
    neighbour::circles(nodes, sink);
    (edges, policies)
}

fn service(view: &View<'_>, root: &View<'_>, names: &[&Node], sink: &mut Sink) -> (Service, ServicePolicy) {
    let name = ServiceName::from(view.text("name").map(|name| name.value).unwrap_or_default());
    let (mut target, can_stop_traffic) = target::target(&view.object("target"), sink);
    let gates_view = view.object("gates");
    if let Target::Kubernetes(target) = &mut target {
        target.suspends_sync = gates_view.text("gitops").is_some_and(|word| word.value == "suspend");
    }
    let version = signal::version(view, sink);
    let signals = signal::signals(view, root, sink);
    let thresholds_view = view.object("thresholds");
    let thresholds = limit::thresholds(&thresholds_view, &signals, sink);
    let limits = Limits::new(&thresholds_view, &signals, sink);
    let mut conditions = condition::built_in(view, &signals, &thresholds, &limits, sink);
    expression::own(view, &signals, &thresholds, &limits, &mut conditions, sink);
    limits.too_far_apart(sink);
    let tree = tree::tree(view, &conditions, sink);
    let policy = ServicePolicy {
        name: name.clone(),
        mode: gate::mode(view, root),
        signals: signals.policies,
        checks_version: version.is_some(),
        rollout_timeout: target.rollout_timeout(),
        on_platform: target.is_on_platform(),
        can_stop_traffic,
        blocks_known_bad: target.blocks_known_bad(),
        atoms: conditions.atoms,
        conditions: conditions.list,
        sustained_count: conditions.sustained,
        tree,
        thresholds,
        consider: gate::consider(&view.object("consider")),
        hold_back_when: hold_back_when(view, sink),
        reports_expire: duration(&view.object("reports"), "expire"),
        gates: gate::gates(&gates_view, limits.min_requests, sink),
        verify: gate::verify(&view.object("verify"), sink),
        depends_on: neighbour::depends_on(view, names, sink),
        maintenance: neighbour::maintenance(view, sink),
    };
    (Service { name, target, version, signals: signals.sources }, policy)
}

fn hold_back_when(view: &View<'_>, sink: &mut Sink) -> Vec<ReportKind> {
    if view.written("hold_back_when").is_none() {
        return vec![
            ReportKind::MinorUi,
            ReportKind::NonCriticalFeature,
            ReportKind::UnderOnePercent,
            ReportKind::WorkaroundAvailable,
        ];
    }
    let mut kinds = Vec::new();
    for node in view.list("hold_back_when") {
        let Some(kind) = node.known_text().and_then(expression::report_kind) else {
            continue;
        };
        if kinds.contains(&kind) {
            let message = format!("{}: `{}` is named twice", view.path_of("hold_back_when"), visible(node));
            sink.error(&node.span, message, "leave one of the two out");
        } else {
            kinds.push(kind);
        }
    }
    kinds
}
