//! Where to connect to, and where to listen.

use std::net::SocketAddr;

use super::Wrong;
use crate::config::form::HostPort;

/// Parses `host:port`, `192.0.2.1:53` or `[2001:db8::1]:53`.
pub(crate) fn host_port(text: &str) -> Result<HostPort, Wrong> {
    let help = "write a host and a port, as in `db.example.com:5432` or `[2001:db8::1]:53`";
    let wrong = |message: &str| Wrong::new(message, help);
    if text.contains("://") {
        return Err(wrong("is a URL, and a host and a port are wanted"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or_else(|| wrong("has a bracket that is not closed"))?;
            inner.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("has no IPv6 address in its brackets"))?;
            inner
        }
        None if host.contains(':') => return Err(wrong("has an IPv6 address without brackets")),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong("has no host"));
    }
    let plain = |character: char| character.is_alphanumeric() || matches!(character, '-' | '.' | '_' | ':');
    if host.len() > 253 || !host.chars().all(plain) {
        return Err(wrong("has no valid host"));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(HostPort { host: host.to_owned(), port: number })
        }
        _ => Err(wrong("has a port that is not between 1 and 65535")),
    }
}

/// Parses an address to listen on.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, Wrong> {
    let help = "write an address and a port, as in `127.0.0.1:9464` or `[::1]:9464`";
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(Wrong::new("has a name where an address is wanted", format!("write `127.0.0.1:{port}`")));
    }
    if text.starts_with(':') {
        return Err(Wrong::new("has no address", format!("write `0.0.0.0{text}` to listen on every interface")));
    }
    text.parse().map_err(|_| Wrong::new("is not an address and a port", help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let cases =
            [("10.0.0.2:53", "10.0.0.2", 53), ("[::1]:9", "::1", 9), ("db.example.com:5432", "db.example.com", 5432)];
        for (text, host, port) in cases {
            assert_eq!(host_port(text), Ok(HostPort { host: host.to_owned(), port }), "{text}");
        }
        for text in
            ["", "host", "host:", ":53", "host:0", "host:65536", "host:+5", "::1:53", "[::1:53", "a b:5", "tcp://a:5"]
        {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on() {
        assert!(socket_address("127.0.0.1:9464").is_ok());
        for text in ["localhost:80", ":80", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(socket_address(text).is_err(), "{text}");
        }
    }
}
