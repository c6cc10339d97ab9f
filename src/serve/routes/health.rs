//! For those who watch the watchdog. Open to everyone who can connect.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Problem, Shared};

/// The text format of Prometheus.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) async fn alive(State(shared): State<Shared>) -> Result<Response, Problem> {
    shared.board.alive().map_err(unavailable)?;
    let ago = shared.board.since_turn().as_secs_f64();
    Ok(Json(json!({"status": "alive", "loop_turned_seconds_ago": ago})).into_response())
}

pub(super) async fn ready(State(shared): State<Shared>) -> Result<Response, Problem> {
    shared.board.ready().map_err(unavailable)?;
    Ok(Json(json!({"status": "ready"})).into_response())
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let text = shared
        .scrapes
        .text()
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered"))?;
    Ok(([(header::CONTENT_TYPE, EXPOSITION)], text).into_response())
}

fn unavailable(why: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
}
