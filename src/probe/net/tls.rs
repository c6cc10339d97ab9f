//! TLS client configurations: one for all that trust the machine's store alone, one more for each file of authorities.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

/// Why there is no configuration. Follows "failed to".
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be read.
    #[error("read the authorities in {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It holds no certificate.
    #[error("read the authorities in {path}: no certificate is in it (expected PEM)")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The machine has no trust store, or a certificate in the file is malformed.
    #[error("trust the machine's authorities: {0}")]
    Verifier(String),
}

/// Hands out shared client configurations. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Tls(Arc<Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>>);

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

impl Tls {
    /// The configuration that trusts the machine's store and, where given, the authorities in `ca_file` too.
    pub fn client(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ca_file.map(Path::to_path_buf);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(make(ca_file)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

fn make(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = match ca_file {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))
        .map_err(|error| TlsError::Verifier(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Verifier(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A probe sees what a new client sees: no session is taken up again.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |reason: String| TlsError::Read { path: path.to_path_buf(), reason };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| read(error.to_string()))?;
    if found.is_empty() { Err(TlsError::Empty { path: path.to_path_buf() }) } else { Ok(found) }
}
