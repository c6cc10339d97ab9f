//! TLS client configurations: one for all that trust the machine's store alone, one more for each file of authorities.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::config::form::TlsOptions;

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
    /// The name to verify.
    #[error("verify the server name {name:?}: it is neither a host name nor an address")]
    ServerName {
        /// The name.
        name: String,
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
        let config = verified_by(Arc::new(verifier(ca_file)?))?;
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// The configuration for clients that choose the name to verify by the URL alone.
    pub fn client_for(&self, options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
        match &options.server_name {
            None => self.client(options.ca_file.as_deref()),
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                let name = parsed.map_err(|_| TlsError::ServerName { name: name.clone() })?;
                verified_by(Arc::new(Renamed { name, verifier: verifier(options.ca_file.as_deref())? }))
            }
        }
    }

    /// A configuration that trusts nobody, for clients that want one although they never use it.
    pub fn nobody() -> Result<Arc<ClientConfig>, TlsError> {
        Ok(Arc::new(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
    }
}

/// Verifies every certificate for one name, whatever host the URL names.
#[derive(Debug)]
struct Renamed {
    name: ServerName<'static>,
    verifier: Verifier,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Verifier(error.to_string()))
}

fn verifier(ca_file: Option<&Path>) -> Result<Verifier, TlsError> {
    let authorities = match ca_file {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Verifier::new_with_extra_roots(authorities, provider).map_err(|error| TlsError::Verifier(error.to_string()))
}

fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // A probe sees what a new client sees: no session is taken up again.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |reason: String| TlsError::Read { path: path.to_path_buf(), reason };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| read(error.to_string()))?;
    if found.is_empty() { Err(TlsError::Empty { path: path.to_path_buf() }) } else { Ok(found) }
}
