//! Waits where an API server asks for it: 429 and 503 with `Retry-After`; and no longer than [`ANSWER_TIMEOUT`] for an
//! answer to begin, that of a watch included: a server that accepts and never answers is known as one by then.
//!
//! Whoever has too much to do has it for all: what one request was told holds for every request to that server. Each wait
//! and all waits of one request together have a bound; what then remains is the server's answer, as it is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
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
    /// See [`AT_LEAST`].
    least: Duration,
    /// See [`SPREAD`].
    spread: Duration,
}

/// A rollback has minutes, and a server that still has too much to do after ten seconds says so again. What is left of
/// [`ANSWER_TIMEOUT`] is for the answer.
const LIMITS: Limits =
    Limits { one: Duration::from_secs(10), all: Duration::from_secs(12), least: AT_LEAST, spread: SPREAD };
const _: () = assert!(LIMITS.one.as_secs() < LIMITS.all.as_secs() && LIMITS.all.as_secs() < ANSWER_TIMEOUT.as_secs());

/// Who asks for no time at all is not asked again at once.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Those that wait for one server do not all come back in the same instant: up to so much later.
const SPREAD: Duration = Duration::from_millis(500);

/// Until when an API server wants to be left alone.
#[derive(Debug, Default)]
struct Quiet {
    until: Mutex<Option<Instant>>,
    /// Waits so far.
    waits: AtomicU32,
}

impl Quiet {
    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, until: Instant) {
        let mut quiet = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |before| before.max(until)));
    }

    /// How much later the next one that waits comes back: multiples of the golden ratio lie as far apart as can be,
    /// however many there are.
    fn turn(&self, spread: Duration) -> Duration {
        let wait = self.waits.fetch_add(1, Ordering::Relaxed);
        spread.mul_f64((f64::from(wait) * 0.618_033_988_749_895).fract())
    }
}

/// A client that waits where it is asked to.
pub(super) fn patient(client: Client) -> Client {
    within(client, LIMITS)
}

fn within(client: Client, limits: Limits) -> Client {
    let quiet = Arc::new(Quiet::default());
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
    let (head, body) = request.into_parts();
    // What is only told waits by itself: it must not hold up a rollback.
    let is_aside = head.method == Method::POST && head.uri.path().ends_with("/events");
    let mut own = None;
    // Bounded by `until`: each turn but the last ends in a wait.
    loop {
        if let Some(asked) = quiet.until().max(own).filter(|asked| *asked > Instant::now()) {
            sleep_until((asked + quiet.turn(limits.spread)).min(until)).await;
        }
        // What comes as a stream cannot be sent again; nothing here does.
        let Some(copy) = body.try_clone() else { return begun(client.send(Request::from_parts(head, body))).await };
        let answer = begun(client.send(Request::from_parts(head.clone(), copy))).await?;
        let Some(wait) = wait_asked_for(answer.status(), answer.headers()) else { return Ok(answer) };
        let over = Instant::now() + wait.max(limits.least).min(limits.one);
        if is_aside {
            own = Some(over);
        } else {
            quiet.keep(over);
        }
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

/// How long the server wants to be left alone, if it says so.
fn wait_asked_for(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(header::RETRY_AFTER)?;
    // A number of seconds, or a date (RFC 9110, section 10.2.3), which is the server's as its answer's own is.
    asked.parse().ok().map(Duration::from_secs).or_else(|| {
        let then = rfc2822::parse(asked).ok()?.timestamp();
        let now = rfc2822::parse(text(header::DATE)?).ok()?.timestamp();
        Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

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
    fn only_what_asks_for_patience_gets_it() {
        let date = "Wed, 07 Jan 2026 10:30:00 GMT";
        for (status, retry_after, date, expected) in [
            (429, "2", "", Some(2_000)),
            (503, " 2 ", "", Some(2_000)),
            (429, "0", "", Some(0)),
            (429, "86400", "", Some(86_400_000)),
            (503, "Wed, 07 Jan 2026 10:30:03 GMT", date, Some(3_000)),
            (503, "Wed, 07 Jan 2026 10:29:00 GMT", date, Some(0)),
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

    const SHORT: Limits = Limits {
        one: Duration::from_millis(200),
        all: Duration::from_millis(300),
        least: Duration::from_millis(50),
        spread: Duration::from_millis(20),
    };

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

    /// Whether each was asked so long after the one before.
    fn apart(times: &Times, at_least: &[Duration]) -> bool {
        let times = times.lock().expect("times");
        times.len() == at_least.len() + 1
            && times.windows(2).zip(at_least).all(|(two, least)| two[1] - two[0] >= *least)
    }

    #[tokio::test]
    async fn it_asks_again_when_it_may_and_gives_the_answer_back_when_that_takes_too_long() {
        let (second, short) = (Duration::from_secs(1), SHORT.one);
        for (limits, answers, expected, waits) in [
            (LIMITS, &[(429, "1")][..], 200, vec![second]),
            (SHORT, &[(503, "0"), (429, "0")], 200, vec![SHORT.least, SHORT.least]),
            (SHORT, &[(429, "3600"), (429, "3600"), (200, "")], 429, vec![short]),
            (LIMITS, &[(503, "")], 503, vec![]),
        ] {
            let (client, times) = server(answers);
            assert_eq!(ask(&within(client, limits)).await, expected, "{answers:?}");
            assert!(apart(&times, &waits), "{answers:?}: {times:?}");
        }
    }

    #[tokio::test]
    async fn what_one_request_was_told_holds_for_the_others() {
        let (client, times) = server(&[(429, "3600"), (429, "3600")]);
        let client = within(client, SHORT);
        assert_eq!(ask(&client).await, 429);
        // Of the other's own time more is left, so that it asks once more.
        assert_eq!(ask(&client).await, 200);
        assert!(apart(&times, &[SHORT.one, SHORT.one]), "{times:?}");
    }

    #[tokio::test]
    async fn what_is_only_told_holds_nothing_up() {
        let (client, _times) = server(&[(429, "3600"), (429, "3600")]);
        let quiet = Arc::new(Quiet::default());
        let ask = |path: &str| {
            let request = Request::post(path).body(Body::empty()).expect("a request");
            super::send(client.clone(), Arc::clone(&quiet), SHORT, request)
        };
        assert_eq!(ask("/api/v1/namespaces/prod/events").await.expect("an answer").status().as_u16(), 429);
        assert_eq!(quiet.until(), None, "nobody else waits for it");
        let (client, _times) = server(&[(429, "3600"), (429, "3600")]);
        let ask = Request::post("/api/v1/namespaces/prod/pods").body(Body::empty()).expect("a request");
        super::send(client, Arc::clone(&quiet), SHORT, ask).await.expect("an answer");
        assert!(quiet.until().is_some());
    }

    #[test]
    fn those_that_wait_come_back_one_after_another() {
        let quiet = Quiet::default();
        let mut turns: Vec<Duration> = (0..8).map(|_| quiet.turn(SPREAD)).collect();
        turns.sort_unstable();
        assert!(turns.windows(2).all(|two| two[1] > two[0] + SPREAD / 20), "{turns:?}");
        assert!(turns.iter().all(|turn| *turn < SPREAD), "{turns:?}");
    }
}
