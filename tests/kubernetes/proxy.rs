//! Stands between Backstop and the API server, and can hold a write back or refuse it: what is killed then is killed
//! between two writes, and what is refused stops there.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::json;
use tokio::{sync::Notify, task::JoinHandle};

/// Largest body of a write here.
const BODY_LIMIT: usize = 1024 * 1024;

/// One write of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Template,
    /// The ConfigMap of that name.
    Map(&'static str),
}

impl Part {
    fn is(self, path: &str, body: &[u8]) -> bool {
        match self {
            Self::Template => String::from_utf8_lossy(body).contains("/spec/template"),
            Self::Map(name) => path.ends_with(&format!("/configmaps/{name}")),
        }
    }
}

#[derive(Debug, Default)]
struct Stops {
    held: Mutex<Option<Part>>,
    holds: Notify,
    refused: Mutex<Vec<Part>>,
}

/// Forwards plain HTTP on loopback to the cluster.
pub(crate) struct Proxy {
    stops: Arc<Stops>,
    task: JoinHandle<()>,
    port: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn begin(client: &Client) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stops = Arc::new(Stops::default());
        let routes = Router::new().fallback(forward).with_state((client.clone(), Arc::clone(&stops)));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { stops, task, port }
    }

    /// A kubeconfig that leads through it.
    pub(crate) fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let path = directory.join("through-proxy");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\nusers: [{{name: test, user: {{}}}}]\n",
            self.port
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    /// From now on this is not written.
    pub(crate) fn hold(&self, part: Part) {
        *self.stops.held.lock().expect("what is held") = Some(part);
    }

    /// Waits until one would have been.
    pub(crate) async fn holds(&self) {
        self.stops.holds.notified().await;
    }

    /// Lets it pass again.
    pub(crate) fn let_go(&self) {
        *self.stops.held.lock().expect("what is held") = None;
    }

    /// From now on these are refused, and nothing else.
    pub(crate) fn refuse(&self, parts: &[Part]) {
        *self.stops.refused.lock().expect("what is refused") = parts.to_vec();
    }
}

async fn forward(State((client, stops)): State<(Client, Arc<Stops>)>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.expect("a body");
    let is_write = parts.method == http::Method::PATCH;
    let is = |part: Part| is_write && part.is(parts.uri.path(), &body);
    let is_held = stops.held.lock().expect("what is held").is_some_and(is);
    if is_held {
        stops.holds.notify_one();
        // Whoever waits for it is killed or gives up.
        std::future::pending::<()>().await;
    }
    if stops.refused.lock().expect("what is refused").iter().copied().any(is) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "no", "reason": "Forbidden", "code": 403});
        return (StatusCode::FORBIDDEN, axum::Json(status)).into_response();
    }
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, HeaderName::from_static("keep-alive")] {
        parts.headers.remove(name);
    }
    let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    match client.send(request).await {
        Ok(answer) => {
            let (mut parts, body) = answer.into_parts();
            parts.headers.remove(header::TRANSFER_ENCODING);
            Response::from_parts(parts, Body::from_stream(body.into_data_stream()))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
