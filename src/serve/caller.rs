//! Who asks, and what they may do.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tokio::sync::Semaphore;

use super::{Problem, throttle::LogThrottle};
use crate::config::form::{Role, Token};

/// A wrong token is answered after this: guessing pays with time.
const WRONG_TOKEN_DELAY: Duration = Duration::from_millis(500);

/// Most wrong tokens that are made to wait at once; further ones are turned away with 429. Right tokens are never made
/// to wait, however many wrong ones come: an operator must get in during a flood.
const WRONG_TOKENS_WAITING_LIMIT: usize = 16;

/// Longest token that is looked at, in bytes.
const TOKEN_LIMIT_BYTES: usize = 4096;

/// Where a connection comes from. Every request carries it.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// The Unix socket, with the name of the user at its other end.
    Socket(Arc<str>),
    /// TCP, with the address at its other end; a proxy's, where one stands in front.
    Network(Option<IpAddr>),
}

impl Peer {
    const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Socket(_) => None,
            Self::Network(address) => *address,
        }
    }
}

/// Who asks, once that is known.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// A token's name or a user's.
    pub(super) by: Arc<str>,
    pub(super) role: Role,
    /// Why it may not do more.
    limit: &'static str,
}

impl Caller {
    /// Goes on only for who may do this much.
    pub(super) fn at_least(self, role: Role) -> Result<Self, Problem> {
        if self.role >= role {
            return Ok(self);
        }
        let needed = match role {
            Role::Viewer => "viewer",
            Role::Reporter => "reporter",
            Role::Operator => "operator",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, format!("this needs the role {needed}; {}", self.limit)))
    }
}

/// The tokens, as digests: comparing those takes the same time whatever the tokens are.
pub struct Tokens {
    known: RwLock<Arc<[Known]>>,
    waiting: Semaphore,
    wrong: LogThrottle,
}

/// A token's digest, whose it is, and what it may do.
type Known = ([u8; 32], Arc<str>, Role);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").field("known", &self.known().len()).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(tokens: &[Token]) -> Self {
        Self {
            known: RwLock::new(known(tokens)),
            waiting: Semaphore::new(WRONG_TOKENS_WAITING_LIMIT),
            wrong: LogThrottle::default(),
        }
    }

    /// From here on these are the tokens; requests that were let in already go on.
    pub fn replace(&self, tokens: &[Token]) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known(tokens);
    }

    fn known(&self) -> Arc<[Known]> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose token it is. Looks at every known one, in constant time each.
    fn find(&self, presented: &[u8]) -> Option<Caller> {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        let mut place = u32::MAX;
        let all = self.known();
        for (index, (known, ..)) in (0_u32..).zip(all.iter()) {
            let same: Choice = known.as_slice().ct_eq(presented.as_slice());
            place.conditional_assign(&index, same);
        }
        let (_, by, role) = all.get(usize::try_from(place).ok()?)?;
        Some(Caller { by: by.clone(), role: *role, limit: "this token has a lesser one" })
    }

    async fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Problem> {
        if let Peer::Socket(user) = peer {
            return Ok(Caller { by: user.clone(), role: Role::Operator, limit: "" });
        }
        if self.known().is_empty() {
            let limit = "no tokens are configured, so TCP only reads: use the Unix socket on the daemon's machine";
            return Ok(Caller { by: "anonymous".into(), role: Role::Viewer, limit });
        }
        let Some(presented) = bearer(headers) else {
            let detail = "send a token: Authorization: Bearer TOKEN";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        };
        if let Some(caller) = self.find(presented) {
            return Ok(caller);
        }
        if let Some(requests) = self.wrong.count() {
            let from = peer.address().map_or_else(|| "unknown".to_owned(), |address| address.to_string());
            tracing::warn!(requests, last_from = from, "turned away requests with wrong tokens");
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens at once"));
        };
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        Err(Problem::new(StatusCode::UNAUTHORIZED, "this token is not known here"))
    }
}

fn known(tokens: &[Token]) -> Arc<[Known]> {
    let digest = |token: &Token| Sha256::digest(token.token.expose_secret().as_bytes()).into();
    tokens.iter().map(|token| (digest(token), token.name.as_str().into(), token.role)).collect()
}

/// The bearer token of RFC 6750, section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let fits = scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty() && token.len() <= TOKEN_LIMIT_BYTES;
    fits.then_some(token.trim_ascii())
}

/// Puts the [`Caller`] beside each request, or answers in its place.
pub(super) async fn authenticate(
    State(tokens): State<Arc<Tokens>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Network(None));
    let caller = tokens.authenticate(&peer, request.headers()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}
