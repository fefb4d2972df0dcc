//! The client's end: what it says, and by which way.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sockeye_proto::handshake::Offer;
use sockeye_proto::{Config, HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connect::{open_over, open_url};
use crate::dial::{Resolve, SystemResolver, Tcp};
use crate::error::Error;
use crate::proxy::{Proxies, Proxy};
use crate::socket::WebSocket;
use crate::tls::Tls;
use crate::transport::Transport;

/// Opens a connection to a `ws://` or `wss://` URL, with the default [`Config`] and nothing but the URL to say.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(url: &str) -> Result<WebSocket, Error> {
    Client::new().connect(url).await
}

/// What a client says in its opening handshake, by which way it connects, and under which limits: made once, used for any
/// number of connections.
///
/// ```no_run
/// # async fn example() -> Result<(), sockeye::Error> {
/// let client = sockeye::Client::new()
///     .subprotocol("chat")
///     .header(sockeye::header::COOKIE, sockeye::HeaderValue::from_static("theme=dark"));
/// let ws = client.connect("wss://example.com/echo").await?;
/// assert_eq!(ws.subprotocol(), Some("chat"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) offer: Offer,
    pub(crate) config: Arc<Config>,
    pub(crate) redirects: u8,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Tls,
    pub(crate) tcp: Tcp,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) unix_socket: Option<PathBuf>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            offer: Offer::default(),
            config: Arc::default(),
            redirects: 0,
            proxies: Proxies::default(),
            tls: Tls::default(),
            tcp: Tcp::default(),
            resolver: Arc::new(SystemResolver),
            unix_socket: None,
        }
    }
}

impl Client {
    /// A client with the default [`Config`] that offers no subprotocol.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header field to the request; a further one of the same name stands beside it.
    ///
    /// The fields that make the handshake (`Upgrade`, `Connection`, `Sec-WebSocket-*` and those that announce a body) are not the
    /// caller's: [`connect`](Self::connect) refuses them. `Host` takes the place of the URL's.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if matches!(name, header::AUTHORIZATION | header::COOKIE) {
            value.set_sensitive(true);
        }
        self.offer.headers.append(name, value);
        self
    }

    /// Offers a subprotocol (RFC 6455 section 1.9); the first offered is the most wanted.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.offer.subprotocols.push(name.into());
        self
    }

    /// Says on whose behalf it connects, as a browser does (RFC 6455 section 10.2).
    #[must_use]
    pub fn origin(mut self, origin: HeaderValue) -> Self {
        self.offer.headers.insert(header::ORIGIN, origin);
        self
    }

    /// Says who it is by user name and password, in place of any other `Authorization` (RFC 7617). So does user information in the
    /// URL, `wss://user:password@host/`, which comes before this.
    #[must_use]
    pub fn basic_auth(mut self, user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Self {
        let value = basic(user.as_ref(), password.as_ref());
        self.offer.headers.insert(header::AUTHORIZATION, value);
        self
    }

    /// Says who it is by a token, in place of any other `Authorization` (RFC 6750 section 2.1).
    ///
    /// # Errors
    ///
    /// The token holds characters that no header field may hold.
    pub fn bearer_auth(mut self, token: &str) -> Result<Self, header::InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        self.offer.headers.insert(header::AUTHORIZATION, value);
        Ok(self)
    }

    /// Sends a cookie, behind those there are, in one `Cookie` field (RFC 6265 section 5.4). What a server sets is in
    /// [`Handshake::headers`](crate::Handshake::headers) under `Set-Cookie`; nothing is kept.
    ///
    /// # Errors
    ///
    /// Name or value hold characters that no header field may hold.
    pub fn cookie(mut self, name: &str, value: &str) -> Result<Self, header::InvalidHeaderValue> {
        let cookie = HeaderValue::try_from(format!("{name}={value}"))?;
        let mut value = match self.offer.headers.get(header::COOKIE) {
            None => cookie,
            Some(others) => HeaderValue::from_bytes(&[others.as_bytes(), b"; ", cookie.as_bytes()].concat())?,
        };
        value.set_sensitive(true);
        self.offer.headers.insert(header::COOKIE, value);
        Ok(self)
    }

    /// Follows so many redirects one after the other (RFC 9110 section 15.4): none by default, as a browser's WebSocket.
    ///
    /// None is followed from `wss` to `ws`. `Authorization`, `Cookie` and a `Host` of the caller's stay behind when another origin
    /// (scheme, host and port) is redirected to.
    #[must_use]
    pub fn redirects(mut self, most: u8) -> Self {
        self.redirects = most;
        self
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Connects by way of this proxy, whatever the environment says, to this machine itself too; `None` is no proxy at all.
    ///
    /// By default a proxy is looked for in the environment: [`Proxies`]. Both `ws` and `wss` go through a tunnel that the proxy is
    /// asked for (RFC 6455 section 4.1).
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.proxies = Proxies::fixed(proxy.into());
        self
    }

    /// Chooses the proxy for each URL.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Sets which certificates are trusted, and which is shown.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets how TCP connections are made, those to a proxy too.
    ///
    /// All addresses of a host are tried, but for more than 16 of them: IPv6 and IPv4 in turns, the next when one has failed or is slower
    /// than [`Tcp::attempt_delay`]; the first to connect is taken (Happy Eyeballs, RFC 8305 sections 4 and 5).
    #[must_use]
    pub fn tcp(mut self, tcp: Tcp) -> Self {
        self.tcp = tcp;
        self
    }

    /// Resolves names by this in place of the operating system, such as by [`Overrides`](crate::Overrides).
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Connects to a unix socket instead of the URL's host and port, which only the server is told then. No proxy is used.
    ///
    /// A path that begins with a NUL byte is the name of an abstract socket on Linux. Where there are no unix sockets, to connect fails
    /// with [`ErrorKind::Unsupported`](std::io::ErrorKind::Unsupported).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sockeye::Error> {
    /// let client = sockeye::Client::new().unix_socket("/run/feed.sock");
    /// let ws = client.connect("ws://localhost/feed").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Opens a connection: name resolution, TCP, a proxy's tunnel, TLS, and the opening handshake (RFC 6455 section 4.1).
    ///
    /// Cancel-safe: dropped before it is ready, the connection is given up.
    ///
    /// # Errors
    ///
    /// [`Error::Url`]; [`Error::Open`] tells in which phase it failed, after how long, and why: a server that refuses (with its
    /// status, headers and body: [`Error::refusal`]), a deadline of [`Config`], and the rest of [`OpenCause`](crate::OpenCause).
    pub async fn connect(&self, url: &str) -> Result<WebSocket, Error> {
        Box::pin(open_url(self, url)).await
    }

    /// Opens a connection over a byte stream that is there already; the URL says what to ask for. There is no proxy, no TLS, even
    /// if the URL is one of `wss`, and no redirect is followed.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL is not one of a WebSocket; [`Error::Open`] if the opening handshake failed, was refused, or took longer than [`Config::open_timeout`]. Dropped before it is ready, the byte stream ends.
    pub async fn connect_over<S>(&self, stream: S, url: &str) -> Result<WebSocket, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Box::pin(open_over(self, Transport::new(stream), url)).await
    }
}

/// The value of `Authorization` or `Proxy-Authorization` for a user name and a password.
pub(crate) fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    // RFC 7617 section 2: "constructs the user-pass by concatenating the user-id, a single colon (":") character, and the password",
    // "and obtains the basic-credentials by encoding this octet sequence using Base64"
    let credentials = STANDARD.encode([user, b":", password].concat());
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).expect("Base64 is ASCII");
    value.set_sensitive(true);
    value
}
