//! What can go wrong with TLS, and with which certificate.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, InconsistentKeys, InvalidMessage};

use super::certificate::{self, Certificate, Time};
use super::verify::Seen;

/// TLS failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server has given up, and says only this of why (RFC 8446 section 6.2).
    #[error("the server has ended TLS with an alert: {0:?}")]
    Alert(AlertDescription),
    /// One of the server's certificates is not accepted.
    #[error("{} {problem}", whose(subject))]
    Certificate {
        /// Whose certificate it is, the server's or one that it has sent with it: the name in it, as RFC 4514 writes it. Empty if it has none, or
        /// if your own configuration of rustls was used.
        subject: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// The server does not accept the [certificate that we have shown](crate::Tls::client_certificate_pem), and says only this of why
    /// (RFC 8446 section 6.2).
    #[error("the server does not accept our certificate: {0:?}")]
    ClientCertificateRefused(AlertDescription),
    /// The server wants a [certificate](crate::Tls::client_certificate_pem) and was shown none (RFC 8446 section 6.2). With TLS 1.3 this is learned
    /// after TLS was set up, in [`Phase::Upgrade`](crate::Phase::Upgrade).
    #[error("the server wants a client certificate, and there is none")]
    ClientCertificateRequired,
    /// The server speaks something else: plain HTTP, say.
    #[error("the server does not speak TLS there")]
    NotTls,
    /// A certificate or a key of ours cannot be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Server and client have no version or algorithm in common, or one of them breaks the rules.
    #[error("TLS failed: {0}")]
    Protocol(rustls::Error),
    /// This is neither a domain nor an IP address.
    #[error("{0:?} is no name that a certificate could be for")]
    ServerName(String),
    /// The platform's trusted certificates could not be had.
    #[error("there are no CA certificates to trust on this system (on Linux: ca-certificates): {0}")]
    TrustStore(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its signature is not its issuer's.
    #[error("has a wrong signature")]
    BadSignature,
    /// It is too old.
    #[error("has expired: it was valid until {}", date(*not_after))]
    Expired {
        /// Until when it was valid.
        not_after: SystemTime,
    },
    /// It says that it is a CA's, and so cannot be a server's.
    #[error("is a CA's, which no server may show as its own (openssl: -addext basicConstraints=CA:FALSE)")]
    IsCa,
    /// It cannot be read.
    #[error("is malformed")]
    Malformed,
    /// It is too new, or the clock is slow.
    #[error("is not valid before {}", date(*not_before))]
    NotValidYet {
        /// From when on it is valid.
        not_before: SystemTime,
    },
    /// Something else.
    #[error("is not accepted: {0}")]
    Other(String),
    /// It is meant for something else than servers.
    #[error("is not meant for servers")]
    Purpose,
    /// Its issuer has taken it back.
    #[error("has been revoked")]
    Revoked,
    /// It is not trusted itself, and nobody else stands behind it.
    #[error("is signed by itself, and not trusted")]
    SelfSigned,
    /// Who has issued it is not trusted, and the server has sent no certificate for it by somebody who is.
    #[error("was issued by {}, who is not trusted", somebody(issuer))]
    UnknownIssuer {
        /// The issuer's name as RFC 4514 writes it; empty if it is not known.
        issuer: String,
    },
    /// It is for other hosts.
    #[error("is not for {expected:?} but for {}", list(names))]
    WrongHost {
        /// The host that was connected to, or [`Tls::server_name`](crate::Tls::server_name).
        expected: String,
        /// The domains and addresses it is for.
        names: Vec<String>,
    },
}

/// What is wrong with a text in PEM (RFC 7468), or with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A certificate cannot be read.
    #[error("a certificate cannot be used: {0}")]
    Certificate(String),
    /// The private key is encrypted; it has to be decrypted first.
    #[error("the private key is encrypted; decrypt it first, with `openssl pkey` for instance")]
    EncryptedKey,
    /// The private key cannot be read, or is of a kind that is not known.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The private key is not that of the certificate.
    #[error("the private key is not the certificate's")]
    KeyMismatch,
    /// There is no certificate in it.
    #[error("there is no certificate in the PEM text")]
    NoCertificate,
    /// There is no private key in it.
    #[error("there is no private key in the PEM text")]
    NoKey,
    /// It is not PEM.
    #[error("the PEM text is broken: {0}")]
    Syntax(&'static str),
}

impl PemError {
    /// What rustls says of a certificate and a key.
    pub(super) fn of_key(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Self::KeyMismatch,
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error.to_string()),
            rustls::Error::General(message) => Self::Key(message),
            error => Self::Key(error.to_string()),
        }
    }
}

/// What rustls says, if it is that by which a byte stream has failed.
pub(crate) fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl TlsError {
    /// What an error that ended the TLS handshake means.
    pub(super) fn of_handshake(error: &rustls::Error, seen: &Seen) -> Self {
        match error {
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            rustls::Error::InvalidCertificate(error) => of_certificate(error, &seen.rejected),
            // RFC 5246 section 7.4.6: "If the client does not send any certificates, the server MAY at its discretion either
            // continue the handshake without client authentication, or respond with a fatal handshake_failure alert."
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) if seen.asked => {
                Self::ClientCertificateRequired
            }
            error => error.into(),
        }
    }
}

impl From<&rustls::Error> for TlsError {
    fn from(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::AlertReceived(Alert::CertificateRequired) => Self::ClientCertificateRequired,
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate),
            ) => Self::ClientCertificateRefused(*alert),
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            rustls::Error::InvalidCertificate(error) => of_certificate(error, &[]),
            error => Self::Protocol(error.clone()),
        }
    }
}

fn of_certificate(error: &CertificateError, chain: &[CertificateDer<'_>]) -> TlsError {
    let chain: Vec<_> = chain.iter().map_while(|certificate| Certificate::read(certificate)).collect();
    let leaf = chain.first().copied();
    let find = |time: UnixTime, field: for<'a> fn(&Certificate<'a>) -> Time<'a>| {
        chain.iter().find(|certificate| field(certificate).is(time.as_secs())).copied().or(leaf)
    };
    let (culprit, problem) = match error {
        CertificateError::BadEncoding => (None, CertificateProblem::Malformed),
        CertificateError::BadSignature => (None, CertificateProblem::BadSignature),
        CertificateError::ExpiredContext { not_after, .. } => (
            find(*not_after, |found| found.not_after),
            CertificateProblem::Expired { not_after: time(*not_after) },
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            find(*not_before, |found| found.not_before),
            CertificateProblem::NotValidYet { not_before: time(*not_before) },
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (leaf, CertificateProblem::Purpose)
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().filter_map(|name| plain(name)).collect();
            (leaf, CertificateProblem::WrongHost { expected: expected.to_str().into_owned(), names })
        }
        CertificateError::Revoked => (leaf, CertificateProblem::Revoked),
        CertificateError::UnknownIssuer => {
            let last = last(&chain);
            let problem = match last {
                Some(last) if last.issuer == last.subject => CertificateProblem::SelfSigned,
                Some(last) => CertificateProblem::UnknownIssuer { issuer: certificate::name(last.issuer) },
                None => CertificateProblem::UnknownIssuer { issuer: String::new() },
            };
            (last, problem)
        }
        // webpki's own errors are not rustls's, but are named in their text.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            (leaf, CertificateProblem::IsCa)
        }
        error => (leaf, CertificateProblem::Other(error.to_string())),
    };
    let subject = culprit.map(|culprit| certificate::name(culprit.subject)).unwrap_or_default();
    TlsError::Certificate { subject, problem }
}

/// The last certificate on the way from the first one to a CA: that whose issuer's certificate is not there.
fn last<'a>(chain: &[Certificate<'a>]) -> Option<Certificate<'a>> {
    let (first, others) = chain.split_first()?;
    let mut last = *first;
    for _ in others {
        if last.issuer == last.subject {
            break;
        }
        match others.iter().find(|other| other.subject == last.issuer) {
            Some(issuer) => last = *issuer,
            None => break,
        }
    }
    Some(last)
}

/// A domain or an address, of which webpki tells in the form `DnsName("example.com")` or `IpAddress(127.0.0.1)`.
fn plain(name: &str) -> Option<String> {
    let (kind, name) = name.strip_suffix(')')?.split_once('(')?;
    matches!(kind, "DnsName" | "IpAddress").then(|| name.trim_matches('"').to_owned())
}

fn time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

fn date(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day, hour, minute, second) = certificate::utc(since.as_secs());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn whose(subject: &str) -> String {
    if subject.is_empty() {
        "the server's certificate".into()
    } else {
        format!("the certificate of {subject:?}")
    }
}

fn somebody(name: &str) -> String {
    if name.is_empty() { "somebody".into() } else { format!("{name:?}") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "no host at all".into();
    }
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
