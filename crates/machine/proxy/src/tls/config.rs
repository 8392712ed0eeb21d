//! A listener's certificates and security policy, compiled for rustls.

use std::sync::Arc;

use pileus_contract::proxy::{CertificateSpec, TlsSpec, TlsVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

/// OpenSSL's name of each suite that rustls has, as ALB's policies and headers write them.
const SUITES: [(CipherSuite, &str); 7] = [
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
];

/// What the listener speaks, and by which specification.
#[derive(Debug)]
pub(crate) struct TlsListener {
    spec: TlsSpec,
    pub(super) config: Arc<ServerConfig>,
}

impl TlsListener {
    /// # Errors
    /// What is wrong with the certificates or the suites.
    pub(crate) fn new(spec: &TlsSpec) -> Result<Self, String> {
        let suite = |suite: &SupportedCipherSuite| {
            spec.cipher_suites.iter().any(|name| *name == name_of(suite.suite()))
        };
        let cipher_suites = ring::ALL_CIPHER_SUITES.iter().filter(|known| suite(known)).copied().collect();
        let provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
        let versions: Vec<_> = spec.versions.iter().map(|version| version_of(*version)).collect();
        let certificates =
            spec.certificates.iter().map(|certificate| Certificate::new(certificate, &provider));
        let certificates = Certificates(certificates.collect::<Result<_, _>>()?);
        if certificates.0.is_empty() {
            return Err("it has no certificate".into());
        }
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let mut config = builder
            .map_err(|error| format!("its security policy: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(|error| format!("its session tickets: {error}"))?;
        Ok(Self { spec: spec.clone(), config: Arc::new(config) })
    }

    pub(crate) fn is_by(&self, spec: &TlsSpec) -> bool {
        self.spec == *spec
    }

    /// Every name of its certificates, `*.` names among them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.spec.certificates.iter().flat_map(|certificate| &certificate.names).map(String::as_str)
    }
}

/// The suite as OpenSSL calls it.
pub(super) fn name_of(suite: CipherSuite) -> &'static str {
    SUITES.iter().find(|(known, _)| *known == suite).map_or("", |(_, name)| name)
}

fn version_of(version: TlsVersion) -> &'static rustls::SupportedProtocolVersion {
    match version {
        TlsVersion::Tls12 => &rustls::version::TLS12,
        TlsVersion::Tls13 => &rustls::version::TLS13,
    }
}

/// Chosen by the name that the client asks for: an exact one, one with a star, else the default.
#[derive(Debug)]
struct Certificates(Vec<Certificate>);

#[derive(Debug)]
struct Certificate {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    fn new(spec: &CertificateSpec, provider: &CryptoProvider) -> Result<Self, String> {
        let of =
            |error: &dyn std::fmt::Display| format!("the certificate for {}: {error}", spec.names.join(", "));
        let chain = CertificateDer::pem_slice_iter(spec.chain.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(spec.key.reveal().as_bytes()).map_err(|error| of(&error))?;
        let key = CertifiedKey::from_der(chain.map_err(|error| of(&error))?, key, provider);
        Ok(Self { names: spec.names.clone(), key: Arc::new(key.map_err(|error| of(&error))?) })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = client_hello.server_name().map(str::to_ascii_lowercase);
        let named = name.and_then(|name| {
            let has = |wanted: &str| {
                self.0.iter().find(|certificate| certificate.names.iter().any(|known| known == wanted))
            };
            has(&name).or_else(|| has(&starred(&name)?))
        });
        named.or(self.0.first()).map(|certificate| Arc::clone(&certificate.key))
    }
}

/// `*.example.com` for `www.example.com`.
pub(crate) fn starred(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}
