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
    view::{ServiceView, VerificationView},
};

/// A verification is looked at so often while somebody waits for it.
const VERIFICATION_LOOKED_AT_EVERY: Duration = Duration::from_millis(500);

/// The longest wait for a verification, in looks: two hours, which is longer than a timeout makes sense.
const VERIFICATION_LOOKS_LIMIT: u32 = 2 * 60 * 60 * 2;

pub(super) async fn report(access: &Access, report: &Report) -> Result<(), Failure> {
    let body = json!({"kind": report.kind, "detail": report.detail, "retract": report.retract});
    done(&Daemon::of(access)?.post(&["services", &report.service, "reports"], &body).await?)
}

pub(super) async fn pause(access: &Access, pause: &Pause) -> Result<(), Failure> {
    let body = json!({"for_seconds": pause.for_seconds, "reason": pause.reason});
    done(&Daemon::of(access)?.post(&of(pause.service.as_ref(), "pause"), &body).await?)
}

pub(super) async fn resume(access: &Access, resume: &Resume) -> Result<(), Failure> {
    done(&Daemon::of(access)?.post(&of(resume.service.as_ref(), "resume"), &json!({})).await?)
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
    done(&Daemon::of(access)?.post(&["services", &pin.service, "pin"], &body).await?)
}

pub(super) async fn unpin(access: &Access, unpin: &Unpin) -> Result<(), Failure> {
    let body = json!({"version": unpin.version});
    done(&Daemon::of(access)?.post(&["services", &unpin.service, "unpin"], &body).await?)
}

pub(super) async fn abort(access: &Access, abort: &Abort) -> Result<(), Failure> {
    let body = json!({"reason": abort.reason});
    done(&Daemon::of(access)?.post(&["incidents", &abort.incident, "abort"], &body).await?)
}

pub(super) async fn verify(access: &Access, verify: &Verify) -> Result<(), Failure> {
    let daemon = Daemon::of(access)?;
    let before = verification(&daemon, &verify.service).await?.map_or(0, |last| last.number);
    done(&daemon.post(&["services", &verify.service, "verify"], &json!({})).await?)?;
    if !verify.wait {
        return Ok(());
    }
    for _ in 0..VERIFICATION_LOOKS_LIMIT {
        tokio::time::sleep(VERIFICATION_LOOKED_AT_EVERY).await;
        let seen = verification(&daemon, &verify.service).await?.filter(|one| one.number > before);
        let Some((outcome, seen)) = seen.and_then(|one| Some((one.outcome?, one))) else { continue };
        let said = format!("{} of {}: {}", outcome.as_str(), seen.version, seen.note);
        return if outcome == PlanOutcome::Verified {
            output::print(&format!("{said}\n"))
        } else {
            Err(Failure::failed(format!("verify {}: {said}", verify.service)))
        };
    }
    Err(Failure::failed(format!("see the end of the verification of {}", verify.service)))
}

async fn verification(daemon: &Daemon, service: &str) -> Result<Option<VerificationView>, Failure> {
    let view: ServiceView = decode(&daemon.get(&["services", service], &[]).await?)?;
    Ok(view.verification)
}
