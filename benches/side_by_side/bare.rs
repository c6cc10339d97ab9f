//! The floor: connect, write, read, close, by a tokio loop that does nothing else.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::server;

/// The first argument of the process that loops.
pub(crate) const ROLE: &str = "bare";

/// Makes `probes` requests a second, evenly, until it is ended.
pub(crate) fn main(port: &str, probes: &str) -> anyhow::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().context("read the port")?));
    let probes: u32 = probes.parse().context("read the number of probes")?;
    let requests: Vec<Vec<u8>> = (0..probes as usize)
        .map(|place| {
            let path = server::path(place);
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: */*\r\n\r\n").into_bytes()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let began = Instant::now();
        let mut second = 0;
        loop {
            for (place, request) in (0..probes).zip(&requests) {
                let due = began + Duration::from_secs(second) + Duration::from_secs(1) * place / probes;
                tokio::time::sleep_until(due).await;
                // The server is ours and answers; one that does not is told by the count of what it reached.
                let _unanswered = probe(address, request).await;
            }
            second += 1;
        }
    })
}

async fn probe(address: SocketAddr, request: &[u8]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(b"ok") {
        match stream.read(&mut answer[length..]).await? {
            0 => return Ok(false),
            read => length += read,
        }
    }
    Ok(answer[..length].starts_with(b"HTTP/1.1 200"))
}
