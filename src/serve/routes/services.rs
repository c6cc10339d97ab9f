//! Services and their deploys.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{Done, Problem, Shared};
use crate::{
    config::form::Role,
    core::{event::Request, release::Mark, view::ServiceView},
    serve::{
        answers::{Deploys, Explanation, ServiceSummary, Services},
        body::JsonBody,
        caller::Caller,
    },
};

pub(super) async fn list(State(shared): State<Shared>) -> Json<Services> {
    let services = shared.board.services().iter().map(|view| ServiceSummary::from(&**view)).collect();
    Json(Services { services, daemon: shared.board.daemon().as_ref().clone() })
}

pub(super) async fn show(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<ServiceView>, Problem> {
    Ok(Json(view(&shared, &name)?.as_ref().clone()))
}

pub(super) async fn explain(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(Explanation::from(&*view(&shared, &name)?)))
}

pub(super) async fn deploys(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Deploys>, Problem> {
    let deploys = shared.board.deploys(&name).ok_or_else(|| unknown(&name))?;
    Ok(Json(Deploys { service: name.into(), deploys: deploys.as_ref().clone() }))
}

/// A deploy that someone made or is about to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportBody {
    version: String,
}

pub(super) async fn report_deploy(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<ReportBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Reporter)?;
    let version = version(body.version)?.into();
    shared.ask(&caller.by, Request::ReportDeploy { service: known(&shared, name)?, version }).await
}

/// What a person says of a release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkBody {
    mark: Mark,
}

pub(super) async fn mark(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((name, marked)): Path<(String, String)>,
    JsonBody(body): JsonBody<MarkBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    let version = version(marked)?.into();
    shared.ask(&caller.by, Request::MarkRelease { service: known(&shared, name)?, version, mark: body.mark }).await
}

/// Longest version that is taken, in bytes: a digest with its name fits, a document does not.
const VERSION_LIMIT_BYTES: usize = 512;

pub(super) fn version(text: String) -> Result<String, Problem> {
    if text.is_empty() || text.len() > VERSION_LIMIT_BYTES || text.chars().any(char::is_control) {
        let detail = format!("a version is 1 to {VERSION_LIMIT_BYTES} bytes without control characters");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(text)
}

pub(super) fn known<T: From<String>>(shared: &Shared, name: String) -> Result<T, Problem> {
    if shared.board.service(&name).is_some() { Ok(name.into()) } else { Err(unknown(&name)) }
}

fn view(shared: &Shared, name: &str) -> Result<Arc<ServiceView>, Problem> {
    shared.board.service(name).ok_or_else(|| unknown(name))?.ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("service {name} has not been evaluated yet"))
    })
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no service {name:?} in the configuration"))
}
