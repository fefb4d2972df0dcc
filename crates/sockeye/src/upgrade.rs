//! WebSockets on connections that hyper has, and so on those of axum and of what else is made of `tower` services.

#[cfg(feature = "axum")]
mod axum;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{Extensions, HeaderValue, Method, Response, StatusCode, Uri, Version, header};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sockeye_proto::handshake::{self, Answer, Head, Request};
use sockeye_proto::{Config, HandshakeError, HeaderMap, PerMessageDeflate, Role};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;

use crate::error::Error;
use crate::handshake::{Handshake, agree, choose_subprotocol};
use crate::incoming::Policy;
use crate::opening::{OpenCause, Opening, Phase};
use crate::origin::Origins;
use crate::socket::WebSocket;
use crate::transport::Transport;

/// Whether a request asks for a WebSocket, well or badly: what does not can be answered with a page. Needs the feature `hyper`.
pub fn asks_for_websocket<B>(request: &http::Request<B>) -> bool {
    asks(request.method(), request.version(), request.headers(), request.extensions())
}

fn asks(method: &Method, version: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    // RFC 8441 section 5: "The :method pseudo-header field is set to CONNECT", "The :protocol pseudo-header field [..] with a value
    // "websocket""
    let is_extended =
        || extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    handshake::asks_for_websocket(version, headers) || (method == Method::CONNECT && is_extended())
}

/// Checks a request that hyper has read, as [`Incoming`](crate::Incoming) is checked: to be [accepted](WebSocketUpgrade::accept), or
/// answered with any other response. It takes from the request what the connection will be handed over by, and nothing else.
///
/// It is a plain function, for use in any handler, service or middleware. hyper's server has to serve the connection `with_upgrades`. Needs the
/// feature `hyper`.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use sockeye::{Error, WebSocket};
///
/// // A service of hyper's or tower's, such as `service_fn(answer)`.
/// async fn answer<B>(mut request: Request<B>) -> Result<Response<Full<Bytes>>, Error> {
///     if !sockeye::asks_for_websocket(&request) {
///         return Ok(Response::new("a page".into()));
///     }
///     Ok(match sockeye::upgrade(&mut request) {
///         Ok(upgrade) => upgrade.on_upgrade(echo),
///         Err(error) => error.into_response(),
///     })
/// }
///
/// async fn echo(mut ws: WebSocket) -> Result<(), Error> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }
/// # let _ = answer::<()>;
/// ```
///
/// # Errors
///
/// What is wrong with the request; [`into_response`](UpgradeError::into_response) tells the client.
pub fn upgrade<B>(request: &mut http::Request<B>) -> Result<WebSocketUpgrade, UpgradeError> {
    let (method, version) = (request.method().clone(), request.version());
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    WebSocketUpgrade::new(method, &uri, version, headers, request.extensions_mut())
}

/// A valid opening handshake (RFC 6455 section 4.2.1) that hyper has read: look at the [request](Self::request), then
/// [`on_upgrade`](Self::on_upgrade) or [`accept`](Self::accept) it, or answer with any other response and drop this.
///
/// Made by [`upgrade`], or by axum as an extractor, with the feature `axum`:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, response::Response, routing::any};
/// use sockeye::WebSocketUpgrade;
///
/// async fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.subprotocols(["v2.chat", "v1.chat"]).on_upgrade(|mut ws| async move {
///         while let Ok(Some(message)) = ws.recv().await {
///             if ws.send(message).await.is_err() {
///                 break;
///             }
///         }
///     })
/// }
///
/// let router: Router = Router::new().route("/echo", any(echo));
/// # }
/// ```
///
/// A handler that takes an `Option<WebSocketUpgrade>` gets `None` where the request asks for something else, for which it may have a page.
///
/// As at a [`Server`](crate::Server), pages of an origin other than the `Host` asked for are refused with 403 when this is accepted, unless they are [let
/// in](Self::allow_origin); a proxy in front has to pass `Host` on. Once it is accepted nothing else may decide: hyper hands the connection
/// over even where a middleware has put another response in the place of this one. Limits and deadlines for the reading of the request are hyper's. Behind
/// axum's `nest`, the path is what is left of it, as in all of its extractors. WebSockets over HTTP/2 are refused with 505.
pub struct WebSocketUpgrade {
    request: Request,
    on_upgrade: OnUpgrade,
    opening: Opening,
    policy: Policy,
    subprotocols: Vec<String>,
}

impl WebSocketUpgrade {
    fn new(
        method: Method,
        uri: &Uri,
        version: Version,
        headers: HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<Self, UpgradeError> {
        // One for all connections, each of which refers to it for as long as it lives.
        static DEFAULT: LazyLock<Policy> = LazyLock::new(Policy::default);
        let policy = DEFAULT.clone();
        let request = Request::new(Head::new(method, uri, version, headers)?)?;
        let on_upgrade = extensions.remove::<OnUpgrade>().ok_or(UpgradeError::NotUpgradable)?;
        let opening = Opening::new(&policy.config);
        Ok(Self { request, on_upgrade, opening, policy, subprotocols: Vec::new() })
    }

    /// The request: path, query, header fields, cookies, origin, the subprotocols offered.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Sets limits and deadlines. Given as an `Arc`, all connections share it.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.policy.config = config.into();
        self
    }

    /// Sets pages of which origins are let in beside the server's own (RFC 6455 section 10.2). Given as an `Arc`, all connections share it.
    #[must_use]
    pub fn origins(mut self, origins: impl Into<Arc<Origins>>) -> Self {
        self.policy.origins = origins.into();
        self
    }

    /// Lets in pages of this origin too, such as `https://app.example.com` or `https://*.example.com`, as [`Server::allow_origin`](crate::Server::allow_origin) does.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.policy.origins).add(origin.into());
        self
    }

    /// Lets in pages of any origin: with the visitor's cookies, if the browser sends them.
    #[must_use]
    pub fn allow_any_origin(self) -> Self {
        self.origins(Origins::any())
    }

    /// Says which subprotocols there are: the first that the client offered and that is among them is agreed on, or none (RFC 6455
    /// section 4.2.2).
    #[must_use]
    pub fn subprotocols(mut self, supported: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.extend(supported.into_iter().map(Into::into));
        self
    }

    /// Accepts, and gives the response to be sent; once it is, `handler` is run with the WebSocket, in a task of its own. What the handler
    /// gives is dropped, and if the connection is lost before, it is not run.
    ///
    /// The task outlives the request, and a server that goes down does not wait for it: where it should, [`accept`](Self::accept) gives
    /// the future to be run where it is waited for. If the handshake cannot be accepted, the response says why.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn on_upgrade<H, F, B>(self, handler: H) -> Response<B>
    where
        H: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future + Send + 'static,
        B: From<String>,
    {
        let (response, upgrading) = match self.accept() {
            Ok(accepted) => accepted,
            Err(error) => return error.into_response(),
        };
        tokio::spawn(async move {
            // Boxed, or the task would keep room for a WebSocket beside the one in the handler's future, for as long as that lives.
            if let Ok(handling) = upgrading.await.map(|ws| Box::pin(handler(ws))) {
                drop(handling.await);
            }
        });
        response
    }

    /// Accepts, and gives the response to be sent, and the WebSocket that there is once it is.
    ///
    /// ```
    /// # use http::Response;
    /// # use sockeye::{UpgradeError, WebSocketUpgrade};
    /// # use tokio::task::JoinSet;
    /// fn accept(upgrade: WebSocketUpgrade, tasks: &mut JoinSet<()>) -> Response<String> {
    ///     let (response, upgrading) = match upgrade.accept() {
    ///         Ok(accepted) => accepted,
    ///         Err(error) => return error.into_response(),
    ///     };
    ///     tasks.spawn(async move {
    ///         match upgrading.await {
    ///             Ok(mut ws) => while let Ok(Some(_)) = ws.recv().await {},
    ///             Err(error) => eprintln!("{error}"),
    ///         }
    ///     });
    ///     response
    /// }
    /// # let _ = accept;
    /// ```
    ///
    /// # Errors
    ///
    /// [`UpgradeError::Origin`] if the page is not to be let in.
    pub fn accept<B: From<String>>(self) -> Result<(Response<B>, Upgrading), UpgradeError> {
        let subprotocol = choose_subprotocol(&self.request, &self.subprotocols);
        self.accept_with(Answer { subprotocol, ..Answer::default() })
    }

    /// Accepts with an answer of the caller's: subprotocol, extensions, header fields (RFC 6455 section 4.2.2).
    ///
    /// # Errors
    ///
    /// [`UpgradeError::Origin`] if the page is not to be let in, [`UpgradeError::Handshake`] if the answer names what the client did not
    /// offer, or a header field or extension that is not the caller's.
    pub fn accept_with<B: From<String>>(
        self,
        mut answer: Answer,
    ) -> Result<(Response<B>, Upgrading), UpgradeError> {
        let Self { request, on_upgrade, mut opening, policy, .. } = self;
        if !policy.origins.allows(request.origin(), request.host()) {
            return Err(UpgradeError::Origin(request.origin().unwrap_or_default().to_owned()));
        }
        let config = policy.config;
        let deflate = agree(&config, &request, &mut answer).map_err(HandshakeError::from)?;
        let response = request.accept_response(&answer)?;
        opening.renew(&config);
        let upgrading = Accepted { request, answer, on_upgrade, opening, config, deflate }.open();
        Ok((response.map(|()| String::new().into()), Upgrading(Box::pin(upgrading))))
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A handshake whose answer is on its way.
struct Accepted {
    request: Request,
    answer: Answer,
    on_upgrade: OnUpgrade,
    opening: Opening,
    config: Arc<Config>,
    deflate: Option<PerMessageDeflate>,
}

impl Accepted {
    async fn open(self) -> Result<WebSocket, Error> {
        let Self { request, answer, on_upgrade, mut opening, config, deflate } = self;
        let waiting = async { on_upgrade.await.map_err(OpenCause::Upgrade) };
        let upgraded = opening.phase(Phase::Upgrade, config.upgrade_timeout, waiting).await?;
        let (transport, input) = unwrap(upgraded);
        let (timings, peer_addr) = (opening.timings(), transport.peer_addr());
        let handshake = Handshake::accepted(&request, answer, timings, peer_addr, None);
        Ok(WebSocket::new(transport, Role::Server, config, input, handshake, deflate, None))
    }
}

/// The WebSocket to come, once the response was sent.
///
/// # Errors
///
/// [`Error::Open`] if the server did not hand the connection over, which may have been lost, or not in time ([`Config::open_timeout`],
/// [`Config::upgrade_timeout`]).
#[must_use = "the connection is closed if nobody waits for it"]
pub struct Upgrading(Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>);

impl Future for Upgrading {
    type Output = Result<WebSocket, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// Why a request that hyper has read is not made a WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// It is no opening handshake, or not a valid one, or was to be accepted by an answer that the protocol does not allow.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection cannot be had: hyper is not asked to serve it `with_upgrades`, something else took it before, or the request
    /// was made up for a test.
    #[error("the connection cannot be upgraded")]
    NotUpgradable,
    /// The page's origin may not connect (RFC 6455 section 10.2).
    #[error("the origin {0:?} may not connect")]
    Origin(String),
}

impl UpgradeError {
    /// The HTTP status that goes with it: 426 for what is no opening handshake, 400, 405 and 505 for one that is not valid, 403 for an
    /// origin, and 500 for what is our own doing.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Handshake(error) => error.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Origin(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The response that tells the client, with a plain text for the body.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let of_handshake = match &self {
            Self::Handshake(error) => error.response(),
            _ => None,
        };
        let mut response = of_handshake.unwrap_or_else(|| {
            let mut response = Response::new(match self {
                Self::Origin(_) => "This origin may not connect.\n".to_owned(),
                _ => "internal server error\n".to_owned(),
            });
            *response.status_mut() = self.status();
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response
        });
        if response.headers().contains_key(header::UPGRADE) {
            // RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header
            // field"
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response.map(B::from)
    }
}

/// The byte stream that hyper had, out of hyper's wrappers where it is one of the usual, and what hyper had read of it already.
fn unwrap(upgraded: Upgraded) -> (Transport, BytesMut) {
    let upgraded = match unwrap_from::<TcpStream>(upgraded) {
        Ok(unwrapped) => return unwrapped,
        Err(upgraded) => upgraded,
    };
    let upgraded = match unwrap_from::<TlsStream<TcpStream>>(upgraded) {
        Ok(unwrapped) => return unwrapped,
        Err(upgraded) => upgraded,
    };
    #[cfg(unix)]
    let upgraded = match unwrap_from::<UnixStream>(upgraded) {
        Ok(unwrapped) => return unwrapped,
        Err(upgraded) => upgraded,
    };
    (Transport::new(TokioIo::new(upgraded)), BytesMut::new())
}

/// The same if the stream is an `S`, served by hyper's builder for HTTP/1 or by hyper-util's for any version.
fn unwrap_from<S>(upgraded: Upgraded) -> Result<(Transport, BytesMut), Upgraded>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (stream, read) = match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => {
            let parts = auto::upgrade::downcast::<TokioIo<S>>(upgraded)?;
            (parts.io, parts.read_buf)
        }
    };
    Ok((Transport::new(stream.into_inner()), read.into()))
}

#[cfg(test)]
mod tests;
