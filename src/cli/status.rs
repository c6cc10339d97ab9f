//! `backstop status`: every service at a glance.

use super::{
    Failure,
    arguments::Access,
    client::{Daemon, decode},
    output, render,
};

pub(super) async fn run(access: &Access, json: bool) -> Result<(), Failure> {
    let answer = Daemon::of(access)?.get(&["services"], &[]).await?;
    if json { output::print_json(&answer) } else { output::print(&render::status(&decode(&answer)?, output::layout())) }
}
