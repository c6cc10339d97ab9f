//! Stands between Backstop and the API server, for the faults that a real one does not have when they are wanted: holds a
//! write back, or its answer, or refuses it, and answers others by a conflict, a request for patience, or not at all.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

/// Far longer than anything waits for a write here.
const PATIENCE: Duration = Duration::from_secs(90);
/// Largest body of a write here.
const BODY_LIMIT: usize = 1024 * 1024;

/// One write of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Template,
    /// The sync of a controller, turned off or on.
    Sync,
    /// The ConfigMap of that name.
    Map(&'static str),
}

impl Part {
    fn is(self, path: &str, body: &[u8]) -> bool {
        match self {
            Self::Template => String::from_utf8_lossy(body).contains("/spec/template"),
            Self::Sync => String::from_utf8_lossy(body).contains("sync-before"),
            Self::Map(name) => path.ends_with(&format!("/configmaps/{name}")),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    /// 409, and nothing is written.
    Conflict,
    /// 429 or 503, with this `Retry-After`.
    Busy(u16, &'static str),
    /// It is accepted and never answered, and the API server never gets it.
    Silent,
    /// The API server does what it says, and the answer does not come back.
    Lost,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) path: String,
    query: String,
    body: Bytes,
    /// With which status; 0 where it has not been.
    pub(crate) answered: u16,
}

impl Asked {
    fn new(parts: &Parts, body: Bytes) -> Self {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        Self { at: Instant::now(), method, path, query, body, answered: 0 }
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    pub(crate) fn is(&self, part: Part) -> bool {
        self.method == Method::PATCH && part.is(&self.path, &self.body)
    }

    /// What tells it from other requests.
    pub(crate) fn what(&self) -> String {
        format!("{} {}?{}", self.method, self.path, self.query)
    }
}

type Decide = Box<dyn Fn(&Asked) -> Fate + Send>;

struct Stops {
    held: Mutex<Option<Part>>,
    answer_held: Mutex<Option<Part>>,
    holds: Notify,
    refused: Mutex<Vec<Part>>,
    decide: Mutex<Decide>,
    /// Counts up when something else is decided: what was not answered until then never is.
    decided: watch::Sender<u64>,
    /// Counts up when watches that are under way show nothing any more, and do not end.
    stalled: Arc<watch::Sender<u64>>,
    /// Counts up when answers that come as streams are cut off.
    cut: Arc<watch::Sender<u64>>,
    asked: Mutex<Vec<Asked>>,
}

impl Default for Stops {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            answer_held: Mutex::default(),
            holds: Notify::default(),
            refused: Mutex::default(),
            decide: Mutex::new(Box::new(|_| Fate::Passes)),
            decided: watch::Sender::default(),
            stalled: Arc::default(),
            cut: Arc::default(),
            asked: Mutex::default(),
        }
    }
}

/// Forwards plain HTTP on loopback to the cluster.
pub(crate) struct Proxy {
    stops: Arc<Stops>,
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
        let stops = Arc::new(Stops::default());
        let routes = Router::new().fallback(forward).with_state((client.clone(), Arc::clone(&stops)));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { stops, task, port }
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

    /// From now on this is not written.
    pub(crate) fn hold(&self, part: Part) {
        *self.stops.held.lock().expect("what is held") = Some(part);
    }

    /// From now on this is written, and nobody hears of it.
    pub(crate) fn hold_answer(&self, part: Part) {
        *self.stops.answer_held.lock().expect("what is held") = Some(part);
    }

    /// Waits until one would have been written, or answered.
    pub(crate) async fn holds(&self) {
        self.stops.holds.notified().await;
    }

    /// The same, and not for ever.
    pub(crate) async fn holds_in_time(&self) {
        tokio::time::timeout(PATIENCE, self.holds()).await.expect("it would have been written");
    }

    /// Lets it pass again.
    pub(crate) fn let_go(&self) {
        *self.stops.held.lock().expect("what is held") = None;
        *self.stops.answer_held.lock().expect("what is held") = None;
    }

    /// From now on these are refused, and nothing else.
    pub(crate) fn refuse(&self, parts: &[Part]) {
        *self.stops.refused.lock().expect("what is refused") = parts.to_vec();
    }

    /// From now on this becomes of each request.
    pub(crate) fn decide(&self, decide: impl Fn(&Asked) -> Fate + Send + 'static) {
        *self.stops.decide.lock().expect("what is decided") = Box::new(decide);
        self.stops.decided.send_modify(|count| *count += 1);
    }

    /// This becomes of the first write of that part; with it all streams are cut off, and no later request is answered.
    pub(crate) fn silent_from(&self, part: Part, fate: Fate) {
        self.ill_from(part, fate, Fate::Silent, Arc::clone(&self.stops.cut));
    }

    /// This becomes of the first write of that part; with it the watches are dead, and nobody knows. All else goes on.
    pub(crate) fn watches_dead_from(&self, part: Part, fate: Fate) {
        self.ill_from(part, fate, Fate::Passes, Arc::clone(&self.stops.stalled));
    }

    fn ill_from(&self, part: Part, fate: Fate, later: Fate, streams: Arc<watch::Sender<u64>>) {
        let is_ill = Mutex::new(false);
        self.decide(move |asked| {
            let mut is_ill = is_ill.lock().expect("a flag");
            if *is_ill {
                return later;
            }
            if !asked.is(part) {
                return Fate::Passes;
            }
            *is_ill = true;
            streams.send_modify(|count| *count += 1);
            fate
        });
    }

    /// Cuts off the answers that come as streams: those of watches.
    pub(crate) fn cut(&self) {
        self.stops.cut.send_modify(|count| *count += 1);
    }

    /// What was asked, in the order in which it came.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.stops.asked.lock().expect("what was asked").clone()
    }
}

async fn forward(State((client, stops)): State<(Client, Arc<Stops>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.expect("a body");
    let asked = Asked::new(&parts, body);
    let mut decided = stops.decided.subscribe();
    let fate = stops.decide.lock().expect("what is decided")(&asked);
    let place = {
        let mut all = stops.asked.lock().expect("what was asked");
        all.push(asked.clone());
        all.len() - 1
    };
    let answer = match fate {
        Fate::Passes => pass(&client, &stops, parts, &asked).await,
        Fate::Conflict => refusal(StatusCode::CONFLICT, "Conflict"),
        Fate::Busy(status, retry_after) => {
            let status = StatusCode::from_u16(status).expect("a status");
            // As the API server says it: in plain words, and before it has looked at what is asked.
            (status, [(header::RETRY_AFTER, retry_after)], "Too many requests, please try again later.").into_response()
        }
        Fate::Silent | Fate::Lost => {
            if fate == Fate::Lost {
                drop(pass(&client, &stops, parts, &asked).await);
            }
            let _it_stays_the_last = decided.changed().await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
    };
    stops.asked.lock().expect("what was asked")[place].answered = answer.status().as_u16();
    answer
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "no", "reason": reason, "code": status.as_u16()});
    (status, axum::Json(body)).into_response()
}

async fn pass(client: &Client, stops: &Stops, mut parts: Parts, asked: &Asked) -> Response {
    if stops.held.lock().expect("what is held").is_some_and(|part| asked.is(part)) {
        stops.holds.notify_one();
        // Whoever waits for it is killed or gives up.
        std::future::pending::<()>().await;
    }
    if stops.refused.lock().expect("what is refused").iter().any(|part| asked.is(*part)) {
        return refusal(StatusCode::FORBIDDEN, "Forbidden");
    }
    let is_unheard = stops.answer_held.lock().expect("what is held").is_some_and(|part| asked.is(part));
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, HeaderName::from_static("keep-alive")] {
        parts.headers.remove(name);
    }
    let (mut cut, mut stalled) = (stops.cut.subscribe(), stops.stalled.subscribe());
    cut.mark_unchanged();
    stalled.mark_unchanged();
    let is_watch = asked.query.contains("watch=true");
    let request = http::Request::from_parts(parts, kube::client::Body::from(asked.body.to_vec()));
    let answer = client.send(request).await;
    if is_unheard {
        stops.holds.notify_one();
        std::future::pending::<()>().await;
    }
    match answer {
        Ok(answer) => {
            let (mut parts, body) = answer.into_parts();
            parts.headers.remove(header::TRANSFER_ENCODING);
            let body = Box::pin(body.into_data_stream());
            let body = stream::unfold((body, cut, stalled), move |(mut body, mut cut, mut stalled)| async move {
                let data = tokio::select! {
                    biased;
                    _ = cut.changed() => Some(Err(axum::Error::new("cut off"))),
                    _ = stalled.changed(), if is_watch => {
                        let _only_that_ends_it = cut.changed().await;
                        Some(Err(axum::Error::new("cut off")))
                    }
                    data = body.next() => data.map(|data| data.map_err(axum::Error::new)),
                };
                Some((data?, (body, cut, stalled)))
            });
            Response::from_parts(parts, Body::from_stream(body))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
