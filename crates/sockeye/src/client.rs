//! The client's end: opening a connection.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use sockeye_proto::handshake::{self, ClientHandshake, Offer};
use sockeye_proto::{Config, Deflate, HeaderName, HeaderValue, Role, WebSocketUrl, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::dial::dial;
use crate::error::Error;
use crate::handshake::{Handshake, read_more, within, write};
use crate::socket::WebSocket;
use crate::transport::Transport;

/// Opens a connection to a `ws://` URL, with the default [`Config`] and nothing but the URL to say.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(url: &str) -> Result<WebSocket, Error> {
    Client::new().connect(url).await
}

/// What a client says in its opening handshake, and under which limits: made once, used for any number of connections.
///
/// ```no_run
/// # async fn example() -> Result<(), sockeye::Error> {
/// let client = sockeye::Client::new()
///     .subprotocol("chat")
///     .header(sockeye::header::COOKIE, sockeye::HeaderValue::from_static("theme=dark"));
/// let ws = client.connect("ws://127.0.0.1:9000/echo").await?;
/// assert_eq!(ws.subprotocol(), Some("chat"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Client {
    offer: Offer,
    config: Arc<Config>,
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
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
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

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Opens a connection: name resolution, TCP, and the opening handshake (RFC 6455 section 4.1).
    ///
    /// Cancel-safe: dropped before it is ready, the connection is given up.
    ///
    /// # Errors
    ///
    /// [`Error::Url`], [`Error::Resolve`], [`Error::Connect`] by phase; [`Error::Handshake`] if the server refused (with its
    /// status, headers and body) or broke the rules; [`Error::Timeout`] after [`Config::open_timeout`] for all of it together.
    pub async fn connect(&self, url: &str) -> Result<WebSocket, Error> {
        let url: WebSocketUrl = url.parse()?;
        if url.is_secure() {
            let source = io::Error::new(io::ErrorKind::Unsupported, "TLS is not built in yet");
            return Err(Error::Connect { address: url.authority().to_owned(), source });
        }
        let opening = async {
            let (handshake, request) = self.start(&url)?;
            let stream = dial(&url).await?;
            self.open(stream.into(), &url, handshake, &request).await
        };
        within(self.config.open_timeout, Box::pin(opening)).await
    }

    /// Opens a connection over a byte stream that is there already; the URL says what to ask for.
    pub async fn connect_over<S>(&self, stream: S, url: &str) -> Result<WebSocket, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let url: WebSocketUrl = url.parse()?;
        let (handshake, request) = self.start(&url)?;
        let opening = self.open(Transport::new(stream), &url, handshake, &request);
        within(self.config.open_timeout, Box::pin(opening)).await
    }

    /// Checks what is to be said, and puts it into words.
    fn start(&self, url: &WebSocketUrl) -> Result<(ClientHandshake, BytesMut), Error> {
        let (key, mut request) = (handshake::random_key(), BytesMut::new());
        let mut offer = self.offer.clone();
        offer.extensions.extend(self.config.deflate.as_ref().map(Deflate::offer));
        let handshake = ClientHandshake::new(url, &offer, key, &self.config, now(), &mut request)?;
        Ok((handshake, request))
    }

    async fn open(
        &self,
        mut transport: Transport,
        url: &WebSocketUrl,
        mut opening: ClientHandshake,
        request: &[u8],
    ) -> Result<WebSocket, Error> {
        write(&mut transport, request).await?;
        let mut input = BytesMut::new();
        let response = loop {
            if let Some(response) = opening.receive(&mut input, now())? {
                break response;
            }
            if !read_more(&mut transport, &mut input).await? {
                return Err(opening.receive_end(&mut input).into());
            }
        };
        let deflate = match &self.config.deflate {
            Some(deflate) => deflate.accept_response(&response.extensions)?,
            None => None,
        };
        let handshake = Handshake {
            resource_name: url.resource_name().to_owned(),
            headers: response.headers,
            subprotocol: response.subprotocol,
            extensions: response.extensions,
        };
        Ok(WebSocket::new(transport, Role::Client, self.config.clone(), input, handshake, deflate, None))
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
