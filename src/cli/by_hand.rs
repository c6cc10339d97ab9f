//! `backstop report`, `pause`, `resume`, `pin`, `unpin`, `abort` and `verify`.

use std::time::Duration;

use serde_json::json;

use super::{
    Failure,
    arguments::Access,
    arguments_by_hand::{Abort, Pause, Pin, Report, Resume, Unpin, Verify},
    client::{Daemon, decode},
    incident::done,
    output,
};
use crate::core::{
    entry::PlanOutcome,
    view::{IncidentView, PlanUnderWay, ServiceView},
};

/// A verification is looked at so often while somebody waits for it.
const VERIFICATION_LOOKED_AT_EVERY: Duration = Duration::from_millis(500);

/// The longest wait for a verification, in looks: two hours, which is longer than a timeout makes sense.
const VERIFICATION_LOOKS_LIMIT: u32 = 2 * 60 * 60 * 2;

pub(super) async fn report(access: &Access, report: &Report) -> Result<(), Failure> {
    let body = json!({"kind": report.kind, "detail": report.detail, "retract": report.retract});
    let what = format!("{} {} of {}", if report.retract { "take back" } else { "report" }, report.kind, report.service);
    done(&Daemon::of(access)?.post(&what, &["services", &report.service, "reports"], &body).await?)
}

pub(super) async fn pause(access: &Access, pause: &Pause) -> Result<(), Failure> {
    let body = json!({"for_seconds": pause.for_seconds, "reason": pause.reason});
    let what = format!("pause {}", named(pause.service.as_ref()));
    done(&Daemon::of(access)?.post(&what, &of(pause.service.as_ref(), "pause"), &body).await?)
}

pub(super) async fn resume(access: &Access, resume: &Resume) -> Result<(), Failure> {
    let what = format!("resume {}", named(resume.service.as_ref()));
    done(&Daemon::of(access)?.post(&what, &of(resume.service.as_ref(), "resume"), &json!({})).await?)
}

fn named(service: Option<&String>) -> &str {
    service.map_or("every service", String::as_str)
}

/// The way to one service's verb, or to the one of all.
fn of<'a>(service: Option<&'a String>, verb: &'a str) -> Vec<&'a str> {
    match service {
        Some(service) => vec!["services", service, verb],
        None => vec![verb],
    }
}

pub(super) async fn pin(access: &Access, pin: &Pin) -> Result<(), Failure> {
    let body = json!({"version": pin.version, "reason": pin.reason});
    let what = format!("pin {} of {}", pin.version, pin.service);
    done(&Daemon::of(access)?.post(&what, &["services", &pin.service, "pin"], &body).await?)
}

pub(super) async fn unpin(access: &Access, unpin: &Unpin) -> Result<(), Failure> {
    let body = json!({"version": unpin.version});
    let what = format!("unpin {} of {}", unpin.version, unpin.service);
    done(&Daemon::of(access)?.post(&what, &["services", &unpin.service, "unpin"], &body).await?)
}

pub(super) async fn abort(access: &Access, abort: &Abort) -> Result<(), Failure> {
    let body = json!({"reason": abort.reason});
    let what = format!("abort the plan of {}", abort.incident);
    done(&Daemon::of(access)?.post(&what, &["incidents", &abort.incident, "abort"], &body).await?)
}

pub(super) async fn verify(access: &Access, verify: &Verify) -> Result<(), Failure> {
    let daemon = Daemon::of(access)?;
    let view = service(&daemon, &verify.service).await?;
    if let Some(plan) = view.now.plan_under_way.filter(|_| verify.wait) {
        return wait_for_plan(&daemon, &plan).await;
    }
    // One that is under way already serves whoever asks meanwhile.
    let from = view.verification.map_or(0, |last| if last.outcome.is_none() { last.number } else { last.number + 1 });
    let what = format!("verify {}", verify.service);
    done(&daemon.post(&what, &["services", &verify.service, "verify"], &json!({})).await?)?;
    if !verify.wait {
        return Ok(());
    }
    for _ in 0..VERIFICATION_LOOKS_LIMIT {
        tokio::time::sleep(VERIFICATION_LOOKED_AT_EVERY).await;
        let seen = service(&daemon, &verify.service).await?.verification.filter(|one| one.number >= from);
        let Some((outcome, seen)) = seen.and_then(|one| Some((one.outcome?, one))) else { continue };
        return ended(outcome, &verify.service, &format!("{} of {}: {}", outcome.as_str(), seen.version, seen.note));
    }
    Err(Failure::failed(format!("see the end of the verification of {}", verify.service)))
}

/// A plan under way verifies by itself: its outcome is what was asked for.
async fn wait_for_plan(daemon: &Daemon, plan: &PlanUnderWay) -> Result<(), Failure> {
    let PlanUnderWay { incident, number, version_from, version_to, .. } = plan;
    output::print(&format!(
        "plan {number} of {incident} is under way, {version_from} -> {version_to}, and verifies by itself; waiting for its \
         end\n"
    ))?;
    let what = format!("see the end of plan {number} of {incident}");
    for _ in 0..VERIFICATION_LOOKS_LIMIT {
        let view: IncidentView = decode(&daemon.get(&what, &["incidents", incident.as_str()], &[]).await?)?;
        let outcome = view.plans.iter().find(|one| one.number == *number).and_then(|one| one.outcome);
        if let Some(outcome) = outcome {
            let said = format!("{}: plan {number} of {incident}, {version_from} -> {version_to}", outcome.as_str());
            return ended(outcome, view.service.as_str(), &said);
        }
        tokio::time::sleep(VERIFICATION_LOOKED_AT_EVERY).await;
    }
    Err(Failure::failed(what))
}

fn ended(outcome: PlanOutcome, service: &str, said: &str) -> Result<(), Failure> {
    if outcome == PlanOutcome::Verified {
        output::print(&format!("{said}\n"))
    } else {
        Err(Failure::failed(format!("verify {service}: {said}")))
    }
}

async fn service(daemon: &Daemon, service: &str) -> Result<ServiceView, Failure> {
    decode(&daemon.get(&format!("verify {service}"), &["services", service], &[]).await?)
}
