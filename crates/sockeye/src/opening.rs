//! The phases of an opening: their deadlines, how long each took, and what failed in which.

use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_proto::{Config, HandshakeError, HandshakeMisuse, Refusal, UrlError};
use tokio::time::Instant;

use crate::error::Error;
use crate::proxy::ProxyError;
use crate::tls::{TlsError, of_tls};

/// A phase of an opening, in the order in which they come; a server's connection has the last three at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution, of the host or of the proxy in front of it.
    Resolve,
    /// Connecting to one of the addresses, by TCP, or to a unix socket.
    Connect,
    /// Asking the proxy for a tunnel, TLS with the proxy included; at a server, hearing from a proxy for whom it speaks (the PROXY protocol).
    Proxy,
    /// TLS: with the host at a client, with the client at a server.
    Tls,
    /// The opening handshake of WebSocket (RFC 6455 section 4).
    Upgrade,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Connect => "connecting",
            Self::Proxy => "the proxy's tunnel",
            Self::Tls => "TLS",
            Self::Upgrade => "the opening handshake",
        })
    }
}

/// How long the phases of an opening took; `None` for one that was not needed. With redirects, the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Name resolution.
    pub resolve: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// Asking the proxy for a tunnel, or hearing from it for whom it speaks.
    pub proxy: Option<Duration>,
    /// TLS.
    pub tls: Option<Duration>,
    /// The opening handshake of WebSocket.
    pub upgrade: Option<Duration>,
    /// All of it.
    pub total: Duration,
}

impl Timings {
    fn of(&mut self, phase: Phase) -> &mut Option<Duration> {
        match phase {
            Phase::Resolve => &mut self.resolve,
            Phase::Connect => &mut self.connect,
            Phase::Proxy => &mut self.proxy,
            Phase::Tls => &mut self.tls,
            Phase::Upgrade => &mut self.upgrade,
        }
    }
}

/// A connection was not opened.
#[derive(Debug, thiserror::Error)]
#[error("{cause} [{phase}, {elapsed:.1?}]")]
#[non_exhaustive]
pub struct OpenError {
    /// In which phase it failed.
    pub phase: Phase,
    /// How long that phase had lasted.
    pub elapsed: Duration,
    /// How long the phases took, this one included.
    pub timings: Timings,
    /// What failed.
    #[source]
    pub cause: OpenCause,
}

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenCause {
    /// No address of the host, or of the proxy, could be connected to.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port, or the path of a unix socket.
        address: String,
        /// What the address gave. Of several addresses: how many were tried and what they gave, each error once, and the kind of the
        /// one that tells most.
        source: io::Error,
    },
    /// The opening handshake failed, or the server refused it (RFC 6455 section 4).
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The byte stream failed.
    #[error("the connection was lost: {0}")]
    Io(#[source] io::Error),
    /// The proxy gave no tunnel, or which proxy to use cannot be told.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The server answered with a redirect that was not followed (RFC 9110 section 15.4).
    #[error("{why}")]
    Redirect {
        /// Why not.
        why: RedirectError,
        /// The answer.
        refusal: Box<Refusal>,
    },
    /// The host's name, or the proxy's, has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The deadline of the phase, or of the whole opening, has passed.
    #[error("the connection was not opened in time")]
    Timeout,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP server that had the connection did not hand it over, most often because it was lost before the answer was sent.
    #[error("the HTTP server did not hand the connection over: {0}")]
    Upgrade(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for OpenCause {
    /// What TLS has to say after its handshake comes from the byte stream: with TLS 1.3 also what the server thinks of our certificate.
    fn from(error: io::Error) -> Self {
        match of_tls(&error) {
            Some(error) => Self::Tls(error.into()),
            None => Self::Io(error),
        }
    }
}

impl From<HandshakeMisuse> for OpenCause {
    fn from(misuse: HandshakeMisuse) -> Self {
        Self::Handshake(misuse.into())
    }
}

/// Why a redirect was not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// There is no `Location`, or one that is not text.
    #[error("the server redirects, and does not say where to")]
    NoLocation,
    /// From `wss` to `ws`, where others could read along.
    #[error("the server redirects from wss to {0}, which is not secure")]
    NotSecure(String),
    /// More redirects than [`Client::redirects`](crate::Client::redirects) allows.
    #[error("the server redirects more than {0} times")]
    TooMany(u8),
    /// `Location` is no URL of a WebSocket.
    #[error("the server redirects to {location:?}: {source}")]
    Url {
        /// The value of `Location`.
        location: String,
        /// What is wrong with it.
        source: UrlError,
    },
}

/// An opening under way.
pub(crate) struct Opening {
    start: Instant,
    /// When the whole of it has to be over.
    deadline: Option<Instant>,
    timings: Timings,
}

impl Opening {
    pub(crate) fn new(config: &Config) -> Self {
        let start = Instant::now();
        Self { start, deadline: after(start, config.open_timeout), timings: Timings::default() }
    }

    /// When a phase that begins now has to be over.
    pub(crate) fn deadline(&self, limit: Option<Duration>) -> Option<Instant> {
        after(Instant::now(), limit).into_iter().chain(self.deadline).min()
    }

    /// Runs a phase, within its own limit and the whole's. At the deadline the work is dropped.
    pub(crate) async fn phase<T>(
        &mut self,
        phase: Phase,
        limit: Option<Duration>,
        work: impl Future<Output = Result<T, OpenCause>>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = match self.deadline(limit) {
            None => work.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(OpenCause::Timeout))
            }
        };
        let (elapsed, sum) = (start.elapsed(), self.timings.of(phase));
        *sum = Some(sum.unwrap_or_default() + elapsed);
        result.map_err(|cause| {
            Error::Open(Box::new(OpenError { phase, elapsed, timings: self.timings(), cause }))
        })
    }

    /// The error for something that is wrong with what a phase has brought.
    pub(crate) fn fail(&self, phase: Phase, wrong: impl Into<OpenCause>) -> Error {
        let mut timings = self.timings();
        let elapsed = timings.of(phase).unwrap_or_default();
        Error::Open(Box::new(OpenError { phase, elapsed, timings, cause: wrong.into() }))
    }

    /// Begins a new deadline for the whole: what the user decides in between takes the time it takes.
    pub(crate) fn renew(&mut self, config: &Config) {
        self.deadline = after(Instant::now(), config.open_timeout);
    }

    /// How long the phases took so far.
    pub(crate) fn timings(&self) -> Timings {
        Timings { total: self.start.elapsed(), ..self.timings }
    }
}

fn after(start: Instant, limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| start.checked_add(limit))
}
