//! Asks the service itself which version it is.

use std::time::Duration;

use super::{
    http::{HttpProbe, SetupError},
    net::Network,
};
use crate::{
    config::form::VersionSource,
    core::{name::Version, sample::Reason},
};

/// Most of a version endpoint's answer, in bytes: it is a health document, not a download.
pub const ANSWER_LIMIT_BYTES: usize = 256 * 1024;

/// Longest version that is taken for one, in bytes.
pub const VERSION_LIMIT_BYTES: usize = 256;

/// The version endpoint.
#[derive(Debug, Clone)]
pub struct VersionProbe {
    http: HttpProbe,
    pointer: String,
    timeout: Duration,
}

impl VersionProbe {
    /// Prepares the request.
    pub fn new(source: &VersionSource, network: &Network) -> Result<Self, SetupError> {
        let http = HttpProbe::new(&source.http, network)?;
        Ok(Self { http, pointer: source.pointer.clone(), timeout: source.timeout })
    }

    /// Asks once.
    pub async fn sample(&self) -> Result<Version, Reason> {
        let body = self.http.fetch(self.timeout, ANSWER_LIMIT_BYTES).await;
        let body = body.map_err(|error| error.fault().reason())?;
        version_in(&body, &self.pointer).map_err(|why| Reason::new(&why))
    }
}

/// The version at the JSON pointer (RFC 6901), or the whole text if there is no pointer.
fn version_in(body: &[u8], pointer: &str) -> Result<Version, String> {
    let version = if pointer.is_empty() {
        let text = std::str::from_utf8(body).map_err(|_| "the version is not UTF-8 text".to_owned())?;
        text.trim().to_owned()
    } else {
        let document: serde_json::Value =
            serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
        match document.pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.trim().to_owned(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            Some(_) => return Err(format!("what stands at {pointer} is neither text nor a number")),
            None => return Err(format!("nothing stands at {pointer}")),
        }
    };
    if version.is_empty() {
        Err("the version is empty".into())
    } else if version.len() > VERSION_LIMIT_BYTES || version.contains(|character: char| character.is_control()) {
        Err(format!("what should be the version is longer than {VERSION_LIMIT_BYTES} bytes or more than one line"))
    } else {
        Ok(Version::from(version))
    }
}

#[cfg(test)]
mod tests {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;
    use crate::config::form::{HttpCheck, TlsOptions};

    #[tokio::test]
    async fn the_endpoint_is_asked_each_time() {
        let server = MockServer::start().await;
        let http = HttpCheck {
            url: format!("{}/health", server.uri()),
            method: "GET".into(),
            headers: Vec::new(),
            status: Vec::new(),
            body_contains: None,
            redirects: 0,
            tls: TlsOptions::default(),
        };
        let every = Duration::from_secs(30);
        let source = VersionSource { http, pointer: "/version".into(), every, timeout: every };
        let probe = VersionProbe::new(&source, &Network::new()).expect("a valid source");
        assert_eq!(probe.sample().await, Err(Reason::new("status 404, wanted 200 to 299")));
        let answer = ResponseTemplate::new(200).set_body_string(r#"{"version": "v7"}"#);
        Mock::given(matchers::path("/health")).respond_with(answer).mount(&server).await;
        assert_eq!(probe.sample().await, Ok(Version::from("v7")));
    }

    #[test]
    fn where_the_version_stands() {
        for (body, pointer, expected) in [
            (r#"{"version":"1.2.3"}"#, "/version", Ok("1.2.3")),
            (r#"{"build":{"number":17}}"#, "/build/number", Ok("17")),
            ("v2\n", "", Ok("v2")),
            (r#"{"version":""}"#, "/version", Err("the version is empty")),
            (r#"{"version":{}}"#, "/version", Err("what stands at /version is neither text nor a number")),
            ("{}", "/version", Err("nothing stands at /version")),
            ("<html>", "/version", Err("the answer is not JSON: expected value at line 1 column 1")),
            ("a\nb", "", Err("what should be the version is longer than 256 bytes or more than one line")),
        ] {
            let version = version_in(body.as_bytes(), pointer);
            assert_eq!(version, expected.map(Version::from).map_err(str::to_owned), "{body}");
        }
    }
}
