//! A connection that was accepted and is not yet a WebSocket: its opening handshake, to be accepted or rejected.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use sockeye_proto::handshake::{self, Answer, Head, Request, ServerHandshake};
use sockeye_proto::{Config, HandshakeError, HeaderMap, HeaderValue, Role, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::client_addr::OwnProxies;
use crate::drain::Member;
use crate::error::Error;
use crate::handshake::{Handshake, agree, choose_subprotocol, read_more, write};
use crate::http_connection::HttpConnection;
use crate::limits::Most;
use crate::meter::Meter;
use crate::metrics::{Metrics, Refused};
use crate::opening::{OpenCause, Opening, Phase};
use crate::origin::Origins;
use crate::peer::Peer;
use crate::socket::WebSocket;
use crate::tls::TlsInfo;
use crate::trace::{self, Span};
use crate::transport::Transport;

/// Accepts one WebSocket on a byte stream: reads the opening handshake and accepts it, with no subprotocol.
///
/// A page of an origin other than the `Host` asked for is refused with 403; whoever wants to look at the request, or to let
/// other origins in, uses [`Incoming::read`] or a [`Server`](crate::Server).
///
/// # Errors
///
/// [`Error::Open`] if it is not a valid opening handshake (the peer was told why, with the right HTTP status), or took longer than
/// [`Config::open_timeout`].
pub async fn accept<S>(stream: S) -> Result<WebSocket, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Incoming::read(stream, Config::default()).await?.accept().await
}

/// What a client is told that there is no room for.
pub(crate) const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What holds for each connection of a server.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) config: Arc<Config>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Option<Metrics>,
}

/// What is looked at before there is a request.
#[derive(Default)]
pub(crate) struct Admission {
    pub(crate) proxies: OwnProxies,
    pub(crate) most: Most,
}

impl Policy {
    /// An opening handshake leads to no connection.
    pub(crate) fn refused(&self, why: impl Into<Option<Refused>>, peer: &Peer) {
        if let Some(why) = why.into() {
            self.metrics.iter().for_each(|metrics| metrics.refused(why));
            trace::refused(why, peer);
        }
    }
}

/// What a client wants.
pub(crate) enum Wanted {
    WebSocket(Incoming),
    Http(HttpConnection),
}

impl Wanted {
    /// Reads a request's head. What is wrong with it the client was told before this fails.
    pub(crate) async fn read(
        mut transport: Transport,
        mut peer: Peer,
        policy: Policy,
        mut member: Option<Member>,
        mut opening: Opening,
    ) -> Result<Self, Error> {
        let mut input = BytesMut::new();
        let reading = read_head(&mut transport, &mut input, &policy.config);
        let head = tokio::select! {
            biased;
            head = opening.phase(Phase::Upgrade, policy.config.upgrade_timeout, reading) => head,
            // A server that goes down waits for no request: browsers open connections that they may never use.
            () = going_down(member.as_mut()) => Err(Error::Closed),
        };
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                policy.refused(Refused::of(&error), &peer);
                return Err(refuse(&mut transport, &policy.config, error).await);
            }
        };
        peer.client = policy.admission.proxies.client(peer.client.or(peer.addr), head.headers());
        if let (Some(client), Some(member)) = (peer.client, &member)
            && !member.is_allowed(client.ip(), policy.admission.most.of_addr)
        {
            policy.refused(Refused::Limit, &peer);
            finish(&mut transport, UNAVAILABLE, &policy.config).await;
            return Err(Error::Closed);
        }
        if !head.asks_for_websocket() {
            policy.metrics.iter().for_each(Metrics::http);
            let mut replay = BytesMut::from(&head.bytes[..]);
            replay.unsplit(input);
            return Ok(Self::Http(HttpConnection { transport, replay, peer, config: policy.config }));
        }
        let request = match Request::new(head) {
            Ok(request) => request,
            Err(error) => {
                let error = opening.fail(Phase::Upgrade, error);
                policy.refused(Refused::of(&error), &peer);
                return Err(refuse(&mut transport, &policy.config, error).await);
            }
        };
        let allowed = policy.origins.allows(request.origin(), request.host());
        let span = Span::new(&request, &peer);
        let transport = Mutex::new(transport);
        let parts = Parts { transport, input, request, opening, peer, policy, member, span };
        let incoming = Incoming(Box::new(parts));
        if allowed {
            return Ok(Self::WebSocket(incoming));
        }
        incoming.0.policy.refused(Refused::Origin, &incoming.0.peer);
        let text = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let body = b"This origin may not connect.\n";
        incoming.answer(StatusCode::FORBIDDEN, &HeaderMap::from_iter([text]), body).await?;
        Err(Error::Closed)
    }
}

/// Waits until the server goes down, if the connection is a server's.
async fn going_down(member: Option<&mut Member>) {
    match member {
        Some(member) => member.going_down().await,
        None => std::future::pending().await,
    }
}

async fn read_head(
    transport: &mut Transport,
    input: &mut BytesMut,
    config: &Config,
) -> Result<Head, OpenCause> {
    let mut opening = ServerHandshake::new(config, Instant::now().into_std());
    loop {
        match opening.receive(input, Instant::now().into_std()) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => {}
            // The same deadline as that of the whole, if a byte comes when it passes.
            Err(HandshakeError::TimedOut) => return Err(OpenCause::Timeout),
            Err(error) => return Err(error.into()),
        }
        if !read_more(transport, input).await? {
            return Err(opening.receive_end().into());
        }
    }
}

/// Tells the client what is wrong with its handshake, if there is anything to tell.
pub(crate) async fn refuse(transport: &mut Transport, config: &Config, error: Error) -> Error {
    if let Error::Open(open) = &error
        && let OpenCause::Handshake(wrong) = &open.cause
    {
        let mut response = BytesMut::new();
        wrong.respond(&mut response);
        finish(transport, &response, config).await;
    }
    error
}

/// Writes the last bytes of a connection and waits, within bounds, until the peer has got them: to let go of a stream with
/// unread bytes would reset it, and the peer might never see what was written.
async fn finish(transport: &mut Transport, bytes: &[u8], config: &Config) {
    const MOST: usize = 64 << 10;
    let last_words = async {
        write(transport, bytes).await?;
        transport.shutdown().await?;
        let (mut ignored, mut total) = (BytesMut::new(), 0);
        while total < MOST && read_more(transport, &mut ignored).await? {
            total += ignored.len();
            ignored.clear();
        }
        io::Result::Ok(())
    };
    // The connection is over however this ends.
    let limit = config.close_timeout.unwrap_or(Duration::MAX);
    let _ = tokio::time::timeout(limit, last_words).await;
}

/// A valid opening handshake (RFC 6455 section 4.2.1): look at it, then [`accept`](Self::accept) or
/// [`reject`](Self::reject) it. Dropped, it ends the connection without an answer.
///
/// This is where to find out who it is: wait for whatever has to be asked, and decide then. The header fields, cookies and parameters are in the [request](Self::request).
///
/// ```no_run
/// # async fn user_of(_: Option<&str>) -> Option<String> { None }
/// use std::time::Duration;
///
/// use sockeye::{Error, HeaderMap, HeaderValue, Incoming, StatusCode, header};
///
/// async fn handle(incoming: Incoming) -> Result<(), Error> {
///     let session = incoming.request().cookies().find(|(name, _)| *name == "session").map(|(_, value)| value);
///     let asking = tokio::time::timeout(Duration::from_secs(5), user_of(session));
///     let Ok(Some(user)) = asking.await else {
///         let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"chat\""));
///         let headers = HeaderMap::from_iter([challenge]);
///         return incoming.reject_with(StatusCode::UNAUTHORIZED, &headers, b"Who are you?\n").await;
///     };
///     let mut ws = incoming.accept().await?;
///     ws.send(format!("Hello, {user}")).await
/// }
/// ```
///
/// `examples/auth.rs` in the repository has bearer tokens, tickets in the URL and a limit on each user's connections too.
///
/// **The time that a handler takes for this is in no deadline**: [`Config::open_timeout`] ends when the handshake is read, and begins anew when it is answered. Nor is it noticed meanwhile that the client
/// has gone. Whoever waits for others sets a timeout, as above. A server that goes down lets such a handler go on until [`Drain::deadline`](crate::Drain::deadline); what it accepts is closed at once.
///
/// It is as small as a pointer, so that the future of a handler does not keep room for it while the connection lives.
pub struct Incoming(Box<Parts>);

struct Parts {
    /// Locked by nobody: so that a handler may lend the rest to others while it waits for them.
    transport: Mutex<Transport>,
    input: BytesMut,
    request: Request,
    opening: Opening,
    peer: Peer,
    policy: Policy,
    member: Option<Member>,
    span: Span,
}

impl Incoming {
    /// Reads the opening handshake from a byte stream; origins as in [`accept`](accept()).
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if it is not a valid opening handshake, or took longer than [`Config::open_timeout`]; [`Error::Closed`] if it was refused because of its origin. The client was told why, with
    /// the right HTTP status. Dropped before it is ready, the connection ends.
    pub async fn read<S>(stream: S, config: Config) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let policy = Policy { config: Arc::new(config), ..Policy::default() };
        let opening = Opening::new(&policy.config);
        match Box::pin(Wanted::read(Transport::new(stream), Peer::default(), policy, None, opening)).await? {
            Wanted::WebSocket(incoming) => Ok(incoming),
            Wanted::Http(connection) => Err(connection.refuse().await),
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.0.span.clone()
    }

    /// The request: path, query, header fields, cookies, origin, the subprotocols offered.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// The path asked for, such as `/chat`.
    pub fn path(&self) -> &str {
        self.0.request.path()
    }

    /// The request's header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.0.request.headers()
    }

    /// The peer's address, if the connection came to a [`Server`](crate::Server) by TCP.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer.addr
    }

    /// The client's address: what a trusted proxy says ([`Server::proxy_protocol`](crate::Server::proxy_protocol), [`Server::forwarded`](crate::Server::forwarded)),
    /// with port 0 if it does not tell the port; otherwise the peer's.
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.0.peer.client
    }

    /// Which of the [`Server`](crate::Server)'s listeners the connection came by: 0 is the one that it was made with, 1 the first that was
    /// [added](crate::Server::listen).
    pub fn listener(&self) -> usize {
        self.0.peer.listener
    }

    /// What TLS has agreed on, if the connection came to a [`Server`](crate::Server) [that speaks it](crate::Server::tls): the client's certificate
    /// too, if it has shown one.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.peer.tls.as_deref()
    }

    /// Accepts, with no subprotocol and no header fields of ours.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if the answer could not be written, or not within [`Config::upgrade_timeout`]. Dropped before it is ready, the connection ends.
    pub async fn accept(self) -> Result<WebSocket, Error> {
        Box::pin(self.0.accept(Answer::default())).await
    }

    /// Accepts with the first subprotocol the client offered that is among `supported`, or with none
    /// (RFC 6455 section 4.2.2).
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_subprotocol(self, supported: &[&str]) -> Result<WebSocket, Error> {
        let subprotocol = choose_subprotocol(&self.0.request, supported);
        let answer = Answer { subprotocol, ..Answer::default() };
        Box::pin(self.0.accept(answer)).await
    }

    /// Accepts with an answer of the caller's: subprotocol, extensions, header fields (RFC 6455 section 4.2.2).
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if the answer names what the client did not offer, or a header field or extension that is not the caller's (permessage-deflate is up to [`Config::deflate`]): the
    /// connection is ended without an answer then.
    pub async fn accept_with(self, answer: Answer) -> Result<WebSocket, Error> {
        Box::pin(self.0.accept(answer)).await
    }

    /// Rejects with an HTTP status and a plain text for the body.
    ///
    /// # Errors
    ///
    /// As [`reject_with`](Self::reject_with).
    pub async fn reject(self, status: StatusCode, body: &str) -> Result<(), Error> {
        let text = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )]);
        self.reject_with(status, &text, body.as_bytes()).await
    }

    /// Rejects with an HTTP status, header fields and a body.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if the status is a 1xx, or a header field is one that the library writes (`Connection`, `Content-Length`, `Transfer-Encoding`): the connection is ended without an answer then. Whether the client has got the answer is not told: it is waited for that, for
    /// [`Config::close_timeout`] at the most. Dropped before it is ready, the connection ends.
    pub async fn reject_with(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Error> {
        self.0.policy.refused(Refused::Rejected, &self.0.peer);
        self.answer(status, headers, body).await
    }

    async fn answer(self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Error> {
        let Parts { transport, opening, policy, .. } = *self.0;
        let mut transport = transport.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut response = BytesMut::new();
        if let Err(error) = handshake::reject(status, headers, body, &mut response) {
            return Err(opening.fail(Phase::Upgrade, error));
        }
        Box::pin(finish(&mut transport, &response, &policy.config)).await;
        Ok(())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Incoming");
        debug.field("client_addr", &self.client_addr()).field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Parts {
    async fn accept(self: Box<Self>, mut answer: Answer) -> Result<WebSocket, Error> {
        let Self { transport, input, request, mut opening, peer, policy, member, span } = *self;
        let mut transport = transport.into_inner().unwrap_or_else(PoisonError::into_inner);
        let deflate = match agree(&policy.config, &request, &mut answer) {
            Ok(deflate) => deflate,
            Err(misuse) => return Err(opening.fail(Phase::Upgrade, misuse)),
        };
        let mut response = BytesMut::new();
        if let Err(error) = request.accept(&answer, &mut response) {
            return Err(opening.fail(Phase::Upgrade, error));
        }
        opening.renew(&policy.config);
        let writing = async { Ok(write(&mut transport, &response).await?) };
        let written = opening.phase(Phase::Upgrade, policy.config.upgrade_timeout, writing).await;
        if let Err(error) = written {
            policy.refused(Refused::of(&error), &peer);
            return Err(error);
        }
        span.accepted(answer.subprotocol.as_deref());
        let meter = Meter::new(policy.metrics, span);
        let tls = peer.tls.map(|tls| *tls);
        let handshake = Handshake::accepted(&request, answer, opening.timings(), peer.addr, tls);
        if let Some(member) = &member {
            member.open();
        }
        let ws = WebSocket::new(transport, Role::Server, policy.config, input, handshake, deflate, member);
        Ok(ws.with_meter(meter))
    }
}
