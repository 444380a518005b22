//! TLS: certificates and keys, and the handshake of a connection, for the Redis protocol and for HTTP alike.
//!
//! The files are read at the start, on SIGHUP and on CONFIG SET. A change applies to new connections; existing ones
//! keep what they agreed on. If a file is bad, nothing changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::{ClientCertificates, Settings};

/// A client that takes longer for the handshake is disconnected.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The configuration for new connections.
pub struct Tls {
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Fails with a sentence that names the setting, the file and what is wrong with it.
    pub fn load(settings: &Settings) -> Result<Tls, String> {
        Ok(Tls { current: RwLock::new(read(settings)?) })
    }

    /// Reads all files again; if one is bad, everything stays as it was.
    pub fn reload(&self, settings: &Settings) -> Result<(), String> {
        let read = read(settings)?;
        *self.current.write() = read;
        Ok(())
    }

    /// Does the handshake with a client.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.current.read().clone());
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await?
    }
}

fn read(settings: &Settings) -> Result<Arc<ServerConfig>, String> {
    let certificate_file = given("tls-cert-file", &settings.tls_cert_file)?;
    let key_file = given("tls-key-file", &settings.tls_key_file)?;
    let certificates = certificates("tls-cert-file", certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            wrong("tls-key-file", key_file, "it holds no private key in PEM, or an encrypted one")
        }
        other => wrong("tls-key-file", key_file, other),
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(client_verifier(settings)?)
        .with_single_cert(certificates, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(
                "tls-key-file",
                key_file,
                format!("this key does not belong to the certificate in {}", certificate_file.display()),
            ),
            other => wrong("tls-cert-file", certificate_file, other),
        })?;
    Ok(Arc::new(config))
}

fn client_verifier(settings: &Settings) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let (name, file) = ("tls-ca-cert-file", &settings.tls_ca_cert_file);
    let asked = settings.tls_auth_clients;
    if asked == ClientCertificates::NotAsked {
        return Ok(Arc::new(NoClientAuth));
    }
    let file = given(name, file).map_err(|why| {
        format!("{why}; it says whose certificates clients may show, unless tls-auth-clients is no")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(name, file)? {
        roots.add(certificate).map_err(|error| wrong(name, file, error))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let verifier = match asked {
        ClientCertificates::Optional => verifier.allow_unauthenticated(),
        ClientCertificates::Required | ClientCertificates::NotAsked => verifier,
    };
    verifier.build().map(|verifier| verifier as _).map_err(|error| wrong(name, file, error))
}

fn certificates(name: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(name, file, error))?;
    if certificates.is_empty() {
        return Err(wrong(name, file, "it holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn given<'a>(name: &str, file: &'a Option<PathBuf>) -> Result<&'a Path, String> {
    file.as_deref().ok_or_else(|| format!("tls-port and https-port need {name}"))
}

fn wrong(name: &str, file: &Path, why: impl std::fmt::Display) -> String {
    format!("{name} {}: {why}", file.display())
}
