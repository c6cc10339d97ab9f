//! One HTTP request on a fresh connection, as a new client would make it: no proxy, no pool, no session taken up again.
//!
//! The connection is driven by the task that asks, so a probe costs no task of its own. What it reads is bounded, and
//! the time it takes ends with the deadline, whatever the other side does.

mod endpoint;
mod error;
mod exchange;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http_body_util::Empty;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use regex::bytes::Regex;
use rustls::{ClientConfig, pki_types::ServerName};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::{
    endpoint::{Endpoint, UrlError},
    error::{HttpError, Phase, SetupError},
    exchange::HEAD_LIMIT_BYTES,
};
use self::{
    error::Wanted,
    exchange::{Answer, Wish, exchange},
};
use super::{
    fault::{Deadline, Late},
    net::{Network, certificate, connect::connect, resolve::Addresses},
};
use crate::{
    config::form::HttpCheck,
    core::{sample::Outcome, time::WallTime},
};

/// Most of a body that a check reads; a bigger body is cut there, and the status decides. A health answer has no reason
/// to be bigger, and ten thousand probes may read at once.
pub const BODY_LIMIT_BYTES: usize = 256 * 1024;

/// What an answer must be to pass, and how to ask for it. Made once, used for every sample.
#[derive(Clone)]
pub struct HttpProbe(Arc<Plan>);

struct Plan {
    endpoint: Endpoint,
    method: Method,
    /// With `Host` and `Connection`; sent to the first endpoint's own origin alone.
    headers: HeaderMap,
    wanted: Wanted,
    body_contains: Option<(Regex, String)>,
    redirects: u8,
    tls: Option<Arc<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
    network: Network,
    /// The earliest end of a certificate seen by the last sample, in milliseconds of Unix time; or [`NO_CERTIFICATE`].
    certificate_expires: AtomicI64,
}

/// Later than every certificate.
const NO_CERTIFICATE: i64 = i64::MAX;

impl std::fmt::Debug for HttpProbe {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "HttpProbe({} {})", self.0.method, self.0.endpoint)
    }
}

/// What the watchdog calls itself.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("backstop/", env!("CARGO_PKG_VERSION")));

impl HttpProbe {
    /// Prepares all that can be known before the first sample: address, request, TLS configuration.
    pub fn new(check: &HttpCheck, network: &Network) -> Result<Self, SetupError> {
        let endpoint = Endpoint::parse(&check.url, &network.resolver)?;
        let method = Method::from_bytes(check.method.as_bytes())
            .map_err(|_| SetupError::Method { method: check.method.clone() })?;
        let mut headers = own_headers(&endpoint, check.headers.len() + 1);
        if let Some(authorization) = endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        for (name, value) in &check.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| SetupError::HeaderName { name: name.clone() })?;
            let mut value = HeaderValue::from_str(value.expose_secret())
                .map_err(|_| SetupError::HeaderValue { name: name.to_string() })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let server_name = match &check.tls.server_name {
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| SetupError::ServerName { name: name.clone() })?)
            }
            None => None,
        };
        // Where only a redirect leads to https, the machine's own store is read when that happens.
        let needs_tls = endpoint.server_name().is_some() || check.tls.ca_file.is_some();
        let tls = if needs_tls { Some(network.tls.client(check.tls.ca_file.as_deref())?) } else { None };
        let body_contains = check.body_contains.as_ref().map(|text| {
            (Regex::new(&regex::escape(text)).expect("an escaped text is a valid expression"), text.clone())
        });
        Ok(Self(Arc::new(Plan {
            wanted: Wanted::new(&check.status),
            redirects: check.redirects,
            network: network.clone(),
            endpoint,
            method,
            headers,
            body_contains,
            tls,
            server_name,
            certificate_expires: AtomicI64::new(NO_CERTIFICATE),
        })))
    }

    /// Asks once and judges the answer. `timeout` begins when the name is resolved, so that a slow resolver is never
    /// taken for a slow service; resolving itself may take as long.
    pub async fn sample(&self, timeout: Duration) -> Outcome {
        match self.check(timeout).await {
            Ok(()) => Outcome::Passed,
            Err(error) => error.fault().into(),
        }
    }

    async fn check(&self, timeout: Duration) -> Result<(), HttpError> {
        let plan = &*self.0;
        let wish = Wish { wanted: &plan.wanted, limit: BODY_LIMIT_BYTES, keep: plan.body_contains.is_some() };
        let answer = self.ask(timeout, &wish).await?;
        match &plan.body_contains {
            Some((expression, text)) if !expression.is_match(&answer.body) => {
                Err(HttpError::BodyLacks { text: text.clone(), cut: answer.cut.then_some(BODY_LIMIT_BYTES) })
            }
            _ => Ok(()),
        }
    }

    /// Asks once and brings the body, which must be whole within `limit` bytes.
    pub async fn fetch(&self, timeout: Duration, limit: usize) -> Result<Vec<u8>, HttpError> {
        let answer = self.ask(timeout, &Wish { wanted: &self.0.wanted, limit, keep: true }).await?;
        if answer.cut { Err(HttpError::BodyTooLarge { limit }) } else { Ok(answer.body) }
    }

    /// When the first of the certificates expires that the last sample saw and trusted; none if it saw none.
    pub fn certificate_expires(&self) -> Option<WallTime> {
        let millis = self.0.certificate_expires.load(Ordering::Relaxed);
        (millis != NO_CERTIFICATE).then(|| WallTime::from_millis(millis))
    }

    async fn ask(&self, timeout: Duration, wish: &Wish<'_>) -> Result<Answer, HttpError> {
        self.0.certificate_expires.store(NO_CERTIFICATE, Ordering::Relaxed);
        let resolved = self.0.endpoint.host().addresses(timeout).await;
        let addresses = resolved.map_err(HttpError::Resolver)?;
        let deadline = Deadline::after(timeout);
        let mut phase = Phase::Connect;
        match deadline.run(self.0.follow(addresses, wish, &deadline, &mut phase)).await {
            Ok(result) => result,
            Err(Late::Other(within)) => Err(HttpError::Late { phase, within }),
            Err(late @ Late::Stalled(_)) => Err(HttpError::Stalled(late)),
        }
    }

    /// The URL without its secrets.
    pub fn shown(&self) -> &Endpoint {
        &self.0.endpoint
    }
}

impl Plan {
    async fn follow(
        &self,
        addresses: Addresses,
        wish: &Wish<'_>,
        deadline: &Deadline,
        phase: &mut Phase,
    ) -> Result<Answer, HttpError> {
        let answer = self.hop(&self.endpoint, &addresses, self.first_request(), wish, deadline, phase).await?;
        match self.redirect(&answer) {
            None => judged(answer, wish),
            // On the heap, as the TLS session below: most samples need neither, and none is to keep room for both.
            Some(location) => Box::pin(self.redirected(&location, answer.status, wish, deadline, phase)).await,
        }
    }

    async fn redirected(
        &self,
        location: &HeaderValue,
        status: StatusCode,
        wish: &Wish<'_>,
        deadline: &Deadline,
        phase: &mut Phase,
    ) -> Result<Answer, HttpError> {
        let mut endpoint = self.endpoint.join(location, &self.network.resolver)?;
        let mut method = redirected_method(&self.method, status);
        for _ in 0..self.redirects {
            let answer = self.next(&endpoint, &method, wish, deadline, phase).await?;
            let Some(location) = self.redirect(&answer) else { return judged(answer, wish) };
            method = redirected_method(&method, answer.status);
            endpoint = endpoint.join(&location, &self.network.resolver)?;
        }
        Err(HttpError::TooManyRedirects { followed: self.redirects })
    }

    async fn next(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        wish: &Wish<'_>,
        deadline: &Deadline,
        phase: &mut Phase,
    ) -> Result<Answer, HttpError> {
        *phase = Phase::Resolve;
        let addresses = endpoint.host().addresses(deadline.remaining()).await.map_err(HttpError::Resolver)?;
        self.hop(endpoint, &addresses, self.next_request(endpoint, method), wish, deadline, phase).await
    }

    async fn hop(
        &self,
        endpoint: &Endpoint,
        addresses: &Addresses,
        request: Request<Empty<Bytes>>,
        wish: &Wish<'_>,
        deadline: &Deadline,
        phase: &mut Phase,
    ) -> Result<Answer, HttpError> {
        *phase = Phase::Connect;
        let stream = connect(addresses, endpoint.port(), deadline).await?;
        match endpoint.server_name() {
            None => exchange(stream, request, wish, phase).await,
            Some(name) => {
                *phase = Phase::Tls;
                let name = match &self.server_name {
                    Some(configured) if endpoint.same_origin(&self.endpoint) => configured,
                    _ => name,
                };
                let name = name.clone();
                Box::pin(async move {
                    let stream = self.secure(stream, name).await?;
                    exchange(stream, request, wish, phase).await
                })
                .await
            }
        }
    }

    async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HttpError> {
        let config = match &self.tls {
            Some(config) => Arc::clone(config),
            None => self.network.tls.client(None).map_err(HttpError::Trust)?,
        };
        // Several small flights follow each other; without this, each waits for the acknowledgement of the last.
        stream.set_nodelay(true).map_err(|error| HttpError::of_io(&error, Phase::Tls))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let stream = connected.map_err(|error| HttpError::of_tls(&error))?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if let Some(expires) = leaf.and_then(|leaf| certificate::expires(leaf)) {
            self.certificate_expires.fetch_min(expires.as_millis(), Ordering::Relaxed);
        }
        Ok(stream)
    }

    fn first_request(&self) -> Request<Empty<Bytes>> {
        request(self.method.clone(), &self.endpoint, self.headers.clone())
    }

    /// A redirect's request. What was configured for the first origin, secrets above all, goes to that origin alone.
    fn next_request(&self, endpoint: &Endpoint, method: &Method) -> Request<Empty<Bytes>> {
        let same = endpoint.same_origin(&self.endpoint);
        let headers = if same { self.headers.clone() } else { own_headers(endpoint, 0) };
        request(method.clone(), endpoint, headers)
    }

    /// Where an answer sends us, if redirects are followed.
    fn redirect(&self, answer: &Answer) -> Option<HeaderValue> {
        if self.redirects == 0 || self.wanted.holds(answer.status) { None } else { answer.location.clone() }
    }
}

/// What every request says, with room for `more`.
fn own_headers(endpoint: &Endpoint, more: usize) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4 + more);
    headers.insert(header::HOST, endpoint.host_header().clone());
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers
}

fn request(method: Method, endpoint: &Endpoint, headers: HeaderMap) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() = endpoint.path().clone();
    *request.headers_mut() = headers;
    request
}

fn judged(answer: Answer, wish: &Wish<'_>) -> Result<Answer, HttpError> {
    if wish.wanted.holds(answer.status) {
        Ok(answer)
    } else {
        Err(HttpError::Status { status: answer.status, wanted: wish.wanted.clone() })
    }
}

/// RFC 9110, 15.4: 303 asks with GET; 301 and 302 turn POST into GET, as every client does; 307 and 308 keep the method.
fn redirected_method(method: &Method, status: StatusCode) -> Method {
    match status {
        StatusCode::SEE_OTHER if *method != Method::HEAD => Method::GET,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => Method::GET,
        _ => method.clone(),
    }
}
