//! Operating by hand: reports, pauses, pins, rollbacks and what ends them.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{
    Done, Problem, Shared,
    incidents::{bounded, known as known_incident},
    services::{known, version},
};
use crate::{
    config::form::Role,
    core::{
        event::{Authority, Request, RollbackOrder},
        gate::Gate,
        policy::ReportKind,
        verdict::PlanKind,
        view::RollbackPreview,
    },
    serve::{body::JsonBody, caller::Caller},
};

/// Longest pause with an end, in seconds: a year. What is to last longer ends when it is resumed.
const PAUSE_LIMIT_SECONDS: u64 = 365 * 24 * 3600;

/// A report, or its being taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportBody {
    kind: ReportKind,
    detail: Option<String>,
    #[serde(default)]
    retract: bool,
}

pub(super) async fn report(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<ReportBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Reporter)?;
    bounded(body.detail.as_deref())?;
    let authority = if caller.role >= Role::Operator { Authority::Operator } else { Authority::Reporter };
    let (service, kind) = (known(&shared, name)?, body.kind);
    let request = if body.retract {
        Request::RetractReport { service, kind, authority }
    } else {
        Request::Report { service, kind, detail: body.detail, authority }
    };
    shared.ask(&caller.by, request).await
}

/// A pause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    for_seconds: Option<u64>,
    reason: String,
}

impl PauseBody {
    fn checked(self) -> Result<Self, Problem> {
        let wrong = |detail: String| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        if self.reason.trim().is_empty() {
            return wrong("a pause needs a reason".to_owned());
        }
        if self.for_seconds.is_some_and(|seconds| seconds == 0 || seconds > PAUSE_LIMIT_SECONDS) {
            return wrong(format!(
                "for_seconds is 1 to {PAUSE_LIMIT_SECONDS}; without it the pause lasts until resumed"
            ));
        }
        bounded(Some(&self.reason))?;
        Ok(self)
    }
}

pub(super) async fn pause(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<PauseBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    let PauseBody { for_seconds, reason } = body.checked()?;
    let service = Some(known(&shared, name)?);
    shared.ask(&caller.by, Request::Pause { service, for_seconds, reason }).await
}

pub(super) async fn pause_all(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<PauseBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    let PauseBody { for_seconds, reason } = body.checked()?;
    shared.ask(&caller.by, Request::Pause { service: None, for_seconds, reason }).await
}

/// Nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

pub(super) async fn resume(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    shared.ask(&caller.by, Request::Resume { service: Some(known(&shared, name)?) }).await
}

pub(super) async fn resume_all(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    shared.ask(&caller.by, Request::Resume { service: None }).await
}

/// A version that is to stay, or not any more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinBody {
    version: String,
    reason: Option<String>,
}

pub(super) async fn pin(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<PinBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    bounded(body.reason.as_deref())?;
    let (service, version) = (known(&shared, name)?, version(body.version)?.into());
    shared.ask(&caller.by, Request::Pin { service, version, reason: body.reason }).await
}

/// A version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionBody {
    version: String,
}

pub(super) async fn unpin(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<VersionBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    let (service, version) = (known(&shared, name)?, version(body.version)?.into());
    shared.ask(&caller.by, Request::Unpin { service, version }).await
}

/// Why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    reason: Option<String>,
}

pub(super) async fn abort(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    bounded(body.reason.as_deref())?;
    let incident = known_incident(&shared, id)?;
    shared.ask(&caller.by, Request::Abort { incident, reason: body.reason }).await
}

/// A rollback by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    to: Option<String>,
    plan: Option<PlanKind>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default, rename = "override")]
    overrides: Vec<Gate>,
    reason: Option<String>,
}

pub(super) async fn roll_back(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<RollbackBody>,
) -> Result<Response, Problem> {
    // Who may only report sees no more of a dry run than of the gates that `status` shows; acting is the operator's.
    caller.must_be(Role::Operator)?;
    bounded(body.reason.as_deref())?;
    if !body.overrides.is_empty() && body.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
        let detail = "an override needs a reason, which is kept";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let service = known(&shared, name)?;
    let to = body.to.map(version).transpose()?.map(Into::into);
    let dry_run = body.dry_run;
    let order = RollbackOrder { to, plan: body.plan, dry_run, overrides: body.overrides, reason: body.reason };
    let message = shared.answer(&caller.by, Request::RollBack { service, order }).await?;
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
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    shared.ask(&caller.by, Request::Verify { service: known(&shared, name)? }).await
}
