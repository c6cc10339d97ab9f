//! Servers with certificates of our own making, for tests.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// An authority that no machine trusts.
pub(crate) struct Authority {
    pem: tempfile::NamedTempFile,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let pem = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(pem.path(), certificate.pem()).expect("written");
        Self { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Its certificate, as `ca_file`.
    pub(crate) fn file(&self) -> PathBuf {
        self.pem.path().to_owned()
    }

    /// A server with a certificate for `names`; see [`serve`].
    pub(crate) async fn serve(&self, names: &[&str], expired: bool, answer: &'static [u8], close: bool) -> SocketAddr {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        serve(certificate.der().clone(), key.serialize_der(), answer, close).await
    }
}

/// A server that answers every request so, and closes the connection with or without saying so first.
pub(crate) async fn serve(
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    answer: &'static [u8],
    close: bool,
) -> SocketAddr {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
        .expect("a certificate and its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_head(&mut stream).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.flush().await;
                if close {
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

/// A request's line and headers.
pub(crate) async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}
