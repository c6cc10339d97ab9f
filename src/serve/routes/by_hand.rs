//! Operating by hand: reports, pauses, pins, rollbacks and what ends them.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{
    Done, Problem, Shared,
    acting::{Incident, Operator, Remark, Reporter, Service, VersionText},
};
use crate::{
    core::{
        event::{Request, RollbackOrder},
        gate::Gate,
        policy::ReportKind,
        verdict::PlanKind,
        view::RollbackPreview,
    },
    serve::body::JsonBody,
};

/// Longest pause with an end, in seconds: a year. What is to last longer ends when it is resumed.
const PAUSE_LIMIT_SECONDS: u64 = 365 * 24 * 3600;

type Answer = Result<Json<Done>, Problem>;

/// A report, or its being taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportBody {
    kind: ReportKind,
    detail: Option<Remark>,
    #[serde(default)]
    retract: bool,
}

pub(super) async fn report(
    State(shared): State<Shared>,
    Reporter { by, authority }: Reporter,
    Service(service): Service,
    JsonBody(ReportBody { kind, detail, retract }): JsonBody<ReportBody>,
) -> Answer {
    let request = if retract {
        Request::RetractReport { service, kind, authority }
    } else {
        Request::Report { service, kind, detail: detail.map(|Remark(text)| text), authority }
    };
    shared.ask(&by, request).await
}

/// A pause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    for_seconds: Option<u64>,
    reason: Remark,
}

impl PauseBody {
    /// For how many seconds, and why.
    fn checked(self) -> Result<(Option<u64>, String), Problem> {
        if self.reason.is_blank() {
            return Err(refused("a pause needs a reason"));
        }
        if self.for_seconds.is_some_and(|seconds| seconds == 0 || seconds > PAUSE_LIMIT_SECONDS) {
            return Err(refused(format!(
                "for_seconds is 1 to {PAUSE_LIMIT_SECONDS}; without it the pause lasts until resumed"
            )));
        }
        let Remark(reason) = self.reason;
        Ok((self.for_seconds, reason))
    }
}

pub(super) async fn pause(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(body): JsonBody<PauseBody>,
) -> Answer {
    let (for_seconds, reason) = body.checked()?;
    shared.ask(&by, Request::Pause { service: Some(service), for_seconds, reason }).await
}

pub(super) async fn pause_all(
    State(shared): State<Shared>,
    Operator(by): Operator,
    JsonBody(body): JsonBody<PauseBody>,
) -> Answer {
    let (for_seconds, reason) = body.checked()?;
    shared.ask(&by, Request::Pause { service: None, for_seconds, reason }).await
}

/// Nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

pub(super) async fn resume(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Answer {
    shared.ask(&by, Request::Resume { service: Some(service) }).await
}

pub(super) async fn resume_all(
    State(shared): State<Shared>,
    Operator(by): Operator,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Answer {
    shared.ask(&by, Request::Resume { service: None }).await
}

/// A version that is to stay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinBody {
    version: VersionText,
    reason: Option<Remark>,
}

pub(super) async fn pin(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(PinBody { version: VersionText(version), reason }): JsonBody<PinBody>,
) -> Answer {
    shared.ask(&by, Request::Pin { service, version, reason: reason.map(|Remark(text)| text) }).await
}

/// A version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionBody {
    version: VersionText,
}

pub(super) async fn unpin(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(VersionBody { version: VersionText(version) }): JsonBody<VersionBody>,
) -> Answer {
    shared.ask(&by, Request::Unpin { service, version }).await
}

/// Why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    reason: Option<Remark>,
}

pub(super) async fn abort(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Incident(incident): Incident,
    JsonBody(ReasonBody { reason }): JsonBody<ReasonBody>,
) -> Answer {
    shared.ask(&by, Request::Abort { incident, reason: reason.map(|Remark(text)| text) }).await
}

/// A rollback by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    to: Option<VersionText>,
    plan: Option<PlanKind>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default, rename = "override")]
    overrides: Vec<Gate>,
    reason: Option<Remark>,
}

/// Who may only report sees no more of a dry run than of the gates that `status` shows: this is the operator's.
pub(super) async fn roll_back(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(RollbackBody { to, plan, dry_run, overrides, reason }): JsonBody<RollbackBody>,
) -> Result<Response, Problem> {
    if !overrides.is_empty() && reason.as_ref().is_none_or(Remark::is_blank) {
        return Err(refused("an override needs a reason, which is kept"));
    }
    let (to, reason) = (to.map(|VersionText(version)| version), reason.map(|Remark(text)| text));
    let order = RollbackOrder { to, plan, dry_run, overrides, reason };
    let message = shared.answer(&by, Request::RollBack { service, order }).await?;
    if !dry_run {
        return Ok(Json(Done { message }).into_response());
    }
    let preview: RollbackPreview = serde_json::from_str(&message).map_err(|error| {
        let detail = format!("what would be done cannot be shown: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(Json(preview).into_response())
}

pub(super) async fn verify(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Answer {
    shared.ask(&by, Request::Verify { service }).await
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
