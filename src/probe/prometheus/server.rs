//! One Prometheus server: its client, a query, a bounded answer.

use std::{error::Error, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use prometheus_http_query::Client;
use reqwest::{
    Response, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use secrecy::ExposeSecret;

use super::reply::{self, Points, ReplyError};
use crate::{
    config::form::PrometheusServer,
    probe::{
        net::{
            Network,
            tls::{Tls, TlsError},
        },
        requests::off_the_loop,
    },
};

/// Biggest answer that is read, in bytes, unpacked: ten thousand series over a minute or two.
pub const REPLY_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Why a server cannot be asked as it is configured. Follows "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its URL, which is not shown: it may hold a secret.
    #[error("read the URL of the Prometheus server: {0} (expected http://HOST[:PORT][/PATH] or https://…)")]
    Url(String),
    /// A token or password.
    #[error("send the credentials to the Prometheus server: they hold a character that a header may not have")]
    Credentials,
    /// Authorities.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client.
    #[error("prepare the Prometheus client: {0}")]
    Client(String),
}

/// Why a query had no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No answer, or not all of it.
    #[error("{0}")]
    Transport(String),
    /// It is too large.
    #[error("the answer is larger than {REPLY_LIMIT_BYTES} bytes; narrow the selector by labels")]
    TooLarge,
    /// It is not whole.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

/// A server and the client that asks it.
pub(super) struct Server {
    client: Client,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Server")
    }
}

impl Server {
    pub(super) fn new(server: &PrometheusServer, network: &Network) -> Result<Self, ServerError> {
        let url = Url::parse(&server.url).map_err(|error| ServerError::Url(error.to_string()))?;
        let tls = match url.scheme() {
            "https" => network.tls.client_for(&server.tls)?,
            "http" => Tls::nobody()?,
            scheme => return Err(ServerError::Url(format!("the scheme is {scheme:?}"))),
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            // A redirect is somebody's login page, never an answer.
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(credentials(server)?)
            .tls_backend_preconfigured((*tls).clone())
            .build()
            .map_err(|error| ServerError::Client(innermost(&error)))?;
        let client = Client::from(client, &server.url).map_err(|error| ServerError::Url(error.to_string()))?;
        Ok(Self { client })
    }

    /// Asks `query` of now. The caller holds the deadline; the server is told of it, so that it stops working then.
    pub(super) async fn ask(&self, query: &str, timeout: Duration) -> Result<Points, QueryError> {
        let timeout_millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).max(1);
        let response = self.client.query(query).timeout(timeout_millis).get_raw().await;
        let response = response.map_err(|error| QueryError::Transport(innermost(&error)))?;
        let status = response.status().as_u16();
        let body = bounded(response).await?;
        Ok(off_the_loop(body, move |body| reply::decode(status, &body)).await?)
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, QueryError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > REPLY_LIMIT_BYTES => return Err(QueryError::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(QueryError::Transport(innermost(&error))),
        }
    }
}

fn credentials(server: &PrometheusServer) -> Result<HeaderMap, ServerError> {
    let text = match (&server.bearer_token, &server.basic_auth) {
        (Some(token), _) => format!("Bearer {}", token.expose_secret()),
        (None, Some((user, password))) => {
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose_secret())))
        }
        (None, None) => return Ok(HeaderMap::new()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ServerError::Credentials)?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// The error at the root: what the layers above it say is that a request failed, and at which URL.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => crate::probe::net::connect::words(error),
        None => error.to_string(),
    }
}
