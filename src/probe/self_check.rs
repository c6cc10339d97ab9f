//! Is it us? Connects to places that must always accept a connection; while none does, the watchdog's own network is ill.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{net::Network, tcp::TcpProbe};
use crate::{
    config::form::HostPort,
    core::sample::{Outcome, Reason},
};

/// The places, of which any one is enough.
#[derive(Debug, Clone)]
pub struct SelfCheck {
    places: Vec<TcpProbe>,
}

impl SelfCheck {
    /// A check of `places`; [`None`] if there are none.
    pub fn new(places: &[HostPort], network: &Network) -> Option<Self> {
        let places: Vec<_> = places.iter().map(|place| TcpProbe::new(place, network)).collect();
        if places.is_empty() { None } else { Some(Self { places }) }
    }

    /// Asks all of them at once. Passed as soon as one accepts; failed, with every reason, if none did.
    pub async fn sample(&self, timeout: Duration) -> Outcome {
        let mut samples = JoinSet::new();
        for place in self.places.clone() {
            samples.spawn(async move { place.sample(timeout).await });
        }
        let mut reasons = Vec::new();
        while let Some(outcome) = samples.join_next().await {
            match outcome {
                Ok(Outcome::Passed) => return Outcome::Passed,
                Ok(Outcome::Failed(reason) | Outcome::Missed(reason)) => reasons.push(reason.as_str().to_owned()),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        reasons.sort();
        Outcome::Failed(Reason::new(&reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_that_accepts_is_enough_and_none_fails_with_every_reason() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = HostPort { host: "127.0.0.1".into(), port: listener.local_addr().expect("bound").port() };
        let closed = HostPort { host: "nowhere.invalid".into(), port: 53 };
        let network = Network::new();
        let both = SelfCheck::new(&[closed.clone(), open.clone()], &network).expect("places");
        assert_eq!(both.sample(TIMEOUT).await, Outcome::Passed);
        drop(listener);
        let Outcome::Failed(reason) = both.sample(TIMEOUT).await else { panic!("none accepts") };
        assert!(reason.as_str().contains("connection refused"), "{reason}");
        assert!(reason.as_str().contains("resolver: nowhere.invalid"), "{reason}");
        assert!(SelfCheck::new(&[], &network).is_none());
    }
}
