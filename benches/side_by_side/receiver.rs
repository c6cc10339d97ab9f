//! The receiver of pages, Backstop's and Alertmanager's alike.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::server::monotonic;

/// A sender that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on a port of its own until the process ends.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    /// When the page of each probe first came.
    pages: Arc<Mutex<HashMap<usize, Duration>>>,
}

impl Receiver {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for pages")?;
        let port = listener.local_addr()?.port();
        let pages = Arc::new(Mutex::new(HashMap::new()));
        let kept = Arc::clone(&pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                // A connection may stay open between two pages.
                std::thread::spawn(move || while take(&stream, &kept).unwrap_or(false) {});
            }
        });
        Ok(Self { port, pages })
    }

    /// When the page of `place` came.
    pub(crate) fn paged(&self, place: usize) -> Option<Duration> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&place).copied()
    }
}

/// Takes one request in. False at the end of the connection.
fn take(stream: &TcpStream, pages: &Mutex<HashMap<usize, Duration>>) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let came = monotonic();
    if let Ok(body) = serde_json::from_slice(&body) {
        let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places(&body) {
            pages.entry(place).or_insert(came);
        }
    }
    let mut writer = stream;
    writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    Ok(true)
}

/// Whose failure a page tells: an incident of service `sN`, or an alert of an instance whose path ends in `/N`.
fn places(body: &Value) -> Vec<usize> {
    if body["type"] == "incident.opened" {
        let name = body["data"]["service"].as_str().unwrap_or_default();
        return name.strip_prefix('s').and_then(|place| place.parse().ok()).into_iter().collect();
    }
    let alerts = body["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let instances = alerts.iter().filter_map(|alert| alert["labels"]["instance"].as_str());
    instances.filter_map(|instance| instance.rsplit('/').next()?.parse().ok()).collect()
}
