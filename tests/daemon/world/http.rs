//! The least of an HTTP client and of a server's reading side.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) first: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn read(from: TcpStream) -> io::Result<Self> {
        from.set_read_timeout(Some(PATIENCE))?;
        Self::read_from(from)
    }

    fn read_from(from: impl io::Read) -> io::Result<Self> {
        let mut from = BufReader::new(from);
        let mut first = String::new();
        from.read_line(&mut first)?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length =
            headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                from.read_exact(&mut body)?;
            }
            // An answer without a length ends with the connection; requests here have a length or no body.
            None if first.starts_with("HTTP") => {
                from.read_to_end(&mut body)?;
            }
            None => {}
        }
        Ok(Self { first: first.trim_end().to_owned(), headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// One GET over loopback.
pub(crate) fn get(port: u16, path: &str) -> io::Result<Message> {
    let mut to = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    write!(to, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    Message::read(to)
}

/// One GET over a Unix socket, which needs no port.
pub(crate) fn get_by_socket(socket: &Path, path: &str) -> io::Result<Message> {
    let mut to = UnixStream::connect(socket)?;
    to.set_read_timeout(Some(PATIENCE))?;
    write!(to, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Message::read_from(to)
}
