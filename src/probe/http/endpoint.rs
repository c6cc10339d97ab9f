//! A URL, taken apart once: where to connect, what to ask, and how to show it without its secrets.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{Uri, header::HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use rustls::pki_types::ServerName;

use crate::probe::net::resolve::{Host, Resolver};

/// Why a text is no URL that can be asked. Follows "failed to"; never shows the text, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL at all.
    #[error("read the URL: {reason} (expected http://HOST[:PORT]/PATH or https://…)")]
    Malformed {
        /// Why not.
        reason: String,
    },
    /// Another scheme.
    #[error("read the URL: the scheme is {scheme:?} (expected http or https)")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// No host.
    #[error("read the URL: it names no host")]
    NoHost,
}

/// A URL, taken apart.
#[derive(Clone)]
pub struct Endpoint {
    /// Without userinfo.
    url: Url,
    host: Host,
    port: u16,
    path: Uri,
    host_header: HeaderValue,
    authorization: Option<HeaderValue>,
    server_name: Option<ServerName<'static>>,
}

impl Endpoint {
    /// Takes `text` apart. A user and password in it are sent as `Authorization: Basic` (RFC 7617), and never shown.
    pub fn parse(text: &str, resolver: &Resolver) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|error| UrlError::Malformed { reason: error.to_string() })?;
        Self::of(url, |host| resolver.host(host))
    }

    /// Where `location`, an answer's header, leads from here (RFC 9110, 10.2.2). Userinfo in it is not used.
    pub(super) fn join(&self, location: &HeaderValue, resolver: &Resolver) -> Result<Self, UrlError> {
        let text = std::str::from_utf8(location.as_bytes())
            .map_err(|_| UrlError::Malformed { reason: "the Location header is not UTF-8".into() })?;
        let url = self.url.join(text).map_err(|error| UrlError::Malformed { reason: error.to_string() })?;
        let mut endpoint = Self::of(url, |host| resolver.passing_host(host))?;
        endpoint.authorization = None;
        Ok(endpoint)
    }

    fn of(mut url: Url, host: impl FnOnce(&str) -> Host) -> Result<Self, UrlError> {
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            scheme => return Err(UrlError::Scheme { scheme: scheme.to_owned() }),
        };
        let authorization = authorization(&url);
        // Neither can fail: the URL has a host, or the lines above would have refused its scheme.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let name = url.host_str().filter(|name| !name.is_empty()).ok_or(UrlError::NoHost)?;
        let malformed = |what: &str| UrlError::Malformed { reason: format!("{what} cannot be sent") };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host_header = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let server_name = if secure {
            let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(ServerName::try_from(bare).map_err(|_| malformed("its host"))?)
        } else {
            None
        };
        Ok(Self {
            host: host(name),
            port: url.port_or_known_default().ok_or(UrlError::NoHost)?,
            path: path.parse().map_err(|_| malformed("its path"))?,
            host_header: HeaderValue::from_str(&host_header).map_err(|_| malformed("its host"))?,
            authorization,
            server_name,
            url,
        })
    }

    pub(super) const fn host(&self) -> &Host {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in the request line.
    pub(super) const fn path(&self) -> &Uri {
        &self.path
    }

    pub(super) const fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    pub(super) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The name to verify, where the scheme is https.
    pub(super) const fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// The same scheme, host and port (RFC 6454).
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme()
            && self.url.host_str() == other.url.host_str()
            && self.port == other.port
    }
}

impl fmt::Display for Endpoint {
    /// Without userinfo and query: either may hold a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(formatter, "{}://{host}", self.url.scheme())?;
        if let Some(port) = self.url.port() {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str(self.url.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)))
        .expect("base64 has no character that a header may not hold");
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<Endpoint, UrlError> {
        Endpoint::parse(text, &Resolver::default())
    }

    #[test]
    fn what_is_connected_to_and_asked() {
        for (text, port, path, host, shown) in [
            (
                "http://127.0.0.1:8080/ready?full=1",
                8080,
                "/ready?full=1",
                "127.0.0.1:8080",
                "http://127.0.0.1:8080/ready",
            ),
            ("http://127.0.0.1", 80, "/", "127.0.0.1", "http://127.0.0.1/"),
            ("https://[::1]/a#b", 443, "/a", "[::1]", "https://[::1]/a"),
            (
                "https://Bücher.example:8443/ä",
                8443,
                "/%C3%A4",
                "xn--bcher-kva.example:8443",
                "https://xn--bcher-kva.example:8443/%C3%A4",
            ),
        ] {
            let endpoint = endpoint(text).expect(text);
            assert_eq!((endpoint.port(), endpoint.path().to_string()), (port, path.to_owned()), "{text}");
            assert_eq!(endpoint.host_header(), host, "{text}");
            assert_eq!(endpoint.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let endpoint = endpoint("http://us%20er:p%40ss@example.com/x?token=t0ken").expect("a URL");
        let value = endpoint.authorization().expect("credentials");
        assert_eq!(value.as_bytes(), format!("Basic {}", STANDARD.encode("us er:p@ss")).as_bytes());
        assert!(value.is_sensitive());
        let shown = format!("{endpoint} {endpoint:?}");
        assert!(!shown.contains("p@ss") && !shown.contains("p%40ss"), "{shown}");
        assert!(!endpoint.to_string().contains("t0ken"));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_without_being_shown() {
        for text in ["ftp://secret@example.com/", "http://", "secret", "http://secret:99999999/", "unix:/secret"] {
            let error = endpoint(text).expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn redirects_are_relative_to_where_they_come_from() {
        let from = endpoint("http://user:pass@example.com:81/a/b").expect("a URL");
        let resolver = Resolver::default();
        for (location, expected, same) in [
            ("c", "http://example.com:81/a/c", true),
            ("/c", "http://example.com:81/c", true),
            ("//other.example/c", "http://other.example/c", false),
            ("https://example.com:81/c", "https://example.com:81/c", false),
        ] {
            let to = from.join(&HeaderValue::from_static(location), &resolver).expect(location);
            assert_eq!((to.to_string(), to.same_origin(&from)), (expected.to_owned(), same));
        }
        assert!(from.join(&HeaderValue::from_static("mailto:a@b"), &resolver).is_err());
    }
}
