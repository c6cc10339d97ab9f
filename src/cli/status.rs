//! `backstop status`: every service at a glance.

use std::{io::IsTerminal as _, time::Duration};

use serde_json::Value;

use super::{
    Failure,
    arguments::{Access, Status},
    client::{Daemon, decode},
    output, render,
};

/// The board is renewed a few times a second; people read no faster than this.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);

/// To the upper left corner, and everything below away.
const ANEW: &str = "\u{1b}[H\u{1b}[2J";

pub(super) async fn run(access: &Access, status: &Status) -> Result<(), Failure> {
    let daemon = Daemon::of(access)?;
    if status.watch {
        return watch(&daemon, status.json).await;
    }
    let answer = daemon.get("show the status", &["services"], &[]).await?;
    if status.json { output::print_json(&answer) } else { output::print(&shown(&answer)?) }
}

fn shown(answer: &Value) -> Result<String, Failure> {
    Ok(render::status(&decode(answer)?, output::layout()))
}

/// Until it is ended, or nobody reads any more: redraws a terminal, and appends elsewhere.
async fn watch(daemon: &Daemon, json: bool) -> Result<(), Failure> {
    let redraws = std::io::stdout().is_terminal() && !json;
    let mut every = tokio::time::interval(REDRAWN_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        // A daemon that is restarted is what one watches for; the failure is shown in its place.
        let text = match daemon.get("show the status", &["services"], &[]).await {
            Ok(answer) if json => format!("{answer}\n"),
            Ok(answer) => shown(&answer)?,
            Err(failure) if failure.unreached => {
                if !redraws {
                    output::tell(&failure);
                    continue;
                }
                failure.to_string()
            }
            Err(failure) => return Err(failure),
        };
        let text = match (redraws, json) {
            (true, _) => format!("{ANEW}{text}"),
            (false, true) => text,
            (false, false) => format!("{text}\n"),
        };
        if !output::print_while_read(&text)? {
            return Ok(());
        }
    }
}
