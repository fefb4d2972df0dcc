//! WebSockets on connections that hyper has, and so on those of axum and of what else is made of `tower` services.

#[cfg(feature = "axum")]
mod axum;
mod error;
mod group;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{Extensions, Method, Response, Uri, Version};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sockeye_proto::handshake::{self, Answer, Head, Request};
use sockeye_proto::{Config, HandshakeError, HeaderMap, PerMessageDeflate, Role};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio_rustls::server::TlsStream;

use crate::drain::Member;
use crate::error::Error;
use crate::handshake::{Handshake, agree, choose_subprotocol};
use crate::incoming::Policy;
use crate::meter::Meter;
use crate::metrics::{Metrics, Refused};
use crate::opening::{OpenCause, Opening, Phase};
use crate::origin::Origins;
use crate::socket::WebSocket;
use crate::trace::Span;
use crate::transport::Transport;

pub use error::UpgradeError;
pub use group::Group;

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
    group: Option<Group>,
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
        Ok(Self { request, on_upgrade, opening, policy, group: None, subprotocols: Vec::new() })
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

    /// Makes the connection one of a group's: counted in its [metrics](Group::metrics), and closed when it is [drained](Group::drain).
    #[must_use]
    pub fn group(mut self, group: &Group) -> Self {
        self.policy.metrics.clone_from(&group.metrics);
        self.group = Some(group.clone());
        self
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
    /// The task outlives the request, and a server that goes down does not wait for it: where it should, [`Group::drain`] closes the connection and waits for the
    /// task, or [`accept`](Self::accept) gives the future to be run where it is waited for. If the handshake cannot be accepted, the response says why.
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
        let group = self.group.clone();
        let (response, upgrading) = match self.accept() {
            Ok(accepted) => accepted,
            Err(error) => return error.into_response(),
        };
        let handling = async move {
            // Boxed, or the task would keep room for a WebSocket beside the one in the handler's future, for as long as that lives.
            if let Ok(handling) = upgrading.await.map(|ws| Box::pin(handler(ws))) {
                drop(handling.await);
            }
        };
        match group {
            Some(group) => group.registry.spawn(&Handle::current(), handling),
            None => drop(tokio::spawn(handling)),
        }
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
        let Self { request, on_upgrade, mut opening, policy, group, .. } = self;
        if !policy.origins.allows(request.origin(), request.host()) {
            policy.metrics.iter().for_each(|metrics| metrics.refused(Refused::Origin));
            return Err(UpgradeError::Origin(request.origin().unwrap_or_default().to_owned()));
        }
        let Policy { config, metrics, .. } = policy;
        let deflate = agree(&config, &request, &mut answer).map_err(HandshakeError::from)?;
        let response = request.accept_response(&answer)?;
        opening.renew(&config);
        let member = group.map(|group| Member::new(group.registry, None));
        let upgrading =
            Accepted { request, answer, on_upgrade, opening, config, deflate, member, metrics }.open();
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
    member: Option<Member>,
    metrics: Option<Metrics>,
}

impl Accepted {
    async fn open(self) -> Result<WebSocket, Error> {
        let Self { request, answer, on_upgrade, mut opening, config, deflate, member, metrics } = self;
        let waiting = async { on_upgrade.await.map_err(|error| OpenCause::Upgrade(error.into())) };
        let upgraded = opening.phase(Phase::Upgrade, config.upgrade_timeout, waiting).await;
        let upgraded = upgraded.inspect_err(|error| {
            if let (Some(metrics), Some(why)) = (&metrics, Refused::of(error)) {
                metrics.refused(why);
            }
        })?;
        let (transport, input) = unwrap(upgraded);
        let (timings, peer_addr) = (opening.timings(), transport.peer_addr());
        let handshake = Handshake::accepted(&request, answer, timings, peer_addr, None);
        if let Some(member) = &member {
            member.open();
        }
        let ws = WebSocket::new(transport, Role::Server, config, input, handshake, deflate, member);
        Ok(ws.with_meter(Meter::new(metrics, Span::default())))
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
