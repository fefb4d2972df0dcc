//! The server's end: accepting connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::Config;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client_addr::{ForwardedBy, Networks, read_proxy_header};
use crate::drain::{Drain, Drained, Member, Registry};
use crate::error::Error;
use crate::http_connection::HttpConnection;
use crate::incoming::{Incoming, Policy, UNAVAILABLE, Wanted};
use crate::limits::{Connections, Limits};
use crate::listener::{Listener, poll_accept};
use crate::metrics::{Metrics, Refused};
use crate::opening::{Opening, Phase};
use crate::peer::Peer;
use crate::tls::{self, ServerTls};
use crate::transport::Transport;

/// How long to wait before accepting again when that failed, for want of file descriptors mostly.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long a failure to accept is not told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// How much longer than the closing handshake a handler may take to end when the server goes down.
const LAST_WORDS: Duration = Duration::from_secs(1);

type TellError = dyn Fn(&io::Error) + Send + Sync;

type HttpHandler = dyn Fn(HttpConnection) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Accepts connections on TCP addresses and unix sockets, with TLS or without, each in a task of its own.
///
/// Pages of other origins are refused with 403 unless they are [let in](Self::allow_origin).
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let server = sockeye::Server::bind("127.0.0.1:9000").await?;
/// server.run(|incoming| async move {
///     let mut ws = incoming.accept().await?;
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }).await
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    tls: Option<ServerTls>,
    policy: Policy,
    http: Option<Arc<HttpHandler>>,
    limits: Arc<Limits>,
    drain: Drain,
    accept_error: Option<Box<TellError>>,
}

impl Server {
    /// Listens on an address; port 0 picks one, which [`local_addr`](Self::local_addr) tells.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::from)
    }

    /// Listens on what is given: a unix socket, or what somebody else has bound.
    pub fn from_listener(listener: impl Into<Listener>) -> Self {
        Self {
            listeners: vec![listener.into()],
            tls: None,
            policy: Policy::default(),
            http: None,
            limits: Arc::default(),
            drain: Drain::default(),
            accept_error: None,
        }
    }

    /// Listens on this too.
    #[must_use]
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// The first TCP address listened on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrNotAvailable`] if there are unix sockets only.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut addresses = self.listeners.iter().filter_map(Listener::local_addr);
        addresses.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Speaks TLS, on all listeners. It is set up in the connection's task, within [`Config::tls_timeout`] and [`Config::open_timeout`].
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.policy.config = Arc::new(config);
        self
    }

    /// Lets in pages of an origin other than the server's own, such as `https://app.example.com` (RFC 6455 section 10.2).
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.policy.origins).listed.push(origin.into());
        self
    }

    /// Lets in pages of any origin: with the visitor's cookies, if the browser sends them.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        Arc::make_mut(&mut self.policy.origins).any = true;
        self
    }

    /// Counts what the connections do; without this nothing is counted.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.policy.metrics = Some(metrics);
        self
    }

    /// Hands over what is not an opening handshake, such as a browser's request for a page, to an HTTP server. Without
    /// this it is answered with 426 (Upgrade Required).
    #[must_use]
    pub fn on_http<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(HttpConnection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.http = Some(Arc::new(move |connection| Box::pin(handler(connection))));
        self
    }

    /// Takes so many connections at once; as many as there are file descriptors by default, of which each takes one.
    ///
    /// Whoever comes when there are so many gets, without TLS, a response of 503 (Service Unavailable) as far as that can be written at once, and the
    /// connection ends. Nothing is read, and no task is made for it. [`connections`](Self::connections) counts them.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> Self {
        self.limits_mut().most = Some(most);
        self
    }

    /// Takes so many connections at once from one address of IPv4, or from one network of 64 bits of IPv6. Those beyond are refused as by
    /// [`max_connections`](Self::max_connections). Clients of trusted proxies count each by its own address, once that is known, and are told 503 then, within TLS too. Unix sockets
    /// have no addresses, and no such limit.
    #[must_use]
    pub fn max_connections_per_addr(mut self, most: usize) -> Self {
        self.limits_mut().most_per_addr = Some(most);
        self
    }

    /// Expects a header of the [PROXY protocol], version 1 or 2, before all else, from those in these networks, who are let in only with it:
    /// [`Incoming::client_addr`] is what it says. From others it is an error, as any other bytes that are no request are.
    ///
    /// Prefer version 2: the length of a header of version 1 is not known before its end, so that it is read octet by octet.
    ///
    /// [PROXY protocol]: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: Networks) -> Self {
        Arc::make_mut(&mut self.policy.proxies).proxy_protocol = Some(proxies);
        self
    }

    /// Believes proxies in these networks what they say in this header field of where their clients are: [`Incoming::client_addr`] is the last address there
    /// that is in none of these networks. Name the field that your proxies set; another would come from clients unchanged.
    ///
    /// ```
    /// # fn example(server: sockeye::Server) -> Result<sockeye::Server, sockeye::NetworkError> {
    /// use sockeye::{ForwardedBy, Networks};
    ///
    /// let server = server.forwarded(ForwardedBy::XForwardedFor, Networks::new(["10.0.0.0/8", "unix"])?);
    /// # Ok(server)
    /// # }
    /// ```
    #[must_use]
    pub fn forwarded(mut self, by: ForwardedBy, proxies: Networks) -> Self {
        Arc::make_mut(&mut self.policy.proxies).forwarded = Some((by, proxies));
        self
    }

    /// How many connections there are and were, to be looked at while the server runs.
    pub fn connections(&self) -> Connections {
        self.limits.connections.clone()
    }

    /// Is told when accepting a connection fails, mostly for want of file descriptors: at most once in ten seconds. The server goes on,
    /// and tries ten times a second.
    #[must_use]
    pub fn on_accept_error(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.accept_error = Some(Box::new(tell));
        self
    }

    /// Sets how it goes down, when [`run_until`](Self::run_until) is told to.
    #[must_use]
    pub fn drain(mut self, drain: Drain) -> Self {
        self.drain = drain;
        self
    }

    /// Accepts connections for ever; each opening handshake is given to `handler`, in the connection's task.
    ///
    /// A connection's end, by an error too, is its handler's to tell; here errors only end the connection.
    pub async fn run<H, F>(self, handler: H) -> io::Result<()>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.run_until(std::future::pending::<()>(), handler).await.map(drop)
    }

    /// Accepts connections until `shutdown` is ready. Then it accepts no more, closes each connection as [`drain`](Self::drain) says, with 1001 (going
    /// away) by default, and returns when all handlers have ended, which it ends itself at [`Drain::deadline`]. None of its tasks is left then. WebSockets that a handler
    /// has given to tasks of its own are closed and waited for likewise, and are theirs to end at the deadline.
    ///
    /// What [`send`](crate::WebSocket::send) has taken before is written before the Close. A handler sees such a close as any other:
    /// [`recv`](crate::WebSocket::recv) gives the messages that still come, and then `None`; `send` fails with [`Error::Closed`]. A handler may simply end by
    /// that: as whenever a connection of a server is dropped while it closes, the server finishes the closing handshake.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] at once if [`Drain::code`] is none that may be sent.
    pub async fn run_until<H, F>(self, shutdown: impl Future, handler: H) -> io::Result<Drained>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Self { listeners, tls, policy, http, limits, drain, accept_error } = self;
        if !drain.code.may_be_sent() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a code that may not be sent"));
        }
        let (registry, mut left) = Registry::new();
        let handler = Arc::new(handler);
        // What handlers have, and what they have left.
        let (mut connections, mut finishing) = (JoinSet::new(), JoinSet::new());
        let mut shutdown = pin!(shutdown);
        let mut pause = pin!(sleep(Duration::ZERO));
        let (mut turn, mut told, mut paused) = (0, None::<Instant>, false);
        loop {
            let accepted = tokio::select! {
                _ = &mut shutdown => break,
                () = &mut pause, if paused => {
                    paused = false;
                    continue;
                }
                accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)), if !paused => accepted,
                Some(_) = connections.join_next() => continue,
                Some(_) = finishing.join_next() => continue,
                Some(left) = left.recv() => {
                    finishing.spawn(left.finish());
                    continue;
                }
            };
            let (transport, peer) = match accepted {
                Ok(accepted) => accepted,
                // That was the connection's end, and not the listener's.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    limits.connections.count_accept_error();
                    if let Some(tell) = &accept_error
                        && told.is_none_or(|told| told.elapsed() >= TELL_AGAIN)
                    {
                        tell(&error);
                        told = Some(Instant::now());
                    }
                    // Whatever it was, the listener is still there, and trying again at once would spin.
                    pause.as_mut().reset(Instant::now() + BACK_OFF);
                    paused = true;
                    continue;
                }
            };
            // Behind a proxy the client's is not known yet.
            let addr = peer.addr.filter(|_| !policy.proxies.hold(peer.addr));
            let permit = limits.enter().filter(|permit| addr.is_none_or(|addr| permit.is_allowed(addr.ip())));
            let Some(permit) = permit.map(Arc::new) else {
                policy.refused(Refused::Limit, peer.addr);
                turn_away(&transport, tls.is_some());
                continue;
            };
            let member = Member::new(registry.clone(), permit.clone());
            // Boxed, and outside of the task's own block, or the task would keep the opening's size for as long as the
            // connection lives.
            let opening = Box::pin(open(transport, peer, tls.clone(), policy.clone(), member, http.clone()));
            let handler = handler.clone();
            connections.spawn(async move {
                if let Some(incoming) = opening.await {
                    let span = incoming.span();
                    drop(span.within(handler(incoming)).await);
                }
                drop(permit);
            });
        }
        drop(listeners);
        let metrics = policy.metrics.as_ref();
        metrics.into_iter().for_each(Metrics::draining);
        let ending = async {
            let mut closing = pin!(registry.close(drain.code, drain.over));
            let mut all_told = false;
            while !(all_told && connections.is_empty() && finishing.is_empty() && registry.is_empty()) {
                tokio::select! {
                    () = &mut closing, if !all_told => all_told = true,
                    Some(_) = connections.join_next() => metrics.into_iter().for_each(Metrics::drained),
                    Some(_) = finishing.join_next() => {}
                    Some(left) = left.recv() => drop(finishing.spawn(left.finish())),
                    () = registry.gone() => {}
                }
            }
        };
        let usual = policy.config.close_timeout.map(|timeout| drain.over + timeout + LAST_WORDS);
        match drain.deadline.or(usual) {
            None => ending.await,
            Some(deadline) => drop(timeout(deadline, ending).await),
        }
        if let Some(metrics) = metrics {
            metrics.down(connections.len());
        }
        registry.abort();
        finishing.shutdown().await;
        connections.shutdown().await;
        drop(left);
        Ok(registry.drained())
    }

    fn limits_mut(&mut self) -> &mut Limits {
        // Nobody else has them before the server runs.
        Arc::get_mut(&mut self.limits).expect("only a server that runs shares its limits")
    }
}

impl From<TcpListener> for Server {
    fn from(listener: TcpListener) -> Self {
        Self::from_listener(listener)
    }
}

/// Ends a connection that there is no room for.
fn turn_away(transport: &Transport, tls: bool) {
    if let (Transport::Tcp(stream), false) = (transport, tls) {
        // The socket is new, so that there is room for so few bytes; if there is none, or the peer is gone, it ends without.
        let _ = socket2::SockRef::from(stream).send(UNAVAILABLE);
    }
}

/// Hears from a proxy for whom it speaks, sets up TLS, and reads an opening handshake; anything else is dealt with here.
async fn open(
    mut transport: Transport,
    mut peer: Peer,
    tls: Option<ServerTls>,
    policy: Policy,
    mut member: Member,
    http: Option<Arc<HttpHandler>>,
) -> Option<Incoming> {
    let mut opening = Opening::new(&policy.config);
    if policy.proxies.speak_first(peer.addr) {
        let reading = read_proxy_header(&mut transport);
        let client = tokio::select! {
            biased;
            client = opening.phase(Phase::Proxy, policy.config.proxy_timeout, reading) => client,
            () = member.going_down() => return None,
        };
        peer.client = client.map_err(|error| policy.refused(Refused::of(&error), peer.addr)).ok()?;
    }
    if let Some(tls) = tls {
        let securing = opening.phase(Phase::Tls, policy.config.tls_timeout, tls::accept(&tls, transport));
        let secured = tokio::select! {
            biased;
            secured = securing => secured,
            () = member.going_down() => return None,
        };
        let (secured, info) = secured.map_err(|error| policy.refused(Refused::of(&error), peer.addr)).ok()?;
        (transport, peer.tls) = (secured, Some(Box::new(info)));
    }
    match Wanted::read(transport, peer, policy, Some(member), opening).await {
        Ok(Wanted::WebSocket(incoming)) => return Some(incoming),
        Ok(Wanted::Http(connection)) => match http {
            Some(http) => http(connection).await,
            None => drop(connection.refuse().await),
        },
        Err(_) => {}
    }
    None
}
