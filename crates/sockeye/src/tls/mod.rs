//! TLS, by rustls.

mod certificate;
mod error;
mod pem;
mod server;
mod verify;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ClientConfig, CommonState, HandshakeKind, ProtocolVersion, RootCertStore};
use tokio_rustls::{TlsConnector, TlsStream};

pub(crate) use error::of_tls;
pub use error::{CertificateProblem, PemError, TlsError};
pub use server::ServerTls;
pub(crate) use server::accept;
use verify::{Seen, Shown, Verifier};

use crate::opening::OpenCause;
use crate::transport::Transport;

/// What we offer by ALPN (RFC 7301), and take.
fn alpn() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}

/// Which certificates are trusted, and which is shown: those of the platform, and none, by default.
///
/// On Linux the platform's are where OpenSSL's are, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say; they are read once a
/// process, when they are first needed.
///
/// Clones share what lets a later connection to the same host resume an earlier one's session (RFC 8446 section 2.2).
///
/// ```
/// # fn example(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<(), sockeye::TlsError> {
/// let tls = sockeye::Tls::default().only_ca_pem(ca)?.client_certificate_pem(chain, key)?;
/// let client = sockeye::Client::new().tls(tls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    trust: Trust,
    /// Trusted CAs besides the platform's, or in their place.
    roots: RootCertStore,
    client_certificate: Option<Arc<CertifiedKey>>,
    server_name: Option<ServerName<'static>>,
    /// The user's own.
    given: Option<Arc<ClientConfig>>,
    /// What is made of the above, when it is first needed.
    made: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Who is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Anybody.
    Any,
    /// The CAs given.
    Given,
    /// The platform's CAs, and those given.
    Platform,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            trust: Trust::Platform,
            roots: RootCertStore::empty(),
            client_certificate: None,
            server_name: None,
            given: None,
            made: Arc::default(),
        }
    }
}

impl Tls {
    /// Trusts these CAs too: one certificate or more, in PEM (RFC 7468).
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`].
    pub fn add_ca_pem(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        for certificate in pem::certificates(pem)? {
            self.roots.add(certificate).map_err(|error| PemError::Certificate(error.to_string()))?;
        }
        Ok(self.changed())
    }

    /// Trusts these CAs in place of the platform's, as curl does with `--cacert`; those
    /// [added](Self::add_ca_pem) before or afterwards stand beside them.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`].
    pub fn only_ca_pem(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        if self.trust == Trust::Platform {
            self.trust = Trust::Given;
        }
        self.add_ca_pem(pem)
    }

    /// Shows this certificate to a server that asks for one: the certificate and those that lead from it to a CA, in this order, and its
    /// private key, in PEM. The key may be in PKCS#8 (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), not
    /// encrypted.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`], also if the key is not the certificate's.
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let (chain, key) = (pem::certificates(chain)?, pem::private_key(key)?);
        let certificate =
            CertifiedKey::from_der(chain, key, &verify::provider()).map_err(PemError::of_key)?;
        self.client_certificate = Some(Arc::new(certificate));
        Ok(self.changed())
    }

    /// Accepts any certificate, whatever else is said: whoever stands in between can read and change everything. For tests.
    ///
    /// That the server has the certificate's private key is still verified.
    #[must_use]
    pub fn dangerously_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Any;
        self.changed()
    }

    /// Asks for, and expects the certificate to be for, this domain or IP address in place of the URL's host. A domain is told to the server
    /// before anything is encrypted (SNI, RFC 6066 section 3); an address is not told.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerName`]: it is neither.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsError> {
        self.server_name = Some(read_name(name)?);
        Ok(self)
    }

    /// Uses this configuration of [`rustls`], but for ALPN, which is ours. What else is said here of certificates does not count then.
    #[must_use]
    pub fn client_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.given = Some(config);
        self
    }

    /// Another configuration, with sessions of its own.
    fn changed(mut self) -> Self {
        self.made = Arc::default();
        self
    }

    /// The configuration; made off the runtime's threads, since the platform's certificates may take tens of milliseconds to read.
    async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.given.as_ref().or_else(|| self.made.get()) {
            return Ok(Arc::clone(config));
        }
        let tls = self.clone();
        let making = tokio::task::spawn_blocking(move || tls.make());
        making.await.map_err(|error| TlsError::TrustStore(error.to_string()))?
    }

    fn make(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = verify::provider();
        let verifier = match self.trust {
            Trust::Any => Verifier::any(),
            Trust::Given => Verifier::given(&self.roots)?,
            Trust::Platform => Verifier::platform(&self.roots)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Shown(self.client_certificate.clone())));
        Ok(Arc::clone(self.made.get_or_init(|| Arc::new(config))))
    }
}

impl fmt::Debug for Tls {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("trust", &self.trust)
            .field("given_cas", &self.roots.len())
            .field("client_certificate", &self.client_certificate.is_some())
            .field("server_name", &self.server_name)
            .field("client_config", &self.given.is_some())
            .finish_non_exhaustive()
    }
}

/// What TLS has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub protocol_version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The protocol agreed on by ALPN (RFC 7301), if both ends speak ALPN.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier connection's session was resumed (RFC 8446 section 2.2): no certificate was shown then.
    pub resumed: bool,
    /// The peer's certificate and those that it has sent with it, in DER; of a resumed session, those of the connection that began it. A client
    /// shows none unless it is [asked for one](ServerTls::client_ca_pem).
    pub certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    fn of(connection: &CommonState) -> Option<Self> {
        Some(Self {
            protocol_version: connection.protocol_version()?,
            cipher_suite: connection.negotiated_cipher_suite()?.suite(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
        })
    }
}

/// TLS with a host, over a byte stream.
pub(crate) async fn connect(
    tls: &Tls,
    host: &str,
    transport: Transport,
) -> Result<(Transport, TlsInfo), OpenCause> {
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => read_name(host)?,
    };
    let connector = TlsConnector::from(tls.config().await?);
    let mut connecting = pin!(connector.with_alpn(alpn()).connect(name, transport));
    let mut seen = Seen::default();
    let result = poll_fn(|cx| {
        let result = connecting.as_mut().poll(cx);
        seen.look();
        result
    });
    match result.await {
        Ok(stream) => {
            let info = TlsInfo::of(stream.get_ref().1).ok_or(rustls::Error::HandshakeNotComplete);
            Ok((Transport::Tls(Box::new(TlsStream::Client(stream))), info.map_err(TlsError::Protocol)?))
        }
        Err(error) => Err(match of_tls(&error) {
            Some(error) => TlsError::of_handshake(error, &seen).into(),
            None => OpenCause::Io(error),
        }),
    }
}

fn read_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}
