//! Stands between Backstop and the API server, and can hold one write back: what is killed then is killed between two
//! writes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
use tokio::{sync::Notify, task::JoinHandle};

/// Largest body of a write here.
const BODY_LIMIT: usize = 1024 * 1024;

#[derive(Debug, Default)]
struct Hold {
    is_on: AtomicBool,
    holds: Notify,
}

/// Forwards plain HTTP on loopback to the cluster.
pub(crate) struct Proxy {
    hold: Arc<Hold>,
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
        let hold = Arc::new(Hold::default());
        let routes = Router::new().fallback(forward).with_state((client.clone(), Arc::clone(&hold)));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { hold, task, port }
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

    /// From now on no pod template is written.
    pub(crate) fn hold_templates(&self) {
        self.hold.is_on.store(true, Ordering::Release);
    }

    /// Waits until one would have been.
    pub(crate) async fn holds(&self) {
        self.hold.holds.notified().await;
    }

    /// Lets them pass again.
    pub(crate) fn let_go(&self) {
        self.hold.is_on.store(false, Ordering::Release);
    }
}

async fn forward(State((client, hold)): State<(Client, Arc<Hold>)>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.expect("a body");
    let is_template = parts.method == http::Method::PATCH && String::from_utf8_lossy(&body).contains("/spec/template");
    if is_template && hold.is_on.load(Ordering::Acquire) {
        hold.holds.notify_one();
        // Whoever waits for it is killed or gives up.
        std::future::pending::<()>().await;
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
