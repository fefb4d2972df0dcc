//! How the program ends: every exit code, and which ending gives which.

use std::process::ExitCode;

use sockeye::{CloseInfo, Error, HandshakeError, OpenCause};

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; closed with 1000, 1001 or 1005 (no code).
    Clean = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line, the URL included; what parses it ends the program with the same code.
    Usage = 2,
    /// `serve` cannot listen on an address.
    Listen = 3,
    /// The host's name could not be resolved.
    Resolve = 10,
    /// No address of the host could be connected to.
    Connect = 11,
    /// TLS failed.
    Tls = 12,
    /// The proxy gave no tunnel.
    Proxy = 13,
    /// The server answered with an HTTP status other than 101.
    HttpStatus = 14,
    /// The server's part of the opening handshake breaks the rules.
    Handshake = 15,
    /// The server broke the protocol, or a limit.
    Protocol = 16,
    /// The server closed with another code than those of [`Clean`](Self::Clean).
    Closed = 17,
    /// A deadline has passed: of the opening, of the closing handshake, of a keepalive ping.
    Timeout = 18,
    /// The connection ended without a closing handshake.
    Lost = 19,
    /// Ctrl-C, or SIGTERM.
    Interrupted = 130,
}

/// The table in `sockeye --help`.
pub(crate) const HELP: &str = "\
Exit codes:
   0  clean                             15  the handshake breaks the rules
   1  anything not named here           16  the server broke the protocol
   2  usage, a bad URL included         17  closed with a code other than
   3  cannot listen                         1000, 1001 or none (1005)
  10  cannot resolve the host's name    18  timeout
  11  cannot connect                    19  connection lost
  12  TLS                              130  interrupted (serve: exits 0)
  13  proxy
  14  an HTTP status other than 101";

impl Exit {
    /// The code for an error of the library's.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Url(_) => Self::Usage,
            Error::Open(error) => Self::of_opening(&error.cause),
            Error::PongTimeout(_) => Self::Timeout,
            Error::Io(_) => Self::Lost,
            Error::Protocol(_) => Self::Protocol,
            _ => Self::Other,
        }
    }

    fn of_opening(cause: &OpenCause) -> Self {
        match cause {
            OpenCause::Resolve { .. } => Self::Resolve,
            OpenCause::Connect { .. } => Self::Connect,
            OpenCause::Tls(_) => Self::Tls,
            OpenCause::Proxy(_) => Self::Proxy,
            OpenCause::Redirect { .. } | OpenCause::Handshake(HandshakeError::Refused(_)) => Self::HttpStatus,
            OpenCause::Handshake(HandshakeError::Misuse(_)) => Self::Usage,
            OpenCause::Timeout | OpenCause::Handshake(HandshakeError::TimedOut) => Self::Timeout,
            // The byte stream has ended too early: whether by FIN or by RST is chance.
            OpenCause::Io(_) | OpenCause::Handshake(HandshakeError::Truncated) => Self::Lost,
            OpenCause::Handshake(_) => Self::Handshake,
            _ => Self::Other,
        }
    }

    /// The code for a connection that ended by a closing handshake, or while one was under way: `timed_out` if the server
    /// took too long for its part.
    pub(crate) fn of_close(info: &CloseInfo, timed_out: bool) -> Self {
        match info.code.into() {
            _ if !info.clean && timed_out => Self::Timeout,
            _ if !info.clean => Self::Lost,
            1000u16 | 1001 | 1005 => Self::Clean,
            _ => Self::Closed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use sockeye::{PongTimeout, ProtocolError, ProxyError, TlsError, UrlError};

    use super::*;

    #[test]
    fn every_failure_has_its_code() {
        let io = || io::Error::from(io::ErrorKind::ConnectionReset);
        let cases = [
            (Exit::Other, Error::Closed),
            (Exit::Usage, Error::Url(UrlError::EmptyHost)),
            (Exit::Protocol, ProtocolError::Masked.into()),
            (Exit::Timeout, PongTimeout.into()),
            (Exit::Lost, io().into()),
        ];
        for (exit, error) in cases {
            assert_eq!(Exit::of(&error), exit, "{error:?}");
        }
        let cases = [
            (Exit::Resolve, OpenCause::Resolve { host: "host".into(), source: io() }),
            (Exit::Connect, OpenCause::Connect { address: "host:80".into(), source: io() }),
            (Exit::Proxy, ProxyError::Url(String::new()).into()),
            (Exit::Tls, TlsError::NotTls.into()),
            (Exit::Handshake, HandshakeError::Accept { found: String::new() }.into()),
            (Exit::Lost, HandshakeError::Truncated.into()),
            (Exit::Lost, io().into()),
            (Exit::Timeout, HandshakeError::TimedOut.into()),
            (Exit::Timeout, OpenCause::Timeout),
        ];
        for (exit, cause) in cases {
            assert_eq!(Exit::of_opening(&cause), exit, "{cause:?}");
        }
    }

    #[test]
    fn the_help_names_every_code() {
        use Exit::*;
        for exit in [
            Clean,
            Other,
            Usage,
            Listen,
            Resolve,
            Connect,
            Tls,
            Proxy,
            HttpStatus,
            Handshake,
            Protocol,
            Closed,
            Timeout,
            Lost,
            Interrupted,
        ] {
            let code = (exit as u8).to_string();
            assert!(HELP.split_whitespace().any(|word| word == code), "{exit:?}");
        }
    }
}
