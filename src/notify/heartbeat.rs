//! Tells an outside dead man's switch that the loop still turns. It stops when the watching stops.

use secrecy::{ExposeSecret as _, SecretString};

use super::{answer, webhook};
use crate::{config::form, core::sample::Reason};

/// Where the heartbeat goes. The loop calls [`Heartbeat::beat`]; a loop that is stuck does not.
#[derive(Debug)]
pub struct Heartbeat {
    url: SecretString,
    client: reqwest::Client,
}

/// Why a heartbeat did not arrive. Never shows the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// The URL cannot be used.
    #[error("prepare the heartbeat: {0}")]
    Url(webhook::WebhookError),
    /// It did not arrive.
    #[error("send the heartbeat: {0}")]
    Undelivered(Reason),
}

impl Heartbeat {
    /// Prepares it. `client` is the one from [`super::client()`].
    pub fn new(heartbeat: &form::Heartbeat, client: &reqwest::Client) -> Result<Self, HeartbeatError> {
        webhook::check_url(&heartbeat.url).map_err(HeartbeatError::Url)?;
        Ok(Self { url: heartbeat.url.clone(), client: client.clone() })
    }

    /// One GET. Another follows with the next beat, so nothing is retried; a redirect counts as arrived nowhere.
    pub async fn beat(&self) -> Result<(), HeartbeatError> {
        let sent = self.client.get(self.url.expose_secret()).send();
        let answer = tokio::time::timeout(super::DELIVERY_DEADLINE, sent).await.map_err(|_| {
            let reason = format!("no answer within {:?}", super::DELIVERY_DEADLINE);
            HeartbeatError::Undelivered(Reason::new(&reason))
        })?;
        match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(HeartbeatError::Undelivered(Reason::new(&format!("answered {}", response.status())))),
            Err(error) => {
                let cause = answer::root_cause(&error.without_url());
                Err(HeartbeatError::Undelivered(Reason::new(&cause)))
            }
        }
    }
}
