//! What is rolled back.

use super::{Sink, View, command_line, duration, path, program_is_here};
use crate::config::form::{CommandLine, CommandTarget, ReleasesTarget, Target};

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
        for key in ["restart", "stop", "start"] {
            program_is_here(&releases, key, None, None, sink);
        }
        let can_stop = stop_and_start(&releases, sink);
        return (Target::Releases(target), can_stop);
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
