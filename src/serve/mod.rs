//! HTTP API, metrics, health, authentication.
//!
//! Readers get finished views from the [`Board`]; what people ask for goes to the core through a bounded queue of
//! [`Asked`]. Nothing here waits for the loop, and the loop waits for nothing here.
//!
//! Two ways in: the Unix socket (mode 0600, whoever can open it may act) and TCP (bearer tokens; without any token it
//! only reads). TLS is left to a proxy in front: tokens must not cross a network in the clear.

mod accept;
pub mod answers;
mod bind;
mod board;
mod body;
mod caller;
mod idle;
pub mod metrics;
mod problem;
mod routes;
mod scrapes;
mod throttle;

pub use accept::{Limits, Server};
pub use bind::{Listeners, ServeError};
pub use board::{Board, BootClock, LOOP_TURN_LIMIT, Publisher, board};
pub use caller::Tokens;
pub use problem::{GATE_PROBLEM, Problem};
pub(crate) use routes::no_incident;

use tokio::sync::{mpsc, oneshot};

use crate::core::event::{Reply, Request};

/// Most requests of people that wait for the loop. It takes them each turn; more than these at once is a flood.
pub const REQUEST_QUEUE_LIMIT: usize = 64;

/// Largest body that is read, in bytes (design §11).
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Something that a person or a program asks of the core.
#[derive(Debug)]
pub struct Asked {
    /// Who asks, as authenticated: a token's name, or the user behind the socket.
    pub by: String,
    /// For what.
    pub request: Request,
    /// Where the answer goes. Whoever asked may be gone by then.
    pub reply: oneshot::Sender<Reply>,
}

/// The queue between the server and the loop.
pub fn requests() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(REQUEST_QUEUE_LIMIT)
}
