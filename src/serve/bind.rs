//! Opens the two ways in.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::form;

/// What goes wrong in opening them.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The TCP address cannot be had.
    #[error("listen on {address}: {error} (see server.listen)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The socket cannot be made.
    #[error("open the socket {}: {error} (see server.socket)", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another daemon answers on the socket.
    #[error("open the socket {}: another daemon is listening on it; stop that one first", path.display())]
    SocketInUse {
        /// Where.
        path: PathBuf,
    },
    /// Something else is in the socket's place.
    #[error("open the socket {}: something that is not a socket is there; move it away", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
}

/// Both ways in, opened.
#[derive(Debug)]
pub struct Listeners {
    pub(super) tcp: TcpListener,
    pub(super) socket: UnixListener,
    pub(super) path: PathBuf,
}

impl Listeners {
    /// Opens both. Call it after the store is locked: two daemons of one store then never meet here.
    pub async fn open(server: &form::Server) -> Result<Self, ServeError> {
        let address = server.listen;
        let tcp = TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, error })?;
        let path = server.socket.clone();
        clear(&path).await?;
        let socket = private_socket(&path).map_err(|error| ServeError::Socket { path: path.clone(), error })?;
        Ok(Self { tcp, socket, path })
    }

    /// The TCP address, with the port that the kernel chose where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Removes the socket file of a daemon that is gone; anything else in its place is an error.
async fn clear(path: &Path) -> Result<(), ServeError> {
    let failed = |error| ServeError::Socket { path: path.to_owned(), error };
    match tokio::fs::symlink_metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(ServeError::SocketInUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tokio::fs::remove_file(path).await.map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// A socket that only its owner (and root) can open, from its first moment on: the mask is set while it is made. Files
/// that another thread makes in that moment come out stricter, never laxer.
fn private_socket(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_raw_mode(0o177));
    let socket = UnixListener::bind(path);
    umask(before);
    socket
}
