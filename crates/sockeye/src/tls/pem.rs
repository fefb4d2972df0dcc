//! Certificates and keys out of PEM (RFC 7468).

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::PemError;

/// The certificates, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| syntax(&error))?;
    if certificates.is_empty() { Err(PemError::NoCertificate) } else { Ok(certificates) }
}

/// The first private key.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        // RFC 7468 section 11: "ENCRYPTED PRIVATE KEY"; RFC 1421 section 4.6.1.1: "Proc-Type: 4,ENCRYPTED"
        if [&b"ENCRYPTED PRIVATE KEY-----"[..], b"4,ENCRYPTED"].iter().any(|mark| holds(pem, mark)) {
            return PemError::EncryptedKey;
        }
        if matches!(error, pem::Error::NoItemsFound) { PemError::NoKey } else { syntax(&error) }
    })
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Shows nothing of the text itself, which may be a key.
fn syntax(error: &pem::Error) -> PemError {
    PemError::Syntax(match error {
        pem::Error::MissingSectionEnd { .. } => "there is no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "it is not Base64",
        _ => "it cannot be read",
    })
}
