//! Services and their deploys.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{
    Done, Problem, Shared,
    acting::{Operator, PathVersion, Reporter, Service, VersionText},
};
use crate::{
    core::{event::Request, name::ServiceName, release::Mark, view::ServiceView},
    serve::{
        answers::{Deploys, Explanation, ServiceSummary, Services},
        body::JsonBody,
    },
};

pub(super) async fn list(State(shared): State<Shared>) -> Json<Services> {
    let incidents = shared.board.incidents();
    let services = shared.board.services().iter().map(|view| ServiceSummary::of(view, &incidents)).collect();
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
    let known = shared.board.deploys(&name).ok_or_else(|| unknown(&name))?;
    Ok(Json(Deploys { service: name.into(), known: known.as_ref().clone() }))
}

/// A deploy that someone made or is about to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportBody {
    version: VersionText,
}

pub(super) async fn report_deploy(
    State(shared): State<Shared>,
    Reporter { by, .. }: Reporter,
    Service(service): Service,
    JsonBody(ReportBody { version: VersionText(version) }): JsonBody<ReportBody>,
) -> Result<Json<Done>, Problem> {
    shared.ask(&by, Request::ReportDeploy { service, version }).await
}

/// What a person says of a release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkBody {
    mark: Mark,
}

pub(super) async fn mark(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Service(service): Service,
    PathVersion(version): PathVersion,
    JsonBody(MarkBody { mark }): JsonBody<MarkBody>,
) -> Result<Json<Done>, Problem> {
    shared.ask(&by, Request::MarkRelease { service, version, mark }).await
}

pub(super) fn known(shared: &Shared, name: &str) -> Result<ServiceName, Problem> {
    if shared.board.service(name).is_some() { Ok(name.into()) } else { Err(unknown(name)) }
}

fn view(shared: &Shared, name: &str) -> Result<Arc<ServiceView>, Problem> {
    shared.board.service(name).ok_or_else(|| unknown(name))?.ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("service {name} has not been evaluated yet"))
    })
}

pub(super) fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no service {name:?} in the configuration"))
}
