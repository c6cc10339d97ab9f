//! Waits where an API server asks for it: 429 and 503 with `Retry-After`; and no longer than [`ANSWER_TIMEOUT`] for an
//! answer to begin, that of a watch included: a server that accepts and never answers is known as one by then.
//!
//! Whoever has too much to do has it for all: what one request was told holds for every one to that server that is no more
//! urgent ([`Urgency`]); they do not all come back at one instant. Each wait and all waits of one request together have a
//! bound; what then remains is the server's answer, as it is.

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{HeaderMap, Request, Response, StatusCode, header};
use jiff::fmt::rfc2822;
use kube::{Client, client::Body};
use tokio::time::{Instant, sleep_until, timeout};

use super::server::ANSWER_TIMEOUT;

/// How long is waited.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// At once, whatever is asked for.
    one: Duration,
    /// All waits of one request end so long after it was made.
    all: Duration,
}

/// A rollback has minutes, and a server that still has too much to do after ten seconds says so again. What is left of
/// [`ANSWER_TIMEOUT`] is for the answer.
const LIMITS: Limits = Limits { one: Duration::from_secs(10), all: Duration::from_secs(12) };
const _: () = assert!(LIMITS.one.as_secs() < LIMITS.all.as_secs() && LIMITS.all.as_secs() < ANSWER_TIMEOUT.as_secs());

/// No time at all, or one that is over, is as much as the shortest that can be asked for otherwise: with it a request is made
/// a dozen times at most.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Whoever waited comes back within this, each at a time of its own: no longer than the shortest wait.
const SPREAD: Duration = Duration::from_secs(1);

/// What waits for what: a rollback is held up by nothing that only tells of it or looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// What can wait: Events, which tell people, and the evidence that is gathered for them.
    Aside,
    /// Watches, and the lists that they begin with: a look.
    Watching,
    /// Everything else: what a plan needs now, its reads and its writes.
    Doing,
}

/// What is gathered of a whole cluster, and asked for by nothing else.
const GATHERED: [&str; 2] = ["/api/v1/nodes", "/api/v1/pods"];

impl Urgency {
    fn of(request: &Request<Body>) -> Self {
        let path = request.uri().path();
        let mut query = request.uri().query().unwrap_or_default().split('&');
        if path.ends_with("/events") || path.ends_with("/log") || GATHERED.contains(&path) {
            Self::Aside
        } else if query.any(|part| part == "watch=true" || part.starts_with("limit=")) {
            // No other list that is left comes in parts.
            Self::Watching
        } else {
            Self::Doing
        }
    }
}

/// Until when an API server wants to be left alone.
#[derive(Debug)]
struct Quiet {
    /// By what that was asked of, the least urgent first.
    until: Mutex<[Option<Instant>; 3]>,
    /// Of all times within [`SPREAD`], the next one to come back at.
    turn: AtomicU64,
}

impl Quiet {
    fn new() -> Self {
        // Many daemons that begin at once are to differ too.
        let turn = std::hash::RandomState::new().hash_one(0_u64);
        Self { until: Mutex::default(), turn: AtomicU64::new(turn) }
    }

    /// For a request of that urgency.
    fn until(&self, urgency: Urgency) -> Option<Instant> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until[urgency as usize..].iter().flatten().max().copied()
    }

    fn keep(&self, urgency: Urgency, until: Instant) {
        let mut quiet = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let before = quiet[urgency as usize];
        quiet[urgency as usize] = Some(before.map_or(until, |before| before.max(until)));
    }

    /// How much later than asked for: steps by the golden ratio lie far from each other, however many there are.
    fn apart(&self) -> Duration {
        let turn = self.turn.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let thousandths = u32::try_from(((turn >> 32) * 1000) >> 32).unwrap_or(0);
        SPREAD * thousandths / 1000
    }
}

/// A client that waits where it is asked to.
pub(super) fn patient(client: Client) -> Client {
    within(client, LIMITS)
}

fn within(client: Client, limits: Limits) -> Client {
    let quiet = Arc::new(Quiet::new());
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| send(client.clone(), Arc::clone(&quiet), limits, request));
    Client::new(service, namespace)
}

async fn send(
    client: Client,
    quiet: Arc<Quiet>,
    limits: Limits,
    request: Request<Body>,
) -> kube::Result<Response<Body>> {
    let until = Instant::now() + limits.all;
    let urgency = Urgency::of(&request);
    let (head, body) = request.into_parts();
    // Bounded by `until`: each turn but the last ends in a wait.
    loop {
        if let Some(asked) = quiet.until(urgency).filter(|asked| *asked > Instant::now()) {
            sleep_until((asked + quiet.apart()).min(until)).await;
        }
        // What comes as a stream cannot be sent again; nothing here does.
        let Some(copy) = body.try_clone() else { return begun(client.send(Request::from_parts(head, body))).await };
        let answer = begun(client.send(Request::from_parts(head.clone(), copy))).await?;
        let Some(wait) = wait_asked_for(answer.status(), answer.headers()) else { return Ok(answer) };
        let over = Instant::now() + wait.min(limits.one);
        quiet.keep(urgency, over);
        if over >= until {
            return Ok(answer);
        }
        let (path, status) = (head.uri.path(), answer.status().as_u16());
        tracing::debug!(path, status, ?wait, "the API server asks for patience");
    }
}

/// Waits until an answer begins, but not for ever.
async fn begun(answer: impl Future<Output = kube::Result<Response<Body>>>) -> kube::Result<Response<Body>> {
    let silent = || kube::Error::Service(format!("the API server did not answer within {ANSWER_TIMEOUT:?}").into());
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| Err(silent()))
}

/// How long the server wants to be left alone, if it says so; at least [`AT_LEAST`].
fn wait_asked_for(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(header::RETRY_AFTER)?;
    // A number of seconds, or a date (RFC 9110, section 10.2.3), which is the server's as its answer's own is.
    let wait = asked.parse().ok().map(Duration::from_secs).or_else(|| {
        let then = rfc2822::parse(asked).ok()?.timestamp();
        let now = rfc2822::parse(text(header::DATE)?).ok()?.timestamp();
        Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
    })?;
    Some(wait.max(AT_LEAST))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use hyper::Method;

    use super::*;

    fn headers(retry_after: &str, date: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::RETRY_AFTER, retry_after), (header::DATE, date)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().expect("a value"));
            }
        }
        headers
    }

    #[test]
    fn only_what_asks_for_patience_gets_it_and_never_none_at_all() {
        let date = "Wed, 07 Jan 2026 10:30:00 GMT";
        for (status, retry_after, date, expected) in [
            (429, "2", "", Some(2_000)),
            (503, " 2 ", "", Some(2_000)),
            (429, "0", "", Some(1_000)),
            (429, "86400", "", Some(86_400_000)),
            (503, "Wed, 07 Jan 2026 10:30:03 GMT", date, Some(3_000)),
            (503, "Wed, 07 Jan 2026 10:29:00 GMT", date, Some(1_000)),
            (503, "Wed, 07 Jan 2026 10:30:03 GMT", "", None),
            (429, "soon", date, None),
            (429, "", date, None),
            (500, "2", "", None),
            (200, "2", "", None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let wait = wait_asked_for(status, &headers(retry_after, date));
            assert_eq!(wait, expected.map(Duration::from_millis), "{status} {retry_after:?}");
        }
    }

    const SHORT: Limits = Limits { one: Duration::from_millis(200), all: Duration::from_millis(300) };

    type Times = Arc<Mutex<Vec<Instant>>>;

    /// A server with these answers, and when it was asked.
    fn server(answers: &[(u16, &'static str)]) -> (Client, Times) {
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        let times = Times::default();
        let asked = Arc::clone(&times);
        let service = tower::service_fn(move |_: Request<Body>| {
            asked.lock().expect("times").push(Instant::now());
            let (status, retry_after) = answers.pop_front().unwrap_or((200, ""));
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            *answer.headers_mut() = headers(retry_after, "");
            std::future::ready(Ok::<_, kube::Error>(answer))
        });
        (Client::new(service, "default"), times)
    }

    async fn ask(client: &Client) -> u16 {
        let request = Request::get("/version").body(Body::empty()).expect("a request");
        client.send(request).await.expect("an answer").status().as_u16()
    }

    /// How long after the one before each was asked.
    fn apart(times: &Times) -> Vec<Duration> {
        times.lock().expect("times").windows(2).map(|two| two[1] - two[0]).collect()
    }

    #[tokio::test]
    async fn it_asks_again_when_it_may_and_gives_the_answer_back_when_that_takes_too_long() {
        for (limits, answers, expected, waits) in [
            (LIMITS, &[(429, "1"), (503, "0")][..], 200, vec![AT_LEAST, AT_LEAST]),
            (SHORT, &[(429, "3600"), (429, "3600"), (200, "")], 429, vec![SHORT.one]),
            (LIMITS, &[(503, "")], 503, vec![]),
        ] {
            let (client, times) = server(answers);
            assert_eq!(ask(&within(client, limits)).await, expected, "{answers:?}");
            let apart = apart(&times);
            assert_eq!(apart.len(), waits.len(), "{answers:?}: {apart:?}");
            assert!(apart.iter().zip(&waits).all(|(apart, least)| apart >= least), "{answers:?}: {apart:?}");
        }
    }

    #[tokio::test]
    async fn what_one_request_was_told_holds_for_the_others() {
        let (client, times) = server(&[(429, "3600"), (429, "3600")]);
        let client = within(client, SHORT);
        assert_eq!(ask(&client).await, 429);
        // Of the other's own time more is left, so that it asks once more.
        assert_eq!(ask(&client).await, 200);
        let apart = apart(&times);
        assert!(apart.len() == 2 && apart.iter().all(|apart| *apart >= SHORT.one), "{apart:?}");
    }

    #[tokio::test]
    async fn it_holds_for_no_more_urgent_one() {
        let urgency = |method: Method, uri: &str| {
            Urgency::of(&Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request"))
        };
        let deployments = "/apis/apps/v1/namespaces/prod/deployments";
        for (method, uri, expected) in [
            (Method::POST, "/api/v1/namespaces/prod/events".to_owned(), Urgency::Aside),
            (Method::GET, "/api/v1/namespaces/prod/events?&limit=100".to_owned(), Urgency::Aside),
            (Method::GET, "/api/v1/namespaces/prod/pods/shop-1/log?&previous=true".to_owned(), Urgency::Aside),
            (Method::GET, "/api/v1/pods?&limit=100".to_owned(), Urgency::Aside),
            (Method::GET, "/api/v1/nodes?&limit=100".to_owned(), Urgency::Aside),
            (Method::GET, "/api/v1/namespaces/prod/pods?&limit=500".to_owned(), Urgency::Watching),
            (Method::GET, format!("{deployments}?&watch=true&timeoutSeconds=60"), Urgency::Watching),
            (Method::GET, format!("{deployments}?&limit=500"), Urgency::Watching),
            (Method::GET, format!("{deployments}?&labelSelector=app%3Dshop"), Urgency::Doing),
            (Method::GET, format!("{deployments}/shop"), Urgency::Doing),
            (Method::PATCH, format!("{deployments}/shop?"), Urgency::Doing),
            (Method::DELETE, "/api/v1/namespaces/prod/pods/shop-1".to_owned(), Urgency::Doing),
        ] {
            assert_eq!(urgency(method, &uri), expected, "{uri}");
        }
        let all = [Urgency::Aside, Urgency::Watching, Urgency::Doing];
        let soon = Instant::now() + AT_LEAST;
        for told in all {
            let quiet = Quiet::new();
            quiet.keep(told, soon);
            for other in all {
                assert_eq!(quiet.until(other).is_some(), other <= told, "{told:?} was told, and {other:?} asks");
            }
        }
    }

    #[test]
    fn whoever_waited_comes_back_at_a_time_of_its_own() {
        let quiet = Quiet::new();
        let mut times: Vec<Duration> = (0..100).map(|_| quiet.apart()).collect();
        times.sort_unstable();
        assert!(times.iter().all(|time| *time < SPREAD), "{times:?}");
        // A hundred in a second: no two of them at once, and none alone for long.
        let gaps: Vec<Duration> = times.windows(2).map(|two| two[1].abs_diff(two[0])).collect();
        assert!(gaps.iter().all(|gap| (2..=30).contains(&gap.as_millis())), "{gaps:?}");
    }
}
