//! Incidents, and what people decide about them.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{
    Done, Problem, Shared,
    acting::{Incident, Operator, Remark},
};
use crate::{
    core::{event::Request, name::IncidentId, view::IncidentView},
    serve::{
        answers::{IncidentSummary, Incidents},
        body::JsonBody,
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
    let all = shared.board.incidents();
    if let Some(name) = &filter.service {
        // One that is not watched any more may still have incidents. A name that nothing has is a mistake: "none" would be
        // taken for good news.
        let has_some = || all.iter().any(|incident| incident.service.as_str() == name);
        if shared.board.service(name).is_none() && !has_some() {
            return Err(super::services::unknown(name));
        }
    }
    let wanted = |incident: &IncidentView| {
        filter.service.as_ref().is_none_or(|service| service == incident.service.as_str())
            && filter.open.is_none_or(|open| open == incident.resolved_at.is_none())
    };
    let summary = |view: &IncidentView| {
        let open = Some(view).filter(|view| view.resolved_at.is_none());
        let service = open.and_then(|view| shared.board.service(view.service.as_str()).flatten());
        service.map_or_else(|| IncidentSummary::from(view), |service| (&view.just_now(&service.now)).into())
    };
    Ok(Json(Incidents { incidents: all.iter().filter(|view| wanted(view)).map(|view| summary(view)).collect() }))
}

pub(super) async fn show(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<IncidentView>, Problem> {
    let all = shared.board.incidents();
    let found = all.iter().find(|incident| incident.id.as_str() == id).ok_or_else(|| unknown(&shared, &id))?;
    let view = shared.board.service(found.service.as_str()).flatten();
    Ok(Json(view.map_or_else(|| found.as_ref().clone(), |view| found.just_now(&view.now))))
}

/// Approving: which approval was seen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveBody {
    approval: Option<u32>,
}

pub(super) async fn approve(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Incident(incident): Incident,
    JsonBody(ApproveBody { approval }): JsonBody<ApproveBody>,
) -> Result<Json<Done>, Problem> {
    shared.ask(&by, Request::Approve { incident, approval }).await
}

/// Denying: which approval was seen, and why it is denied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DenyBody {
    approval: Option<u32>,
    reason: Option<Remark>,
}

pub(super) async fn deny(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Incident(incident): Incident,
    JsonBody(DenyBody { approval, reason }): JsonBody<DenyBody>,
) -> Result<Json<Done>, Problem> {
    shared.ask(&by, Request::Deny { incident, approval, reason: reason.map(|Remark(text)| text) }).await
}

/// Views lag the core by a moment, so an incident that is not on the board may be new: then the core decides. What
/// cannot be an incident's name is refused here.
pub(super) fn known(shared: &Shared, id: &str) -> Result<IncidentId, Problem> {
    let service_exists = id.rsplit_once('-').is_some_and(|(service, _)| shared.board.service(service).is_some());
    let on_board = || shared.board.incidents().iter().any(|incident| incident.id.as_str() == id);
    if service_exists || on_board() { Ok(id.into()) } else { Err(unknown(shared, id)) }
}

fn unknown(shared: &Shared, id: &str) -> Problem {
    let all = shared.board.incidents();
    Problem::new(StatusCode::NOT_FOUND, no_incident(id, all.iter().map(|incident| &**incident)))
}

/// That there is none of that name, and which may be meant: the last one of a service that was named in its place, or else
/// the one that is spelled most alike.
pub(crate) fn no_incident<'a>(id: &str, all: impl Iterator<Item = &'a IncidentView> + Clone) -> String {
    let of_service = all.clone().filter(|incident| incident.service.as_str() == id);
    let meant = of_service.max_by_key(|incident| (incident.resolved_at.is_none(), incident.opened_at));
    let meant = meant.map(|incident| incident.id.as_str());
    match meant.or_else(|| crate::config::nearest(id, all.map(|incident| incident.id.as_str()))) {
        Some(meant) => format!("there is no incident {id:?}; did you mean {meant}?"),
        None => format!("there is no incident {id:?}"),
    }
}
