//! The certificate that is shown by TLS: read from files, again and again, or made.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sockeye::ServerTls;

use super::listen::Listening;
use crate::args::Certificate;
use crate::{complain, tell};

/// What is shown, if there is TLS.
pub(super) enum Shown {
    None,
    Files { tls: ServerTls, chain: PathBuf, key: PathBuf },
    SelfSigned(ServerTls),
}

impl Shown {
    pub(super) fn new(certificate: &Certificate, listening: &[Listening]) -> Result<Self, String> {
        match certificate {
            Certificate::None => Ok(Self::None),
            Certificate::Files { chain, key } => {
                let (chain_pem, key_pem) = read(chain, key)?;
                let tls = ServerTls::from_pem(&chain_pem, &key_pem).map_err(|error| error.to_string())?;
                Ok(Self::Files { tls, chain: chain.clone(), key: key.clone() })
            }
            Certificate::SelfSigned => self_signed(listening)
                .map(Self::SelfSigned)
                .map_err(|error| format!("no certificate can be made: {error}")),
        }
    }

    pub(super) fn tls(&self) -> Option<&ServerTls> {
        match self {
            Self::None => None,
            Self::Files { tls, .. } | Self::SelfSigned(tls) => Some(tls),
        }
    }

    /// Reads the files again, if there are any.
    pub(super) fn reload(&self) {
        let Self::Files { tls, chain, key } = self else { return };
        let result = read(chain, key)
            .and_then(|(chain, key)| tls.reload(&chain, &key).map_err(|error| error.to_string()));
        match result {
            Ok(()) => tell("the certificate was read again"),
            Err(error) => complain(format_args!("the old certificate stays: {error}")),
        }
    }
}

fn read(chain: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), String> {
    let read =
        |path: &Path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    Ok((read(chain)?, read(key)?))
}

/// Makes a certificate for the loopback names and the addresses listened on, and tells its fingerprint.
fn self_signed(listening: &[Listening]) -> Result<ServerTls, Box<dyn std::error::Error>> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for address in listening.iter().filter_map(|listening| listening.address) {
        let name = address.ip().to_string();
        if !address.ip().is_unspecified() && !names.contains(&name) {
            names.push(name);
        }
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sockeye serve");
    let certificate = params.self_signed(&key)?;
    let mut fingerprint = String::new();
    for (index, byte) in hmac_sha256::Hash::hash(certificate.der()).iter().enumerate() {
        write!(fingerprint, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
    }
    tell(format_args!("certificate made for this run, SHA-256 {fingerprint}"));
    Ok(ServerTls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?)
}
