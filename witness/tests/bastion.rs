//! A witness behind a bastion: a minimal bastion of ours lets clients in, and drops connections.

mod stage;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest, Sha256};
use stage::{Log, ticking};
use tlog::key::KeyName;
use tlog::witness::{cosignatures, parse_signatures};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{self, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use witness::bastion::{Bastion, Event};
use witness::{Config, Witness};

/// What comes before the 32 bytes of an Ed25519 key in a certificate.
const ED25519_KEY: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Takes any Ed25519 certificate whose owner signs the handshake: the key is what counts.
#[derive(Debug)]
struct AnyBackend(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyBackend {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

struct TestBastion {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TestBastion {
    /// A bastion on loopback, and the certificate to trust it by, as PEM.
    async fn new(alpn: &[u8]) -> (TestBastion, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyBackend(provider)))
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (TestBastion { listener, acceptor: TlsAcceptor::from(Arc::new(config)) }, certificate.pem())
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Waits for a backend; its name in paths, and a way to send it requests. Dropping that ends
    /// the connection.
    async fn backend(&self) -> (String, SendRequest<Full<Bytes>>) {
        let stream = self.acceptor.accept(self.listener.accept().await.unwrap().0).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"bastion/0"[..]));
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let certificate = session.peer_certificates().unwrap()[0].to_vec();
        let at = certificate.windows(ED25519_KEY.len()).position(|window| window == ED25519_KEY).unwrap();
        let key = &certificate[at + ED25519_KEY.len()..][..32];
        let id = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        (id, send)
    }
}

async fn ask(send: &mut SendRequest<Full<Bytes>>, path: &str, body: Vec<u8>) -> (u16, String) {
    let request = hyper::Request::post(format!("https://bastion.example{path}"));
    // As the specification has it, the bastion adds who asked.
    let request = request.header("x-forwarded-for", "192.0.2.7").body(Full::new(Bytes::from(body))).unwrap();
    let answer = send.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn witness(dir: &std::path::Path) -> Arc<Witness> {
    let name = KeyName::new("witness.example/w1").unwrap();
    witness::set_up(dir, Some(&name), None, &[Log::new().trusted()]).unwrap();
    Arc::new(Witness::open_with(dir, ticking(1_700_000_000)).unwrap())
}

fn bastion(dir: &std::path::Path, address: String, certificate: &str) -> Bastion {
    let ca = dir.join("bastion-ca.pem");
    std::fs::write(&ca, certificate).unwrap();
    let config = Config { bastion: Some(address), bastion_ca: Some(ca), ..Config::default() };
    let bastion = Bastion::load(dir, &config).unwrap().unwrap();
    bastion.with_pauses(Duration::from_millis(1), Duration::from_millis(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_serves_through_a_bastion_and_connects_again_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let witness = witness(dir.path());
    let (ours, certificate) = TestBastion::new(b"bastion/0").await;
    let theirs = bastion(dir.path(), ours.address(), &certificate);
    let id = theirs.id().to_owned();
    assert_eq!(bastion(dir.path(), ours.address(), &certificate).id(), id, "the key is kept");
    let vkey = witness.vkey().clone();
    let (events, mut said) = mpsc::unbounded_channel();
    let following = tokio::spawn(theirs.follow(witness, move |event| {
        let _ = events.send(event);
    }));

    let log = Log::new();
    for round in 0..3 {
        let (backend, mut send) = ours.backend().await;
        assert_eq!(backend, id);
        assert!(matches!(said.recv().await, Some(Event::Connected)));
        let request = log.request(round, round + 1);
        let (status, body) = ask(&mut send, "/add-checkpoint", request.to_bytes()).await;
        assert_eq!(status, 200, "{body}");
        let lines = parse_signatures(body.as_bytes()).unwrap();
        assert_eq!(cosignatures(&request.note, &lines, &vkey), lines);
        // Many at once over the one connection.
        let again = (0..20).map(|_| {
            let mut send = send.clone();
            let body = log.request(0, 9).to_bytes();
            tokio::spawn(async move { ask(&mut send, "/add-checkpoint", body).await })
        });
        for answer in again.collect::<Vec<_>>() {
            let (status, _) = answer.await.unwrap();
            assert_eq!(status, 409);
        }
        drop(send);
        assert!(matches!(said.recv().await, Some(Event::Lost)));
    }
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bastion_or_not_a_trusted_one_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let witness = witness(dir.path());
    let (silent, silent_certificate) = TestBastion::new(b"").await;
    let (stranger, _) = TestBastion::new(b"bastion/0").await;
    for (ours, certificate) in [(silent, &silent_certificate), (stranger, &silent_certificate)] {
        let theirs = bastion(dir.path(), ours.address(), certificate);
        let (events, mut said) = mpsc::unbounded_channel();
        let following = tokio::spawn(theirs.follow(witness.clone(), move |event| {
            let _ = events.send(event);
        }));
        // It is tried again and again, and no connection is ever served.
        for _ in 0..3 {
            let (accepted, event) = tokio::join!(
                async {
                    let stream = ours.listener.accept().await.unwrap().0;
                    ours.acceptor.accept(stream).await.map(drop)
                },
                said.recv()
            );
            assert!(matches!(event, Some(Event::Failed(_))), "{event:?} {accepted:?}");
        }
        following.abort();
    }
}

#[test]
fn an_address_without_a_port_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["bastion.example", "bastion.example:port", ":443", "a b:443"] {
        let config = Config { bastion: Some(bad.to_owned()), ..Config::default() };
        assert!(Bastion::load(dir.path(), &config).is_err(), "{bad}");
    }
    assert!(Bastion::load(dir.path(), &Config::default()).unwrap().is_none());
}
