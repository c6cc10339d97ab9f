//! What is rolled back.

use std::path::Path;

use super::{At, Sink, View, command_line, duration, here, path, program_is_here};
use crate::{
    config::{
        form::{
            CommandLine, CommandTarget, ComposeTarget, EngineTls, KubernetesTarget, ReleasesTarget, StopTraffic,
            Target, Workload,
        },
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
    if let Some(view) = view.section("compose") {
        return (Target::Compose(compose(&view, sink)), true);
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
        suspends_sync: false,
    }
}

fn compose(view: &View<'_>, sink: &mut Sink) -> ComposeTarget {
    let name = |key: &str| view.text(key).map(|name| name.value);
    let texts = |key: &str| -> Vec<String> {
        let written = view.written(key).map(|_| view.list(key)).unwrap_or_default();
        written.iter().filter_map(Node::text).map(str::to_owned).collect()
    };
    let service = name("service").unwrap_or_default();
    let docker_host = name("docker_host");
    let is_encrypted = |host: &String| host.starts_with("tcp://") || host.starts_with("https://");
    let tls = view.section("tls").map(|tls| {
        let (cert, key) = (tls.written("cert_file"), tls.written("key_file"));
        if cert.is_some() != key.is_some() {
            let (written, missing) = if cert.is_some() { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
            let message = format!("{}: `{written}` without `{missing}`", tls.path_of(written));
            sink.error(&tls.key_span(written), message, format!("write `{missing}` too, or leave both out"));
        }
        let identity = cert.and(key).map(|_| (path(&tls, "cert_file"), path(&tls, "key_file")));
        EngineTls { ca_file: path(&tls, "ca_file"), identity }
    });
    if tls.is_some() && !docker_host.as_ref().is_some_and(is_encrypted) {
        let message = format!("{}: has no effect without a `docker_host` that is reached by TCP", view.path_of("tls"));
        sink.error(
            &view.key_span("tls"),
            message,
            "write the engine as `docker_host: tcp://HOST:2376`, or leave it out",
        );
    }
    if let Some(host) = view.text("docker_host").filter(|host| tls.is_none() && host.value.starts_with("https://")) {
        let message = format!("{}: an https engine without `tls`", view.path_of("docker_host"));
        sink.error(
            &host.span,
            message,
            "write `tls: {ca_file: …}` beside it, with `cert_file` and `key_file` where asked for",
        );
    }
    if let Some(directory) = view.text("project_directory").filter(|directory| sink.looks_here() && directory.shows())
        && let Some(why) = here::directory(Path::new(&directory.value), here::Want::Read)
    {
        let message = format!("{}: {why}", view.path_of("project_directory"));
        sink.warn(&directory.span, message, "make it, or mend the path; until then nothing can be rolled back");
    }
    let stop_traffic = texts("stop_traffic");
    ComposeTarget {
        project_directory: path(view, "project_directory"),
        stop_traffic: if stop_traffic.is_empty() { vec![service.clone()] } else { stop_traffic },
        service,
        files: texts("files").into_iter().map(Into::into).collect(),
        profiles: texts("profiles"),
        env_file: view.written("env_file").map(|_| path(view, "env_file")),
        docker_host,
        tls,
        block_known_bad: view.flag("block_known_bad").is_some_and(|flag| flag.value),
        rollout_timeout: duration(view, "rollout_timeout"),
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
