//! What a service shares with others, and when it is left alone: dependencies and maintenance times.

use std::collections::BTreeSet;

use super::{
    super::decode::{did_you_mean, shown},
    Node, Sink, View, visible,
};
use crate::core::{name::ServiceName, policy::MaintenancePolicy, time::WallTime};

/// The services that this one needs: each watched here, none twice, and not itself.
pub(super) fn depends_on(view: &View<'_>, names: &[&Node], sink: &mut Sink) -> Vec<ServiceName> {
    let path = view.path_of("depends_on");
    let own = view.written("name").and_then(Node::text);
    let mut needed: Vec<ServiceName> = Vec::new();
    for node in view.list("depends_on") {
        let Some(name) = node.known_text() else { continue };
        if own == Some(name) {
            sink.error(&node.span, format!("{path}: a service cannot depend on itself"), "leave it out");
        } else if !names.iter().any(|other| other.text() == Some(name)) {
            let message = format!("{path}: there is no service called `{}`", shown(visible(node)));
            let others = names.iter().filter(|other| own != other.text()).map(|other| visible(other));
            sink.error(&node.span, message, did_you_mean(visible(node), others));
        } else if needed.iter().any(|one| one.as_str() == name) {
            let message = format!("{path}: `{}` is named twice", shown(visible(node)));
            sink.error(&node.span, message, "leave one of the two out");
        } else {
            needed.push(ServiceName::from(name));
        }
    }
    needed
}

/// Tells of services that need themselves by way of others; each circle once, where it comes first in the file.
pub(super) fn circles(services: &[Node], sink: &mut Sink) {
    let name = |node: &Node| node.get("name").and_then(Node::text).map(str::to_owned);
    let named: Vec<(String, &Node)> = services.iter().filter_map(|node| Some((name(node)?, node))).collect();
    let place = |name: &str| named.iter().position(|(known, _)| known == name);
    let needs: Vec<Vec<usize>> = named
        .iter()
        .enumerate()
        .map(|(own, (_, node))| {
            let items = node.get("depends_on").map_or(&[][..], Node::items);
            items.iter().filter_map(Node::text).filter_map(place).filter(|other| *other != own).collect()
        })
        .collect();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for start in 0..named.len() {
        let Some(circle) = way_back(start, &needs) else { continue };
        if circle.iter().any(|one| told.contains(one)) {
            continue;
        }
        told.extend(&circle);
        let (own, node) = &named[start];
        let list = node.get("depends_on").expect("it leads somewhere");
        let way: Vec<String> = circle.iter().chain([&start]).map(|one| shown(&named[*one].0)).collect();
        let message = format!("services({}).depends_on: it depends on itself: {}", shown(own), way.join(" \u{2192} "));
        sink.error(&list.span, message, "let one of them stop naming the other");
    }
}

/// The shortest way from `start` to itself, without its end.
fn way_back(start: usize, needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; needs.len()];
    let mut waiting = std::collections::VecDeque::from([start]);
    while let Some(here) = waiting.pop_front() {
        for &next in &needs[here] {
            if next == start {
                let mut way = vec![here];
                while let Some(before) = came_from[*way.last().expect("it begins with one")] {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(here);
                waiting.push_back(next);
            }
        }
    }
    None
}

/// Maintenance times. One that is over is no mistake, but it looks forgotten.
pub(super) fn maintenance(view: &View<'_>, sink: &mut Sink) -> Vec<MaintenancePolicy> {
    let shape = view.shape("maintenance");
    let path = view.path_of("maintenance");
    let mut times = Vec::new();
    for (place, node) in view.list("maintenance").iter().enumerate() {
        let one = View::of(node, shape, &node.span, format!("{path}[{}]", place + 1));
        let moment = |key| one.text(key).and_then(|at| Some((at.value.parse::<jiff::Timestamp>().ok()?, at.span)));
        let (Some((from, _)), Some((to, to_span)), Some(why)) = (moment("from"), moment("to"), one.text("why")) else {
            continue;
        };
        let wall = |moment: jiff::Timestamp| WallTime::from_millis(moment.as_millisecond());
        if from >= to {
            let message = format!("{}: {to} is not after `from`, {from}", one.path_of("to"));
            sink.error(&to_span, message, "let it end after its beginning");
        } else if sink.now().is_some_and(|now| wall(to) <= now) {
            sink.warn(&to_span, format!("{}: this time is over", one.path), "take it out");
        }
        times.push(MaintenancePolicy { from: wall(from), to: wall(to), why: why.value });
    }
    times
}
