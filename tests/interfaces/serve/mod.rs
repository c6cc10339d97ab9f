//! The API over real connections: loopback and the Unix socket, with a core that answers from a table.

mod acting;
mod limits;
mod listening;
mod metrics;
mod reading;

use std::time::Duration;

use backstop::serve::Limits;
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::daemon::{Core, Daemon, daemon};

pub(crate) fn client() -> reqwest::ClientBuilder {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let tls =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy()
}

impl Daemon {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        client().build().expect("a client").get(self.url(path)).send().await.expect("an answer")
    }

    pub(crate) async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Response {
        let mut request = client().build().expect("a client").request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }

    pub(crate) async fn by_socket(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let client = client().unix_socket(self.socket.as_path()).build().expect("a client");
        let mut request = client.request(method, format!("http://backstop{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }
}

pub(crate) async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    problem
}

pub(crate) async fn plain() -> Daemon {
    daemon(&[], Core::Answers, Limits::default()).await
}

pub(crate) fn impatient() -> Limits {
    let short = Duration::from_millis(200);
    Limits { header_deadline: short, request_deadline: short, shutdown_grace: short, ..Limits::default() }
}
