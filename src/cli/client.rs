//! Speaks to the daemon: over its Unix socket, or over HTTP with a token.

use std::{path::PathBuf, time::Duration};

use reqwest::{Method, StatusCode, Url, header};
use rustls_platform_verifier::ConfigVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Exit, Failure, arguments::Access, configuration, permission};
use crate::serve::{GATE_PROBLEM, Problem};

/// A little more than the daemon's own deadline for a request.
const DEADLINE: Duration = Duration::from_secs(35);

/// Largest answer that is read, in bytes: a thousand services with their paths fit ten times.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Runs a command that speaks to a daemon.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("start the command: {error}")))?
        .block_on(command)
}

/// A daemon that can be asked.
pub(super) struct Daemon {
    client: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    /// The socket that it is behind, if it is.
    socket: Option<PathBuf>,
    /// Where it is, in words.
    place: String,
}

impl Daemon {
    /// The daemon that the arguments name. Nothing is sent yet.
    pub(super) fn of(access: &Access) -> Result<Self, Failure> {
        match &access.server {
            Some(server) => Self::at(server, access.token.clone()),
            None => match &access.socket {
                Some(path) => Self::behind(path.clone()),
                None => Self::behind(configuration::socket(&access.config)?),
            },
        }
    }

    fn at(server: &str, token: Option<SecretString>) -> Result<Self, Failure> {
        let usage = |why: &str| Failure::failed(format!("use --server {server}: {why}")).with_exit(Exit::USAGE);
        let base = Url::parse(server).ok().filter(|base| matches!(base.scheme(), "http" | "https"));
        let Some(base) = base else {
            let failure = usage("expected an http or https URL");
            // `host:9464` parses as a URL whose scheme is the host.
            let with_scheme = format!("http://{server}");
            let is_bare = !server.contains("://") && Url::parse(&with_scheme).is_ok();
            let hint =
                is_bare.then(|| format!("write --server {with_scheme}, or https:// where TLS is in front of it"));
            return Err(Failure { hint, ..failure });
        };
        let tls = rustls::ClientConfig::with_platform_verifier()
            .map_err(|error| Failure::failed(format!("read the machine's trusted certificates: {error}")))?;
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
        Ok(Self { client: build(client)?, place: base.to_string(), base, socket: None, token: token.filter(is_given) })
    }

    fn behind(socket: PathBuf) -> Result<Self, Failure> {
        let place = socket.display().to_string();
        // No certificate is ever looked at behind a socket, but the client wants a TLS configuration all the same.
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().unix_socket(socket.clone());
        let base = Url::parse("http://backstop/").expect("a constant URL");
        Ok(Self { client: build(client)?, base, token: None, socket: Some(socket), place })
    }

    /// Reads `/api/v1` and these segments. `what` is what somebody tried by it, phrased to follow "failed to".
    pub(super) async fn get(&self, what: &str, segments: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(what, Method::GET, url, None).await
    }

    /// Asks for something; `what` as above.
    pub(super) async fn post(&self, what: &str, segments: &[&str], body: &Value) -> Result<Value, Failure> {
        self.send(what, Method::POST, self.url(segments), Some(body)).await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    async fn send(&self, what: &str, method: Method, url: Url, body: Option<&Value>) -> Result<Value, Failure> {
        let mut request = self.client.request(method, url).timeout(DEADLINE);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let bytes = self.read(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.strange(&error.to_string()));
        }
        Err(self.refused(what, status, &bytes))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT_BYTES {
                return Err(self.strange("its answer is too large"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let is_closed_to_us = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        let hint = match &self.socket {
            Some(socket) if is_closed_to_us => permission::hint(socket),
            // However deep it is wrapped, and in whose errors: the name is that of rustls.
            None if cause.to_string().contains("InvalidContentType") => {
                let plain = self.place.replacen("https://", "http://", 1);
                format!("what answers there does not speak TLS: --server {plain}")
            }
            _ => {
                "is `backstop run` running there? --socket, --server or the configuration (--config) say where to look"
                    .to_owned()
            }
        };
        let failure = Failure::failed(format!("reach the daemon at {}: {cause}", self.place)).with_hint(hint);
        Failure { unreached: true, ..failure }
    }

    fn strange(&self, why: &str) -> Failure {
        Failure::failed(format!("understand the daemon at {}: {why}", self.place))
            .with_hint("is it another program, or another version of Backstop?")
    }

    fn refused(&self, what: &str, status: StatusCode, bytes: &[u8]) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Problem>(bytes) else {
            return self.strange(&format!("it answered {status}"));
        };
        let detail = if problem.detail.is_empty() { problem.title } else { problem.detail };
        let failure = Failure::failed(format!("{what}: {detail}"));
        match status {
            _ if problem.kind == GATE_PROBLEM => failure.with_exit(Exit::GATE),
            StatusCode::UNAUTHORIZED if self.token.is_some() => failure
                .with_hint("the token was given by --token or BACKSTOP_TOKEN; the daemon has others in server.tokens"),
            StatusCode::UNAUTHORIZED => failure.with_hint("give a token with --token or BACKSTOP_TOKEN"),
            StatusCode::NOT_FOUND => {
                failure.with_hint("`backstop status` and `backstop incident list` show what is there")
            }
            _ => failure,
        }
    }
}

/// An empty variable counts as none.
fn is_given(token: &SecretString) -> bool {
    !token.expose_secret().is_empty()
}

fn build(client: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    client
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("backstop/", env!("CARGO_PKG_VERSION"), " ", "command line"))
        .default_headers(
            std::iter::once((header::ACCEPT, header::HeaderValue::from_static("application/json"))).collect(),
        )
        .build()
        .map_err(|error| Failure::failed(format!("build the client: {error}")))
}

/// Decodes what a daemon answered.
pub(super) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        Failure::failed(format!("understand the daemon's answer: {error}"))
            .with_hint("the daemon may be of another version; --json shows its answer as it is")
    })
}
