//! The doors: opened, taken, private, closed.

use backstop::{
    config::form::Server as Settings,
    serve::{Listeners, ServeError},
};
use reqwest::StatusCode;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::impatient;
use crate::daemon::{Core, daemon};

#[tokio::test]
async fn shutdown_ends_idle_connections_and_removes_the_socket() {
    let daemon = daemon(&[], Core::Answers, impatient()).await;
    let mut idle = TcpStream::connect(daemon.address).await.expect("connected");
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    daemon.shutdown.cancel();
    daemon.server.await.expect("no panic");
    let mut rest = Vec::new();
    let _closed_or_reset = idle.read_to_end(&mut rest).await;
    assert!(!daemon.socket.exists());
    assert!(TcpStream::connect(daemon.address).await.is_err());
}

#[tokio::test]
async fn the_socket_is_private_and_a_dead_daemons_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        socket: directory.path().join("backstop.sock"),
        external_url: String::new(),
        tokens: Vec::new(),
    };
    let first = Listeners::open(&settings).await.expect("opened");
    let mode = std::fs::metadata(&settings.socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1, "nothing else is left");
    let error = Listeners::open(&settings).await.expect_err("in use");
    assert!(matches!(error, ServeError::SocketInUse { .. }), "{error}");
    // As after kill -9: the file is there, and nobody listens.
    drop(first);
    assert!(settings.socket.exists());
    drop(Listeners::open(&settings).await.expect("replaced"));

    std::fs::remove_file(&settings.socket).expect("removed");
    std::fs::write(&settings.socket, "precious").expect("written");
    let error = Listeners::open(&settings).await.expect_err("a file");
    assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&settings.socket).expect("still there"), "precious");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        listen: taken.local_addr().expect("bound"),
        socket: directory.path().join("backstop.sock"),
        external_url: String::new(),
        tokens: Vec::new(),
    };
    let error = Listeners::open(&settings).await.expect_err("taken").to_string();
    assert!(error.starts_with("listen on 127.0.0.1:") && error.contains("in use"), "{error}");
}
