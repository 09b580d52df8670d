//! Serving through a bastion, for machines that nobody can connect to. <https://c2sp.org/https-bastion>
//!
//! ```text
//! witness ── TLS 1.3, ALPN bastion/0, Ed25519 client certificate ──▶ bastion
//!         ◀── HTTP/2 requests, over that same connection ──────────
//!
//! clients ── https://<bastion>/<hex sha256 of the Ed25519 key>/add-checkpoint ──▶ bastion
//! ```
//!
//! A bastion sees and can hold back everything, and can forge nothing: requests are signed by logs
//! and answers by the witness. The key that the bastion knows us by is one of its own, as the
//! specification prefers: `bastion.key`, made when a bastion is first used.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::disk;
use crate::keys::{KeyError, read_private};
use crate::serve::router;
use crate::witness::Witness;

const ALPN: &[u8] = b"bastion/0";
const KEY_FILE: &str = "bastion.key";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The first pause before another try, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// How many requests are at work at once on the connection.
const MAX_STREAMS: u32 = 256;

/// Why a bastion can't be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum BastionError {
    /// The key can't be read or made.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The key file holds no Ed25519 key.
    #[error("bastion.key: {0}")]
    NoKey(rcgen::Error),
    /// Not `host:port`.
    #[error("{0}: a bastion is host:port")]
    Address(String),
    /// The certificates to trust can't be read.
    #[error("{file}: {error}")]
    Ca {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: String,
    },
    /// TLS can't be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A bastion, and how to connect to it.
pub struct Bastion {
    address: String,
    host: ServerName<'static>,
    id: String,
    connector: TlsConnector,
    pauses: (Duration, Duration),
}

/// What happens on the way to a bastion.
#[derive(Debug)]
pub enum Event {
    /// It is there, and requests can come.
    Connected,
    /// The connection ended. Another one will be made.
    Lost,
    /// It could not be made. It will be tried again.
    Failed(io::Error),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected => f.write_str("connected"),
            Event::Lost => f.write_str("the connection ended; connecting again"),
            Event::Failed(error) => write!(f, "not connected: {error}; trying again"),
        }
    }
}

impl Bastion {
    /// The bastion of the configuration in `dir`, if there is one. Makes the key if it is missing.
    pub fn load(dir: &Path, config: &Config) -> Result<Option<Bastion>, BastionError> {
        let Some(address) = config.bastion.clone() else { return Ok(None) };
        let key = key(dir)?;
        let host = address.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().map(|_| host));
        let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let host = host.and_then(|host| ServerName::try_from(host).ok());
        let host = host.ok_or_else(|| BastionError::Address(address.clone()))?;
        let extra =
            config.bastion_ca.as_deref().map_or_else(|| Ok(Vec::new()), |file| certificates(&dir.join(file)))?;
        let connector = TlsConnector::from(Arc::new(tls(&key, extra)?));
        let id = Sha256::digest(key.public_key_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Bastion { address, host, id, connector, pauses: PAUSES }))
    }

    /// What the bastion's operator must know: the hex SHA-256 of the key, first part of the path
    /// of every request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bastion, as configured.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same bastion, asked again after other pauses: the first and the longest.
    #[must_use]
    pub fn with_pauses(self, first: Duration, longest: Duration) -> Bastion {
        Bastion { pauses: (first, longest), ..self }
    }

    /// Serves `witness` through the bastion, for ever, connecting again whenever the connection
    /// ends.
    pub async fn follow(self, witness: Arc<Witness>, mut say: impl FnMut(Event)) {
        let router = router(witness);
        let mut pause = self.pauses.0;
        loop {
            match timeout(CONNECT_TIMEOUT, self.connect()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            {
                Ok(stream) => {
                    say(Event::Connected);
                    pause = self.pauses.0;
                    serve(stream, router.clone()).await;
                    say(Event::Lost);
                }
                Err(error) => say(Event::Failed(error)),
            }
            // Not all backends of a bastion at once, when it comes back.
            let mut spread = [0];
            let _ = getrandom::fill(&mut spread);
            sleep(pause.mul_f64(1.0 + f64::from(spread[0]) / 512.0)).await;
            pause = (pause * 2).min(self.pauses.1);
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(self.host.clone(), stream).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN) => Ok(stream),
            // Whoever it is, it does not expect us to be the server.
            _ => Err(io::Error::other("it is no bastion")),
        }
    }
}

/// Answers requests on `stream` until it ends.
async fn serve(stream: TlsStream<TcpStream>, router: Router) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // However it ended: it is made anew.
    let _ = connection.await;
}

/// The key in `dir` that bastions know us by. Made where there is none.
fn key(dir: &Path) -> Result<KeyPair, BastionError> {
    let path = dir.join(KEY_FILE);
    let bytes = match read_private(&path) {
        Err(KeyError::Missing(_)) => {
            let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(BastionError::NoKey)?;
            let pem = Zeroizing::new(pair.serialize_pem());
            disk::create(&path, pem.as_bytes()).map_err(|error| KeyError::Io { path, error })?;
            return Ok(pair);
        }
        read => read?,
    };
    let pem = std::str::from_utf8(&bytes).map_err(|_| BastionError::NoKey(rcgen::Error::CouldNotParseKeyPair))?;
    let pair = KeyPair::from_pem(pem).map_err(BastionError::NoKey)?;
    if pair.algorithm() != &PKCS_ED25519 {
        return Err(BastionError::NoKey(rcgen::Error::CouldNotParseKeyPair));
    }
    Ok(pair)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BastionError> {
    let fault = |error: rustls::pki_types::pem::Error| BastionError::Ca {
        file: file.display().to_string(),
        error: error.to_string(),
    };
    CertificateDer::pem_file_iter(file).map_err(fault)?.map(|certificate| certificate.map_err(fault)).collect()
}

/// TLS 1.3 only, as the specification has it: before that, client certificates travel in the open.
fn tls(key: &KeyPair, extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, BastionError> {
    let certificate = CertificateParams::new(["bastion backend".to_owned()]).and_then(|params| params.self_signed(key));
    let certificate = certificate.map_err(BastionError::NoKey)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // The system's certificates, or, where the operator names some, those alone.
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = if extra.is_empty() {
        let verifier = rustls_platform_verifier::Verifier::new(provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in extra {
            roots.add(certificate)?;
        }
        builder.with_root_certificates(roots)
    };
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_client_auth_cert(vec![certificate.der().clone()], secret)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
