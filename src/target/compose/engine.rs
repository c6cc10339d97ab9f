//! A Docker engine, spoken to by its API: everything that is read, and the tags that keep images.

use std::{fmt, io, path::Path, time::Duration};

use futures_util::StreamExt as _;
use reqwest::{Client, Method, RequestBuilder, Response};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;

use super::{
    ComposeError,
    address::{Address, Way},
};
use crate::probe::net::tls::Tls;

/// One answer takes no longer: an engine answers from memory. One that starts or stops many containers at once may be slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Biggest answer that is read: a list of some thousand containers or images.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// Of an engine's refusal so much is told.
const SAID_LIMIT: usize = 500;

/// A Docker engine.
pub(super) struct Engine {
    client: Client,
    base: String,
    address: Address,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({})", self.address.shown())
    }
}

impl Engine {
    /// The engine at that address. Nothing is sent yet; reads certificates, and so may block.
    pub(super) fn new(address: Address) -> Result<Self, ComposeError> {
        let builder =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).connect_timeout(ANSWER_WITHIN);
        let wrong = |why: String| ComposeError::Address { host: address.shown().to_owned(), why };
        let nobody = || Tls::nobody().map_err(|error| wrong(error.to_string()));
        let (builder, base) = match (address.way()?, address.tls()) {
            (Way::Socket(path), _) => (
                builder.unix_socket(path.to_owned()).tls_backend_preconfigured((*nobody()?).clone()),
                "http://engine".to_owned(),
            ),
            (Way::Tcp(place), None) => {
                (builder.tls_backend_preconfigured((*nobody()?).clone()), format!("http://{place}"))
            }
            (Way::Tcp(place), Some((authorities, identity))) => {
                let config =
                    encrypted(authorities, identity.as_ref().map(|(one, other)| (one.as_path(), other.as_path())))?;
                (builder.tls_backend_preconfigured(config), format!("https://{place}"))
            }
        };
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, base, address })
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Reads something; `what` follows "failed to".
    pub(super) async fn get(&self, what: &str, path: &str, query: &[(&str, &str)]) -> Result<Value, ComposeError> {
        let bytes = self.bytes(what, path, query, ANSWER_LIMIT_BYTES).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ComposeError::Answer { what: what.to_owned(), why: error.to_string() })
    }

    /// Reads no more of something than `limit` bytes; an answer that is longer is an error.
    pub(super) async fn bytes(
        &self,
        what: &str,
        path: &str,
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<Vec<u8>, ComposeError> {
        let read = async {
            let mut response = self.answered(what, self.request(Method::GET, path, query)).await?;
            let mut bytes = Vec::new();
            while let Some(part) = response.chunk().await.map_err(|error| self.unreachable(what, &error))? {
                if bytes.len() + part.len() > limit {
                    let why = format!("it is longer than {limit} bytes");
                    return Err(ComposeError::Answer { what: what.to_owned(), why });
                }
                bytes.extend_from_slice(&part);
            }
            Ok(bytes)
        };
        self.within(what, read).await
    }

    /// Changes something of what is not the project's.
    pub(super) async fn change(
        &self,
        what: &str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(), ComposeError> {
        self.within(what, async { self.answered(what, self.request(method, path, query)).await.map(drop) }).await
    }

    /// What the engine remembers of the last minutes, 256 events at most, and what happens from now on; a stream that may be
    /// quiet for ever.
    pub(super) async fn events(&self, filters: &str) -> Result<Response, ComposeError> {
        let what = "follow the events";
        self.within(
            what,
            self.answered(what, self.request(Method::GET, "/events", &[("since", "1"), ("filters", filters)])),
        )
        .await
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = format!("{}{path}", self.base);
        for (place, (name, value)) in query.iter().enumerate() {
            url.push(if place == 0 { '?' } else { '&' });
            url += name;
            url.push('=');
            url.extend(percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC));
        }
        self.client.request(method, url)
    }

    async fn within<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<T, ComposeError>>,
    ) -> Result<T, ComposeError> {
        let hangs = || ComposeError::Hangs {
            what: what.to_owned(),
            place: self.address.shown().to_owned(),
            limit: ANSWER_WITHIN,
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(hangs()))
    }

    async fn answered(&self, what: &str, request: RequestBuilder) -> Result<Response, ComposeError> {
        let response = request.send().await.map_err(|error| self.unreachable(what, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut said = Vec::new();
        let mut parts = response.bytes_stream();
        // Bounded by what is told of it.
        while let Some(Ok(part)) = parts.next().await {
            said.extend_from_slice(&part);
            if said.len() > SAID_LIMIT {
                break;
            }
        }
        let said = serde_json::from_slice::<Value>(&said)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.trim().to_owned()))
            .unwrap_or_else(|| String::from_utf8_lossy(&said).trim().to_owned());
        let said = said.chars().take(SAID_LIMIT).collect();
        Err(ComposeError::Refused { what: what.to_owned(), status: status.as_u16(), said })
    }

    fn unreachable(&self, what: &str, error: &reqwest::Error) -> ComposeError {
        let mut cause: &dyn std::error::Error = error;
        let mut kind = None;
        // Causes are few; a chain that goes round would be a fault of a library.
        for _ in 0..16 {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                kind = Some(error.kind());
            }
            match cause.source() {
                Some(next) => cause = next,
                None => break,
            }
        }
        let is_local = self.address.is_local();
        let why = match kind {
            Some(io::ErrorKind::PermissionDenied) => {
                "permission denied: let the user that Backstop runs as use the socket, as by the group that owns it"
                    .to_owned()
            }
            Some(io::ErrorKind::NotFound) if is_local => "there is no such socket: is the engine running?".to_owned(),
            Some(io::ErrorKind::ConnectionRefused) => "nobody listens there: is the engine running?".to_owned(),
            _ => cause.to_string(),
        };
        ComposeError::Unreachable { what: what.to_owned(), place: self.address.shown().to_owned(), why }
    }
}

/// Trusts those authorities alone, as `docker` itself does.
fn encrypted(authorities: &Path, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, ComposeError> {
    let wrong =
        |path: &Path, why: &dyn fmt::Display| ComposeError::Certificate { path: path.to_owned(), why: why.to_string() };
    let read = |path: &Path| -> Result<Vec<CertificateDer<'static>>, ComposeError> {
        let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?;
        all.collect::<Result<_, _>>().map_err(|error| wrong(path, &error))
    };
    let mut trusted = RootCertStore::empty();
    for authority in read(authorities)? {
        trusted.add(authority).map_err(|error| wrong(authorities, &error))?;
    }
    if trusted.is_empty() {
        return Err(wrong(authorities, &"it holds no certificate"));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(authorities, &error))?
        .with_root_certificates(trusted);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let shown = read(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    builder.with_client_auth_cert(shown, secret).map_err(|error| wrong(certificate, &error))
}
