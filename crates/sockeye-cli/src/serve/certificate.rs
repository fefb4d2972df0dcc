//! The certificate that is shown by TLS, read from files or made, and the CAs of clients.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sockeye::ServerTls;

use crate::args::{Certificate, Serve};
use crate::tell;

/// What is shown, if there is TLS.
pub(super) struct Shown {
    pub(super) tls: ServerTls,
    /// The certificate that was made for this run, and its key.
    made: Option<(String, String)>,
}

impl Shown {
    pub(super) fn new(plan: &Serve, addresses: &[Option<SocketAddr>]) -> Result<Option<Self>, String> {
        let made = match plan.tls {
            Certificate::None => return Ok(None),
            Certificate::Files { .. } => None,
            Certificate::SelfSigned => {
                let made = self_signed(addresses);
                Some(made.map_err(|error| format!("no certificate can be made: {error}"))?)
            }
        };
        load(plan, made.as_ref()).map(|tls| Some(Self { tls, made }))
    }

    /// Reads all files again. Nothing is shown of that yet: what is to be shown goes to [`ServerTls::replace`].
    pub(super) fn read_again(&self, plan: &Serve) -> Result<ServerTls, String> {
        load(plan, self.made.as_ref())
    }
}

fn load(plan: &Serve, made: Option<&(String, String)>) -> Result<ServerTls, String> {
    let tls = match (&plan.tls, made) {
        (Certificate::Files { chain, key }, _) => ServerTls::from_pem(&read(chain)?, &read(key)?),
        (_, Some((chain, key))) => ServerTls::from_pem(chain.as_bytes(), key.as_bytes()),
        (_, None) => return Err("there is no certificate".into()),
    };
    let tls = tls.map_err(|error| error.to_string())?;
    match &plan.client_ca {
        Some(file) => tls.client_ca_pem(&read(file)?).map_err(|error| format!("{}: {error}", file.display())),
        None => Ok(tls),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Makes a certificate for the loopback names and the addresses listened on, and tells its fingerprint.
fn self_signed(addresses: &[Option<SocketAddr>]) -> Result<(String, String), Box<dyn std::error::Error>> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for address in addresses.iter().flatten() {
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
    Ok((certificate.pem(), key.serialize_pem()))
}
