//! Which server certificates are accepted, and which certificate is shown.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::error::TlsError;

thread_local! {
    /// The certificates that this thread has not accepted last. rustls tells what is wrong, and not with which of them.
    static REJECTED: Cell<Option<Vec<CertificateDer<'static>>>> = const { Cell::new(None) };
    /// Whether a server has asked for a certificate on this thread, and there was none to show.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// What a handshake that has failed was about.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The certificates that were not accepted, the server's own first.
    pub(super) rejected: Vec<CertificateDer<'static>>,
    /// Whether the server has asked for a certificate, and there was none to show.
    pub(super) asked: bool,
}

impl Seen {
    /// Takes what a poll of the handshake has left; to be called after each, since the next may be on another thread.
    pub(super) fn look(&mut self) {
        if let Some(rejected) = REJECTED.take() {
            self.rejected = rejected;
        }
        self.asked |= ASKED.take();
    }
}

/// The cryptography: named wherever rustls would look for the process's default, and panic if there are two.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The platform's verifier. A failure is not kept: certificates may be installed later.
fn platform() -> Result<Arc<dyn ServerCertVerifier>, Error> {
    static PLATFORM: OnceLock<Arc<dyn ServerCertVerifier>> = OnceLock::new();
    if let Some(verifier) = PLATFORM.get() {
        return Ok(Arc::clone(verifier));
    }
    let verifier = rustls_platform_verifier::Verifier::new(provider())?;
    Ok(Arc::clone(PLATFORM.get_or_init(|| Arc::new(verifier))))
}

/// Accepts a certificate that one of these accepts.
#[derive(Debug)]
pub(super) struct Verifier {
    accepted: Accepted,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Accepted {
    Any,
    /// One by one, in this order.
    By(Vec<Arc<dyn ServerCertVerifier>>),
}

impl Verifier {
    /// Accepts any certificate.
    pub(super) fn any() -> Self {
        Self { accepted: Accepted::Any, provider: provider() }
    }

    /// Accepts what these CAs have issued.
    pub(super) fn given(roots: &RootCertStore) -> Result<Self, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider());
        let verifier = verifier.build().map_err(|error| TlsError::TrustStore(error.to_string()))?;
        Ok(Self { accepted: Accepted::By(vec![verifier]), provider: provider() })
    }

    /// Accepts what the platform accepts, and what these CAs have issued, if there are any.
    pub(super) fn platform(roots: &RootCertStore) -> Result<Self, TlsError> {
        let no_store = |error: Error| match error {
            Error::General(message) => TlsError::TrustStore(message),
            error => TlsError::TrustStore(error.to_string()),
        };
        if roots.is_empty() {
            let accepted = Accepted::By(vec![platform().map_err(no_store)?]);
            return Ok(Self { accepted, provider: provider() });
        }
        let mut given = Self::given(roots)?;
        // The platform's verifier logs what it does not accept, so it comes last.
        if let (Accepted::By(verifiers), Ok(platform)) = (&mut given.accepted, platform()) {
            verifiers.push(platform);
        }
        Ok(given)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifiers = match &self.accepted {
            Accepted::Any => return Ok(ServerCertVerified::assertion()),
            Accepted::By(verifiers) => verifiers,
        };
        let mut failure = Error::from(CertificateError::UnknownIssuer);
        for verifier in verifiers {
            match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                // Whoever knows the issuer knows more of the certificate.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => failure = error,
            }
        }
        let chain = [end_entity].into_iter().chain(intermediates);
        REJECTED.set(Some(chain.map(|certificate| certificate.clone().into_owned()).collect()));
        Err(failure)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Shows a certificate to a server that asks for one, if there is one.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        ASKED.set(self.0.is_none());
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
