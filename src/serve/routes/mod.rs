//! The routes of design §11.

mod acting;
mod by_hand;
mod events;
mod health;
mod incidents;
mod services;

pub(crate) use incidents::no_incident;

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::{Asked, Board, Problem, accept::Limits, answers::Done, caller, caller::Tokens, problem, scrapes::Scrapes};
use crate::core::event;

/// What every route may look at.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) board: Arc<Board>,
    pub(super) scrapes: Scrapes,
    pub(super) requests: mpsc::Sender<Asked>,
    pub(super) reply_deadline: Duration,
    /// Event streams under way end when this is cancelled.
    pub(super) ending: CancellationToken,
    /// And after this, so that a client connects anew before its connection is cut.
    pub(super) stream_lifetime: Duration,
}

impl Shared {
    /// Asks the core, and waits for its answer.
    async fn ask(&self, by: &str, request: event::Request) -> Result<axum::Json<Done>, Problem> {
        Ok(axum::Json(Done { message: self.answer(by, request).await? }))
    }

    /// While the journal is known to fail nothing can be put on record, so nothing is done: waiting for an answer would only
    /// leave it open whether it was.
    fn impossible(&self, request: &event::Request) -> Option<Problem> {
        // What keeps something from being done holds in memory, too.
        let is_dry = matches!(request, event::Request::RollBack { order, .. } if order.dry_run);
        if is_dry || request.only_stops() {
            return None;
        }
        let daemon = self.board.daemon();
        let why = daemon.store_failing.as_ref()?;
        let detail = format!("nothing was done, since it cannot be put on record: failed to {why}");
        Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
    }

    async fn answer(&self, by: &str, request: event::Request) -> Result<String, Problem> {
        if let Some(problem) = self.impossible(&request) {
            return Err(problem);
        }
        let (reply, answered) = oneshot::channel();
        self.requests.try_send(Asked { by: by.to_owned(), request, reply }).map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait already, or the daemon is stopping")
        })?;
        match tokio::time::timeout(self.reply_deadline, answered).await {
            Ok(Ok(reply)) => Ok(reply?),
            Ok(Err(_)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon stopped before it answered")),
            Err(_) => {
                let detail = "no answer yet; it may still be done: look before you ask again";
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail))
            }
        }
    }
}

/// Every route, with what surrounds each: deadline, caught panics, problem documents.
pub(super) fn router(shared: Shared, tokens: Arc<Tokens>, limits: &Limits) -> Router {
    let api = Router::new()
        .route("/services", get(services::list))
        .route("/services/{name}", get(services::show))
        .route("/services/{name}/explain", get(services::explain))
        .route("/services/{name}/deploys", get(services::deploys).post(services::report_deploy))
        .route("/services/{name}/deploys/{version}/mark", post(services::mark))
        .route("/services/{name}/reports", post(by_hand::report))
        .route("/services/{name}/pause", post(by_hand::pause))
        .route("/services/{name}/resume", post(by_hand::resume))
        .route("/services/{name}/pin", post(by_hand::pin))
        .route("/services/{name}/unpin", post(by_hand::unpin))
        .route("/services/{name}/rollback", post(by_hand::roll_back))
        .route("/services/{name}/verify", post(by_hand::verify))
        .route("/pause", post(by_hand::pause_all))
        .route("/resume", post(by_hand::resume_all))
        .route("/events", get(events::stream))
        .route("/incidents", get(incidents::list))
        .route("/incidents/{id}", get(incidents::show))
        .route("/incidents/{id}/approve", post(incidents::approve))
        .route("/incidents/{id}/deny", post(incidents::deny))
        .route("/incidents/{id}/abort", post(by_hand::abort))
        .route_layer(middleware::from_fn_with_state(tokens, caller::authenticate));
    let deadline = limits.request_deadline;
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .nest("/api/v1", api)
        .with_state(shared)
        .layer(middleware::from_fn(move |request, next| bounded(deadline, request, next)))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(async |response: Response| problem::of_response(response)))
}

/// A request, its body included, has a deadline.
async fn bounded(deadline: Duration, request: Request, next: Next) -> Response {
    tokio::time::timeout(deadline, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!("the request was not complete within {deadline:?}");
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
    })
}

/// One request's panic is that request's alone. What it said goes to the log, not to the one who asked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let said = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&'static str>().copied())
        .unwrap_or("nothing");
    tracing::error!(said, "a request's handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of Backstop's own; its log says more").into_response()
}
