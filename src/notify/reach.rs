//! Whether a receiver's host answers, without sending it anything.

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::{DELIVERY_DEADLINE, answer};
use crate::core::sample::Reason;

/// Asks the host of `url` for the head of its root, by the way that pages take: proxies and TLS included. Any answer will
/// do. The rest of the URL is left out: it may be a secret, and whoever counts requests there must not count this one.
///
/// # Errors
/// Why there was no answer; never shows more of the URL than its host.
pub async fn reach(url: &SecretString, client: &reqwest::Client) -> Result<(), Reason> {
    let mut root = Url::parse(url.expose_secret()).map_err(|error| Reason::new(&format!("read the URL: {error}")))?;
    root.set_path("/");
    root.set_query(None);
    root.set_fragment(None);
    // Neither can fail where there is a host, and without one nothing is sent.
    let _no_host = root.set_username("");
    let _no_host = root.set_password(None);
    let host = root.host_str().unwrap_or_default().to_owned();
    match tokio::time::timeout(DELIVERY_DEADLINE, client.head(root).send()).await {
        Ok(Ok(_any)) => Ok(()),
        Ok(Err(error)) => {
            let cause = answer::root_cause(&error.without_url());
            Err(Reason::new(&format!("{host} is not reached: {cause}")))
        }
        Err(_) => Err(Reason::new(&format!("{host} is not reached: no answer within {DELIVERY_DEADLINE:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;

    #[tokio::test]
    async fn any_answer_will_do_and_nothing_of_the_url_is_sent() {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let tls = crate::probe::net::Network::new().tls.client(None).expect("a configuration");
        let client = super::super::client((*tls).clone()).expect("a client");
        let server = MockServer::start().await;
        Mock::given(matchers::method("HEAD"))
            .and(matchers::path("/"))
            .respond_with(ResponseTemplate::new(404))
            .expect(1)
            .mount(&server)
            .await;
        let url = SecretString::from(format!("{}/hook/T0PSECRET?token=x", server.uri()));
        assert_eq!(reach(&url, &client).await, Ok(()));
        drop(server);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let url = SecretString::from(format!("http://127.0.0.1:{closed}/T0PSECRET"));
        let reason = reach(&url, &client).await.expect_err("nobody listens");
        assert!(
            reason.as_str().starts_with("127.0.0.1 is not reached") && !reason.as_str().contains("T0P"),
            "{reason}"
        );
    }
}
