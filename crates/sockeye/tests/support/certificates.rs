//! Certificates made for a test, and a server that shows them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use sockeye::rustls::crypto::{CryptoProvider, ring};
use sockeye::rustls::pki_types::pem::PemObject;
use sockeye::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockeye::rustls::server::WebPkiClientVerifier;
use sockeye::rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A CA.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with those that lead to a CA, and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A CA between this one and others' certificates.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_until(name, 3000)
    }

    pub(crate) fn intermediate_until(&self, name: &str, year: i32) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these domains and addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let chain = params(names, change).signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    /// A certificate for a key in PKCS#8.
    pub(crate) fn issue_for(&self, names: &[&str], key: &str) -> Identity {
        let pair = KeyPair::from_pem(key).unwrap();
        let chain = params(names, |_| {}).signed_by(&pair, &self.issuer).unwrap().pem();
        Identity { chain, key: key.to_owned() }
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }
}

/// A certificate signed with this key by itself.
pub(crate) fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let chain = params(names, change).self_signed(&key).unwrap().pem();
    Identity { chain, key: key.serialize_pem() }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Test, Inc.");
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params
}

impl Identity {
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// A server that shows this.
    pub(crate) fn server(&self) -> ServerConfig {
        self.server_of(ALL_VERSIONS, None)
    }

    /// A server that shows this, of these versions of TLS, and that wants a certificate of this CA.
    pub(crate) fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Ca>,
    ) -> ServerConfig {
        let config =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(ca) => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(ca.roots(), provider()).build().unwrap(),
            ),
        };
        let mut config = config.with_single_cert(self.certificates(), self.private_key()).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// Does this with each connection that gets as far as TLS.
pub(crate) async fn serve<F>(
    config: ServerConfig,
    handle: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(handle(stream));
            }
        }
    });
    address
}

/// Sends each message back; to "sni" says which host was asked for.
pub(crate) async fn echo(stream: TlsStream<TcpStream>) {
    let sni = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
    let Ok(mut ws) = sockeye::accept(stream).await else { return };
    while let Ok(Some(message)) = ws.recv().await {
        let message = if message.as_text() == Some("sni") { sni.clone().into() } else { message };
        if ws.send(message).await.is_err() {
            break;
        }
    }
}
