//! Signed webhooks after the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! The body is `{type, timestamp, data}`. Three headers go along: `webhook-id` (the page's identity, the same on each
//! retry), `webhook-timestamp` (Unix seconds of this try) and, with a secret, `webhook-signature`: `v1,` and the base64
//! of HMAC-SHA-256 over `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Url, header};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use serde::Serialize;
use sha2::Sha256;

use super::{WallClock, answer};
use crate::core::{
    entry::PlanOutcome,
    name::{IncidentId, ServiceName, Version},
    page::{DeliveryOutcome, Page, PageKind},
    policy::{Finding, Severity},
    sample::Reason,
    time::WallTime,
    verdict::{Path, VerdictKind},
};

/// What precedes a secret that is written in base64.
const SECRET_PREFIX: &str = "whsec_";

/// What is wrong with a webhook's settings. Shows neither URL nor secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not an absolute http or https URL.
    #[error("the URL is not an absolute http or https one")]
    Url,
    /// `whsec_` is not followed by base64.
    #[error("the secret begins with {SECRET_PREFIX}, and what follows is not base64")]
    Secret,
    /// Nothing to sign with.
    #[error("the secret is empty")]
    EmptySecret,
}

/// One webhook, ready to send.
pub(super) struct Webhook {
    url: SecretString,
    key: Option<SecretBox<Vec<u8>>>,
    client: reqwest::Client,
    clock: WallClock,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Webhook").field("signed", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(
        url: &SecretString,
        secret: Option<&SecretString>,
        client: reqwest::Client,
        clock: WallClock,
    ) -> Result<Self, WebhookError> {
        check_url(url)?;
        Ok(Self { url: url.clone(), key: secret.map(key).transpose()?, client, clock })
    }

    /// One try. The caller bounds its time.
    pub(super) async fn send(&self, page: &Page, external_url: &str) -> DeliveryOutcome {
        let body = match serde_json::to_vec(&Body::of(page, external_url)) {
            Ok(body) => body,
            Err(error) => {
                return DeliveryOutcome::Refused(Reason::new(&format!("the page cannot be written: {error}")));
            }
        };
        let timestamp = (self.clock)().as_millis().div_euclid(1000);
        let mut request = self
            .client
            .post(self.url.expose_secret())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", page.id.as_str())
            .header("webhook-timestamp", timestamp.to_string());
        if let Some(key) = &self.key {
            request =
                request.header("webhook-signature", signature(key.expose_secret(), page.id.as_str(), timestamp, &body));
        }
        match request.body(body).send().await {
            Ok(response) => answer::judge(&response, (self.clock)()),
            Err(error) => answer::judge_error(error),
        }
    }
}

/// Holds a URL to what can be sent to.
pub(super) fn check_url(url: &SecretString) -> Result<(), WebhookError> {
    let parsed = Url::parse(url.expose_secret()).map_err(|_| WebhookError::Url)?;
    if matches!(parsed.scheme(), "http" | "https") { Ok(()) } else { Err(WebhookError::Url) }
}

/// Holds a secret to what can be signed with, and says how long its key is, in bytes.
pub fn check_secret(secret: &SecretString) -> Result<usize, WebhookError> {
    key(secret).map(|key| key.expose_secret().len())
}

/// The signing key behind a secret: the decoded bytes after `whsec_`, else the text's own bytes.
fn key(secret: &SecretString) -> Result<SecretBox<Vec<u8>>, WebhookError> {
    let text = secret.expose_secret();
    let key = match text.strip_prefix(SECRET_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| WebhookError::Secret)?,
        None => text.as_bytes().to_vec(),
    };
    if key.is_empty() { Err(WebhookError::EmptySecret) } else { Ok(SecretBox::new(Box::new(key))) }
}

/// The value of `webhook-signature`. `timestamp` is in Unix seconds.
pub(super) fn signature(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The body of an event.
#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: PageKind,
    timestamp: WallTime,
    data: Data<'a>,
}

/// What design §11 promises of `data`. What is not known is absent.
#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<&'a IncidentId>,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
    summary: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<PlanOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_from: Option<&'a Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_to: Option<&'a Version>,
    details: &'a [String],
    /// There where somebody only tries the channel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
    links: Links,
}

/// Where to read on.
#[derive(Debug, Serialize)]
struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

impl<'a> Body<'a> {
    fn of(page: &'a Page, external_url: &str) -> Self {
        let link = |kind: &str, name: &str| {
            let mut url = Url::parse(external_url).ok()?;
            url.path_segments_mut().ok()?.pop_if_empty().extend(["api", "v1", kind, name]);
            Some(url.to_string())
        };
        Self {
            kind: page.kind,
            timestamp: page.at,
            data: Data {
                service: page.service.as_ref(),
                incident: page.incident.as_ref(),
                severity: page.severity,
                finding: page.finding,
                summary: &page.summary,
                action: &page.action,
                verdict: page.verdict,
                path: page.path.as_ref(),
                outcome: page.outcome,
                version_from: page.version_from.as_ref(),
                version_to: page.version_to.as_ref(),
                details: &page.details,
                test: page.test,
                links: Links {
                    incident: page.incident.as_ref().and_then(|incident| link("incidents", incident.as_str())),
                    service: page.service.as_ref().and_then(|service| link("services", service.as_str())),
                },
            },
        }
    }
}
