//! `backstop rollback`: rolls a service back by hand, or shows what that would do.

use serde_json::json;

use super::{
    Exit, Failure,
    arguments::Access,
    arguments_by_hand::RollBack,
    client::{Daemon, decode},
    incident::done,
    output, render,
};
use crate::core::view::RollbackPreview;

pub(super) async fn run(access: &Access, order: &RollBack) -> Result<(), Failure> {
    let body = json!({
        "to": order.to,
        "plan": order.plan,
        "dry_run": order.dry_run,
        "override": order.overrides,
        "reason": order.reason,
    });
    let answer = Daemon::of(access)?
        .post(&format!("roll {} back", order.service), &["services", &order.service, "rollback"], &body)
        .await?;
    if !order.dry_run {
        return done(&answer);
    }
    let preview: RollbackPreview = decode(&answer)?;
    if order.json {
        output::print_json(&answer)?;
    } else {
        output::print(&render::rollback(&preview, output::layout()))?;
    }
    if preview.possible {
        return Ok(());
    }
    if let Some(plan) = &preview.plan_under_way {
        let why = format!("a plan of {} is under way", plan.incident);
        return Err(Failure::failed(format!("roll {} back: {why}", preview.service)));
    }
    let held: Vec<_> = preview.gates.iter().filter(|gate| gate.holds()).map(|gate| gate.gate.as_str()).collect();
    let mut why = if held.is_empty() { Vec::new() } else { vec![format!("held by {}", held.join(", "))] };
    if preview.version_to.is_none() {
        why.push("there is nothing to go back to".to_owned());
    }
    let failure = Failure::failed(format!("roll {} back: {}", preview.service, why.join("; ")));
    Err(failure.with_exit(Exit::GATE))
}
