//! Opens the two ways in.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

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
        check_place(&path).await?;
        let socket = private_socket(&path).map_err(|error| ServeError::Socket { path: path.clone(), error })?;
        Ok(Self { tcp, socket, path })
    }

    /// The TCP address, with the port that the kernel chose where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Holds the socket's place to what may be replaced: nothing, or the socket of a daemon that is gone.
async fn check_place(path: &Path) -> Result<(), ServeError> {
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
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// A socket that only its owner (and root) can open, from its first moment on: it is made inside a directory that only
/// the owner can enter, and moved from there. (The process's mask would do too, but it also holds for whatever other
/// threads and children make in that moment.)
fn private_socket(path: &Path) -> io::Result<UnixListener> {
    let mut nursery = path.as_os_str().to_owned();
    nursery.push(".new");
    let nursery = PathBuf::from(nursery);
    let inside = nursery.join("s");
    // What a killed daemon may have left.
    let _not_there = fs::remove_file(&inside);
    let _not_there = fs::remove_dir(&nursery);
    fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let socket = UnixListener::bind(&inside).and_then(|socket| {
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(socket)
    });
    let _left_by_failure = fs::remove_file(&inside);
    fs::remove_dir(&nursery)?;
    socket
}
