//! `backstop check FILE`: says whether a configuration can be used, and if not, why not.

use std::{io::Write, path::Path, process::ExitCode};

use crate::{
    config::{self, Secrets, form::Config},
    core::policy::{Mode, SignalKind},
};

/// The exit code for a configuration that cannot be used (`EX_CONFIG` of `sysexits.h`).
pub const EXIT_CONFIGURATION: u8 = 78;

/// Checks the file at `path`: a summary to `out`, diagnostics to `err`. Without `secrets` references are left alone.
/// Diagnostics are coloured; `err` is to be a stream that takes that out where it is not wanted (`anstream`).
/// What the streams cannot take (a closed pipe) is dropped: the exit code says it too.
pub fn run(path: &Path, secrets: Option<&dyn Secrets>, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    // Whoever leaves secrets out checks the file, and not this machine.
    let checked = match secrets {
        Some(secrets) => config::check_here(path, secrets),
        None => config::check(path, None),
    };
    let diagnostics = checked.diagnostics.render(true);
    if !diagnostics.is_empty() {
        let _ = writeln!(err, "{diagnostics}");
    }
    let counted = checked.diagnostics.counted();
    if let Some(config) = checked.config {
        let _ = writeln!(out, "{}", summary(path, &config, secrets.is_some(), &counted));
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(err, "\n{}: {counted}", path.display());
    ExitCode::from(EXIT_CONFIGURATION)
}

/// Tells on standard error; the exit code says it too.
pub(super) fn tell(text: &str) {
    let _closed_pipe = writeln!(anstream::stderr(), "{text}");
}

/// What will be watched, in a few lines.
fn summary(path: &Path, config: &Config, resolved: bool, counted: &str) -> String {
    let with = if counted.is_empty() { String::new() } else { format!(", with {counted}") };
    let mut lines = vec![format!("{}: ok{with}", path.display())];
    let services = &config.policy.services;
    let modes = [Mode::Act, Mode::Ask, Mode::Observe]
        .map(|mode| services.iter().filter(|service| service.mode == mode).count());
    let modes: Vec<String> = ["act", "ask", "observe"]
        .iter()
        .zip(modes)
        .filter(|(_, count)| *count > 0)
        .map(|(mode, count)| if count == services.len() { (*mode).to_owned() } else { format!("{mode} {count}") })
        .collect();
    let signals = || services.iter().flat_map(|service| &service.signals);
    let probes = signals().filter(|signal| matches!(signal.kind, SignalKind::Probe { .. })).count();
    let features = signals().filter(|signal| matches!(signal.kind, SignalKind::Feature { .. })).count();
    let requests = signals().filter(|signal| signal.kind == SignalKind::Requests).count();
    let channels: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
    let channels = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    for (what, value) in [
        ("services", services.len().to_string()),
        ("mode", modes.join(", ")),
        ("probes", probes.to_string()),
        ("features", features.to_string()),
        ("requests", requests.to_string()),
        ("channels", channels),
        ("listen", config.server.listen.to_string()),
    ] {
        lines.push(format!("  {what:<9} {value}"));
    }
    if !resolved {
        lines.push("  references to secrets were not looked up".to_owned());
    }
    lines.join("\n")
}
