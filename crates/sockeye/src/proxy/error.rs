//! What can go wrong with a proxy.

use std::io;

use sockeye_proto::{HandshakeError, Refusal};

use super::socks::reply_text;
use crate::tls::TlsError;

/// The proxy gave no tunnel, or which proxy to use cannot be told.
///
/// `proxy` is the proxy's URL without user information; no message holds a user name or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A SOCKS5 proxy refused the user name and password, or wants what we have not (RFC 1928 section 3, RFC 1929 section 2). An
    /// HTTP proxy says so with 407, which is [`Refused`](Self::Refused).
    #[error("the proxy {proxy} {why}")]
    Auth {
        /// The proxy.
        proxy: String,
        /// What it wants, or refused.
        why: &'static str,
    },
    /// Bytes came through the tunnel before we began TLS with the server, in which the client speaks first (RFC 8446 section 2).
    #[error("the proxy {proxy} sent more than its answer, before TLS began")]
    EarlyBytes {
        /// The proxy.
        proxy: String,
    },
    /// A variable of the environment is no proxy's URL.
    #[error("the environment variable {variable} is not a proxy's URL: {wrong}")]
    Environment {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong with its value, which is not quoted.
        wrong: String,
    },
    /// An HTTP proxy's answer is not HTTP/1.1, or breaks a limit of [`Config`](crate::Config).
    #[error("the proxy {proxy} gave no answer that can be read: {source}")]
    Handshake {
        /// The proxy.
        proxy: String,
        /// What is wrong with the answer.
        source: HandshakeError,
    },
    /// The byte stream to the proxy failed.
    #[error("the connection to the proxy {proxy} was lost: {source}")]
    Io {
        /// The proxy.
        proxy: String,
        /// How it failed.
        source: io::Error,
    },
    /// An HTTP proxy refused: a status outside of 200 to 299 (RFC 9110 section 9.3.6), such as 407 when it wants a user name and a
    /// password.
    #[error("the proxy {proxy} refused the tunnel with HTTP status {}", .refusal.status)]
    Refused {
        /// The proxy.
        proxy: String,
        /// Its answer.
        refusal: Box<Refusal>,
    },
    /// A SOCKS5 proxy gave no tunnel (RFC 1928 section 6).
    #[error("the proxy {proxy} gave no tunnel: {} (SOCKS5 reply {reply})", reply_text(*.reply))]
    Socks {
        /// The proxy.
        proxy: String,
        /// The field REP of its reply.
        reply: u8,
    },
    /// An answer that breaks SOCKS5 (RFC 1928).
    #[error("the proxy {proxy} does not speak SOCKS5: {wrong}")]
    SocksSyntax {
        /// The proxy.
        proxy: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// TLS with an `https` proxy failed.
    #[error("TLS with the proxy {proxy} failed: {source}")]
    Tls {
        /// The proxy.
        proxy: String,
        /// How it failed.
        source: TlsError,
    },
    /// More than 255 bytes where SOCKS5 has room for so many (RFC 1928 section 5, RFC 1929 section 2); nothing was sent.
    #[error("{what} is longer than the 255 bytes that SOCKS5 has room for")]
    TooLong {
        /// What is too long.
        what: &'static str,
    },
    /// The proxy closed the byte stream before its answer was whole.
    #[error("the proxy {proxy} closed the connection before its answer was whole")]
    Truncated {
        /// The proxy.
        proxy: String,
    },
    /// A text is not a proxy's URL; it is not quoted.
    #[error("not a proxy's URL: {0}")]
    Url(String),
}

impl ProxyError {
    /// The proxy's answer, if it was one that refuses the tunnel: its status, headers and body.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}
