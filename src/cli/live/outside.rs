//! Whoever is told: are they reached from here?

use std::{sync::Arc, time::Duration};

use super::{Finding, Look};
use crate::{
    config::form::{ChannelKind, Config},
    core::sample::Outcome,
    notify,
    probe::{net::Network, self_check::SelfCheck},
    runtime::clock::Clock,
};

/// As long as the daemon gives them.
const SELF_CHECK_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn looks(config: &Arc<Config>, network: &Network, clock: &Clock) -> Vec<Look> {
    let mut looks = Vec::new();
    if let Some(check) = SelfCheck::new(&config.self_check, network) {
        looks.push(Look::new("self_check", async move {
            let mend =
                "mend this machine's network, or name places that accept: while none does nothing is rolled back";
            match check.sample(SELF_CHECK_WITHIN).await {
                Outcome::Passed => Vec::new(),
                Outcome::Failed(reason) | Outcome::Missed(reason) => {
                    vec![Finding::fails("self_check", reason, mend)]
                }
            }
        }));
    }
    let client = network
        .tls
        .client(None)
        .map_err(|error| error.to_string())
        .and_then(|tls| notify::client((*tls).clone()).map_err(|error| error.to_string()));
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let finding =
                Finding::fails("notify", format!("failed to {error}"), "mend this machine's trusted authorities");
            looks.push(Look::new("notify", std::future::ready(vec![finding])));
            return looks;
        }
    };
    let clock = clock.clone();
    let wall: notify::WallClock = Arc::new(move || clock.now().wall);
    if let Err(error) = notify::Channels::new(&config.channels, &client, &wall) {
        let finding = Finding::fails("notify.channels", format!("failed to {error}"), "mend what it names");
        looks.push(Look::new("notify.channels", std::future::ready(vec![finding])));
    }
    let channels = config.channels.iter().map(|channel| {
        let ChannelKind::Webhook { url, .. } = &channel.kind;
        (format!("notify.channels.{}", channel.name), url.clone())
    });
    let heartbeat = config.heartbeat.iter().map(|heartbeat| ("notify.heartbeat".to_owned(), heartbeat.url.clone()));
    for (place, url) in channels.chain(heartbeat) {
        let client = client.clone();
        looks.push(Look::new(place.clone(), async move {
            let mend = "mend the URL, the network or the proxy; whether pages are taken, `backstop notify test` tells";
            let reached = notify::reach(&url, &client).await;
            reached.err().map(|reason| Finding::fails(&place, reason, mend)).into_iter().collect()
        }));
    }
    looks
}
