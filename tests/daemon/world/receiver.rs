//! The receiver of webhooks: it checks every signature, and keeps what came.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{http::Message, port::Port, wait::eventually};

/// The signing key's bytes, and how it is written in the environment.
pub(crate) const SECRET: &str = "whsec_YSBrZXkgZm9yIHRlc3RzIGFsb25l";
const KEY: &[u8] = b"a key for tests alone";

/// One event that came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Received {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.data[key].as_str().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// Tries that were turned away, by identity.
    refused: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    down: AtomicBool,
}

/// Listens on a port of its own until the process ends.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) port: Port,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let port = Port::reserve();
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind(("127.0.0.1", port.number)).expect("the port is ours");
        let keeps = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                keeps.take(connection);
            }
        });
        Self { port, shared }
    }

    /// Turns everything away with 503 while it is down.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        assert!(self.shared.wrong.lock().expect("no panic").is_empty(), "{:?}", self.shared.wrong);
        self.shared.received.lock().expect("no panic").clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.shared.refused.lock().expect("no panic").clone()
    }

    /// Every event of an incident.
    pub(crate) fn told_of(&self, incident: &str) -> Vec<Received> {
        self.all().into_iter().filter(|one| one.text("incident") == incident).collect()
    }

    /// Every event of a kind.
    pub(crate) fn of(&self, kind: &str) -> Vec<Received> {
        self.all().into_iter().filter(|one| one.kind == kind).collect()
    }

    /// The first event of a kind, once it is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, kind: &str) -> Received {
        eventually(&format!("an event {kind}; came: {:?}", self.kinds()), || self.of(kind).into_iter().next())
    }

    /// The first event of a kind about an incident, once it is there.
    #[track_caller]
    pub(crate) fn wait_for_of(&self, kind: &str, incident: &str) -> Received {
        eventually(&format!("an event {kind} of {incident}; came: {:?}", self.kinds()), || {
            self.told_of(incident).into_iter().find(|one| one.kind == kind)
        })
    }

    /// The first event of a finding, once it is there.
    #[track_caller]
    pub(crate) fn wait_for_finding(&self, finding: &str) -> Received {
        eventually(&format!("an event of {finding}; came: {:?}", self.kinds()), || {
            self.all().into_iter().find(|one| one.text("finding") == finding)
        })
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.shared.received.lock().expect("no panic").iter().map(|one| one.kind.clone()).collect()
    }
}

impl Shared {
    fn take(&self, mut connection: TcpStream) {
        let Ok(request) = connection.try_clone().and_then(Message::read) else { return };
        if request.first.is_empty() {
            // Whoever connected was killed before it said anything.
            return;
        }
        let at = Instant::now();
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let status = if self.down.load(Ordering::SeqCst) {
            self.refused.lock().expect("no panic").push(id);
            503
        } else {
            match check(&request) {
                Ok((kind, data)) => {
                    self.received.lock().expect("no panic").push(Received { at, id, kind, data });
                    204
                }
                Err(wrong) => {
                    self.wrong.lock().expect("no panic").push(wrong);
                    400
                }
            }
        };
        // Whoever sent it may be gone.
        let _gone = write!(connection, "HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

fn check(request: &Message) -> Result<(String, Value), String> {
    let header = |name: &str| request.header(name).ok_or_else(|| format!("there is no {name}: {request:?}"));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("a key of any length");
    mac.update(format!("{}.{}.{}", header("webhook-id")?, header("webhook-timestamp")?, request.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    if header("webhook-signature")? != expected {
        return Err(format!("a wrong signature: {request:?}"));
    }
    let body: Value = serde_json::from_str(&request.body).map_err(|error| format!("{error}: {}", request.body))?;
    let kind = body["type"].as_str().ok_or_else(|| format!("no type: {body}"))?;
    if body["timestamp"].as_str().is_none() || !body["data"].is_object() {
        return Err(format!("no timestamp or no data: {body}"));
    }
    Ok((kind.to_owned(), body["data"].clone()))
}
