//! Delivers pages; one file a channel.
//!
//! One call is one try: the core decides whether and when another one follows. What a receiver answers is never trusted
//! beyond its status and its `Retry-After`.

mod answer;
mod heartbeat;
mod reach;
mod webhook;

pub use heartbeat::{Heartbeat, HeartbeatError};
pub use reach::reach;
pub use webhook::{WebhookError, check_secret};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    config::form,
    core::{
        name::ChannelName,
        page::{DeliveryOutcome, Page},
        sample::Reason,
        time::WallTime,
    },
};

/// After this a try counts as unanswered. Standard Webhooks advises 15 to 30 seconds; a page should not wait for longer
/// than its first retry, so the lower end.
pub const DELIVERY_DEADLINE: Duration = Duration::from_secs(15);

/// Part of [`DELIVERY_DEADLINE`] that connecting (resolving and TLS included) may take.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Reads the wall clock: signatures carry the time of the try. Handed in, so that one place makes the clock.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Why a channel cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The HTTP client cannot be made.
    #[error("build the HTTP client for pages: {0}")]
    Client(String),
    /// A webhook's own settings are wrong.
    #[error("prepare channel {channel}: {error}")]
    Webhook {
        /// The channel.
        channel: ChannelName,
        /// What is wrong; never shows URL or secret.
        error: WebhookError,
    },
}

/// The HTTP client for pages and the heartbeat: the shared TLS configuration, the environment's proxies honoured, no
/// redirects, no retries of its own, and no idle connections (pages are rare, and a reused connection that the other
/// side has just closed would look like a failed try).
pub fn client(tls: rustls::ClientConfig) -> Result<reqwest::Client, NotifyError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_DEADLINE)
        .user_agent(concat!("backstop/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| NotifyError::Client(answer::root_cause(&error)))
}

/// Every channel, ready to send.
#[derive(Debug)]
pub struct Channels {
    by_name: BTreeMap<ChannelName, webhook::Webhook>,
    deadline: Duration,
}

impl Channels {
    /// Prepares each configured channel. `client` is the one from [`client()`].
    pub fn new(channels: &[form::Channel], client: &reqwest::Client, clock: &WallClock) -> Result<Self, NotifyError> {
        let mut by_name = BTreeMap::new();
        for channel in channels {
            let form::ChannelKind::Webhook { url, secret } = &channel.kind;
            let webhook = webhook::Webhook::new(url, secret.as_ref(), client.clone(), clock.clone())
                .map_err(|error| NotifyError::Webhook { channel: channel.name.clone(), error })?;
            by_name.insert(channel.name.clone(), webhook);
        }
        Ok(Self { by_name, deadline: DELIVERY_DEADLINE })
    }

    /// The same channels with another deadline for one try.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One try at delivering `page` by `channel`. `attempt` counts tries from 1 and goes to the log alone: the receiver
    /// tells a repetition by the page's identity. `external_url` is the base of the links.
    pub async fn deliver(
        &self,
        channel: &ChannelName,
        page: &Page,
        attempt: u32,
        external_url: &str,
    ) -> DeliveryOutcome {
        let Some(webhook) = self.by_name.get(channel) else {
            return DeliveryOutcome::Refused(Reason::new("the configuration no longer has this channel"));
        };
        let outcome = match tokio::time::timeout(self.deadline, webhook.send(page, external_url)).await {
            Ok(outcome) => outcome,
            Err(_) => DeliveryOutcome::Retry {
                reason: Reason::new(&format!("no answer within {:?}", self.deadline)),
                retry_after_seconds: None,
            },
        };
        tracing::debug!(%channel, page = %page.id, attempt, ?outcome, "tried to deliver a page");
        outcome
    }
}

#[cfg(test)]
mod tests;
