//! One TCP connection, and the judgement of what went wrong with it.

use std::{io, net::SocketAddr, time::Duration};

use rustix::io::Errno;
use tokio::net::TcpStream;

use super::resolve::Addresses;
use crate::{
    core::sample::Reason,
    probe::fault::{Deadline, Fault, Late},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other side refused, reset or could not be reached.
    #[error("connect to {address}: {}", words(reason))]
    Refused {
        /// Where to.
        address: SocketAddr,
        /// As the kernel says it.
        reason: io::Error,
    },
    /// This machine could not: no descriptors, ports, memory, route or right.
    #[error("connect to {address}: this machine: {}", words(reason))]
    Own {
        /// Where to.
        address: SocketAddr,
        /// As the kernel says it.
        reason: io::Error,
    },
    /// The other side did not answer in time.
    #[error("connect to {address}: no answer within {within:?}")]
    TimedOut {
        /// Where to.
        address: SocketAddr,
        /// The time given.
        within: Duration,
    },
    /// This process did not run.
    #[error(transparent)]
    Stalled(Late),
}

impl ConnectError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        let reason = Reason::new(&self.to_string());
        match self {
            Self::Refused { .. } | Self::TimedOut { .. } => Fault::Service(reason),
            Self::Own { .. } | Self::Stalled(_) => Fault::Own(reason),
        }
    }
}

/// Errors that this machine makes by itself, without asking the other side.
const OWN_ERRORS: [Errno; 9] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::ADDRNOTAVAIL,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ACCESS,
    Errno::PERM,
    Errno::NETUNREACH,
    Errno::NETDOWN,
];

/// Whether this machine made the error by itself.
pub fn is_own(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| OWN_ERRORS.contains(&errno))
}

/// Connects to the first address that accepts, in order; each one gets an equal share of the time that is left.
///
/// What one address of the service refused counts, even if another cannot be reached from here at all: a machine
/// without IPv6 has no route to half of the addresses.
pub async fn connect(addresses: &Addresses, port: u16, deadline: &Deadline) -> Result<TcpStream, ConnectError> {
    let mut judged: Option<ConnectError> = None;
    let mut left = addresses.sockets(port).len();
    for address in addresses.sockets(port) {
        let error = if left == 1 {
            // The caller runs under the deadline already: no second timer for the common case of one address.
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => of_io(address, error),
            }
        } else {
            let share = deadline.remaining() / u32::try_from(left).unwrap_or(u32::MAX);
            match Deadline::after(share).run(TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => of_io(address, error),
                Err(Late::Other(within)) => ConnectError::TimedOut { address, within },
                Err(stalled) => ConnectError::Stalled(stalled),
            }
        };
        left -= 1;
        let outweighs = !matches!(error.fault(), Fault::Own(_));
        if judged.is_none() || outweighs {
            judged = Some(error);
        }
    }
    Err(judged.expect("a host has at least one address"))
}

fn of_io(address: SocketAddr, reason: io::Error) -> ConnectError {
    if is_own(&reason) { ConnectError::Own { address, reason } } else { ConnectError::Refused { address, reason } }
}

/// The kernel's words for an error, without the number that Rust adds.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_an_error_is() {
        let address = "127.0.0.1:9".parse().expect("an address");
        for errno in OWN_ERRORS {
            let error = of_io(address, errno.into());
            assert!(matches!(error.fault(), Fault::Own(_)), "{error}");
        }
        for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
            let error = of_io(address, errno.into());
            assert!(matches!(error.fault(), Fault::Service(_)), "{error}");
        }
    }

    #[test]
    fn no_number_is_shown() {
        assert_eq!(words(&Errno::CONNREFUSED.into()), "connection refused");
    }
}
