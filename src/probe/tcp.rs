//! One connection: a service that accepts it passes.

use std::time::Duration;

use super::{
    fault::{Deadline, Fault, Late},
    net::{Network, connect::connect, resolve::Host},
};
use crate::{
    config::form::HostPort,
    core::sample::{Outcome, Reason},
};

/// A host and a port that must accept a connection.
#[derive(Debug, Clone)]
pub struct TcpProbe {
    host: Host,
    port: u16,
    shown: String,
}

impl TcpProbe {
    /// A probe of `target`; names are resolved at each sample.
    pub fn new(target: &HostPort, network: &Network) -> Self {
        let HostPort { host, port } = target;
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { host: network.resolver.host(host), port: *port, shown }
    }

    /// Connects once, within `timeout` after the name was resolved, and closes again.
    pub async fn sample(&self, timeout: Duration) -> Outcome {
        self.attempt(timeout).await.map_or_else(Outcome::from, |()| Outcome::Passed)
    }

    async fn attempt(&self, timeout: Duration) -> Result<(), Fault> {
        let addresses = self.host.addresses(timeout).await.map_err(Fault::Own)?;
        let deadline = Deadline::after(timeout);
        match deadline.run(connect(&addresses, self.port, &deadline)).await {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(error.fault()),
            Err(late @ Late::Stalled(_)) => Err(Fault::Own(Reason::new(&late.to_string()))),
            Err(Late::Other(within)) => {
                Err(Fault::Service(Reason::new(&format!("connect to {}: no answer within {within:?}", self.shown))))
            }
        }
    }

    /// `host:port`, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn probe(host: &str, port: u16) -> TcpProbe {
        TcpProbe::new(&HostPort { host: host.into(), port }, &Network::new())
    }

    #[tokio::test]
    async fn an_open_port_passes_and_a_closed_one_fails() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(probe("127.0.0.1", port).sample(TIMEOUT).await, Outcome::Passed);
        assert_eq!(probe("localhost", port).sample(TIMEOUT).await, Outcome::Passed);
        drop(listener);
        let outcome = probe("127.0.0.1", port).sample(TIMEOUT).await;
        let expected = format!("connect to 127.0.0.1:{port}: connection refused");
        assert_eq!(outcome, Outcome::Failed(Reason::new(&expected)));
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_is_missed() {
        let outcome = probe("nowhere.invalid", 80).sample(TIMEOUT).await;
        let Outcome::Missed(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.as_str().starts_with("resolver: nowhere.invalid"), "{reason}");
    }

    #[tokio::test]
    async fn a_port_that_does_not_answer_fails_by_the_deadline() {
        // A backlog of one that is full: the kernel leaves further connections unanswered.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        let mut held = Vec::new();
        while held.len() < 16 {
            match tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await {
                Ok(stream) => held.push(stream.expect("accepted by the kernel")),
                Err(_) => break,
            }
        }
        let outcome = loop {
            match probe("127.0.0.1", address.port()).sample(Duration::from_millis(100)).await {
                // This machine is under load; once more.
                Outcome::Missed(reason) if reason.as_str().contains("stalled") => {}
                outcome => break outcome,
            }
        };
        let expected = format!("connect to {address}: no answer within 100ms");
        assert_eq!(outcome, Outcome::Failed(Reason::new(&expected)));
    }
}
