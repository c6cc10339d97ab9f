//! What is rolled back.

use std::path::Path;

use super::{At, Sink, View, command_line, duration, here, path, program_is_here};
use crate::{
    config::{
        form::{CommandLine, CommandTarget, KubernetesTarget, ReleasesTarget, StopTraffic, Target, Workload},
        node::Node,
    },
    record::atomic,
};

/// The target, if this version has its kind, and whether it can stop and start traffic.
pub(super) fn target(view: &View<'_>, sink: &mut Sink) -> (Target, bool) {
    let command = |view: &View<'_>, key: &str| command_line(view, key).unwrap_or(CommandLine(Vec::new()));
    if let Some(releases) = view.section("releases") {
        let target = ReleasesTarget {
            directory: path(&releases, "directory"),
            current: path(&releases, "current"),
            restart: command(&releases, "restart"),
            stop: command_line(&releases, "stop"),
            start: command_line(&releases, "start"),
            rollout_timeout: duration(&releases, "rollout_timeout"),
        };
        if let Some(current) = releases.text("current").filter(|_| target.directory == target.current) {
            let message =
                format!("{}: the symlink and the directory of releases are the same path", releases.path_of("current"));
            sink.error(&current.span, message, "let it stand beside the directory, as in `/srv/api/current`");
        }
        releases_are_here(&releases, sink);
        for key in ["restart", "stop", "start"] {
            program_is_here(&releases, key, None, None, sink);
        }
        let can_stop = stop_and_start(&releases, sink);
        return (Target::Releases(target), can_stop);
    }
    if let Some(kubernetes) = view.section("kubernetes") {
        return (Target::Kubernetes(workload(&kubernetes, sink)), true);
    }
    let view = view.section("command").unwrap_or_else(|| view.object("command"));
    let target = CommandTarget {
        current: command(&view, "current"),
        previous: command(&view, "previous"),
        roll_back: command(&view, "roll_back"),
        stop: command_line(&view, "stop"),
        start: command_line(&view, "start"),
        rollout_timeout: duration(&view, "rollout_timeout"),
    };
    for key in ["current", "previous", "roll_back", "stop", "start"] {
        program_is_here(&view, key, None, None, sink);
    }
    let can_stop = stop_and_start(&view, sink);
    (Target::Command(target), can_stop)
}

fn workload(view: &View<'_>, sink: &mut Sink) -> KubernetesTarget {
    let name = |key: &str| view.text(key).map(|name| name.value);
    let workload = name("deployment")
        .map(Workload::Deployment)
        .or_else(|| name("statefulset").map(Workload::StatefulSet))
        .or_else(|| name("daemonset").map(Workload::DaemonSet))
        .unwrap_or_else(|| Workload::Deployment(String::new()));
    let stop = view.text("stop_traffic");
    let by_selector = stop.as_ref().is_some_and(|stop| stop.value == "selector");
    if let Some(stop) = stop.as_ref().filter(|_| by_selector && view.written("traffic_service").is_none()) {
        let message = format!("{}: `selector` without a `traffic_service`", view.path_of("stop_traffic"));
        sink.error(&stop.span, message, "name the Service whose selector is to be changed as `traffic_service`");
    }
    if let (Workload::DaemonSet(_), Some(stop), false) = (&workload, &stop, by_selector)
        && stop.written
    {
        let message = format!("{}: a DaemonSet cannot be scaled", view.path_of("stop_traffic"));
        sink.error(&stop.span, message, "write `stop_traffic: selector` and a `traffic_service`, or leave it out");
    }
    let allowed = |node: &Node| node.text().map(str::to_owned);
    KubernetesTarget {
        namespace: name("namespace").unwrap_or_default(),
        workload,
        traffic_service: name("traffic_service"),
        stop_traffic: if by_selector { StopTraffic::Selector } else { StopTraffic::Scale },
        rollout_timeout: duration(view, "rollout_timeout"),
        kubeconfig: view.written("kubeconfig").map(|_| path(view, "kubeconfig")),
        context: name("context"),
        restore_config: view.flag("restore_config").is_some_and(|flag| flag.value),
        config_allow: view
            .written("config_allow")
            .map(|_| view.list("config_allow").iter().filter_map(allowed).collect()),
        restart_at_most: view.percent("restart_at_most").map_or(0.3, |share| share.value),
    }
}

/// Warns of a directory of releases and a symlink that are not on this machine, where that is to be told.
fn releases_are_here(view: &View<'_>, sink: &mut Sink) {
    if !sink.looks_here() {
        return;
    }
    if let Some(directory) = view.text("directory").filter(At::shows)
        && let Some(why) = here::directory(Path::new(&directory.value), here::Want::Read)
    {
        let message = format!("{}: {why}", view.path_of("directory"));
        sink.warn(&directory.span, message, "make it, or mend the path; until then there is nothing to go back to");
    }
    let Some(current) = view.text("current").filter(At::shows) else { return };
    let link = Path::new(&current.value);
    if let Some(why) = here::link(link) {
        let message = format!("{}: {why}", view.path_of("current"));
        let help = "`ln -s RELEASE CURRENT`, or mend the path; until then nobody knows which release is live";
        sink.warn(&current.span, message, help);
    }
    if let Some(why) = here::directory(atomic::parent(link), here::Want::Write) {
        let message = format!("{}: {why}, so the symlink could not be replaced", view.path_of("current"));
        sink.warn(&current.span, message, "let the daemon's user write to it; until then no rollback would succeed");
    }
}

/// What can be stopped must be started again, and the other way round.
fn stop_and_start(view: &View<'_>, sink: &mut Sink) -> bool {
    let (stop, start) = (view.written("stop").is_some(), view.written("start").is_some());
    if stop != start {
        let (written, missing) = if stop { ("stop", "start") } else { ("start", "stop") };
        let message = format!("{}: `{written}` without `{missing}`", view.path_of(written));
        sink.error(&view.key_span(written), message, format!("write `{missing}` too, or leave both out"));
    }
    stop && start
}
