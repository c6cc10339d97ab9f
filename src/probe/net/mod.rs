//! What every probe shares: names are resolved once for all, connections are made in one way, TLS has one configuration.

pub mod certificate;
pub mod connect;
pub mod resolve;
pub mod tls;
#[cfg(test)]
pub(crate) mod tls_server;

use self::{resolve::Resolver, tls::Tls};

/// The shared parts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Names to addresses.
    pub resolver: Resolver,
    /// Client configurations.
    pub tls: Tls,
}

impl Network {
    /// Nothing is resolved, connected or read yet.
    pub fn new() -> Self {
        Self::default()
    }
}
