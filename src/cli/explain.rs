//! `backstop explain SERVICE`: how the verdict came about.

use super::{
    Failure,
    arguments::{Access, Explain},
    client::{Daemon, decode},
    output, render,
};

pub(super) async fn run(access: &Access, explain: &Explain) -> Result<(), Failure> {
    let what = format!("explain {}", explain.service);
    let answer = Daemon::of(access)?.get(&what, &["services", &explain.service, "explain"], &[]).await?;
    if explain.json {
        return output::print_json(&answer);
    }
    output::print(&render::explanation(&decode(&answer)?, output::layout()))
}
