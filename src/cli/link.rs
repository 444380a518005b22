//! How the subcommands reach a running server: TCP, TLS or a Unix socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } | Place::Tls { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Files for TLS: the trusted authorities, and the certificate and key of this side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
}

/// A connection in both directions.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Connects; with TLS, the handshake is done.
pub fn connect(place: &Place, trust: &Trust) -> Result<Box<dyn Stream>, String> {
    let failed = |error: io::Error| format!("{place} can't be reached: {error}");
    match place {
        Place::Unix(path) => Ok(Box::new(UnixStream::connect(path).map_err(failed)?)),
        Place::Tcp { host, port } => Ok(Box::new(connect_tcp(host, *port).map_err(failed)?)),
        Place::Tls { host, port } => {
            let config = trust.config()?;
            let name = ServerName::try_from(host.clone())
                .map_err(|_| format!("'{host}' can't be the name in a certificate"))?;
            let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
            let mut tcp = connect_tcp(host, *port).map_err(failed)?;
            tcp.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(failed)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut tcp).map_err(failed)?;
            }
            tcp.set_read_timeout(None).map_err(failed)?;
            Ok(Box::new(StreamOwned::new(tls, tcp)))
        }
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let stream = (host, port).to_socket_addrs()?.find_map(|candidate| {
        TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT).map_err(|error| last = error).ok()
    });
    let stream = stream.ok_or(last)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Trust {
    fn config(&self) -> Result<ClientConfig, String> {
        let Some(ca_file) = &self.ca_file else {
            return Err(
                "rediss:// needs --cacert: a file with the certificates that the server's is signed by"
                    .to_owned(),
            );
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_file)? {
            roots.add(certificate).map_err(|error| format!("{ca_file}: {error}"))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert_file), Some(key_file)) => {
                let key =
                    PrivateKeyDer::from_pem_file(key_file).map_err(|error| format!("{key_file}: {error}"))?;
                builder
                    .with_client_auth_cert(certificates(cert_file)?, key)
                    .map_err(|error| format!("{cert_file}: {error}"))
            }
            _ => Err("--cert and --key go together".to_owned()),
        }
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(format!("{file}: it holds no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{file}: {error}")),
    }
}
