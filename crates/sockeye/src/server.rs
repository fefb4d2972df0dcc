//! The server's end: accepting connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye_proto::Config;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinSet;

use crate::drain::{Drain, Member};
use crate::error::Error;
use crate::incoming::{HttpConnection, Incoming, Policy, Wanted};
use crate::listener::Listener;
use crate::opening::{Opening, Phase};
use crate::peer::Peer;
use crate::tls::{self, ServerTls};
use crate::transport::Transport;

/// How long to wait before accepting again when that failed, for want of file descriptors mostly.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How much longer than the closing handshake a handler may take to end when the server goes down.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
}

impl Server {
    /// Listens on an address; port 0 picks one, which [`local_addr`](Self::local_addr) tells.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::from)
    }

    /// Listens on what is given: a unix socket, or what somebody else has bound.
    pub fn from_listener(listener: impl Into<Listener>) -> Self {
        Self { listeners: vec![listener.into()], tls: None, policy: Policy::default(), http: None }
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

    /// Accepts connections for ever; each opening handshake is given to `handler`, in the connection's task.
    ///
    /// A connection's end, by an error too, is its handler's to tell; here errors only end the connection.
    pub async fn run<H, F>(self, handler: H) -> io::Result<()>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.run_until(std::future::pending::<()>(), handler).await
    }

    /// Accepts connections until `shutdown` is ready. Then it accepts no more, closes each connection with 1001 (going
    /// away), and returns when all handlers have ended, which it ends itself after [`Config::close_timeout`] and a second.
    ///
    /// A handler sees such a close as any other: [`recv`](crate::WebSocket::recv) gives the messages that still come, and
    /// then `None`; [`send`](crate::WebSocket::send) fails with [`Error::Closed`]. A handler may simply end by that: as whenever a connection of
    /// a server is dropped while it closes, the server finishes the closing handshake.
    pub async fn run_until<H, F>(self, shutdown: impl Future, handler: H) -> io::Result<()>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Self { listeners, tls, policy, http } = self;
        let (drain, mut left) = Drain::new();
        let handler = Arc::new(handler);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut turn = 0;
        loop {
            let accepted = tokio::select! {
                _ = &mut shutdown => break,
                accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)) => accepted,
                Some(_) = connections.join_next() => continue,
                Some(driver) = left.recv() => {
                    connections.spawn(driver.finish());
                    continue;
                }
            };
            let Ok((transport, peer)) = accepted else {
                // Whatever it was, the listener is still there, and trying again at once would spin.
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let member = Member::new(drain.clone());
            // Boxed, and outside of the task's own block, or the task would keep the opening's size for as long as the
            // connection lives.
            let opening = Box::pin(open(transport, peer, tls.clone(), policy.clone(), member, http.clone()));
            let handler = handler.clone();
            connections.spawn(async move {
                if let Some(incoming) = opening.await {
                    drop(handler(incoming).await);
                }
            });
        }
        drop(listeners);
        drain.close();
        let ended = async {
            while connections.join_next().await.is_some() {
                while let Ok(driver) = left.try_recv() {
                    connections.spawn(driver.finish());
                }
            }
        };
        match policy.config.close_timeout {
            None => ended.await,
            Some(timeout) => drop(tokio::time::timeout(timeout + LAST_WORDS, ended).await),
        }
        connections.shutdown().await;
        Ok(())
    }
}

impl From<TcpListener> for Server {
    fn from(listener: TcpListener) -> Self {
        Self::from_listener(listener)
    }
}

/// Accepts a connection by whichever listener has one, beginning with that whose turn it is.
fn poll_accept(
    listeners: &[Listener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Transport, Peer)>> {
    for offset in 0..listeners.len() {
        let listener = (*turn + offset) % listeners.len();
        if let Poll::Ready(accepted) = listeners[listener].poll_accept(cx) {
            *turn = listener + 1;
            return Poll::Ready(
                accepted.map(|(transport, addr)| (transport, Peer { addr, listener, tls: None })),
            );
        }
    }
    Poll::Pending
}

/// Sets up TLS and reads an opening handshake; anything else is dealt with here.
async fn open(
    mut transport: Transport,
    mut peer: Peer,
    tls: Option<ServerTls>,
    policy: Policy,
    mut member: Member,
    http: Option<Arc<HttpHandler>>,
) -> Option<Incoming> {
    let mut opening = Opening::new(&policy.config);
    if let Some(tls) = tls {
        let securing = opening.phase(Phase::Tls, policy.config.tls_timeout, tls::accept(&tls, transport));
        let (secured, info) = tokio::select! {
            biased;
            secured = securing => secured.ok()?,
            () = member.closing() => return None,
        };
        (transport, peer.tls) = (secured, Some(info));
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
