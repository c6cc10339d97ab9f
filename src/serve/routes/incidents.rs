//! Incidents, and what people decide about them.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{Done, Problem, Shared};
use crate::{
    config::form::Role,
    core::{event::Request, name::IncidentId, view::IncidentView},
    serve::{
        answers::{IncidentSummary, Incidents},
        body::JsonBody,
        caller::Caller,
    },
};

/// Which incidents to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    service: Option<String>,
    open: Option<bool>,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Incidents>, Problem> {
    let Query(filter) = filter.map_err(|error| {
        let detail = format!("the query takes service=NAME and open=true|false: {}", error.body_text());
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let wanted = |incident: &IncidentView| {
        filter.service.as_ref().is_none_or(|service| service == incident.service.as_str())
            && filter.open.is_none_or(|open| open == incident.resolved_at.is_none())
    };
    let all = shared.board.incidents();
    Ok(Json(Incidents {
        incidents: all.iter().filter(|view| wanted(view)).map(|view| IncidentSummary::from(&**view)).collect(),
    }))
}

pub(super) async fn show(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<IncidentView>, Problem> {
    let all = shared.board.incidents();
    let found = all.iter().find(|incident| incident.id.as_str() == id).ok_or_else(|| unknown(&id))?;
    Ok(Json(found.as_ref().clone()))
}

/// Approving: which approval was seen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveBody {
    approval: Option<u32>,
}

pub(super) async fn approve(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ApproveBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    shared.ask(&caller.by, Request::Approve { incident: known(&shared, id)?, approval: body.approval }).await
}

/// Denying: which approval was seen, and why it is denied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DenyBody {
    approval: Option<u32>,
    reason: Option<String>,
}

/// Longest reason that is kept, in bytes: it goes into the journal and onto pages.
const REASON_LIMIT_BYTES: usize = 2000;

/// Refuses a text that is too long to be kept.
pub(super) fn bounded(text: Option<&str>) -> Result<(), Problem> {
    if text.is_some_and(|text| text.len() > REASON_LIMIT_BYTES) {
        let detail = format!("a reason or detail is at most {REASON_LIMIT_BYTES} bytes");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(())
}

pub(super) async fn deny(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<DenyBody>,
) -> Result<Json<Done>, Problem> {
    caller.must_be(Role::Operator)?;
    bounded(body.reason.as_deref())?;
    let incident = known(&shared, id)?;
    shared.ask(&caller.by, Request::Deny { incident, approval: body.approval, reason: body.reason }).await
}

/// Views lag the core by a moment, so an incident that is not on the board may be new: then the core decides. What
/// cannot be an incident's name is refused here.
pub(super) fn known(shared: &Shared, id: String) -> Result<IncidentId, Problem> {
    let service_exists = id.rsplit_once('-').is_some_and(|(service, _)| shared.board.service(service).is_some());
    let on_board = || shared.board.incidents().iter().any(|incident| incident.id.as_str() == id);
    if service_exists || on_board() { Ok(id.into()) } else { Err(unknown(&id)) }
}

fn unknown(id: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no incident {id:?}"))
}
