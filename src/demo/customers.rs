//! The shop's customers: so many orders a second, whether the shop keeps up or not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{MissedTickBehavior, interval, timeout},
};

/// Enough orders for evidence within a second, few enough for a small machine.
pub(super) const ORDERS_A_SECOND: u64 = 200;
/// Orders come in bunches so often.
const BUNCH_EVERY: Duration = Duration::from_millis(20);
/// More than a slow shop has open at once, less than could hurt the machine.
const OPEN_LIMIT: usize = 400;
/// Then a customer goes away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the customers saw.
#[derive(Debug, Default)]
pub(super) struct Customers {
    served: AtomicU64,
    failed: AtomicU64,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
}

impl Customers {
    /// Orders that were served, and those that were not.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.served.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Orders for ever; the demonstration drops it.
    pub(super) async fn come(self: Arc<Self>, port: u16) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let open = Arc::new(Semaphore::new(OPEN_LIMIT));
        let bunch = ORDERS_A_SECOND * u64::try_from(BUNCH_EVERY.as_millis()).unwrap_or(1) / 1000;
        let mut ticks = interval(BUNCH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for _ in 0..bunch {
                let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { break };
                let customers = Arc::clone(&self);
                tokio::spawn(async move {
                    let served = timeout(PATIENCE, customers.order(address)).await;
                    let counter = if served == Ok(Some(true)) { &customers.served } else { &customers.failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                    drop(permit);
                });
            }
        }
    }

    /// Whether one order was served; nothing if the shop could not be reached.
    async fn order(&self, address: SocketAddr) -> Option<bool> {
        let mut connection = self.connection(address).await?;
        let request = Request::get("/order").header(header::HOST, "shop").body(Empty::new()).ok()?;
        let response = connection.send_request(request).await.ok()?;
        let served = response.status().is_success();
        response.into_body().collect().await.ok()?;
        self.idle.lock().expect("nobody panics with it").push(connection);
        Some(served)
    }

    async fn connection(&self, address: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
        while let Some(mut idle) = self.take_idle() {
            // One that the shop has closed meanwhile is left.
            if idle.ready().await.is_ok() {
                return Some(idle);
            }
        }
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        self.idle.lock().expect("nobody panics with it").pop()
    }
}
