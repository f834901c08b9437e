//! TLS 1.3 as libp2p defines it (`/tls/1.0.0`), with the cipher that this computer is fast at.
//!
//! The library's own upgrade always asks for ChaCha20-Poly1305 and offers no choice. A processor with instructions for AES
//! runs AES-GCM at several times that speed, one without them the other way round. On the wire nothing differs: both
//! ciphers are mandatory parts of every implementation, and the certificates are made and checked by the library.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

/// The protocol that both sides agree on within TLS.
const ALPN: &[u8] = b"libp2p";

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Our certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The handshake failed.
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
    /// The other side showed no usable certificate.
    #[error("the peer's certificate is not usable")]
    PeerCertificate,
}

/// The security upgrade. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Both sides of the handshake for this key.
    pub(crate) fn new(keypair: &Keypair) -> Result<Self, TlsError> {
        let made = |error: &dyn std::error::Error| TlsError::Certificate(error.to_string());
        let provider = Arc::new(provider());
        let (certificate, key) = certificate::generate(keypair).map_err(|error| made(&error))?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| made(&error))?;
        let own = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
        let verifier = Arc::new(Verifier);
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| made(&error))?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(own.clone());
        server.alpn_protocols = vec![ALPN.to_vec()];
        // The dialler chooses, unless its choice is the slow one here.
        server.ignore_client_order = !has_aes();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| made(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(own);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_sni = false;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn provider() -> CryptoProvider {
    let mut suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if !has_aes() {
        suites.reverse();
    }
    CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() }
}

/// Whether the processor has instructions for AES. A Raspberry Pi 4 has none, a Pi 5 has.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            let stream = TlsAcceptor::from(self.server).accept(socket).await.map_err(TlsError::Handshake)?;
            Ok((peer_of(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            // libp2p forbids to name the server; an address is never sent.
            let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
            let stream = TlsConnector::from(self.client).connect(name, socket).await.map_err(TlsError::Handshake)?;
            Ok((peer_of(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}

/// Who is on the other side; the swarm compares it with whom it wanted to reach.
fn peer_of(state: &CommonState) -> Result<PeerId, TlsError> {
    let Some([certificate]) = state.peer_certificates() else { return Err(TlsError::PeerCertificate) };
    let certificate = certificate::parse(certificate).map_err(|_| TlsError::PeerCertificate)?;
    Ok(certificate.peer_id())
}

/// Accepts one self-signed certificate that carries a peer's key, from both sides: nothing else proves who a peer is.
#[derive(Debug)]
struct Verifier;

impl Verifier {
    fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !others.is_empty() {
            return Err(Error::General("a peer shows exactly one certificate".into()));
        }
        certificate::parse(certificate)?;
        Ok(())
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::parse(certificate)?.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn schemes() -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

/// TLS 1.2 is not offered, so nobody gets here.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not offered".into()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(certificate, others)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(certificate, others)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    fn pipe() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
        let (a, b) = tokio::io::duplex(64 * 1024);
        (a.compat(), b.compat())
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is_and_take_the_fast_cipher() {
        let (dialler, listener) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (near, far) = pipe();
        let out = Tls::new(&dialler).expect("a configuration").upgrade_outbound(near, "/tls/1.0.0");
        let into = Tls::new(&listener).expect("a configuration").upgrade_inbound(far, "/tls/1.0.0");
        let ((to, stream), (from, _)) = futures::try_join!(out, into).expect("a handshake");
        assert_eq!(to, listener.public().to_peer_id());
        assert_eq!(from, dialler.public().to_peer_id());
        let suite = stream.get_ref().1.negotiated_cipher_suite().expect("agreed").suite();
        assert_eq!(suite == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256, has_aes());
    }

    #[tokio::test]
    async fn our_upgrade_and_the_one_of_the_library_understand_each_other() {
        let (ours, theirs) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let library = libp2p::tls::Config::new(&theirs).expect("a configuration");
        let own = Tls::new(&ours).expect("a configuration");
        // The streams live until both are through: the listener's last words come after the dialler's.
        let (near, far) = pipe();
        let out = own.clone().upgrade_outbound(near, "/tls/1.0.0");
        let into = library.clone().upgrade_inbound(far, "/tls/1.0.0");
        let (out, into) = futures::join!(out, into);
        assert_eq!(out.expect("we dial").0, theirs.public().to_peer_id());
        assert_eq!(into.expect("they listen").0, ours.public().to_peer_id());
        let (near, far) = pipe();
        let out = library.upgrade_outbound(near, "/tls/1.0.0");
        let into = own.upgrade_inbound(far, "/tls/1.0.0");
        let (out, into) = futures::join!(out, into);
        assert_eq!(out.expect("they dial").0, ours.public().to_peer_id());
        assert_eq!(into.expect("we listen").0, theirs.public().to_peer_id());
    }
}
