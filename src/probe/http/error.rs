//! What can go wrong with a request, and whose fault each of it is.

use std::{error::Error, fmt, io, time::Duration};

use hyper::StatusCode;

use super::endpoint::UrlError;
use crate::{
    core::sample::Reason,
    probe::{
        fault::{Fault, Late},
        net::{
            connect::{ConnectError, is_own, words},
            tls::TlsError,
        },
    },
};

/// Why a request cannot be prepared: a mistake in the configuration. Follows "failed to".
#[derive(Debug, Clone, thiserror::Error)]
pub enum SetupError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The method.
    #[error("use the method {method:?} (expected GET, HEAD or POST)")]
    Method {
        /// The method.
        method: String,
    },
    /// A header's name.
    #[error("send the header {name:?}: its name holds a character that a header may not have")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value, which is not shown.
    #[error("send the header {name:?}: its value holds a character that a header may not have")]
    HeaderValue {
        /// The name.
        name: String,
    },
    /// The name to verify.
    #[error("verify the server name {name:?}: it is neither a host name nor an address")]
    ServerName {
        /// The name.
        name: String,
    },
    /// Authorities.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How far a request had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking the name up.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for status and headers.
    FirstByte,
    /// Reading the body.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::FirstByte => "first byte",
            Self::Body => "body",
        })
    }
}

/// Statuses that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(Box<[u16]>);

impl Wanted {
    /// These; 200 to 299 if there are none.
    pub(super) fn new(statuses: &[u16]) -> Self {
        Self(statuses.into())
    }

    pub(super) fn holds(&self, status: StatusCode) -> bool {
        if self.0.is_empty() { status.is_success() } else { self.0.contains(&status.as_u16()) }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("200 to 299");
        }
        for (place, status) in self.0.iter().enumerate() {
            write!(formatter, "{}{status}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Why a sample did not pass, in words that follow "failed:" or "missed:".
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The name could not be resolved.
    #[error("{0}")]
    Resolver(Reason),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// This machine trusts no authority at all.
    #[error("{0}")]
    Trust(TlsError),
    /// The certificate or the handshake.
    #[error("TLS handshake: {0}")]
    Tls(String),
    /// The deadline came first.
    #[error("{phase}: {} within {within:?}", match phase {
        Phase::Resolve => "no address",
        Phase::Connect => "no connection",
        Phase::Tls => "not done",
        Phase::FirstByte => "no complete head of an answer",
        Phase::Body => "not complete",
    })]
    Late {
        /// How far it had come.
        phase: Phase,
        /// The time given.
        within: Duration,
    },
    /// This process did not run.
    #[error(transparent)]
    Stalled(Late),
    /// The connection broke.
    #[error("{phase}: {reason}")]
    Broken {
        /// How far it had come.
        phase: Phase,
        /// How.
        reason: String,
    },
    /// This machine broke the connection.
    #[error("{phase}: this machine: {reason}")]
    Own {
        /// How far it had come.
        phase: Phase,
        /// How.
        reason: String,
    },
    /// What came is no HTTP.
    #[error("{phase}: not a valid HTTP/1 answer: {reason}")]
    Malformed {
        /// How far it had come.
        phase: Phase,
        /// What is wrong with it.
        reason: String,
    },
    /// Status and headers are too big.
    #[error("first byte: the answer's headers are larger than {limit} bytes or too many")]
    HeadTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The status does not pass.
    #[error("status {}, wanted {wanted}", status.as_u16())]
    Status {
        /// What came.
        status: StatusCode,
        /// What passes.
        wanted: Wanted,
    },
    /// The redirects did not end.
    #[error("more than {followed} redirects")]
    TooManyRedirects {
        /// How many were followed.
        followed: u8,
    },
    /// A redirect leads nowhere.
    #[error("follow the redirect: {0}")]
    Redirect(#[from] UrlError),
    /// The body does not have the text.
    #[error("the body does not contain {text:?}{}", cut.map(|limit| format!(" in its first {limit} bytes")).unwrap_or_default())]
    BodyLacks {
        /// The text.
        text: String,
        /// Where the body was cut, if it was.
        cut: Option<usize>,
    },
    /// The body is needed whole, and too big.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
}

impl HttpError {
    /// Whose fault it is. A bad certificate is the service's: every client is turned away by it.
    pub fn fault(&self) -> Fault {
        let reason = Reason::new(&self.to_string());
        match self {
            Self::Connect(error) => error.fault(),
            Self::Resolver(_)
            | Self::Trust(_)
            | Self::Stalled(_)
            | Self::Own { .. }
            | Self::Late { phase: Phase::Resolve, .. } => Fault::Own(reason),
            _ => Fault::Service(reason),
        }
    }

    pub(super) fn of_io(error: &io::Error, phase: Phase) -> Self {
        if is_own(error) {
            Self::Own { phase, reason: words(error) }
        } else {
            Self::Broken { phase, reason: words(error) }
        }
    }

    pub(super) fn of_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => Self::Tls(inner.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Broken { phase: Phase::Tls, reason: "the connection was closed".into() }
            }
            None => Self::of_io(error, Phase::Tls),
        }
    }

    pub(super) fn of_hyper(error: &hyper::Error, phase: Phase) -> Self {
        if error.is_parse_too_large() {
            return Self::HeadTooLarge { limit: super::HEAD_LIMIT_BYTES };
        }
        if let Some(inner) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            return match inner.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Self::Broken { phase, reason: tls.to_string() },
                None if matches!(inner.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                    Self::Malformed { phase, reason: inner.to_string() }
                }
                None if inner.kind() == io::ErrorKind::UnexpectedEof => closed(phase),
                None => Self::of_io(inner, phase),
            };
        }
        if error.is_parse() {
            Self::Malformed { phase, reason: error.to_string() }
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            closed(phase)
        } else {
            Self::Broken { phase, reason: error.to_string() }
        }
    }
}

fn closed(phase: Phase) -> HttpError {
    HttpError::Broken { phase, reason: "the connection was closed before the answer was complete".into() }
}
