//! TLS at the server's end.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InvalidMessage, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::error::{PemError, TlsError, of_tls};
use super::{TlsInfo, alpn, pem, verify};
use crate::opening::OpenCause;
use crate::transport::Transport;

/// What a server shows by TLS, and whether it asks its clients for certificates.
///
/// Clones are one: what is [reloaded](Self::reload) holds for all of them, and for the [`Server`](crate::Server) that has one.
///
/// ```
/// # async fn example(chain: &[u8], key: &[u8], new: (&[u8], &[u8])) -> Result<(), Box<dyn std::error::Error>> {
/// let tls = sockeye::ServerTls::from_pem(chain, key)?;
/// let server = sockeye::Server::bind("[::]:443").await?.tls(tls.clone());
/// // Later, while it runs:
/// tls.reload(new.0, new.1)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl ServerTls {
    /// Shows this certificate: the certificate and those that lead from it to a CA, in this order, and its private key, in PEM (RFC 7468).
    /// The key may be in PKCS#8 (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`], also if the key is not the certificate's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::make(certified(chain, key, &verify::provider())?, WebPkiClientVerifier::no_client_auth())
    }

    /// Lets in only who shows a certificate of one of these CAs: one certificate or more, in PEM. Which it was says
    /// [`Incoming::tls`](crate::Incoming::tls). Replaces what was said of clients' certificates before.
    ///
    /// With TLS 1.3 a client without one learns of that only after TLS is set up at its end.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`].
    pub fn client_ca_pem(self, pem: &[u8]) -> Result<Self, TlsError> {
        self.ask_clients(pem, true)
    }

    /// Asks clients for a certificate of one of these CAs as [`client_ca_pem`](Self::client_ca_pem) does, but lets in those who show none.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`].
    pub fn optional_client_ca_pem(self, pem: &[u8]) -> Result<Self, TlsError> {
        self.ask_clients(pem, false)
    }

    /// Shows another certificate from now on, and keeps the rest. Connections that are there, also those that are being opened, go on
    /// as they are. If it fails, the old certificate stays.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`], also if the key is not the certificate's.
    pub fn reload(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let mut config = ServerConfig::clone(&self.config());
        let certified = certified(chain, key, config.crypto_provider())?;
        config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// Shows from now on what another one shows, and asks clients for certificates as that does. Connections that are there, also those that are being
    /// opened, go on as they are; sessions of before are not resumed, so that nobody comes back by a CA that is trusted no more.
    ///
    /// ```
    /// # fn example(tls: &sockeye::ServerTls, chain: &[u8], key: &[u8], ca: &[u8]) -> Result<(), sockeye::TlsError> {
    /// // If anything is wrong with it, nothing has changed.
    /// let new = sockeye::ServerTls::from_pem(chain, key)?.client_ca_pem(ca)?;
    /// tls.replace(&new);
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace(&self, with: &Self) {
        let new = with.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn make(certified: CertifiedKey, clients: Arc<dyn ClientCertVerifier>) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(verify::provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // Sessions are resumed without a memory of each at the server.
        config.ticketer = Ticketer::new().map_err(TlsError::Protocol)?;
        Ok(Arc::new(config).into())
    }

    fn ask_clients(self, pem: &[u8], required: bool) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(pem)? {
            roots.add(certificate).map_err(|error| PemError::Certificate(error.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), verify::provider());
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let verifier = verifier.build().map_err(|error| PemError::Certificate(error.to_string()))?;
        let old = self.config();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(old.crypto_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&old.cert_resolver));
        // A ticketer of its own: a session that was begun without a certificate is not to be resumed.
        config.ticketer = Ticketer::new().map_err(TlsError::Protocol)?;
        Ok(Arc::new(config).into())
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    /// Uses this configuration of [`rustls`], but for ALPN, which is ours.
    fn from(config: Arc<ServerConfig>) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = alpn();
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }
}

impl fmt::Debug for ServerTls {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn certified(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
    CertifiedKey::from_der(pem::certificates(chain)?, pem::private_key(key)?, provider)
        .map_err(PemError::of_key)
}

/// TLS with a client, over a byte stream.
pub(crate) async fn accept(tls: &ServerTls, transport: Transport) -> Result<(Transport, TlsInfo), OpenCause> {
    match TlsAcceptor::from(tls.config()).accept(transport).await {
        Ok(stream) => {
            let info = TlsInfo::of(stream.get_ref().1).ok_or(rustls::Error::HandshakeNotComplete);
            let info = info.map_err(TlsError::Protocol)?;
            Ok((Transport::Tls(Box::new(TlsStream::Server(stream))), info))
        }
        Err(error) => Err(match of_tls(&error) {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                TlsError::NotTls.into()
            }
            Some(error) => TlsError::Protocol(error.clone()).into(),
            None => OpenCause::Io(error),
        }),
    }
}
